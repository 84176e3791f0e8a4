"""Dated waivers for single nodes that compute in float: written by a person, in force until a day, and said everywhere."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.evidence import NodeWaiver
from platform_lib.refusals import first_problem

_REMEDY = "waivers: [{precision: w8a8, node: NAME, until: 2027-01-31, approved_by: WHO, why: REASON}]"


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    waivers: tuple[NodeWaiver, ...]


def read_waivers(path: Path) -> tuple[NodeWaiver, ...]:
    """Read a file of waivers.

    Raises:
        MissingPartError: There is no such file.
        ConfigError: It is not YAML, lacks a key, misspells one, or waives a node twice.
    """
    try:
        found = _File.model_validate(yaml.safe_load(path.read_bytes())).waivers
    except FileNotFoundError as error:
        raise MissingPartError("no such file of waivers", where=path, remedy=_REMEDY) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}", where=path, remedy=_REMEDY) from error
    except ValidationError as error:
        raise ConfigError(first_problem(error), where=path, remedy=_REMEDY) from error
    keys = [(item.precision, item.node) for item in found]
    if twice := next((node for precision, node in keys if keys.count((precision, node)) > 1), None):
        raise ConfigError(f"'{twice}' is waived twice", where=path, remedy="keep one of them")
    return found


def in_force(waivers: Iterable[NodeWaiver], today: date) -> tuple[NodeWaiver, ...]:
    """Return the waivers whose last day has not passed; an expired one waives nothing."""
    return tuple(item for item in waivers if today <= item.until)

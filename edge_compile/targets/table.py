"""Looks a target up by name; what is not in the table, or not confirmed, is refused with the list."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from edge_compile.targets.doors import door_names, door_target
from platform_lib.errors import ConfigError

_TABLE = Path(__file__).with_name("qnn.yaml")


class Target(BaseModel):
    """One chip.

    Attributes:
        soc_model: The QNN compiler's numeric id of the chip.
        architecture: Hexagon tensor processor generation; decides AIMET's quantization rules.
        confirmed: Whether the id is known, or a guess within the family.
        note: What the guess rests on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    soc_model: int = Field(gt=0)
    architecture: Literal["v68", "v73", "v75", "v81"]
    confirmed: bool
    note: str | None = None


@cache
def targets() -> dict[str, Target]:
    """Return every target of the table by name."""
    rows = yaml.safe_load(_TABLE.read_text())["targets"]
    return {name: Target(name=name, **row) for name, row in rows.items()}


def find_target(name: str, *, accept_unconfirmed: bool = False) -> Target:
    """Return the target called `name`.

    Raises:
        ConfigError: It is not in the table, or its id is unconfirmed and that was not accepted.
    """
    known = targets()
    found = known.get(name.strip().lower())
    if found is None:
        if door_target(name) is not None:
            raise ConfigError(
                f"'{name}' shares no binary with another chip", remedy="compile for it alone, by --target"
            )
        raise ConfigError(
            f"unknown target '{name}'",
            where=_TABLE.name,
            remedy=f"choose one of: {', '.join((*sorted(known), *door_names()))}",
        )
    if not found.confirmed and not accept_unconfirmed:
        raise ConfigError(
            f"the compiler id of '{found.name}' is unconfirmed: {found.soc_model} is a guess ({found.note})",
            where=_TABLE.name,
            remedy="confirm it on the board and accept the guess with --accept-unconfirmed (accept_unconfirmed=True), "
            f"or choose one of: {', '.join(sorted(key for key, item in known.items() if item.confirmed))}",
        )
    return found

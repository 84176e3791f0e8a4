"""Looks a target up by name; what is not in the table, or not confirmed, is refused with the list."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge_compile.targets.doors import door_names, door_target
from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.refusals import first_problem

_TABLE = Path(__file__).with_name("qnn.yaml")
_EXAMPLE = "targets: {NAME: {soc_model: 52, architecture: v73, confirmed: true, note: where the id comes from}}"


class _NoDuplicates(yaml.SafeLoader):
    """YAML's last of two equal keys wins without a word; here the second is refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        """Build one mapping."""
        names = [key.value for key, _ in node.value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"'{twice}' is there twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


class Target(BaseModel):
    """One chip.

    Attributes:
        soc_model: The QNN compiler's numeric id of the chip.
        architecture: Hexagon tensor processor generation; decides AIMET's quantization rules.
        confirmed: Whether the id is known, or a guess within the family.
        note: What the guess rests on; of a target of somebody's own, where its id comes from.
        origin: The file it is from, None for the product's own table.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    soc_model: int = Field(gt=0, le=9999, strict=True)
    architecture: Literal["v68", "v73", "v75", "v81"]
    confirmed: bool = Field(strict=True)
    note: str | None = None
    origin: str | None = None


@cache
def targets() -> dict[str, Target]:
    """Return every target of the table by name."""
    rows = yaml.safe_load(_TABLE.read_text())["targets"]
    return {name: Target(name=name, **row) for name, row in rows.items()}


def read_targets(path: Path) -> dict[str, Target]:
    """Read targets of somebody's own: a file in the form of ``targets/qnn.yaml``, each with a note on its id.

    Raises:
        MissingPartError: There is no such file.
        ConfigError: It is not YAML, names a target twice or as the product's table does, or says something else of one.
    """
    try:
        document = yaml.load(path.read_bytes(), Loader=_NoDuplicates)  # noqa: S506 - a safe loader that refuses more
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingPartError("no such file of targets", where=path, remedy=f"write {_EXAMPLE}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"not YAML: {' '.join(str(error).split())[:300]}", where=path, remedy=f"write {_EXAMPLE}"
        ) from error
    rows = document.get("targets") if isinstance(document, dict) and set(document) == {"targets"} else None
    if not isinstance(rows, dict) or not rows:
        raise ConfigError("holds no targets", where=path, remedy=f"write {_EXAMPLE}")
    return {str(name).strip().lower(): _own_target(name, row, path) for name, row in rows.items()}


def _own_target(name: object, row: object, path: Path) -> Target:
    plain, where = str(name).strip().lower(), f"{path} '{name}'"
    if plain in targets() or door_target(plain) is not None:
        raise ConfigError("is a target of the product's own table", where=where, remedy="give yours another name")
    if not isinstance(row, dict) or {"name", "origin"} & row.keys():
        raise ConfigError("is not soc_model, architecture, confirmed and note", where=where, remedy=f"write {_EXAMPLE}")
    try:
        found = Target(name=plain, origin=path.name, **{str(key): value for key, value in row.items()})
    except ValidationError as error:
        raise ConfigError(first_problem(error), where=where, remedy=f"write {_EXAMPLE}") from error
    if not (found.note or "").strip():
        raise ConfigError("does not say where its id comes from", where=where, remedy="write it into its note")
    return found


def find_target(name: str, *, accept_unconfirmed: bool = False, file: Path | None = None) -> Target:
    """Return the target called `name`, of the product's table or of a file of somebody's own.

    Raises:
        MissingPartError: There is no such file.
        ConfigError: It is not in the table, or its id is unconfirmed and that was not accepted.
    """
    known = targets() if file is None else targets() | read_targets(file)
    found = known.get(name.strip().lower())
    if found is None:
        if door_target(name) is not None:
            raise ConfigError(
                f"'{name}' shares no binary with another chip", remedy="compile for it alone, by --target"
            )
        raise ConfigError(
            f"unknown target '{name}'",
            where="--target, --also",
            remedy=f"choose one of: {', '.join((*sorted(known), *door_names()))}",
        )
    if not found.confirmed and not accept_unconfirmed:
        raise ConfigError(
            f"the compiler id of '{found.name}' is unconfirmed: {found.soc_model} is a guess ({found.note})",
            where=found.origin or _TABLE.name,
            remedy="confirm it on the board and accept the guess with --accept-unconfirmed (accept_unconfirmed=True), "
            f"or choose one of: {', '.join(sorted(key for key, item in known.items() if item.confirmed))}",
        )
    return found

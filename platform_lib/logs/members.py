"""Columns as `drivetrain log info` names them: `header.stamp.sec` is a member of the column `header`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Member:
    """What somebody asked for.

    Attributes:
        name: As it was asked for.
        column: The column that it lies in.
        path: The members that lead to it from there; empty for the column itself.
    """

    name: str
    column: str
    path: tuple[str, ...] = ()

    def of(self, row: dict[str, Any]) -> Any:
        """Return its value in a row; ``None`` where a member around it is null."""
        value = row[self.column]
        for part in self.path:
            value = None if value is None else value[part]
        return value


def member(schema: pa.Schema, name: str) -> Member:
    """Find what a name stands for: a column before a member, since a channel's own name may have dots.

    Args:
        schema: The stream's.
        name: ``header``, ``header.stamp.sec``, or ``ranges[]`` for a list.

    Returns:
        What was found; where nothing was, a column of that name, which reading will refuse.
    """
    whole = name.removesuffix("[]")
    parts = whole.split(".")
    for count in range(len(parts), 0, -1):
        column = ".".join(parts[:count])
        if column in schema.names and _leads(schema.field(column).type, parts[count:]):
            return Member(name, column, tuple(parts[count:]))
    return Member(name, name)


def _leads(kind: pa.DataType, path: Sequence[str]) -> bool:
    for part in path:
        if not pa.types.is_struct(kind) or kind.get_field_index(part) < 0:
            return False
        kind = kind.field(part).type
    return True

"""A payload that does not fit its definition, and which one of its batch it is."""

from __future__ import annotations

from platform_lib.errors import CorruptLog


class FaultyPayload(CorruptLog):
    """A payload that contradicts its definition.

    Attributes:
        row: Which payload of those that were decoded together.
    """

    row: int = 0

    @classmethod
    def at(cls, row: int, what: str, *, remedy: str | None = None) -> FaultyPayload:
        """Return the error of one payload."""
        error = cls(what, remedy=remedy)
        error.row = row
        return error

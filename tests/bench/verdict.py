"""One line of the table, and whether it holds (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

WITHIN = 1.25
"""A line holds when it meets its ratio, or comes this near to its floor."""

Outcome = Literal["holds: ratio", "holds: floor", "NOT MET", "BEATS ITS FLOOR", "WRONG VALUES"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A side's median: seconds, or megabytes fetched; and its peak memory above the interpreter with its imports."""

    value: float
    peak_bytes: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """One work against one peer.

    Attributes:
        key: Chooses the line on the command line.
        work: What is done.
        peer: With what it is compared.
        unit: Of the values.
        required_ratio: How many times the peer's value ours has to fit in; None where only the floor counts.
        ours: Our median.
        theirs: The peer's.
        floor: Reading, inflating, checking and copying the same bytes and nothing else.
        bottom: The inflating alone, in its fastest round: who is faster did not do the work.
        parts: What the floor is made of.
        differences: Where the values of the two sides differ.
        compared: How many columns or topics were compared.
        within: How near to the floor is near enough.
    """

    key: str
    work: str
    peer: str
    unit: str
    required_ratio: float | None
    ours: Measured
    theirs: Measured
    floor: float
    bottom: float
    parts: dict[str, float]
    differences: tuple[str, ...]
    compared: int
    within: float = WITHIN

    @property
    def ratio(self) -> float:
        """How many times ours fits into the peer's."""
        return self.theirs.value / self.ours.value

    @property
    def times_floor(self) -> float:
        """How far from the floor we are, 1 being there."""
        return self.ours.value / self.floor

    @property
    def outcome(self) -> Outcome:
        """Return what is to be said of this line."""
        if self.differences or not self.compared:
            return "WRONG VALUES"
        if self.ours.value < self.bottom:
            return "BEATS ITS FLOOR"
        if self.required_ratio is not None and self.ratio >= self.required_ratio:
            return "holds: ratio"
        return "holds: floor" if self.times_floor <= self.within else "NOT MET"

    @property
    def broken(self) -> bool:
        """Whether the measurement itself is wrong: a fast wrong answer is no answer."""
        return self.outcome in ("WRONG VALUES", "BEATS ITS FLOOR")

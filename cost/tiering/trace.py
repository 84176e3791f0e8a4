"""Reads of objects as they were seen, and what they say of a day of an object's life. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cost.tiering.charges import Access, Floats
from cost.tiering.model import ARCHIVE_DAYS, INFREQUENT_DAYS
from cost.tiering.population import Ints

_TAIL_DAYS = 90
"""What is older than anything seen is taken to be read as the oldest so many days that were seen."""
_HOLE_DAYS = 15
"""A day of life that nobody was seen at is taken to be as those up to so many days around it."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Objects that were watched for a while, and their reads; one row of reads an object and day.

    Attributes:
        born: Day on which each object was made; the watch begins on day 0, so older ones have a negative one.
        size_bytes: Their sizes.
        watched_days: How long.
        object: Of each row, the object's number.
        day: Its day of the watch.
        gets: How many requests.
        read_bytes: How many bytes.
    """

    born: Ints
    size_bytes: Ints
    watched_days: int
    object: Ints
    day: Ints
    gets: Floats
    read_bytes: Floats

    def __post_init__(self) -> None:
        if len(self.born) != len(self.size_bytes):
            raise ValueError("an object has no size, or a size no object")
        if self.object.size and not (0 <= self.day.min() and self.day.max() < self.watched_days):
            raise ValueError("a read outside the watch")
        if self.object.size and np.any(self.day < self.born[self.object]):
            raise ValueError("an object is read before it was made")

    def part(self, chosen: NDArray[np.bool_]) -> Trace:
        """Return some of the objects with their reads."""
        number = np.cumsum(chosen) - 1
        rows = chosen[self.object]
        return Trace(
            self.born[chosen],
            self.size_bytes[chosen],
            self.watched_days,
            number[self.object[rows]],
            self.day[rows],
            self.gets[rows],
            self.read_bytes[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a trace says.

    Attributes:
        access: By day of life.
        seen_days: Which days of life were seen at all; the others are filled in.
        objects: How many objects were watched.
        reads: How many reads there were.
    """

    access: Access
    seen_days: NDArray[np.bool_]
    objects: int
    reads: float


def seen(trace: Trace, life_days: int, weights: Floats | None = None) -> Seen:
    """Average a trace by the day of objects' lives.

    Args:
        trace: At least one object.
        life_days: How many days to tell of.
        weights: How often each object counts; once, where it is left out.

    Raises:
        ValueError: No object was watched.
    """
    if not len(trace.born):
        raise ValueError("no object was watched")
    often = np.ones(len(trace.born)) if weights is None else weights
    heavy = often * np.maximum(trace.size_bytes, 1)
    first, last = np.maximum(0, -trace.born), trace.watched_days - trace.born  # ages seen: [first, last)
    count, volume = (_covered(first, last, each, life_days) for each in (often, heavy))
    age = trace.day - trace.born[trace.object]
    rows = (age >= 0) & (age < life_days)
    age, number = age[rows], trace.object[rows]

    def by_age(amounts: Any) -> Floats:
        return np.bincount(age, weights=amounts, minlength=life_days).astype(np.float64)

    gets = by_age(trace.gets[rows] * often[number])
    read = by_age(trace.read_bytes[rows] * often[number])
    touched = by_age(heavy[number])
    known = count > 0
    daily = _filled(touched, volume)
    return Seen(
        Access(
            gets=_filled(gets, count),
            read_share=_filled(read, volume),
            read_objects=np.minimum(_filled(by_age(often[number]), count), 1.0),
            read_days=np.minimum(daily, 1.0),
            idle_30=_idle(trace, heavy, life_days, INFREQUENT_DAYS, daily),
            idle_90=_idle(trace, heavy, life_days, ARCHIVE_DAYS, daily),
        ),
        known,
        len(trace.born),
        float((trace.gets * often[trace.object]).sum()),
    )


def _covered(first: Any, last: Any, weights: Floats, days: int) -> Floats:
    """Return, for each day, the weight of the half-open ranges that hold it."""
    edges = np.zeros(days + 1)
    some = (last > first) & (first < days)
    np.add.at(edges, first[some], weights[some])
    np.add.at(edges, np.minimum(last[some], days), -weights[some])
    found: Floats = np.cumsum(edges[:-1])
    # Sums and differences of many weights leave dust where nothing is.
    found[found < 1e-9 * max(1.0, float(weights.sum()))] = 0.0
    return found


def _filled(amount: Floats, of: Floats) -> Floats:
    """Divide, and fill days that nobody was seen at: within what was seen from around, after it from its tail."""
    known = of > 0
    found = np.divide(amount, of, out=np.zeros_like(amount), where=known)
    if known.all() or not known.any():
        return found
    last = int(np.flatnonzero(known)[-1])
    sums, bases = np.concatenate(([0.0], np.cumsum(amount))), np.concatenate(([0.0], np.cumsum(of)))
    tail = max(0, last + 1 - _TAIL_DAYS)
    found[last + 1 :] = (sums[last + 1] - sums[tail]) / (bases[last + 1] - bases[tail])
    for hole in np.flatnonzero(~known[:last]).tolist():
        low, high = max(0, hole - _HOLE_DAYS), min(len(of), hole + _HOLE_DAYS + 1)
        if bases[high] <= bases[low]:
            low, high = 0, len(of)
        found[hole] = (sums[high] - sums[low]) / (bases[high] - bases[low])
    return found


def _idle(trace: Trace, heavy: Floats, life_days: int, span: int, daily: Floats) -> Floats:
    """Return by day of life the share of bytes that were not read on it nor on the `span - 1` days before.

    Where nobody was watched for so long, it is at least 1 less the sum of the days' shares: no day of reading was counted less
    than once.
    """
    order = np.lexsort((trace.day, trace.object))
    number, day = trace.object[order], trace.day[order]
    opens = np.maximum(
        trace.born, np.where(trace.born < 0, span - 1, trace.born + span)
    )  # first day that can be told idle
    judged = np.maximum(opens, trace.born + span)
    whole = _covered(judged - trace.born, trace.watched_days - trace.born, heavy, life_days)
    begin = np.concatenate((judged, np.maximum(day + span, judged[number])))
    following = np.full(len(day), trace.watched_days)
    if len(day) > 1:
        same = number[1:] == number[:-1]
        following[:-1] = np.where(same, day[1:], trace.watched_days)
    first_read = np.full(len(trace.born), trace.watched_days)
    np.minimum.at(first_read, number, day)
    end = np.concatenate((first_read, following))
    owner = np.concatenate((np.arange(len(trace.born)), number))
    idle = _covered(begin - trace.born[owner], end - trace.born[owner], heavy[owner], life_days)
    total = np.concatenate(([0.0], np.cumsum(daily)))
    days = np.arange(life_days)
    least = np.clip(1 - (total[days + 1] - total[np.maximum(days + 1 - span, 0)]), 0.0, 1.0)
    share = np.divide(idle, whole, out=least.copy(), where=whole > 0)
    return np.asarray(np.clip(share, 0.0, 1.0))

"""What watched objects paid under a rule, beside what they would have paid had their reads been known beforehand. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from cost.tiering.model import INTELLIGENT, Schedule, StorageClass
from cost.tiering.optimum import optimum
from cost.tiering.replay import replay
from cost.tiering.trace import Trace

LEAST_DAYS = 120
"""Objects that were watched for less say little: as if each was deleted then, minimum stays would decide."""
_MOST_OBJECTS = 20


@dataclass(frozen=True, slots=True)
class Hindsight:
    """USD of a few watched objects, from their first day to the end of the watch, as if they were deleted then.

    Attributes:
        objects: How many.
        rule: Under the rule.
        intelligent: Under Intelligent-Tiering from the first day.
        optimum: The least that lifecycle could have made them pay, each read known beforehand.
    """

    objects: int
    rule: float
    intelligent: float
    optimum: float


def hindsight(
    trace: Trace, rule: Schedule, usd: Callable[[str], float], allowed: Iterable[StorageClass]
) -> Hindsight | None:
    """Replay the first watched objects that were seen from their first day on, for long enough; None: there is none."""
    names, sums, count = tuple(allowed), np.zeros(3), 0
    chosen = np.flatnonzero((trace.born >= 0) & (trace.watched_days - trace.born >= LEAST_DAYS))[:_MOST_OBJECTS]
    for number in chosen.tolist():
        born = int(trace.born[number])
        rows = trace.object == number
        gets, read = (np.zeros((1, trace.watched_days - born)) for _ in range(2))
        np.add.at(gets[0], trace.day[rows] - born, trace.gets[rows])
        np.add.at(read[0], trace.day[rows] - born, trace.read_bytes[rows])
        size = trace.size_bytes[number : number + 1].astype(np.float64)
        known = Schedule(tuple(step for step in rule.steps if step.day < gets.shape[1]))
        sums += [
            replay(known, size, gets, read, usd).sum(),
            replay(INTELLIGENT, size, gets, read, usd).sum(),
            optimum(size, gets, read, usd, names, copies=False).sum(),
        ]
        count += 1
    return Hindsight(count, *map(float, sums)) if count and np.isfinite(sums).all() else None

"""Loops over times, each a single pass. Compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.compiled import compiled

Index = npt.NDArray[np.int64]


@compiled
def nanoseconds(seconds: npt.NDArray[Any], start: int, most: float, times: Index) -> int:
    """Write ``start + round_half_even(seconds * 1e9)``; return how many are no number, or further than `most` from 0."""
    wrong: int = 0
    for row in range(seconds.size):
        scaled = np.rint(seconds[row] * 1e9)
        sound = math.fabs(scaled) <= most
        wrong += not sound
        times[row] = np.int64(scaled if sound else 0.0) + start
    return wrong


@compiled
def descends(times: Index) -> bool:
    """Say whether a time lies before the one that precedes it."""
    found: int = 0
    for row in range(1, times.size):
        found += times[row] < times[row - 1]
    return found > 0

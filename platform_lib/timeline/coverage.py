"""Whether a time that was asked for is known, and if not, why: the answer of every resampling."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


class Coverage(IntEnum):
    """Where an asked time lies; only what is `KNOWN` has a value."""

    KNOWN = 0
    NO_SAMPLES = 1
    """Nothing was recorded at all, or nothing of that key."""
    BEFORE_FIRST = 2
    """Before the recording begins."""
    AFTER_LAST = 3
    """After the recording ended, or so long after it that its last state is out of date."""
    IN_GAP = 4
    """Inside the recording, where samples are missing."""


CoverageArray = npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Interpolated:
    """Values of a continuous quantity at asked times of shape S.

    Attributes:
        values: Shape S, or S + (D,); NaN where not known.
        coverage: int8, shape S: a `Coverage` each.
    """

    values: FloatArray
    coverage: CoverageArray

    @property
    def valid(self) -> BoolArray:
        """Shape S, where the value is known."""
        return np.asarray(self.coverage == Coverage.KNOWN)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which sample answers each of M questions.

    Attributes:
        index: intp (M,), position in the sampled times; 0 where none answers.
        coverage: int8 (M,): a `Coverage` each.
    """

    index: npt.NDArray[np.intp]
    coverage: CoverageArray

    @property
    def valid(self) -> BoolArray:
        """Shape (M,), where a sample answers."""
        return np.asarray(self.coverage == Coverage.KNOWN)


def count_coverage(coverage: CoverageArray) -> dict[str, int]:
    """Return how many of the asked times are known, and how many are not for each reason that occurs."""
    counts = np.bincount(coverage.reshape(-1), minlength=len(Coverage))
    return {item.name.lower(): int(counts[item]) for item in Coverage if counts[item]}

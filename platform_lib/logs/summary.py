"""What `drivetrain log info` says of a stream's times: its rate, its gaps. Pure, in one pass, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Index = npt.NDArray[np.int64]
GAP_FACTOR = 5.0
"""A gap is a step over this many times the median step: neither jitter nor one lost frame is one."""

_MOST_DISTINCT = 8192
# What is kept of a step once there are more distinct ones: 0.1 %.
_KEPT_BITS = 10
_MOST_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Timing:
    """A stream's times.

    Attributes:
        rows: How many.
        start_ns: The earliest; ``None`` without rows.
        stop_ns: One past the latest.
        duration_s: From the earliest to the latest row; ``None`` under two rows.
        median_step_s: Between neighbours in recorded order, steps back left out; ``None`` without a step. Exact up to
            8192 distinct steps, else to 0.1 %.
        rate_hz: The mean: steps over duration. ``None`` where that has no value.
        median_rate_hz: One over the median step: the rate while nothing is lost. ``None`` where that has no value.
        gaps: Steps longer than `GAP_FACTOR` median steps.
        longest_gap_s: The longest of them, 0.0 without any.
        backward_steps: Steps back in time.
    """

    rows: int
    start_ns: int | None
    stop_ns: int | None
    duration_s: float | None
    median_step_s: float | None
    rate_hz: float | None
    median_rate_hz: float | None
    gaps: int
    longest_gap_s: float
    backward_steps: int


class Steps:
    """How often which step occurred: exact while there are few, then merged with their like."""

    def __init__(self) -> None:
        self.longest = 0
        self._keys = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)
        self._sums: npt.NDArray[np.float64] = np.zeros(0)
        self._coarse = False

    def add(self, steps: Index) -> None:
        """Count (N,) steps, none negative, nanoseconds."""
        if not steps.size:
            return
        self.longest = max(self.longest, int(steps.max()))
        values, counts = np.unique(steps, return_counts=True)
        sums = values.astype(np.float64) * counts
        self._merge(np.concatenate([self._keys, values]), np.append(self._counts, counts), np.append(self._sums, sums))
        if self._keys.size > _MOST_DISTINCT and not self._coarse:
            self._coarse = True
            self._merge(self._keys, self._counts, self._sums)

    def _merge(self, keys: Index, counts: Index, sums: npt.NDArray[np.float64]) -> None:
        self._keys, places = np.unique(_rounded(keys) if self._coarse else keys, return_inverse=True)
        self._counts = np.bincount(places, counts, self._keys.size).astype(np.int64)
        self._sums = np.bincount(places, sums, self._keys.size).astype(np.float64)

    def median_ns(self) -> float | None:
        """Return the median step; the mean of the middle two of an even number; ``None`` without a step."""
        total = int(self._counts.sum())
        if not total:
            return None
        ends = np.cumsum(self._counts)
        middle = np.searchsorted(ends, [(total - 1) // 2, total // 2], "right")
        return float((self._sums[middle] / self._counts[middle]).mean())

    def longer_than(self, limit_ns: float) -> int:
        """Return how many steps are longer."""
        return int(self._counts[self._sums > limit_ns * self._counts].sum())


def _rounded(steps: Index) -> Index:
    """Clear all but the first bits of each step."""
    _, exponent = np.frexp(steps.astype(np.float64))
    shift = np.maximum(exponent.astype(np.int64) - _KEPT_BITS, 0)
    return steps >> shift << shift


class TimingCount:
    """Takes a stream's times batch by batch.

    Args:
        several_sources: Rows of unrelated periods share the stream (raw bus frames): it has no median step, and gaps
            are not looked for.
    """

    def __init__(self, *, several_sources: bool = False) -> None:
        self._several_sources = several_sources
        self._steps = Steps()
        self._rows = 0
        self._least = _MOST_NS
        self._most = -_MOST_NS
        self._backward = 0
        self._last: Index = np.zeros(0, np.int64)

    def add(self, time_ns: Index) -> None:
        """Take the next (N,) timestamps, in recorded order."""
        if not time_ns.size:
            return
        self._rows += time_ns.size
        self._least = min(self._least, int(time_ns.min()))
        self._most = max(self._most, int(time_ns.max()))
        if not self._several_sources:
            steps = _differences(np.concatenate([self._last, time_ns]))
            forward = steps >= 0
            self._backward += int(steps.size - np.count_nonzero(forward))
            self._steps.add(steps[forward])
        self._last = time_ns[-1:].copy()

    def result(self) -> Timing:
        """Return what was found so far."""
        if not self._rows:
            return Timing(0, None, None, None, None, None, None, 0, 0.0, 0)
        duration_ns = self._most - self._least if self._rows > 1 else None
        median_ns = self._steps.median_ns()
        gaps = self._steps.longer_than(GAP_FACTOR * median_ns) if median_ns else 0
        return Timing(
            rows=self._rows,
            start_ns=self._least,
            stop_ns=self._most + 1,
            duration_s=None if duration_ns is None else duration_ns / 1e9,
            median_step_s=None if median_ns is None else median_ns / 1e9,
            rate_hz=1e9 * (self._rows - 1) / duration_ns if duration_ns else None,
            median_rate_hz=1e9 / median_ns if median_ns else None,
            gaps=gaps,
            longest_gap_s=self._steps.longest / 1e9 if gaps else 0.0,
            backward_steps=self._backward,
        )


def _differences(time_ns: Index) -> Index:
    """Return the steps between neighbours; one that int64 does not hold is the longest that it does."""
    if time_ns.size and int(time_ns.max()) - int(time_ns.min()) <= _MOST_NS:
        return np.diff(time_ns)
    steps = np.diff(time_ns.astype(np.float64))
    return np.where(steps >= 2.0**63, _MOST_NS, np.clip(steps, -(2.0**63), 2.0**62).astype(np.int64))

"""Values at other times than they were sampled: interpolated or nearest, never across a gap (as-of: `as_of_join`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from platform_lib.errors import ContractError
from platform_lib.timeline.coverage import (
    BoolArray,
    Coverage,
    CoverageArray,
    FloatArray,
    Int64Array,
    Interpolated,
    Selection,
)


@dataclass(frozen=True, slots=True)
class Series:
    """A continuous quantity sampled in one clock.

    Attributes:
        timestamp_ns: int64 (N,), strictly increasing.
        values: float64 (N,) or (N, D), finite.

    Raises:
        ContractError: Shapes differ, times do not increase, or a value is not finite.
    """

    timestamp_ns: Int64Array
    values: FloatArray

    def __post_init__(self) -> None:
        if self.timestamp_ns.ndim != 1 or self.timestamp_ns.dtype != np.int64:
            raise ContractError("timestamps are not a one-dimensional int64 array", where="timeline.Series")
        if self.values.ndim not in (1, 2) or len(self.values) != len(self.timestamp_ns):
            raise ContractError(
                f"{len(self.timestamp_ns)} timestamps and values of shape {self.values.shape}", where="timeline.Series"
            )
        if np.any(np.diff(self.timestamp_ns) <= 0):
            raise ContractError(
                "timestamps do not strictly increase", where="timeline.Series", remedy="use Series.of, which sorts"
            )
        if not np.isfinite(self.values).all():
            raise ContractError("a value is not finite", where="timeline.Series", remedy="use Series.of, which drops")

    @classmethod
    def of(cls, timestamp_ns: npt.ArrayLike, values: npt.ArrayLike) -> Self:
        """Make a series from samples as recorded: sorted by time, of equal times the last kept, non-finite dropped."""
        times = np.asarray(timestamp_ns, dtype=np.int64)
        samples = np.asarray(values, dtype=np.float64)
        if len(times) != len(samples):
            raise ContractError(f"{len(times)} timestamps and {len(samples)} values", where="timeline.Series")
        finite = np.isfinite(samples) if samples.ndim == 1 else np.isfinite(samples).all(axis=1)
        times, samples = times[finite], samples[finite]
        order = np.argsort(times, kind="stable")
        times, samples = times[order], samples[order]
        last = np.ones(len(times), dtype=np.bool_)
        last[:-1] = np.diff(times) > 0
        return cls(np.ascontiguousarray(times[last]), np.ascontiguousarray(samples[last]))

    def __len__(self) -> int:
        return len(self.timestamp_ns)

    def between(self, start_ns: int, stop_ns: int) -> Self:
        """Take the samples in ``[start_ns, stop_ns)``."""
        start, stop = np.searchsorted(self.timestamp_ns, [start_ns, stop_ns])
        return type(self)(self.timestamp_ns[start:stop], self.values[start:stop])


def interpolate(series: Series, at_ns: Int64Array, *, max_gap_ns: int) -> Interpolated:
    """Interpolate linearly, and refuse to bridge a gap: for continuous quantities.

    Args:
        series: The samples.
        at_ns: int64 of any shape S: where values are wanted.
        max_gap_ns: The longest distance between two neighbours that may be bridged.

    Returns:
        Values, known between two samples at most `max_gap_ns` apart, or exactly on one; and why the others are not.
    """
    at = np.asarray(at_ns, dtype=np.int64)
    flat = at.reshape(-1)
    shape = (*at.shape, *series.values.shape[1:])
    if len(series) == 0:
        return Interpolated(np.full(shape, np.nan), np.full(at.shape, Coverage.NO_SAMPLES, dtype=np.int8))
    times = series.timestamp_ns
    right = np.clip(np.searchsorted(times, flat, side="left"), 0, len(times) - 1)
    left = np.maximum(right - 1, 0)
    exact = times[right] == flat
    gap_ns = times[right] - times[left]
    weight = np.where(exact | (gap_ns == 0), 1.0, (flat - times[left]) / np.maximum(gap_ns, 1))
    if series.values.ndim == 2:
        weight = weight[:, None]
    values = series.values[left] * (1.0 - weight) + series.values[right] * weight
    coverage = _where(times, flat, known=exact | (gap_ns <= max_gap_ns), edges_hold=False)
    values[coverage != Coverage.KNOWN] = np.nan
    return Interpolated(values.reshape(shape), coverage.reshape(at.shape))


def nearest(timestamp_ns: Int64Array, at_ns: Int64Array, *, tolerance_ns: int) -> Selection:
    """Select the sample nearest to each time (the earlier one of two equally near): for images and messages.

    Args:
        timestamp_ns: int64 (N,), not decreasing.
        at_ns: int64 (M,).
        tolerance_ns: Farther than this there is none.
    """
    if len(timestamp_ns) == 0:
        return Selection(np.zeros(len(at_ns), dtype=np.intp), np.full(len(at_ns), Coverage.NO_SAMPLES, dtype=np.int8))
    right = np.clip(np.searchsorted(timestamp_ns, at_ns, side="left"), 0, len(timestamp_ns) - 1)
    left = np.maximum(right - 1, 0)
    nearer_left = np.abs(at_ns - timestamp_ns[left]) <= np.abs(timestamp_ns[right] - at_ns)
    index = np.where(nearer_left, left, right)
    near = np.abs(timestamp_ns[index] - at_ns) <= tolerance_ns
    return Selection(np.where(near, index, 0), _where(timestamp_ns, at_ns, known=near, edges_hold=True))


def mean_rate(series: Series, *, max_gap_ns: int) -> Series:
    """Return the mean rate of change per second between neighbours, stamped in the middle between them.

    Unlike a rate that was sampled it misses nothing that happened in between. Neighbours farther apart than
    `max_gap_ns` give none.
    """
    apart_ns = np.diff(series.timestamp_ns)
    rate = np.diff(series.values, axis=0) / ((apart_ns * 1e-9) if series.values.ndim == 1 else apart_ns[:, None] * 1e-9)
    near = apart_ns <= max_gap_ns
    return Series((series.timestamp_ns[:-1] + apart_ns // 2)[near], rate[near])


def _where(times: Int64Array, at: Int64Array, *, known: BoolArray, edges_hold: bool) -> CoverageArray:
    """Say of each asked time where it lies; with `edges_hold` what is known may lie outside the recording."""
    outside = np.where(at < times[0], Coverage.BEFORE_FIRST, Coverage.AFTER_LAST).astype(np.int8)
    inside = (at >= times[0]) & (at <= times[-1])
    unknown = np.where(inside, np.int8(Coverage.IN_GAP), outside)
    return np.where(known & (inside | edges_hold), np.int8(Coverage.KNOWN), unknown)

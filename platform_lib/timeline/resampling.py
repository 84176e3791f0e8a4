"""Values at other times than they were sampled: interpolated, as-of or nearest, never across a gap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from platform_lib.errors import ContractError

Int64Array = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


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


@dataclass(frozen=True, slots=True)
class Selection:
    """Which sample answers each question; `index` is 0 where `valid` is False.

    Attributes:
        index: intp (M,), position in the sampled times.
        valid: bool (M,), False where no sample is near enough.
    """

    index: npt.NDArray[np.intp]
    valid: BoolArray


def interpolate(series: Series, at_ns: Int64Array, *, max_gap_ns: int) -> tuple[FloatArray, BoolArray]:
    """Interpolate linearly, and refuse to bridge a gap.

    Args:
        series: The samples.
        at_ns: int64 of any shape S: where values are wanted.
        max_gap_ns: The longest distance between two neighbours that may be bridged.

    Returns:
        Values of shape S (or S + (D,)), NaN where not known, and whether each is known: between two samples at most
        `max_gap_ns` apart, or exactly on one.
    """
    at = np.asarray(at_ns, dtype=np.int64)
    flat = at.reshape(-1)
    shape = (*at.shape, *series.values.shape[1:])
    if len(series) == 0:
        return np.full(shape, np.nan), np.zeros(at.shape, dtype=np.bool_)
    times = series.timestamp_ns
    right = np.searchsorted(times, flat, side="left")
    inside = (right < len(times)) & ((right > 0) | (times[0] == flat))
    right = np.clip(right, 0, len(times) - 1)
    left = np.maximum(right - 1, 0)
    exact = times[right] == flat
    gap_ns = times[right] - times[left]
    valid = inside & (exact | (gap_ns <= max_gap_ns))
    weight = np.where(exact | (gap_ns == 0), 1.0, (flat - times[left]) / np.maximum(gap_ns, 1))
    if series.values.ndim == 2:
        weight = weight[:, None]
    values = series.values[left] * (1.0 - weight) + series.values[right] * weight
    values[~valid] = np.nan
    return values.reshape(shape), valid.reshape(at.shape)


def as_of(timestamp_ns: Int64Array, at_ns: Int64Array, *, max_age_ns: int) -> Selection:
    """Select the last sample at or before each time: for states, which hold until they change.

    Args:
        timestamp_ns: int64 (N,), not decreasing.
        at_ns: int64 (M,).
        max_age_ns: A state older than this is not known any more.
    """
    if len(timestamp_ns) == 0:
        return _nothing(len(at_ns))
    index = np.searchsorted(timestamp_ns, at_ns, side="right") - 1
    valid = index >= 0
    index = np.maximum(index, 0)
    valid &= at_ns - timestamp_ns[index] <= max_age_ns
    return Selection(np.where(valid, index, 0), valid)


def nearest(timestamp_ns: Int64Array, at_ns: Int64Array, *, tolerance_ns: int) -> Selection:
    """Select the sample nearest to each time (the earlier one of two equally near): for images and messages.

    Args:
        timestamp_ns: int64 (N,), not decreasing.
        at_ns: int64 (M,).
        tolerance_ns: Farther than this there is none.
    """
    if len(timestamp_ns) == 0:
        return _nothing(len(at_ns))
    right = np.clip(np.searchsorted(timestamp_ns, at_ns, side="left"), 0, len(timestamp_ns) - 1)
    left = np.maximum(right - 1, 0)
    nearer_left = np.abs(at_ns - timestamp_ns[left]) <= np.abs(timestamp_ns[right] - at_ns)
    index = np.where(nearer_left, left, right)
    valid = np.abs(timestamp_ns[index] - at_ns) <= tolerance_ns
    return Selection(np.where(valid, index, 0), valid)


def _nothing(count: int) -> Selection:
    return Selection(np.zeros(count, dtype=np.intp), np.zeros(count, dtype=np.bool_))

"""Two recordings of one quantity, despiked, smoothed and put on one uniform grid with gaps marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from platform_lib.timeline.coverage import BoolArray, FloatArray
from platform_lib.timeline.resampling import Series, interpolate

_SPIKE_WINDOW = 7
_SPIKE_SIGMAS = 6.0
_KERNEL_SIGMAS = 3.0
_MOST_POINTS = 10_000_000


@dataclass(frozen=True, slots=True)
class GridRules:
    """How a recording is put on a grid: its step, the Gaussian it is smoothed with, and what is joined (seconds)."""

    step_s: float
    smooth_s: float
    max_gap_s: float

    def bridging(self, factor: float) -> Self:
        """Return the rules for samples that are `factor` times as far apart."""
        return replace(self, max_gap_s=self.max_gap_s * factor)


@dataclass(frozen=True, slots=True)
class GridSignal:
    """A signal on the grid ``(first + k) * step_s``; `values` is 0 where `valid` is False."""

    first: int
    step_s: float
    values: FloatArray
    valid: BoolArray

    @property
    def start_s(self) -> float:
        """Time of the first grid point since the origin."""
        return self.first * self.step_s

    @property
    def stop_s(self) -> float:
        """One step after the last grid point."""
        return (self.first + len(self.values)) * self.step_s

    def cut(self, start: int, stop: int) -> Self:
        """Take grid points ``[start, stop)``, counted from the first."""
        return type(self)(self.first + start, self.step_s, self.values[start:stop], self.valid[start:stop])

    def between(self, start_s: float, stop_s: float) -> Self:
        """Take the grid points in ``[start_s, stop_s)``."""
        low = max(0, int(np.ceil(start_s / self.step_s - 1e-9)) - self.first)
        high = max(low, int(np.ceil(stop_s / self.step_s - 1e-9)) - self.first)
        return self.cut(low, high)

    def samples(self) -> tuple[FloatArray, FloatArray]:
        """Return times in seconds since the origin and values of the valid grid points."""
        times_s = np.arange(self.first, self.first + len(self.values), dtype=np.float64) * self.step_s
        return times_s[self.valid], self.values[self.valid]

    def meeting(self, other: GridSignal) -> tuple[slice, slice]:
        """Return where the two lie on the same grid points: of this one, of the other."""
        start = max(self.first, other.first)
        stop = max(start, min(self.first + len(self.values), other.first + len(other.values)))
        return slice(start - self.first, stop - self.first), slice(start - other.first, stop - other.first)

    def at(self, times_s: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Interpolate value, slope (per second) and curvature (per second squared) into (N, 3), and say where known."""
        if len(self.values) < 5:
            return np.zeros((len(times_s), 3)), np.zeros(len(times_s), dtype=np.bool_)
        position = times_s / self.step_s - self.first
        left = np.floor(position).astype(np.int64)
        inside = (left >= 0) & (left < len(self.values) - 1)
        left = np.clip(left, 0, len(self.values) - 2)
        weight = (position - left)[:, None]
        slopes = np.gradient(self.values, self.step_s)
        columns = np.column_stack([self.values, slopes, np.gradient(slopes, self.step_s)])
        usable = self.valid.copy()
        for reach in (1, 2):  # a curvature looks two points to each side
            usable[reach:] &= self.valid[:-reach]
            usable[:-reach] &= self.valid[reach:]
        return columns[left] * (1.0 - weight) + columns[left + 1] * weight, inside & usable[left] & usable[left + 1]

    def values_at(self, times_s: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Interpolate values alone, into (N,), and say where known."""
        if len(self.values) < 2:
            return np.zeros(len(times_s)), np.zeros(len(times_s), dtype=np.bool_)
        position = times_s / self.step_s - self.first
        left = position.astype(np.int64)
        inside = (position >= 0.0) & (left < len(self.values) - 1)
        left = np.clip(left, 0, len(self.values) - 2)
        weight = position - left
        known = inside & self.valid[left] & self.valid[left + 1]
        return self.values[left] * (1.0 - weight) + self.values[left + 1] * weight, known


@dataclass(frozen=True, slots=True)
class GridPair:
    """Both recordings of one quantity; indices of both count from the same origin, each in its own clock."""

    name: str
    origin_ns: int
    source: GridSignal
    reference: GridSignal

    def overlap(self, lag: int) -> tuple[FloatArray, FloatArray]:
        """Return source and reference values (N,) that meet when the source is moved by `lag` grid steps."""
        start = max(self.source.first + lag, self.reference.first)
        stop = min(self.source.first + lag + len(self.source.values), self.reference.first + len(self.reference.values))
        if stop <= start:
            return np.zeros(0), np.zeros(0)
        ours = slice(start - lag - self.source.first, stop - lag - self.source.first)
        theirs = slice(start - self.reference.first, stop - self.reference.first)
        both = self.source.valid[ours] & self.reference.valid[theirs]
        return self.source.values[ours][both], self.reference.values[theirs][both]

    def inner(self, reach: int) -> Self:
        """Cut the source to where every lag within `reach` has a reference, so that all lags compare the same samples.

        A source that would lose more than half of itself stays whole.
        """
        start = max(0, self.reference.first + reach - self.source.first)
        stop = self.reference.first + len(self.reference.values) - reach - self.source.first
        stop = min(stop, len(self.source.values))
        if stop - start < len(self.source.values) // 2:
            return self
        return replace(self, source=self.source.cut(start, stop))

    def correlation(self, lag: int) -> float:
        """Pearson correlation at one lag; 0 where less than a third of the source overlaps, or nothing varies."""
        source, reference = self.overlap(lag)
        if len(source) < max(10, self.source.valid.sum() // 3):
            return 0.0
        source, reference = source - source.mean(), reference - reference.mean()
        power = float(source @ source) * float(reference @ reference)
        return float(source @ reference) / float(np.sqrt(power)) if power > 1e-18 * len(source) ** 2 else 0.0

    def effective_samples(self, lag: int) -> float:
        """Return how many independent samples the overlap at one lag is worth, by what gain and bias leave over."""
        source, reference = self.overlap(lag)
        if len(source) < 10:
            return 0.0
        design = np.column_stack([reference, np.ones(len(reference))])
        solution, *_ = np.linalg.lstsq(design, source, rcond=None)
        return effective_count(source - design @ solution)


def effective_count(residual: FloatArray) -> float:
    """Return how many independent samples correlated residuals (N,) are worth, by their initial autocorrelation.

    Source: Geyer, Practical Markov Chain Monte Carlo (1992), section 3.3: sum it up to its first zero.
    """
    count = len(residual)
    centred = residual - residual.mean()
    size = 1 << int(2 * count - 1).bit_length()  # zero padding: no wrap-around
    spectrum = np.fft.rfft(centred, size)
    autocorrelation = np.fft.irfft(spectrum * spectrum.conj(), size)[:count]
    if autocorrelation[0] <= 0.0:
        return float(count)
    negative = np.flatnonzero(autocorrelation <= 0.0)
    until = int(negative[0]) if len(negative) else count
    total = 2.0 * float(autocorrelation[:until].sum() / autocorrelation[0]) - 1.0
    return max(2.0, count / total)


def common_grid(signals: Sequence[tuple[str, Series, Series]], rules: GridRules, *, reach_s: float) -> list[GridPair]:
    """Put every pair (name, source, reference) on one grid.

    Each recording is cut to what the other can meet within `reach_s`; one stray timestamp far away costs nothing.
    Pairs that do not meet, or would take more than ten million grid points (a day at 10 ms), are left out.
    """
    reach_ns = round(reach_s * 1e9)
    usable = []
    for name, source, reference in signals:
        cut = _meeting(source, reference, reach_ns), _meeting(reference, source, reach_ns)
        spans_ns = [int(item.timestamp_ns[-1] - item.timestamp_ns[0]) for item in cut if len(item) >= _SPIKE_WINDOW]
        if len(spans_ns) == 2 and max(spans_ns) <= _MOST_POINTS * rules.step_s * 1e9:
            usable.append((name, *cut))
    if not usable:
        return []
    origin_ns = min(int(series.timestamp_ns[0]) for _, *both in usable for series in both)
    return [
        GridPair(
            name,
            origin_ns,
            on_grid(despiked(source), origin_ns, rules),
            on_grid(despiked(reference), origin_ns, rules),
        )
        for name, source, reference in usable
    ]


def _meeting(series: Series, other: Series, reach_ns: int) -> Series:
    """Cut a series to the time that the other covers, and `reach_ns` more to each side."""
    if len(series) == 0 or len(other) == 0:
        return series
    start, stop = np.searchsorted(
        series.timestamp_ns, [other.timestamp_ns[0] - reach_ns, other.timestamp_ns[-1] + reach_ns + 1]
    )
    return Series(series.timestamp_ns[start:stop], series.values[start:stop])


def on_grid(series: Series, origin_ns: int, rules: GridRules) -> GridSignal:
    """Interpolate a series (not empty) at the grid points, which count from `origin_ns`, and smooth it."""
    step_ns = round(rules.step_s * 1e9)
    first = -((origin_ns - int(series.timestamp_ns[0])) // step_ns)
    count = (int(series.timestamp_ns[-1]) - origin_ns) // step_ns - first + 1
    at_ns = origin_ns + (first + np.arange(max(count, 0), dtype=np.int64)) * step_ns
    at = interpolate(series, at_ns, max_gap_ns=round(rules.max_gap_s * 1e9))
    valid = at.valid
    return _smooth(GridSignal(first, rules.step_s, np.where(valid, at.values, 0.0), valid), rules.smooth_s)


def despiked(series: Series) -> Series:
    """Return a scalar series without its lone outliers."""
    return Series(series.timestamp_ns, without_spikes(series.values)) if len(series) else series


def without_spikes(values: FloatArray) -> FloatArray:
    """Replace lone outliers by the median of their neighbourhood (Hampel's filter); steps and ramps pass unchanged.

    Source: Pearson, Outliers in process modeling and identification (2002).
    """
    reach = _SPIKE_WINDOW // 2
    padded = np.pad(values, reach, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, _SPIKE_WINDOW)
    median = np.median(around, axis=1)
    deviation = 1.4826 * np.median(np.abs(around - median[:, None]), axis=1)
    floor = 1e-3 * float(np.median(np.abs(values - np.median(values)))) + 1e-12
    return np.where(np.abs(values - median) > _SPIKE_SIGMAS * np.maximum(deviation, floor), median, values)


def _smooth(signal: GridSignal, smooth_s: float) -> GridSignal:
    """Low-pass with a Gaussian; points whose kernel touches a gap or an end become invalid (their phase would shift)."""
    reach = int(np.ceil(_KERNEL_SIGMAS * smooth_s / signal.step_s))
    if len(signal.values) < 2 * reach + 1:
        return GridSignal(signal.first, signal.step_s, np.zeros(len(signal.values)), np.zeros_like(signal.valid))
    offsets = np.arange(-reach, reach + 1) * signal.step_s
    kernel = np.exp(-0.5 * (offsets / smooth_s) ** 2)
    kernel /= kernel.sum()
    values = np.convolve(signal.values, kernel, mode="same")
    touched = np.convolve((~signal.valid).astype(np.float64), np.ones(2 * reach + 1), mode="same") > 0.5
    valid = ~touched
    valid[:reach] = False
    valid[-reach:] = False
    return GridSignal(signal.first, signal.step_s, np.where(valid, values, 0.0), valid)

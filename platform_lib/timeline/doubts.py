"""Reasons not to believe a clock that fits: it stepped in mid-drive, or it drifts as no crystal does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from platform_lib.timeline.coverage import BoolArray, FloatArray
from platform_lib.timeline.grid import GridPair, GridSignal, effective_count
from platform_lib.timeline.least_squares import Fit, Linearised
from platform_lib.timeline.options import AlignmentOptions

# Steps that are looked for: the smallest is as large as the error that is promised at most.
_FINE_STEPS_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15)
_STEP_SPACING_S = 0.05
# Every third grid point of signals smoothed over ten of them loses nothing.
_THINNED = 3
# Three times what undisturbed drives come to: at most 4.8 in 230 generated ones.
_STEP_NATS = 16.0
_FEWEST_OUTSIDE = 100
# Steps beyond this read noise that is independent of the noise read before. Where nothing else varies, chance alone makes
# some of them better; a third of a nat for each sample that reads something else takes that away.
_INDEPENDENT_S = 0.15
_CHANCE = 0.35
# A crystal within its class drifts by two standard deviations at most; beyond it something else is wrong.
_MOST_DRIFT_PRIORS = 2.0
_DRIFT_SIGMAS = 3.0


@dataclass(frozen=True, slots=True)
class Step:
    """A stretch of the drive that fits another offset better than the clock of the whole.

    Attributes:
        by_s: What would have to be added to the clock there.
        start_s: Where it begins, in seconds since the grid's origin.
        stop_s: Where it ends.
        evidence_nats: How much better, as a log-likelihood.
    """

    by_s: float
    start_s: float
    stop_s: float
    evidence_nats: float


def doubtful_drift(fit: Fit, span_s: float, options: AlignmentOptions) -> str | None:
    """Say why a drift is not that of a recorder's clock; None where it may be.

    Args:
        fit: The clock.
        span_s: How long the recording is: over a short one the age of messages alone looks like a drift.
        options: What is assumed of the recorders.
    """
    most = _MOST_DRIFT_PRIORS * options.drift_prior_ppm * 1e-6
    # The standard deviation of a time within the span is the span over the root of twelve.
    from_age = options.floor_s * np.sqrt(12.0) / span_s
    if abs(fit.data_drift) <= most + _DRIFT_SIGMAS * fit.data_drift_sigma + from_age:
        return None
    return f"the clock drifts by {fit.data_drift * 1e6:.0f} ppm; a recorder's keeps {most * 1e6:.0f}"


def find_step(
    pairs: Sequence[GridPair], blur: Mapping[str, float], fit: Fit, pivot_s: float, options: AlignmentOptions
) -> Step | None:
    """Look for the stretch of the drive that fits another offset best, if any does clearly.

    For each step and window of the drive: how much better the step explains it than the fitted clock; then the run of
    windows with the largest sum. The loss is Cauchy's, which grows with the logarithm: a burst of nonsense stays small.
    Source: the largest sum of a run, Bentley, Programming Pearls (1984); as a test for a change, Page (1954).

    Args:
        pairs: The channels on their grid.
        blur: By name, how far sampling alone may have moved each.
        fit: The clock, and the channels around it.
        pivot_s: Where its offset holds.
        options: What is assumed of the recorders.
    """
    channels = {item.name: item for item in fit.channels}
    used = [(pair, channels[pair.name]) for pair in pairs if pair.name in channels]
    if not used:
        return None
    first = min(pair.source.start_s for pair, _ in used)
    windows = 1 + int((max(pair.source.stop_s for pair, _ in used) - first) / options.window_s)
    wide = np.arange(0.2, 2.0 * options.max_offset_s + 1e-9, _STEP_SPACING_S)
    steps_s = np.concatenate([-wide[::-1], -np.array(_FINE_STEPS_S[::-1]), _FINE_STEPS_S, wide])
    compared = [
        _compare(pair, channel, channel.own_offset_s(blur[pair.name]), fit, pivot_s, steps_s, first, windows, options)
        for pair, channel in used
    ]
    row, start, stop, best = _largest_run(sum((item.worth() * item.gain for item in compared), np.zeros((1, 1))))
    # A step makes residuals alike and so worth little; what they are worth shows where it is not.
    apart = [item.worth(start, stop) * item.gain for item in compared]
    row, start, stop, best = _largest_run(sum(apart, np.zeros((1, 1))))
    if best < _STEP_NATS:
        return None
    return Step(float(steps_s[row]), first + start * options.window_s, first + stop * options.window_s, best)


@dataclass(frozen=True, slots=True)
class _Compared:
    """One channel: gain (steps, windows) in nats if all samples were independent, residuals (N,) and their windows."""

    gain: FloatArray
    residual: FloatArray
    window: npt.NDArray[np.intp]

    def worth(self, start: int = 0, stop: int = 0) -> float:
        """Return what share of an independent sample each is worth, by those outside of windows ``[start, stop)``."""
        outside = self.residual[(self.window < start) | (self.window >= stop)]
        return effective_count(outside) / len(outside) if len(outside) >= _FEWEST_OUTSIDE else 0.0


def _compare(
    pair: GridPair,
    channel: Linearised,
    own_offset_s: float,
    fit: Fit,
    pivot_s: float,
    steps_s: FloatArray,
    first_s: float,
    windows: int,
    options: AlignmentOptions,
) -> _Compared:
    """Say for each step and window how much better it explains one channel than the fitted clock does."""
    times_s, source = (item[::_THINNED] for item in pair.source.samples())
    window = ((times_s - first_s) / options.window_s).astype(np.intp)
    moved_s = times_s + fit.offset_s + own_offset_s + fit.drift * (times_s - pivot_s)
    here, known = _residual(channel, pair.reference, source, moved_s)
    cost = np.log1p(here**2)
    gain = np.zeros((len(steps_s), windows))
    for row, step_s in enumerate(steps_s):
        there, also = _residual(channel, pair.reference, source, moved_s + step_s)
        better = cost - np.log1p(there**2)
        if abs(step_s) >= _INDEPENDENT_S:
            better -= _CHANCE * np.minimum(1.0, (there - here) ** 2)
        gain[row] = np.bincount(window, np.where(known & also, better, 0.0), windows)
    return _Compared(gain, here[known], window[known])


def _residual(
    channel: Linearised, reference: GridSignal, source: FloatArray, times_s: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Return what the reference, read at other times, leaves of the source, over the noise; and where it is known."""
    values, known = reference.values_at(times_s)
    return np.asarray((source - channel.line[0] * values - channel.line[1]) / channel.scale), known


def _largest_run(gain: FloatArray) -> tuple[int, int, int, float]:
    """Return row, start, stop and sum of the run of columns with the largest sum in any row of (R, W)."""
    total = np.concatenate([np.zeros((len(gain), 1)), np.cumsum(gain, axis=1)], axis=1)
    lowest = np.minimum.accumulate(total, axis=1)
    row, stop = np.unravel_index(int(np.argmax(total - lowest)), total.shape)
    start = int(np.argmin(total[row, : stop + 1]))
    return int(row), start, int(stop), float(total[row, stop] - total[row, start])

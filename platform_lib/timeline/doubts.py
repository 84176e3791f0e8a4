"""Reasons not to believe a clock that fits: it stepped in mid-drive, or it drifts as no crystal does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from platform_lib.timeline.coverage import BoolArray, FloatArray
from platform_lib.timeline.grid import GridPair, GridSignal
from platform_lib.timeline.least_squares import Fit, Linearised
from platform_lib.timeline.options import AlignmentOptions

# Steps that are looked for: the smallest is as large as the error that is promised at most.
_FINE_STEPS_S = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15)
_STEP_SPACING_S = 0.05
# Every third grid point of signals smoothed over ten of them loses nothing.
_THINNED = 3
# Twice what undisturbed drives come to: at most 7.9 in 240 generated ones.
_STEP_NATS = 16.0
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


def doubtful_drift(fit: Fit, options: AlignmentOptions) -> str | None:
    """Say why a drift is not that of a recorder's clock; None where it may be."""
    most = _MOST_DRIFT_PRIORS * options.drift_prior_ppm * 1e-6
    alone = abs(fit.data_drift) - _DRIFT_SIGMAS * fit.data_drift_sigma
    if abs(fit.drift) <= most and alone <= most:
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
    gain = np.zeros((len(steps_s), windows))
    for pair, channel in used:
        times_s, source = (item[::_THINNED] for item in pair.source.samples())
        window = ((times_s - first) / options.window_s).astype(np.intp)
        moved_s = times_s + fit.offset_s + channel.own_offset_s(blur[pair.name]) + fit.drift * (times_s - pivot_s)
        here, known = _loss(channel, pair.reference, source, moved_s)
        for row, step_s in enumerate(steps_s):
            there, also = _loss(channel, pair.reference, source, moved_s + step_s)
            gain[row] += np.bincount(window, np.where(known & also, here - there, 0.0), windows)
    row, start, stop, best = _largest_run(gain)
    if best < _STEP_NATS:
        return None
    return Step(float(steps_s[row]), first + start * options.window_s, first + stop * options.window_s, best)


def _loss(
    channel: Linearised, reference: GridSignal, source: FloatArray, times_s: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Return what each sample costs, in nats, with the reference read at other times, and where that is known."""
    values, known = reference.values_at(times_s)
    away = (source - channel.line[0] * values - channel.line[1]) / channel.scale
    return np.asarray(_THINNED * channel.worth * np.log1p(away**2)), known


def _largest_run(gain: FloatArray) -> tuple[int, int, int, float]:
    """Return row, start, stop and sum of the run of columns with the largest sum in any row of (R, W)."""
    total = np.concatenate([np.zeros((len(gain), 1)), np.cumsum(gain, axis=1)], axis=1)
    lowest = np.minimum.accumulate(total, axis=1)
    row, stop = np.unravel_index(int(np.argmax(total - lowest)), total.shape)
    start = int(np.argmin(total[row, : stop + 1]))
    return int(row), start, int(stop), float(total[row, stop] - total[row, start])

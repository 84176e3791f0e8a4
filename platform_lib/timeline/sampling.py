"""What sampling alone does to an alignment: how far a recording seems to move because nobody looked between its samples.

A step between two samples is drawn as a ramp around the middle between them, wherever it was. A motion that keeps time
with the samples (a controller at 10 Hz, an odometry at 50 Hz) repeats the same mistake, and no amount of data averages
it out. So it is measured on the recording itself: it is sampled anew, and the shift that this causes is looked at.
"""

from __future__ import annotations

import numpy as np

from platform_lib.timeline.grid import GridRules, despiked, on_grid
from platform_lib.timeline.resampling import Series

# A motion in step with the samples shows only where wider ones keep step too: every second, third or fifth of them.
_WIDER = (2, 3, 5)
_PHASES = 6
_FEWEST_SAMPLES = 20


def sampling_shift_s(source: Series, reference: Series, rules: GridRules) -> float:
    """Return the standard deviation of the shift that both recordings' sampling causes, in seconds.

    The coarser one's is found by sampling the finer one at its interval, from several moments on. The finer one's own is
    found with longer intervals: a shift grows with them, so it is divided by how many times they grew.

    Args:
        source: One recording of a quantity.
        reference: The other, in any clock.
        rules: How both are put on a grid.
    """
    fine, coarse = sorted((despiked(source), despiked(reference)), key=_interval_s)
    if min(len(fine), len(coarse)) < _FEWEST_SAMPLES:
        return 0.0
    wider = _interval_s(coarse) / _interval_s(fine)
    own_s = max(_sampled_shift_s(fine, factor, rules) / factor for factor in _WIDER)
    other_s = _sampled_shift_s(fine, wider, rules) if wider > 1.5 else own_s * wider
    return float(np.hypot(own_s, other_s))


def _interval_s(series: Series) -> float:
    return float(np.median(np.diff(series.timestamp_ns))) * 1e-9 if len(series) > 1 else 0.0


def _sampled_shift_s(series: Series, wider: float, rules: GridRules) -> float:
    """Sample a series anew, `wider` times as far apart, from several moments on; return the shifts' root mean square."""
    start_ns, stop_ns = int(series.timestamp_ns[0]), int(series.timestamp_ns[-1])
    interval_ns = round(wider * _interval_s(series) * 1e9)
    bridging = rules.bridging(wider)
    whole = on_grid(series, start_ns, bridging)
    slope = np.gradient(whole.values, rules.step_s)
    shifts = []
    for phase in range(_PHASES):
        at_ns = np.arange(start_ns + phase * interval_ns // _PHASES, stop_ns, interval_ns, dtype=np.int64)
        if len(at_ns) < _FEWEST_SAMPLES:
            return 0.0
        seen = np.interp(at_ns - start_ns, series.timestamp_ns - start_ns, series.values)
        sampled = on_grid(Series(at_ns, seen), start_ns, bridging)
        ours, theirs = whole.meeting(sampled)
        known = whole.valid[ours] & sampled.valid[theirs]
        steep, moved = slope[ours][known], (sampled.values[theirs] - whole.values[ours])[known]
        if (power := float(steep @ steep)) > 0.0:
            shifts.append(float(steep @ moved) / power)
    return float(np.sqrt(np.mean(np.square(shifts)))) if shifts else 0.0

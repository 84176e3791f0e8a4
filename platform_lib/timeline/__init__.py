"""Clocks, alignment and resampling: pure functions over timestamps in int64 nanoseconds (UTC epoch)."""

from platform_lib.timeline.alignment import ClockEstimate, SharedSignal, estimate_clock
from platform_lib.timeline.as_of_join import as_of, as_of_values
from platform_lib.timeline.clock import ClockModel
from platform_lib.timeline.coverage import Coverage, Interpolated, Selection, count_coverage
from platform_lib.timeline.events import estimate_clock_from_events, pair_events
from platform_lib.timeline.options import AlignmentOptions
from platform_lib.timeline.resampling import Series, interpolate, mean_rate, nearest

__all__ = [
    "AlignmentOptions",
    "ClockEstimate",
    "ClockModel",
    "Coverage",
    "Interpolated",
    "Selection",
    "Series",
    "SharedSignal",
    "as_of",
    "as_of_values",
    "count_coverage",
    "estimate_clock",
    "estimate_clock_from_events",
    "interpolate",
    "mean_rate",
    "nearest",
    "pair_events",
]

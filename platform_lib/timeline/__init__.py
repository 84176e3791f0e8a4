"""Clocks, alignment and resampling: pure functions over timestamps in int64 nanoseconds (UTC epoch)."""

from platform_lib.timeline.alignment import AlignmentOptions, ClockEstimate, SharedSignal, estimate_clock
from platform_lib.timeline.clock import ClockModel
from platform_lib.timeline.resampling import Selection, Series, as_of, interpolate, nearest

__all__ = [
    "AlignmentOptions",
    "ClockEstimate",
    "ClockModel",
    "Selection",
    "Series",
    "SharedSignal",
    "as_of",
    "estimate_clock",
    "interpolate",
    "nearest",
]

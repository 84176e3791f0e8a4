"""What `drivetrain log info` says of a stream: its rate, its gaps, its units. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# A gap is a step over this many times the median step: jitter stays below it, one lost frame does not.
GAP_FACTOR = 1.9


@dataclass(frozen=True, slots=True)
class Timing:
    """A stream's times.

    Attributes:
        duration_s: From the first to the last row; ``None`` under two rows.
        rate_hz: One over the median step; ``None`` under two rows, or where it is zero.
        gaps: Steps longer than `GAP_FACTOR` median steps.
        longest_gap_s: The longest of them, 0.0 without any.
        backward_steps: Steps back in time.
    """

    duration_s: float | None
    rate_hz: float | None
    gaps: int
    longest_gap_s: float
    backward_steps: int


def timing(time_ns: npt.NDArray[np.int64], *, several_sources: bool = False) -> Timing:
    """Describe (N,) int64 timestamps in recorded order.

    Args:
        time_ns: The timestamps.
        several_sources: Rows of unrelated periods share the stream (raw bus frames): the rate is then rows over
            duration, and gaps are not looked for.
    """
    if time_ns.size < 2:
        return Timing(None, None, 0, 0.0, 0)
    steps = np.diff(time_ns)
    duration_ns = float(time_ns.max() - time_ns.min())
    period_ns = duration_ns / steps.size if several_sources else float(np.median(steps))
    gaps = steps[:0] if several_sources or period_ns <= 0 else steps[steps > GAP_FACTOR * period_ns]
    return Timing(
        duration_s=duration_ns / 1e9,
        rate_hz=1e9 / period_ns if period_ns > 0 else None,
        gaps=int(gaps.size),
        longest_gap_s=float(gaps.max()) / 1e9 if gaps.size else 0.0,
        backward_steps=int(np.count_nonzero(steps < 0)),
    )

"""Recorder clocks and lost samples. Pure given a random stream."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]

MAX_OFFSET_S = 0.5
MAX_DRIFT_PPM = 50.0
JITTER_S = 60e-6


@dataclass(frozen=True, slots=True)
class Clock:
    """A recorder's clock against the reference: ``read = t + offset + drift * (t - origin) + jitter``.

    Attributes:
        offset_s: What it shows more than the reference at the origin.
        drift_ppm: How much faster it runs, in parts per million.
        jitter_s: Standard deviation of each stamp's own error.
    """

    offset_s: float
    drift_ppm: float
    jitter_s: float

    def exact_ns(self, reference_ns: Times, origin_ns: int) -> Times:
        """Turn reference times into this clock's, without jitter."""
        elapsed = np.asarray(reference_ns, dtype=np.int64) - origin_ns
        shift = round(self.offset_s * 1e9) + np.round(elapsed * (self.drift_ppm * 1e-6)).astype(np.int64)
        return origin_ns + elapsed + shift

    def stamp_ns(self, reference_ns: Times, origin_ns: int, rng: np.random.Generator) -> Times:
        """Stamp samples as the recorder does: with jitter, never backwards (strictly increasing).

        Args:
            reference_ns: (N,) strictly increasing.
            origin_ns: Where the drift starts to count.
            rng: Draws the jitter.
        """
        noise = np.clip(rng.normal(0.0, self.jitter_s, size=len(reference_ns)), -4 * self.jitter_s, 4 * self.jitter_s)
        stamped = self.exact_ns(reference_ns, origin_ns) + np.round(noise * 1e9).astype(np.int64)
        # One nanosecond apart at least: take the running maximum of what is left after removing the index.
        index = np.arange(len(stamped), dtype=np.int64)
        return np.asarray(np.maximum.accumulate(stamped - index) + index)


def draw_clock(rng: np.random.Generator) -> Clock:
    """Draw a clock: offset within half a second, drift within 50 ppm."""
    return Clock(
        offset_s=round(float(rng.uniform(-MAX_OFFSET_S, MAX_OFFSET_S)), 6),
        drift_ppm=round(float(rng.uniform(-MAX_DRIFT_PPM, MAX_DRIFT_PPM)), 3),
        jitter_s=JITTER_S,
    )


def keep_mask(count: int, rng: np.random.Generator, *, single: float, burst: int) -> NDArray[np.bool_]:
    """Say which of `count` samples a recorder keeps: some are lost alone, and one run of `burst` of them together.

    The first and the last sample are always kept.
    """
    keep = np.asarray(rng.random(count) >= single)
    if burst and count > burst + 2:
        start = int(rng.integers(1, count - burst - 1))
        keep[start : start + burst] = False
    if count:
        keep[0] = keep[-1] = True
    return keep

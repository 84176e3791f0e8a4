"""How one recorder's clock maps onto another's: an offset and a drift, with their uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from platform_lib.timeline.coverage import FloatArray, Int64Array


@dataclass(frozen=True, slots=True)
class ClockModel:
    """``reference = source + offset_s + drift * (source - pivot)``.

    Attributes:
        pivot_ns: Where `offset_s` holds, in the source clock.
        offset_s: What is added to a source time at the pivot.
        drift: Seconds gained per second (1e-6 is one ppm); far below one.
        offset_sigma_s: Standard uncertainty of the offset at the pivot.
        drift_sigma: Standard uncertainty of the drift.
        covariance_s: Covariance of the two.
    """

    pivot_ns: int
    offset_s: float
    drift: float
    offset_sigma_s: float
    drift_sigma: float
    covariance_s: float = 0.0

    @property
    def drift_ppm(self) -> float:
        """The drift in parts per million."""
        return self.drift * 1e6

    def reference_from_source_ns(self, source_ns: Int64Array) -> Int64Array:
        """Map source times to the reference clock; int64 in, int64 out, any shape."""
        since_pivot_s = (source_ns - self.pivot_ns) * 1e-9
        shift_ns = np.rint((self.offset_s + self.drift * since_pivot_s) * 1e9)
        return np.asarray(source_ns + shift_ns.astype(np.int64))

    def source_from_reference_ns(self, reference_ns: Int64Array) -> Int64Array:
        """Map reference times to the source clock: the inverse, to the nanosecond."""
        since_s = ((reference_ns - self.pivot_ns) * 1e-9 - self.offset_s) / (1.0 + self.drift)
        shift_ns = np.rint((self.offset_s + self.drift * since_s) * 1e9)
        return np.asarray(reference_ns - shift_ns.astype(np.int64))

    def sigma_s(self, source_ns: Int64Array) -> FloatArray:
        """Standard uncertainty of a mapped time; it grows away from the pivot."""
        since_s = (source_ns - self.pivot_ns) * 1e-9
        variance = self.offset_sigma_s**2 + 2.0 * self.covariance_s * since_s + (self.drift_sigma * since_s) ** 2
        return np.asarray(np.sqrt(np.maximum(variance, 0.0)))

"""Intervals of rates from few trials (pure)."""

from __future__ import annotations


def wilson(rate: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a rate seen in `n` trials.

    A resampled interval of a rate of 0 has no width, however few the trials; this one has.
    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927), 209-212.
    """
    centre = rate + z * z / (2 * n)
    spread = z * ((rate * (1 - rate) + z * z / (4 * n)) / n) ** 0.5
    low, high = ((centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n))
    return max(0.0, min(rate, float(low))), max(rate, float(high))

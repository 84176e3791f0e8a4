"""The Vertical Pod Autoscaler's recommender, written anew from its documented behaviour, to be compared with. Pure.

Source: kubernetes/autoscaler, vertical-pod-autoscaler/pkg/recommender at 0307fef (model/container.go), 1150877
(model/aggregations_config.go), b1ac745 (logic/recommender.go), 1743dbe (logic/estimator.go); read 2026-11-30.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cost.rightsize.model import DAY_S, MIB, Floats, Sizes, Usage

BUCKET_GROWTH = 0.05
"""DefaultHistogramBucketSizeGrowth: each bucket is 5 % wider than the one before."""
HALF_LIFE_S = 24 * 3600.0
"""DefaultCPUHistogramDecayHalfLife and DefaultMemoryHistogramDecayHalfLife."""
MEMORY_INTERVAL_S, MEMORY_INTERVALS = DAY_S, 8
"""DefaultMemoryAggregationInterval and ...IntervalCount: eight daily peaks."""
CPU_FIRST_BUCKET_CORES, CPU_MOST_CORES = 0.001, 1000.0
MEMORY_FIRST_BUCKET_BYTES, MEMORY_MOST_BYTES = 1e7, 1e12
SAMPLE_WEIGHT = 0.1
EPSILON = 0.001 * SAMPLE_WEIGHT
OOM_RATIO, OOM_LEAST_BYTES = 1.2, 100 * MIB
"""DefaultOOMBumpUpRatio, DefaultOOMMinBumpUp."""
TARGET, LOWER, UPPER = 0.9, 0.5, 0.95
"""target-cpu-percentile, recommendation-lower-bound-..., recommendation-upper-bound-..., and the same of memory."""
MARGIN = 0.15
"""recommendation-margin-fraction."""
LEAST_CPU_CORES, LEAST_MEMORY_BYTES = 0.025, 250 * MIB
"""pod-recommendation-min-cpu-millicores, pod-recommendation-min-memory-mb; shared by a pod's containers."""
UPPER_CONFIDENCE, LOWER_CONFIDENCE = (1.0, 1.0), (0.001, -2.0)
"""(multiplier, exponent) of WithCPUConfidenceMultiplier and its memory twin."""
_MOST_EXPONENT = 100


class DecayingHistogram:
    """A histogram with exponentially growing buckets, in which a sample loses half its weight every half-life.

    Args:
        most: The last bucket starts at or above it.
        first_bucket: Width of the first.
    """

    def __init__(self, most: float, first_bucket: float) -> None:
        self._first, self._ratio = first_bucket, 1 + BUCKET_GROWTH
        self._buckets = math.ceil(math.log(most * BUCKET_GROWTH / first_bucket + 1, self._ratio)) + 1
        self._weight = [0.0] * self._buckets
        self._reference_s = 0.0

    def bucket_of(self, value: float) -> int:
        """Return the bucket of a value: the last one for what is too large."""
        if value < self._first:
            return 0
        # The tiny addition keeps a bucket's own start in it, which rounding may put below.
        found = int(math.log(value * BUCKET_GROWTH / self._first + 1) / math.log(self._ratio) + 1e-9)
        return min(found, self._buckets - 1)

    def start_of(self, bucket: int) -> float:
        """Return where a bucket starts: first * (ratio^n - 1) / (ratio - 1)."""
        return self._first * (self._ratio**bucket - 1) / BUCKET_GROWTH

    def add(self, value: float, time_s: float, weight: float) -> None:
        """Add a sample."""
        self._weight[self.bucket_of(value)] += weight * self._decay(time_s)

    def add_many(self, values: Floats, times_s: Floats, weight: float) -> None:
        """Add samples in the order of time, all of one weight."""
        if not len(values):
            return
        self._decay(float(times_s[-1]))
        large = values >= self._first
        buckets = np.zeros(len(values), np.int64)
        logs = np.log(values[large] * BUCKET_GROWTH / self._first + 1) / math.log(self._ratio)
        buckets[large] = np.minimum((logs + 1e-9).astype(np.int64), self._buckets - 1)
        decayed = weight * 2.0 ** ((times_s - self._reference_s) / HALF_LIFE_S)
        added = np.bincount(buckets, decayed, self._buckets)
        self._weight = [own + more for own, more in zip(self._weight, added.tolist(), strict=True)]

    def subtract(self, value: float, time_s: float, weight: float) -> None:
        """Take a sample out again."""
        bucket = self.bucket_of(value)
        left = self._weight[bucket] - weight * self._decay(time_s)
        self._weight[bucket] = 0.0 if left < EPSILON else left

    def percentile(self, share: float) -> float:
        """Return the end of the bucket that holds a share of the weight; 0 of an empty histogram."""
        held = [bucket for bucket, weight in enumerate(self._weight) if weight >= EPSILON]
        if not held:
            return 0.0
        threshold, partial, found = share * sum(self._weight), 0.0, held[-1]
        for bucket in range(held[0], held[-1]):
            partial += self._weight[bucket]
            if partial >= threshold:
                found = bucket
                break
        return self.start_of(min(found + 1, self._buckets - 1))

    def _decay(self, time_s: float) -> float:
        if (time_s - self._reference_s) / HALF_LIFE_S > _MOST_EXPONENT:
            reference_s = round(time_s / HALF_LIFE_S) * HALF_LIFE_S
            factor = 2.0 ** round((self._reference_s - reference_s) / HALF_LIFE_S)
            self._weight = [weight * factor for weight in self._weight]
            self._reference_s = reference_s
        return float(2.0 ** ((time_s - self._reference_s) / HALF_LIFE_S))


class MemoryPeaks:
    """One peak a day, replaced while its day lasts, in a decaying histogram."""

    def __init__(self) -> None:
        self.histogram = DecayingHistogram(MEMORY_MOST_BYTES, MEMORY_FIRST_BUCKET_BYTES)
        self._end_s: float | None = None
        self._peak = self._oom_peak = 0.0

    def add(self, value: float, time_s: float, *, oom: bool = False) -> None:
        """Add a sample in the order of time."""
        if self._end_s is None:
            self._end_s = time_s
        old = max(self._peak, self._oom_peak)
        if time_s < self._end_s:
            if old == 0 or value <= old:
                return
            self.histogram.subtract(old, self._end_s, 1.0)
        else:
            shift = math.floor((time_s - self._end_s) / MEMORY_INTERVAL_S) + 1
            self._end_s += shift * MEMORY_INTERVAL_S
            self._peak = self._oom_peak = 0.0
        self.histogram.add(value, self._end_s, 1.0)
        if oom:
            self._oom_peak = value
        else:
            self._peak = value

    def record_oom(self, requested_bytes: float, time_s: float) -> None:
        """Add what a container killed for memory would have needed: a fifth more, at least 100 MiB."""
        used = max(requested_bytes, self._peak)
        self.add(max(used + OOM_LEAST_BYTES, used * OOM_RATIO), time_s, oom=True)


@dataclass(frozen=True, slots=True)
class VpaRecommendation:
    """What the recommender would write into a VerticalPodAutoscaler's status."""

    target: Sizes
    lower: Sizes
    upper: Sizes


def recommend(usage: Usage, *, requested_bytes: float = 0.0, containers: int = 1) -> VpaRecommendation:
    """Return the recommender's target and bounds at the end of a history.

    Args:
        usage: The history.
        requested_bytes: Memory requested at an OOM kill.
        containers: How many containers share the pod's least sizes.
    """
    times: Floats = usage.start_utc_s + np.arange(len(usage.cpu_cores), dtype=np.float64) * usage.step_s
    cpu = DecayingHistogram(CPU_MOST_CORES, CPU_FIRST_BUCKET_CORES)
    measured = np.isfinite(usage.cpu_cores)
    cpu.add_many(usage.cpu_cores[measured].astype(np.float64), times[measured], SAMPLE_WEIGHT)
    memory = _memory(usage, times, requested_bytes)
    confidence = _confidence(times[measured])
    least = Sizes(LEAST_CPU_CORES / containers, LEAST_MEMORY_BYTES / containers)

    def sizes(share: float, multiplier: float = 0.0, exponent: float = 1.0) -> Sizes:
        factor = (1 + MARGIN) * ((1 + multiplier / confidence) ** exponent if multiplier else 1.0)
        return Sizes(
            max(cpu.percentile(share) * factor, least.cpu_cores or 0.0),
            max(memory.percentile(share) * factor, least.memory_bytes or 0.0),
        )

    return VpaRecommendation(sizes(TARGET), sizes(LOWER, *LOWER_CONFIDENCE), sizes(UPPER, *UPPER_CONFIDENCE))


def _memory(usage: Usage, times: Floats, requested_bytes: float) -> DecayingHistogram:
    """Return the histogram of the last eight days' peaks: what the recommender keeps."""
    peaks = MemoryPeaks()
    first_s = times[-1] + usage.step_s - MEMORY_INTERVALS * MEMORY_INTERVAL_S
    kept = np.isfinite(usage.memory_bytes) & (times >= first_s)
    samples = [(time_s, value, False) for time_s, value in zip(times[kept], usage.memory_bytes[kept], strict=True)]
    samples += [(time_s, 0.0, True) for time_s in usage.oom_kills_utc_s if time_s >= first_s]
    for time_s, value, oom in sorted(samples):
        if oom:
            peaks.record_oom(requested_bytes, float(time_s))
        else:
            peaks.add(float(value), float(time_s))
    return peaks.histogram


def _confidence(times: Floats) -> float:
    """Return days of history, or of one sample a minute, whichever is less."""
    if len(times) < 2:
        return 1e-9
    return float(min((times[-1] - times[0]) / DAY_S, len(times) / (60 * 24)))

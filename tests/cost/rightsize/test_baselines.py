from __future__ import annotations

import numpy as np
import pytest

from cost.rightsize import krr, vpa
from cost.rightsize.model import MIB, ContainerKey, Usage
from cost.rightsize.vpa import DecayingHistogram, MemoryPeaks

DAY = 86400.0
KEY = ContainerKey("a", "Deployment/b", "c")


def usage_of(cpu: np.ndarray, memory: np.ndarray, step_s: float = 300.0, **more) -> Usage:
    return Usage(KEY, 1_790_035_200.0, step_s, cpu.astype(np.float32), memory.astype(np.float32), **more)


def test_buckets_grow_by_five_percent() -> None:
    histogram = DecayingHistogram(1000.0, 0.01)
    starts = [histogram.start_of(bucket) for bucket in range(4)]
    assert starts == pytest.approx([0.0, 0.01, 0.01 * 2.05, 0.01 * (1 + 1.05 + 1.05**2)])
    assert [histogram.bucket_of(value) for value in (0.0, 0.0099, 0.01, 0.0204, 0.0206, 1e9)] == [0, 0, 1, 1, 2, 175]


def test_a_percentile_is_the_end_of_its_bucket() -> None:
    histogram = DecayingHistogram(1000.0, 0.01)
    assert histogram.percentile(0.9) == 0.0
    for value in (0.015, 0.015, 0.015, 0.5):
        histogram.add(value, 0.0, 1.0)
    assert histogram.percentile(0.5) == pytest.approx(0.0205)
    assert histogram.percentile(0.9) == pytest.approx(histogram.start_of(histogram.bucket_of(0.5) + 1))


def test_weight_halves_every_day() -> None:
    histogram = DecayingHistogram(1000.0, 0.01)
    histogram.add(0.5, 0.0, 3.9)
    histogram.add(0.015, 2 * DAY, 1.0)  # 3.9 / 4 is now less than 1
    assert histogram.percentile(0.5) == pytest.approx(0.0205)
    histogram.add(0.5, 0.0, 0.2)
    assert histogram.percentile(0.5) > 0.5


def test_many_samples_at_once_are_the_same_as_one_by_one() -> None:
    random = np.random.default_rng(1)
    values, times = random.exponential(0.3, 500), 1.79e9 + np.arange(500) * 3600.0
    together, single = (DecayingHistogram(1000.0, 0.001) for _ in range(2))
    together.add_many(values, times, 0.1)
    for value, time_s in zip(values, times, strict=True):
        single.add(value, time_s, 0.1)
    for share in (0.1, 0.5, 0.9, 0.95):
        assert together.percentile(share) == single.percentile(share)


def test_a_day_has_one_memory_peak() -> None:
    peaks = MemoryPeaks()
    for time_s, value in ((0, 100 * MIB), (600, 300 * MIB), (1200, 200 * MIB), (DAY + 1, 50 * MIB)):
        peaks.add(value, float(time_s))
    # Two samples: 300 MiB and 50 MiB, the later one of twice the weight.
    assert 0 < peaks.histogram.percentile(0.6) / MIB < 60
    assert 300 < peaks.histogram.percentile(0.7) / MIB < 320


@pytest.mark.parametrize(("held_mib", "needed_mib"), [(200, 300), (1000, 1200)])
def test_a_kill_asks_for_a_fifth_more_at_least_100_mib(held_mib: int, needed_mib: int) -> None:
    peaks = MemoryPeaks()
    peaks.add(10 * MIB, 0.0)
    peaks.record_oom(held_mib * MIB, 60.0)
    assert needed_mib <= peaks.histogram.percentile(1.0) / MIB < needed_mib * 1.06


def test_vpa_adds_its_margin_and_widens_its_bounds_by_confidence() -> None:
    steps = 8 * 288
    found = vpa.recommend(usage_of(np.full(steps, 1.0), np.full(steps, 1e9)))
    end = DecayingHistogram(1000.0, 0.001).start_of(DecayingHistogram(1000.0, 0.001).bucket_of(1.0) + 1)
    assert found.target.cpu_cores == pytest.approx(end * 1.15)
    # 2,304 samples are 1.6 days of one a minute, less than eight days.
    confidence = steps / 1440
    assert found.upper.cpu_cores == pytest.approx(end * 1.15 * (1 + 1 / confidence))
    assert found.lower.cpu_cores == pytest.approx(end * 1.15 * (1 + 0.001 / confidence) ** -2)
    idle = vpa.recommend(usage_of(np.full(steps, 0.0), np.full(steps, 1e6)))
    assert idle.target.cpu_cores == 0.025
    assert idle.target.memory_bytes == 250 * MIB
    assert vpa.recommend(usage_of(np.full(steps, 0.0), np.full(steps, 1e6)), containers=2).target.cpu_cores == 0.0125


def test_krr_is_a_percentile_and_a_peak() -> None:
    cpu = np.arange(1, 1001) / 1000
    memory = np.full(1000, 1e9)
    memory[500] = 2e9
    found = krr.recommend(usage_of(cpu, memory))
    assert found.cpu_cores == pytest.approx(0.951, abs=1e-9)
    assert found.memory_bytes == np.ceil(2e9 * 1.15 / MIB) * MIB
    with_kill = krr.recommend(usage_of(cpu, memory), oom_limit_bytes=4e9)
    assert with_kill.memory_bytes == np.ceil(5e9 / MIB) * MIB
    assert krr.recommend(usage_of(cpu[:99], memory[:99])).cpu_cores is None
    low = krr.recommend(usage_of(np.zeros(200), np.ones(200)))
    assert (low.cpu_cores, low.memory_bytes) == (0.010, 100 * MIB)


def test_krr_looks_back_fourteen_days() -> None:
    cpu = np.zeros(20 * 24)
    cpu[: 5 * 24] = 10.0
    assert krr.recommend(usage_of(cpu, cpu, step_s=3600.0)).cpu_cores == 0.010

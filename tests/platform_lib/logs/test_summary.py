from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.logs.summary import Timing, TimingCount

MS_NS = 1_000_000


def timing(times: np.ndarray, batch: int = 7, *, several_sources: bool = False) -> Timing:
    count = TimingCount(several_sources=several_sources)
    for first in range(0, times.size, batch):
        count.add(times[first : first + batch])
    return count.result()


def test_rate_gaps_and_steps_back() -> None:
    steady = np.arange(100, dtype=np.int64) * 10 * MS_NS
    found = timing(np.delete(steady, [30, *range(40, 44), *range(70, 79)]))
    # One and four lost rows are steps of 20 and 50 ms: no more than five medians.
    assert (found.median_rate_hz, found.gaps, found.longest_gap_s) == (100.0, 1, 0.1)
    assert found.duration_s is not None
    assert found.rate_hz == pytest.approx((found.rows - 1) / found.duration_s)
    assert found.rate_hz < 90  # what is lost counts
    assert timing(steady).gaps == 0
    assert timing(steady[::-1].copy()).backward_steps == 99
    assert timing(steady).stop_ns == 990 * MS_NS + 1


def test_streams_too_short_for_a_rate() -> None:
    assert timing(np.zeros(0, np.int64)) == Timing(0, None, None, None, None, None, None, 0, 0.0, 0)
    one = timing(np.array([5]))
    assert (one.rows, one.start_ns, one.duration_s, one.rate_hz) == (1, 5, None, None)
    equal = timing(np.full(5, 9))
    assert (equal.duration_s, equal.median_step_s, equal.rate_hz, equal.gaps) == (0.0, 0.0, None, 0)
    assert equal.median_rate_hz is None


def test_raw_bus_frames_have_a_mean_rate_and_no_gaps() -> None:
    found = timing(np.array([0, 1, 2, 1000]) * MS_NS, several_sources=True)
    assert (found.rate_hz, found.median_rate_hz, found.gaps, found.median_step_s) == (3.0, None, 0, None)


def test_steps_that_int64_does_not_hold_are_the_longest() -> None:
    found = timing(np.array([-(9 << 60) // 10 * 10, 9 << 59, -(9 << 59)]))
    assert (found.backward_steps, found.rows) == (1, 3)


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=60), st.integers(1, 70))
def test_few_distinct_steps_are_exact(steps: list[int], batch: int) -> None:
    times = np.cumsum(np.array(steps, np.int64))
    found = timing(times, batch)
    assert found.median_step_s == pytest.approx(float(np.median(np.diff(times))) / 1e9, rel=1e-12)
    limit = 5 * np.median(np.diff(times))
    assert found.gaps == (np.count_nonzero(np.diff(times) > limit) if limit else 0)


def test_many_distinct_steps_are_known_to_a_thousandth_in_bounded_memory() -> None:
    rng = np.random.default_rng(4)
    steps = rng.integers(9 * MS_NS, 11 * MS_NS, 300_000)
    steps[::50_000] = 90 * MS_NS
    count = TimingCount()
    for part in np.array_split(np.cumsum(steps), 37):
        count.add(part)
    found = count.result()
    assert found.median_step_s == pytest.approx(np.median(steps) / 1e9, rel=1e-3)
    assert (found.gaps, found.longest_gap_s) == (5, 0.09)  # the first step leads to the first row, not from one
    assert count._steps._keys.size < 20_000

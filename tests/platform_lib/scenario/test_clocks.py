"""Clocks and lost samples."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.scenario.clocks import Clock, draw_clock, keep_mask

START_NS = 1_780_000_000_000_000_000


@given(offset=st.floats(-0.5, 0.5), drift=st.floats(-50, 50))
def test_offset_and_drift_are_what_the_clock_says(offset: float, drift: float) -> None:
    clock = Clock(offset, drift, 0.0)
    reference = START_NS + np.array([0, 1_000_000_000, 20_000_000_000])
    shift = clock.exact_ns(reference, START_NS) - reference
    assert np.abs(shift / 1e9 - (offset + drift * 1e-6 * np.array([0.0, 1.0, 20.0]))).max() < 2e-9


@given(seed=st.integers(0, 2**32), gap_ns=st.integers(1, 1_000_000))
def test_stamps_never_run_backwards(seed: int, gap_ns: int) -> None:
    reference = START_NS + np.arange(500) * gap_ns
    stamped = Clock(0.1, -50.0, 60e-6).stamp_ns(reference, START_NS, np.random.default_rng(seed))
    assert (np.diff(stamped) > 0).all()


def test_jitter_is_there_and_bounded() -> None:
    clock = draw_clock(np.random.default_rng(3))
    reference = START_NS + np.arange(4000) * 10_000_000
    error = clock.stamp_ns(reference, START_NS, np.random.default_rng(4)) - clock.exact_ns(reference, START_NS)
    assert 0.8 * clock.jitter_s < error.std() / 1e9 < 1.2 * clock.jitter_s
    assert np.abs(error).max() / 1e9 <= 4 * clock.jitter_s + 1e-9


@given(count=st.integers(0, 400), seed=st.integers(0, 2**32), burst=st.integers(0, 12))
def test_the_ends_are_kept_and_the_burst_is_lost(count: int, seed: int, burst: int) -> None:
    keep = keep_mask(count, np.random.default_rng(seed), single=0.0, burst=burst)
    assert len(keep) == count
    if count:
        assert keep[0]
        assert keep[-1]
    assert (~keep).sum() == (burst if count > burst + 2 else 0)

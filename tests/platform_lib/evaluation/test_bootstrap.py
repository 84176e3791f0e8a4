"""Intervals over drives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.errors import ContractError
from platform_lib.evaluation.bootstrap import FEWEST, cluster_interval


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 7)), min_size=2, max_size=40), st.integers(0, 3))
def test_the_interval_holds_between_the_extremes_of_the_drives(pairs, seed):
    values, drives = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    found = cluster_interval(values, drives, seed=seed, resamples=200)
    assert found.value == pytest.approx(values.mean())
    means = [values[drives == drive].mean() for drive in set(drives.tolist())]
    if len(means) == 1:
        assert (found.low, found.high) == (None, None)
    elif len(means) < FEWEST:
        assert found.low <= found.value + 1e-9
        assert found.value <= found.high + 1e-9
    else:
        assert min(means) - 1e-9 <= found.low <= found.high <= max(means) + 1e-9


def test_the_same_seed_gives_the_same_interval():
    values, drives = np.random.default_rng(0).normal(size=60), np.arange(60) // 6
    assert cluster_interval(values, drives, seed=4) == cluster_interval(values, drives, seed=4)
    assert cluster_interval(values, drives, seed=4) != cluster_interval(values, drives, seed=5)


@pytest.mark.parametrize("drives", [2, 4, FEWEST, 10, 30])
def test_it_covers_the_truth_about_as_often_as_it_says(drives):
    generator = np.random.default_rng(11)
    covered = 0
    for trial in range(400):
        drive_effects = np.repeat(generator.normal(size=drives), 5)
        found = cluster_interval(
            drive_effects + generator.normal(size=5 * drives), np.arange(5 * drives) // 5, seed=trial, resamples=1000
        )
        covered += found.low <= 0.0 <= found.high
    assert 366 <= covered <= 394  # of 400: four standard deviations about 380, and less above, where it may cover more


def test_a_rate_of_few_trials_has_the_width_that_few_trials_leave():
    for frames in (1, 10):
        found = cluster_interval(np.zeros(9 * frames), np.repeat(np.arange(9), frames), seed=1, rate=True)
        assert (found.low, found.high) == pytest.approx((0.0, 0.2992), abs=1e-4)  # 0 of 9
    some = cluster_interval(np.array([1.0] * 11 + [0.0] * 34), np.arange(45), seed=1, rate=True)
    assert (some.low, some.high) == pytest.approx((0.142, 0.387), abs=1e-3)  # 11 of 45


@pytest.mark.parametrize(("values", "drives"), [(np.zeros(0), np.zeros(0)), (np.zeros(3), np.zeros(2))])
def test_nothing_to_score_is_refused(values, drives):
    with pytest.raises(ContractError):
        cluster_interval(values, drives, seed=1)


def test_a_share_that_is_always_one_is_no_rate() -> None:
    found = cluster_interval(np.ones(45), np.arange(45), seed=1)
    assert (found.low, found.high) == (1.0, 1.0)

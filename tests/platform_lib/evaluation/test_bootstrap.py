"""Intervals over drives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.errors import ContractError
from platform_lib.evaluation.bootstrap import cluster_interval


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 4)), min_size=2, max_size=40), st.integers(0, 3))
def test_the_interval_holds_between_the_extremes_of_the_drives(pairs, seed):
    values, drives = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    found = cluster_interval(values, drives, seed=seed, resamples=200)
    assert found.value == pytest.approx(values.mean())
    means = [values[drives == drive].mean() for drive in set(drives.tolist())]
    if len(means) == 1:
        assert (found.low, found.high) == (None, None)
    else:
        assert min(means) - 1e-9 <= found.low <= found.high <= max(means) + 1e-9


def test_the_same_seed_gives_the_same_interval():
    values, drives = np.random.default_rng(0).normal(size=60), np.arange(60) // 6
    assert cluster_interval(values, drives, seed=4) == cluster_interval(values, drives, seed=4)
    assert cluster_interval(values, drives, seed=4) != cluster_interval(values, drives, seed=5)


def test_it_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(11)
    covered = 0
    for trial in range(200):
        drive_effects = np.repeat(generator.normal(size=30), 5)
        found = cluster_interval(
            drive_effects + generator.normal(size=150), np.arange(150) // 5, seed=trial, resamples=400
        )
        covered += found.low <= 0.0 <= found.high
    assert 176 <= covered <= 199


@pytest.mark.parametrize(("values", "drives"), [(np.zeros(0), np.zeros(0)), (np.zeros(3), np.zeros(2))])
def test_nothing_to_score_is_refused(values, drives):
    with pytest.raises(ContractError):
        cluster_interval(values, drives, seed=1)

"""Which samples an epoch holds: curriculum, balance, hard examples, each a function of epoch, seed and table."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.errors import ConfigError
from platform_lib.models.sampling import (
    SampleTable,
    SamplingConfig,
    class_counts,
    epoch_rows,
    sample_table,
    weights,
)

NONE = SamplingConfig()


def table(count: int = 100, rare: int = 5) -> SampleTable:
    classes = np.zeros((count, 2), dtype=np.uint8)
    classes[:, 0] = 1
    classes[:rare, 1] = 1
    return SampleTable(classes, np.arange(count, dtype=np.float64), np.full(count, np.nan))


@given(st.integers(1, 400), st.integers(0, 1000), st.integers(0, 50))
def test_without_a_hook_an_epoch_is_each_sample_once(count, seed, epoch):
    rows = epoch_rows(table(count, 0), NONE, epoch=epoch, seed=seed)
    assert sorted(rows.tolist()) == list(range(count))


def test_an_epoch_is_a_function_of_epoch_seed_and_table():
    config = SamplingConfig(balance=0.5, curriculum_epochs=3)
    first = epoch_rows(table(), config, epoch=1, seed=7)
    assert np.array_equal(first, epoch_rows(table(), config, epoch=1, seed=7))
    for other in (dict(epoch=2, seed=7), dict(epoch=1, seed=8)):
        assert not np.array_equal(first, epoch_rows(table(), config, **other))


@given(st.integers(0, 2**31), st.floats(0, 1))
def test_each_sample_comes_as_often_as_its_weight_says_rounded(seed, balance):
    made, config = table(), SamplingConfig(balance=balance)
    wanted = weights(made, config, 0)
    expected = wanted / wanted.sum() * len(made)
    found = np.bincount(epoch_rows(made, config, epoch=0, seed=seed), minlength=len(made))
    assert (np.abs(found - expected) < 1 + 1e-6).all()
    assert found.sum() == len(made)


def test_balance_makes_rare_scenes_as_frequent_as_common_ones():
    counts = [
        class_counts(table(), epoch_rows(table(), SamplingConfig(balance=share), epoch=0, seed=0), ("all", "rare"))[
            "rare"
        ]
        for share in (0.0, 0.5, 1.0)
    ]
    assert counts[0] == 5
    assert 15 <= counts[1] <= 22
    assert 48 <= counts[2] <= 52


def test_a_curriculum_begins_with_the_easy_and_ends_with_all():
    config = SamplingConfig(curriculum_epochs=4, curriculum_start=0.2)
    hardest = [int(epoch_rows(table(), config, epoch=epoch, seed=0).max()) for epoch in range(5)]
    assert hardest == [19, 39, 59, 79, 99]


def test_hard_examples_come_again_and_unknown_ones_are_not_hard():
    error = np.full(100, np.nan)
    error[:50] = np.arange(50)
    config = SamplingConfig(hard_share=0.1, hard_boost=4.0)
    found = Counter(epoch_rows(table(rare=0).with_error(error), config, epoch=3, seed=0).tolist())
    assert min(found[row] for row in range(46, 50)) >= 3
    assert max(found[row] for row in [*range(40), *range(50, 100)]) == 1


def test_a_sample_is_as_hard_as_its_path_lies_from_constant_velocity():
    history = np.zeros((2, 10, 3), dtype=np.float32)
    history[:, -1, 0] = 10.0
    future = np.zeros((2, 6, 2), dtype=np.float32)
    future[:, -1] = [[30.0, 0.0], [26.0, 3.0]]
    made = sample_table(history, np.array([0, 2]), future, np.eye(8, dtype=np.uint8)[:2])
    assert made.difficulty.tolist() == pytest.approx([0.0, 5.0])
    assert made.classes[1].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    "wrong", [{"balance": 1.5}, {"hard_boost": 0.5}, {"curriculum_epochs": -1}, {"hard_share": -0.1}]
)
def test_sampling_that_means_nothing_is_refused(wrong):
    with pytest.raises(ConfigError):
        SamplingConfig(**wrong)
    with pytest.raises(ConfigError):
        SampleTable(np.zeros((2, 1), np.uint8), np.zeros(3), np.zeros(2))

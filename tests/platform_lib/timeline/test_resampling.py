"""Interpolation, as-of and nearest: right values, and no value across a gap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.errors import ContractError
from platform_lib.timeline import Series, as_of, interpolate, nearest

T0 = 1_780_000_000_000_000_000
MS = 1_000_000


def at(*milliseconds: float) -> np.ndarray:
    return T0 + np.array([round(item * MS) for item in milliseconds], dtype=np.int64)


def test_interpolation_is_linear_between_samples_and_exact_on_them() -> None:
    series = Series.of(at(0, 10, 20), [0.0, 1.0, 5.0])
    values, valid = interpolate(series, at(0, 5, 10, 15, 20), max_gap_ns=10 * MS)
    assert valid.all()
    np.testing.assert_allclose(values, [0.0, 0.5, 1.0, 3.0, 5.0])


def test_nothing_is_known_outside_the_recording() -> None:
    series = Series.of(at(0, 10), [0.0, 1.0])
    values, valid = interpolate(series, at(-1, 11), max_gap_ns=10 * MS)
    assert not valid.any()
    assert np.isnan(values).all()


def test_a_gap_longer_than_the_tolerance_is_not_bridged_but_its_ends_are_known() -> None:
    series = Series.of(at(0, 10, 200, 210), [0.0, 1.0, 2.0, 3.0])
    _, valid = interpolate(series, at(10, 11, 100, 199, 200, 205), max_gap_ns=189 * MS)
    assert valid.tolist() == [True, False, False, False, True, True]
    _, bridged = interpolate(series, at(100), max_gap_ns=190 * MS)
    assert bridged.all()


def test_vectors_and_shapes_are_kept() -> None:
    series = Series.of(at(0, 10), [[0.0, 10.0], [1.0, 20.0]])
    values, valid = interpolate(series, at(0, 5, 10, 5).reshape(2, 2), max_gap_ns=10 * MS)
    assert values.shape == (2, 2, 2)
    assert valid.shape == (2, 2)
    np.testing.assert_allclose(values[0, 1], [0.5, 15.0])


def test_an_empty_series_knows_nothing() -> None:
    values, valid = interpolate(Series.of([], []), at(0, 1), max_gap_ns=MS)
    assert np.isnan(values).all()
    assert not valid.any()


def test_of_sorts_keeps_the_last_of_equal_times_and_drops_what_is_not_finite() -> None:
    series = Series.of(at(20, 0, 10, 10, 30), [2.0, 0.0, 1.0, 1.5, np.nan])
    assert series.timestamp_ns.tolist() == at(0, 10, 20).tolist()
    assert series.values.tolist() == [0.0, 1.5, 2.0]


@pytest.mark.parametrize(
    ("times", "values"),
    [
        (np.array([1, 1]), np.array([0.0, 0.0])),
        (np.array([2, 1]), np.array([0.0, 0.0])),
        (np.array([1, 2]), np.array([0.0])),
        (np.array([1, 2]), np.array([0.0, np.inf])),
        (np.array([1.0, 2.0]), np.array([0.0, 0.0])),
    ],
)
def test_a_series_that_breaks_its_promise_is_refused(times: np.ndarray, values: np.ndarray) -> None:
    with pytest.raises(ContractError):
        Series(times, values)


def test_as_of_takes_the_last_state_and_lets_it_expire() -> None:
    found = as_of(at(0, 10, 20), at(-1, 0, 9.9, 10, 25, 31), max_age_ns=10 * MS)
    assert found.valid.tolist() == [False, True, True, True, True, False]
    assert found.index[found.valid].tolist() == [0, 0, 1, 2]


def test_nearest_takes_the_nearer_the_earlier_of_equals_and_none_too_far() -> None:
    found = nearest(at(0, 10), at(-6, 4, 5, 6, 14, 16), tolerance_ns=5 * MS)
    assert found.valid.tolist() == [False, True, True, True, True, False]
    assert found.index[found.valid].tolist() == [0, 0, 1, 1]


@settings(max_examples=60, deadline=None)
@given(
    steps_ms=st.lists(st.integers(1, 60), min_size=2, max_size=40),
    asked_ms=st.lists(st.integers(-50, 2500), min_size=1, max_size=40),
    max_gap_ms=st.integers(1, 60),
)
def test_every_known_value_lies_on_the_line_through_near_neighbours(
    steps_ms: list[int], asked_ms: list[int], max_gap_ms: int
) -> None:
    times = np.concatenate([[0], np.cumsum(steps_ms)])
    truth = times.astype(np.float64) * 3.0 - 7.0
    series = Series.of(at(*times), truth)
    values, valid = interpolate(series, at(*asked_ms), max_gap_ns=max_gap_ms * MS)
    for asked, value, known in zip(asked_ms, values, valid, strict=True):
        place = int(np.searchsorted(times, asked))
        on_sample = asked in times
        bridged = 0 < place < len(times) and times[place] - times[place - 1] <= max_gap_ms
        assert known == (on_sample or bridged)
        if known:
            assert value == pytest.approx(asked * 3.0 - 7.0, abs=1e-6)

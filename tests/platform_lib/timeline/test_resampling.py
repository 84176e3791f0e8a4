"""Interpolation, as-of and nearest: right values, and no value across a gap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.errors import ContractError
from platform_lib.timeline import Coverage, Series, count_coverage, interpolate, mean_rate, nearest

T0 = 1_780_000_000_000_000_000
MS = 1_000_000


def at(*milliseconds: float) -> np.ndarray:
    return T0 + np.array([round(item * MS) for item in milliseconds], dtype=np.int64)


def known(series: Series, at_ns: np.ndarray, *, max_gap_ns: int) -> tuple[np.ndarray, np.ndarray]:
    found = interpolate(series, at_ns, max_gap_ns=max_gap_ns)
    return found.values, found.valid


def test_interpolation_is_linear_between_samples_and_exact_on_them() -> None:
    series = Series.of(at(0, 10, 20), [0.0, 1.0, 5.0])
    values, valid = known(series, at(0, 5, 10, 15, 20), max_gap_ns=10 * MS)
    assert valid.all()
    np.testing.assert_allclose(values, [0.0, 0.5, 1.0, 3.0, 5.0])


def test_nothing_is_known_outside_the_recording() -> None:
    series = Series.of(at(0, 10), [0.0, 1.0])
    values, valid = known(series, at(-1, 11), max_gap_ns=10 * MS)
    assert not valid.any()
    assert np.isnan(values).all()


def test_a_gap_longer_than_the_tolerance_is_not_bridged_but_its_ends_are_known() -> None:
    series = Series.of(at(0, 10, 200, 210), [0.0, 1.0, 2.0, 3.0])
    _, valid = known(series, at(10, 11, 100, 199, 200, 205), max_gap_ns=189 * MS)
    assert valid.tolist() == [True, False, False, False, True, True]
    _, bridged = known(series, at(100), max_gap_ns=190 * MS)
    assert bridged.all()


def test_vectors_and_shapes_are_kept() -> None:
    series = Series.of(at(0, 10), [[0.0, 10.0], [1.0, 20.0]])
    values, valid = known(series, at(0, 5, 10, 5).reshape(2, 2), max_gap_ns=10 * MS)
    assert values.shape == (2, 2, 2)
    assert valid.shape == (2, 2)
    np.testing.assert_allclose(values[0, 1], [0.5, 15.0])


def test_an_empty_series_knows_nothing() -> None:
    values, valid = known(Series.of([], []), at(0, 1), max_gap_ns=MS)
    assert np.isnan(values).all()
    assert not valid.any()
    assert interpolate(Series.of([], []), at(0), max_gap_ns=MS).coverage.tolist() == [Coverage.NO_SAMPLES]


def test_what_is_not_known_says_why() -> None:
    series = Series.of(at(0, 10, 200, 210), [0.0, 1.0, 2.0, 3.0])
    found = interpolate(series, at(-1, 0, 5, 11, 199, 210, 211), max_gap_ns=20 * MS)
    names = [Coverage(item).name for item in found.coverage]
    assert names == ["BEFORE_FIRST", "KNOWN", "KNOWN", "IN_GAP", "IN_GAP", "KNOWN", "AFTER_LAST"]
    assert count_coverage(found.coverage) == {"known": 3, "before_first": 1, "after_last": 1, "in_gap": 2}
    images = nearest(series.timestamp_ns, at(-6, -5, 16, 100, 214, 216), tolerance_ns=5 * MS)
    names = [Coverage(item).name for item in images.coverage]
    assert names == ["BEFORE_FIRST", "KNOWN", "IN_GAP", "IN_GAP", "KNOWN", "AFTER_LAST"]
    assert nearest(at(), at(0), tolerance_ns=MS).coverage.tolist() == [Coverage.NO_SAMPLES]


def bridging(series: Series, at_ns: np.ndarray, *, max_gap_ns: int) -> np.ndarray:
    """The planted fault: numpy's own interpolation, which joins whatever lies beside each other."""
    del max_gap_ns
    return np.interp(at_ns - T0, series.timestamp_ns - T0, series.values)


def unbridged(resample: Callable[..., np.ndarray]) -> bool:
    series = Series.of(at(0, 10, 200, 210), [0.0, 1.0, 2.0, 3.0])
    return bool(np.isnan(resample(series, at(-1, 50, 150, 211), max_gap_ns=20 * MS)).all())


def test_bridging_a_gap_would_be_caught() -> None:
    assert unbridged(lambda *asked, **how: interpolate(*asked, **how).values)
    assert not unbridged(bridging)


def test_a_mean_rate_misses_no_step_and_bridges_no_gap() -> None:
    heading = Series.of(at(0, 20, 40, 60, 500, 520), [0.0, 0.0, 0.3, 1.3, 9.0, 10.0])
    rate = mean_rate(heading, max_gap_ns=50 * MS)
    assert (rate.timestamp_ns - T0).tolist() == [10 * MS, 30 * MS, 50 * MS, 510 * MS]
    np.testing.assert_allclose(rate.values, [0.0, 15.0, 50.0, 50.0])
    assert len(mean_rate(Series.of([], []), max_gap_ns=MS)) == 0


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
    values, valid = known(series, at(*asked_ms), max_gap_ns=max_gap_ms * MS)
    for asked, value, is_known in zip(asked_ms, values, valid, strict=True):
        place = int(np.searchsorted(times, asked))
        on_sample = asked in times
        bridged = 0 < place < len(times) and times[place] - times[place - 1] <= max_gap_ms
        assert is_known == (on_sample or bridged)
        if is_known:
            assert value == pytest.approx(asked * 3.0 - 7.0, abs=1e-6)

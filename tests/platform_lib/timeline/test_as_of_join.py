"""The as-of join against a search for each row, with and without keys."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.errors import ContractError
from platform_lib.timeline import Coverage, as_of, as_of_values

T0 = 1_780_000_000_000_000_000
MS = 1_000_000


def at(*milliseconds: float) -> np.ndarray:
    return T0 + np.array([round(item * MS) for item in milliseconds], dtype=np.int64)


def test_it_takes_the_last_state_and_lets_it_expire() -> None:
    found = as_of(at(0, 10, 20, 90), at(-1, 0, 9.9, 10, 25, 31, 101), max_age_ns=10 * MS)
    names = [Coverage(item).name for item in found.coverage]
    assert names == ["BEFORE_FIRST", "KNOWN", "KNOWN", "KNOWN", "KNOWN", "IN_GAP", "AFTER_LAST"]
    assert found.index.tolist() == [0, 0, 0, 1, 2, 0, 0]
    assert found.valid.tolist() == [False, True, True, True, True, False, False]


def test_without_a_tolerance_a_state_holds_for_ever() -> None:
    found = as_of(at(0), np.array([T0, np.iinfo(np.int64).max]), max_age_ns=None)
    assert found.valid.all()


def test_of_equal_times_the_last_stands_and_nothing_recorded_says_so() -> None:
    assert as_of(at(0, 5, 5), at(5), max_age_ns=MS).index.tolist() == [2]
    assert as_of(at(), at(1, 2), max_age_ns=MS).coverage.tolist() == [Coverage.NO_SAMPLES] * 2
    assert len(as_of(at(1), at(), max_age_ns=MS).index) == 0


def test_keys_keep_their_states_apart() -> None:
    found = as_of(
        at(0, 1, 2), at(1, 1, 3, 3, 3), max_age_ns=10 * MS, key=np.array([7, 8, 7]), at_key=np.array([7, 9, 8, 7, -4])
    )
    assert found.index[found.valid].tolist() == [0, 1, 2]
    assert found.coverage.tolist() == [0, Coverage.NO_SAMPLES, 0, 0, Coverage.NO_SAMPLES]


@pytest.mark.parametrize("kind", ["names", "wide", "unsigned"])
def test_keys_may_be_anything_that_sorts(kind: str) -> None:
    keys = {
        "names": (np.array(["b", "a", "b"]), np.array(["b", "c", "a"])),
        "wide": (np.array([2**62, -(2**62), 2**62]), np.array([2**62, 0, -(2**62)])),
        "unsigned": (
            np.array([2**63 + 1, 3, 2**63 + 1], dtype=np.uint64),
            np.array([2**63 + 1, 4, 3], dtype=np.uint64),
        ),
    }[kind]
    found = as_of(at(0, 1, 2), at(5, 5, 5), max_age_ns=None, key=keys[0], at_key=keys[1])
    assert found.index[found.valid].tolist() == [2, 1]
    assert found.coverage[1] == Coverage.NO_SAMPLES


def searched(
    times: list[int], keys: list[int], asked: list[int], asked_keys: list[int], max_age: int
) -> list[int | None]:
    """Written a second time, row by row."""
    found: list[int | None] = []
    for moment, wanted in zip(asked, asked_keys, strict=True):
        rows = [
            row for row, (time, key) in enumerate(zip(times, keys, strict=True)) if key == wanted and time <= moment
        ]
        found.append(rows[-1] if rows and moment - times[rows[-1]] <= max_age else None)
    return found


@settings(max_examples=150, deadline=None)
@given(
    samples=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=40),
    asked=st.lists(st.tuples(st.integers(-5, 70), st.integers(-1, 4)), max_size=40),
    max_age=st.integers(0, 30),
    ordered=st.booleans(),
)
def test_it_finds_what_a_search_for_each_row_finds(
    samples: list[tuple[int, int]], asked: list[tuple[int, int]], max_age: int, ordered: bool
) -> None:
    samples = sorted(samples, key=lambda item: item[0])
    asked = sorted(asked, key=lambda item: item[0]) if ordered else asked
    times, keys = [item[0] for item in samples], [item[1] for item in samples]
    moments, wanted = [item[0] for item in asked], [item[1] for item in asked]
    columns = [np.array(item, dtype=np.int64) for item in (times, moments, keys, wanted)]
    for own, asked_own in ((keys, wanted), ([0] * len(keys), [0] * len(wanted))):
        alone = own is not keys
        found = as_of(
            columns[0],
            columns[1],
            max_age_ns=max_age,
            key=None if alone else columns[2],
            at_key=None if alone else columns[3],
        )
        expected = searched(times, own, moments, asked_own, max_age)
        assert [int(i) if ok else None for i, ok in zip(found.index, found.valid, strict=True)] == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"timestamp_ns": at(1, 0)}, "decrease"),
        ({"timestamp_ns": np.array([1.0, 2.0])}, "int64"),
        ({"at_key": np.array([1])}, "only one side"),
        ({"key": np.array([1]), "at_key": np.array([1])}, "keys of shape"),
        ({"max_age_ns": -1}, "at most"),
    ],
)
def test_what_cannot_be_joined_is_refused(change: dict[str, object], said: str) -> None:
    asked: dict[str, object] = {"timestamp_ns": at(0, 1), "at_ns": at(1), "max_age_ns": MS}
    with pytest.raises(ContractError, match=said):
        as_of(**(asked | change))  # type: ignore[arg-type]  # what is wrong with it is the point


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int16, np.bool_])
@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
def test_joined_values_are_those_that_would_be_taken(dtype: type, *, keyed: bool, ordered: bool) -> None:
    rng = np.random.default_rng(5)
    times = np.sort(rng.integers(0, 1000, 200))
    at = rng.integers(-50, 1100, 500)
    at = np.sort(at) if ordered else at
    keys = {"key": rng.integers(0, 5, 200), "at_key": rng.integers(0, 6, 500)} if keyed else {}
    values = rng.normal(0.0, 50.0, 200).astype(dtype)
    chosen = as_of(times, at, max_age_ns=7, **keys)
    joined, coverage = as_of_values(times, values, at, max_age_ns=7, **keys)
    assert joined.dtype == dtype
    assert np.array_equal(coverage, chosen.coverage)
    assert np.array_equal(joined, np.where(chosen.valid, values[chosen.index], np.zeros(1, dtype)))
    assert 0 < chosen.valid.sum() < 500


@pytest.mark.parametrize("values", [np.zeros(2), np.zeros((3, 2)), np.array(["a", "b", "c"])])
def test_values_that_are_none_of_the_samples_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ContractError, match="3 times, and"):
        as_of_values(np.arange(3), values, np.arange(3), max_age_ns=None)

"""Whole drives, every label, the same answer each time, and nobody in two places."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.datasets.splits import SPLITS, SplitUnit, assign_splits, check_disjoint, duplicate_groups
from platform_lib.errors import ContractError

WEATHERS, EVENTS = ("clear", "night", "rain"), ("cruise", "lead", "cut_in", "pedestrian", "traffic_light")


def fleet(count: int) -> list[SplitUnit]:
    return [
        SplitUnit(
            f"drive-{number:04d}",
            frozenset({f"weather={WEATHERS[number % 3]}", f"event={EVENTS[number % 5]}"}),
            frozenset({f"file-{number}"}),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_24_drives_are_split_by_the_fractions_with_every_label_in_test(seed: int) -> None:
    units = fleet(24)
    splits = assign_splits(units, seed=seed)
    counts = Counter(splits.values())
    assert counts["test"] == 6
    assert counts["val"] == 4
    labels = {
        name: {label for unit in units if splits[unit.drive_id] == name for label in unit.labels} for name in SPLITS
    }
    assert len(labels["test"]) == len(labels["train"]) == 8


@settings(max_examples=60, deadline=None)
@given(count=st.integers(3, 60), seed=st.integers(0, 1000))
def test_every_drive_is_in_one_split_and_no_split_is_empty(count: int, seed: int) -> None:
    units = fleet(count)
    splits = assign_splits(units, seed=seed)
    assert set(splits) == {unit.drive_id for unit in units}
    assert set(splits.values()) == set(SPLITS)
    assert splits == assign_splits(list(reversed(units)), seed=seed)


def test_the_seed_decides() -> None:
    units = fleet(24)
    assert len({tuple(sorted(assign_splits(units, seed=seed).items())) for seed in range(6)}) > 1


@settings(max_examples=30, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=8), seed=st.integers(0, 50))
def test_drives_that_share_a_file_or_an_image_stay_together(pairs: list[tuple[int, int]], seed: int) -> None:
    shared: dict[int, set[str]] = {number: {f"own-{number}"} for number in range(20)}
    for one, other in pairs:
        shared[one].add(f"both-{one}-{other}")
        shared[other].add(f"both-{one}-{other}")
    units = [SplitUnit(f"d{number:02d}", frozenset(), frozenset(items)) for number, items in shared.items()]
    splits = assign_splits(units, seed=seed)
    for one, other in pairs:
        assert splits[f"d{one:02d}"] == splits[f"d{other:02d}"]
    assert sorted(name for group in duplicate_groups(units) for name in group) == [unit.drive_id for unit in units]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_drives_are_refused(count: int) -> None:
    with pytest.raises(ContractError, match="cannot be split"):
        assign_splits(fleet(count), seed=0)


def test_three_copies_of_one_drive_are_one_and_refused() -> None:
    copies = [SplitUnit(name, frozenset(), frozenset({"same image"})) for name in "abc"]
    with pytest.raises(ContractError, match="1 independent"):
        assign_splits(copies, seed=0)


def test_a_drive_named_twice_is_refused() -> None:
    with pytest.raises(ContractError, match="twice"):
        assign_splits([*fleet(5), fleet(1)[0]], seed=0)


def test_the_proof_counts_zero_and_refuses_a_planted_leak() -> None:
    clean = {"train": frozenset("ab"), "val": frozenset("c"), "test": frozenset("d")}
    assert check_disjoint(clean, what="drives") == {"train/val": 0, "train/test": 0, "val/test": 0}  # type: ignore[arg-type]  # literal keys
    with pytest.raises(ContractError, match="both train and test"):
        check_disjoint({**clean, "test": frozenset("da")}, what="drives")  # type: ignore[dict-item]  # literal keys

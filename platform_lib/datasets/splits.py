"""Divide drives into train, validation and test: whole drives, by label, seeded, linked ones together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

from platform_lib.errors import ContractError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
FRACTIONS: Mapping[Split, float] = {"train": 0.60, "val": 0.15, "test": 0.25}
PAIRS: tuple[tuple[Split, Split], ...] = tuple(combinations(SPLITS, 2))
STRATA = ("weather", "event")


@dataclass(frozen=True, slots=True)
class SplitUnit:
    """One drive to be placed.

    Attributes:
        labels: Values that every split should see, for example ``weather=rain``.
        content: Digests of what must not be in two splits: log files and images.
    """

    drive_id: str
    labels: frozenset[str]
    content: frozenset[str]


def assign_splits(units: Sequence[SplitUnit], *, seed: int, links: Iterable[tuple[str, str]] = ()) -> dict[str, Split]:
    """Place every drive, deterministically.

    Drives that share a log file or an image with equal bytes are placed together, and so are linked ones. Test is filled first, then
    validation; each next group is the one that brings its split's labels closest to their share, and no group leaves
    train that holds train's last drive of a label.

    Returns:
        Drive id -> split.

    Raises:
        ContractError: Fewer than three independent groups, or a drive named twice.
    """
    names = [unit.drive_id for unit in units]
    if len(set(names)) != len(names):
        raise ContractError("a drive is named twice", where=", ".join(n for n, k in Counter(names).items() if k > 1))
    groups = sorted(duplicate_groups(units, links), key=lambda group: _shuffle_key(group, seed))
    if len(groups) < len(SPLITS):
        raise ContractError(
            f"{len(groups)} independent drives cannot be split three ways",
            where="dataset",
            remedy="ingest at least 3 drives that share no file, picture or trip; `drivetrain drives` lists what is there",
        )
    by_name = {unit.drive_id: unit for unit in units}
    labels = {group: Counter(label for name in group for label in by_name[name].labels) for group in groups}
    total: Counter[str] = sum(labels.values(), Counter())
    placed: dict[tuple[str, ...], Split] = {}
    for split in ("test", "val"):
        target = {label: FRACTIONS[split] * count for label, count in total.items()}
        wanted = max(1.0, FRACTIONS[split] * len(units))
        _fill(split, groups, labels, placed, target, wanted)
    return {name: placed.get(group, "train") for group in groups for name in group}


def _fill(
    split: Split,
    groups: Sequence[tuple[str, ...]],
    labels: Mapping[tuple[str, ...], Counter[str]],
    placed: dict[tuple[str, ...], Split],
    target: Mapping[str, float],
    wanted: float,
) -> None:
    """Move groups from train to `split` until it has about `wanted` drives."""
    have: Counter[str] = Counter()
    size = 0
    while True:
        free = [group for group in groups if group not in placed]
        if len(free) <= (2 if split == "test" else 1):
            return  # the splits still to come need one each
        left: Counter[str] = sum((labels[group] for group in free), Counter())
        spare = [group for group in free if all(left[label] > count for label, count in labels[group].items())]
        # The next group is taken while that brings the size nearer to what is wanted.
        candidates = [group for group in (spare or (free if size == 0 else [])) if _closer(size, len(group), wanted)]
        if not candidates:
            return
        best = max(candidates, key=lambda group: _need(labels[group], have, target))  # ties: the shuffled order
        placed[best] = split
        have.update(labels[best])
        size += len(best)


def _closer(size: int, more: int, wanted: float) -> bool:
    return size == 0 or abs(size + more - wanted) < abs(size - wanted)


def _need(labels: Counter[str], have: Counter[str], target: Mapping[str, float]) -> float:
    """Score a group: labels the split has none of count most, labels beyond their share count against it."""
    score = 0.0
    for label, count in labels.items():
        score += (10.0 if have[label] == 0 else 0.0) + (target[label] - have[label]) / max(target[label], 1e-9) * count
    return score / max(1, sum(labels.values()))


def _shuffle_key(group: tuple[str, ...], seed: int) -> str:
    # By digest and not by a random generator: one more drive does not reshuffle the others.
    return hashlib.sha256(f"{seed}\0{group[0]}".encode()).hexdigest()


def duplicate_groups(units: Sequence[SplitUnit], links: Iterable[tuple[str, str]] = ()) -> list[tuple[str, ...]]:
    """Return the drives in groups (sorted) connected by shared content or links; most groups have one drive."""
    parent = {unit.drive_id: unit.drive_id for unit in units}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    owner: dict[str, str] = {}
    for unit in units:
        for digest in unit.content:
            other = owner.setdefault(digest, unit.drive_id)
            parent[root(unit.drive_id)] = root(other)
    for one, other in links:
        parent[root(one)] = root(other)
    groups: dict[str, list[str]] = {}
    for unit in units:
        groups.setdefault(root(unit.drive_id), []).append(unit.drive_id)
    return sorted(tuple(sorted(members)) for members in groups.values())


def check_disjoint(members: Mapping[Split, frozenset[str]], *, what: str) -> dict[str, int]:
    """Count what each pair of splits shares.

    Raises:
        ContractError: Any pair shares anything.
    """
    counts = {}
    for one, other in PAIRS:
        shared = members[one] & members[other]
        if shared:
            raise ContractError(
                f"{len(shared)} {what} are in both {one} and {other}", where=sorted(shared)[0], remedy="report this bug"
            )
        counts[f"{one}/{other}"] = 0
    return counts

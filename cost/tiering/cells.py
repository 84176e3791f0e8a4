"""Objects of one prefix and size class, out of the counts of an inventory: as groups that the planner takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cost.tiering.model import GIB, StorageClass
from cost.tiering.population import Group
from cost.tiering.sampling import Kind, Totals

_RECENT_DAYS = 90
"""What comes is counted by what came in so many days."""
_OUTLIVED_DAYS = 30
"""Objects that are older than their class lives are taken to live so much longer."""
_LOCK_STEP_DAYS = 90
"""Retention is rounded up to this: each length of life is planned for by itself."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a cell holds, as people are told.

    Attributes:
        objects: How many.
        gib: Their GiB.
        arriving: New objects a day.
        outlived: Older than they are expected to become.
        locked: Under retention that has not ended.
        held: Under legal hold.
        unmanaged: In classes that lifecycle does not plan with here, by S3's word.
        oldest_days: The age of the oldest.
    """

    objects: int
    gib: float
    arriving: float
    outlived: int
    locked: int
    held: int
    unmanaged: Mapping[str, int] = field(default_factory=dict)
    oldest_days: int = 0


def holding_of(kinds: Mapping[Kind, Totals], life_days: int) -> Holding:
    """Sum up a cell."""
    unmanaged: dict[str, int] = {}
    objects, size, recent, outlived, locked, held, oldest = 0, 0, 0, 0, 0, 0, 0
    for kind, totals in kinds.items():
        if kind.storage_class not in StorageClass.__members__:
            unmanaged[kind.storage_class] = unmanaged.get(kind.storage_class, 0) + totals.objects
            continue
        objects, size = objects + totals.objects, size + totals.size_bytes
        recent += totals.objects if kind.age_days < _RECENT_DAYS else 0
        outlived += totals.objects if kind.age_days >= life_days else 0
        locked += totals.objects if (kind.locked_days or 0) > kind.age_days else 0
        held += totals.objects if kind.held else 0
        oldest = max(oldest, kind.age_days)
    return Holding(objects, size / GIB, recent / _RECENT_DAYS, outlived, locked, held, unmanaged, oldest)


def groups_of(kinds: Mapping[Kind, Totals], life_days: int, *, plan_days: int) -> tuple[Group, ...]:
    """Return a cell's objects, and those that will come, as groups of one class and one length of life.

    Args:
        kinds: The cell's counts.
        life_days: How old objects get; what is retained for longer lives as long as it is retained.
        plan_days: For how many days to count what arrives.
    """
    found: dict[tuple[StorageClass, int], dict[int, list[float]]] = {}
    size = objects = 0
    for kind, totals in kinds.items():
        if kind.storage_class not in StorageClass.__members__:
            continue
        life = max(life_days, _rounded(kind.locked_days or 0))
        age = min(kind.age_days, max(0, life - _OUTLIVED_DAYS)) if kind.age_days >= life else kind.age_days
        _put(found, (StorageClass(kind.storage_class), life), age, totals.objects, totals.size_bytes / GIB)
        size, objects = size + totals.size_bytes, objects + totals.objects
    arriving = holding_of(kinds, life_days).arriving * plan_days
    if arriving:
        _put(found, (StorageClass.STANDARD, life_days), 0, arriving, arriving * size / objects / GIB)
    return tuple(_group(by_age, life, name) for (name, life), by_age in sorted(found.items()))


def newcomer(gib: float, life_days: int) -> Group:
    """Return one new object."""
    return Group(np.array([0]), np.ones(1), np.full(1, gib), life_days)


def _put(
    found: dict[tuple[StorageClass, int], dict[int, list[float]]],
    key: tuple[StorageClass, int],
    age: int,
    objects: float,
    gib: float,
) -> None:
    sums = found.setdefault(key, {}).setdefault(age, [0.0, 0.0])
    sums[0] += objects
    sums[1] += gib


def _group(by_age: dict[int, list[float]], life_days: int, name: StorageClass) -> Group:
    ages = sorted(by_age)
    return Group(
        np.array(ages, dtype=np.int64),
        np.array([by_age[age][0] for age in ages]),
        np.array([by_age[age][1] for age in ages]),
        life_days,
        name,
    )


def _rounded(days: int) -> int:
    return -(-days // _LOCK_STEP_DAYS) * _LOCK_STEP_DAYS

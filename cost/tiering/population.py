"""Objects by age, and what they pay under a schedule until their lives end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cost.tiering.charges import Access, Charge, Floats, charges_of
from cost.tiering.model import RULES, Schedule, Step, StorageClass

Ints = NDArray[np.int64]
Used = dict[tuple[str, str], float]
"""Units of an item, by what they are paid for."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Objects of one size class that lie in one storage class and live equally long.

    Attributes:
        ages: Days, ascending, each below `life_days`; new objects have 0.
        objects: How many of each age; fractions are allowed (arrivals).
        gib: Their GiB.
        life_days: How old they get.
        now: Where they lie.
    """

    ages: Ints
    objects: Floats
    gib: Floats
    life_days: int
    now: StorageClass = StorageClass.STANDARD

    def __post_init__(self) -> None:
        if self.ages.size and not (self.ages[0] >= 0 and self.ages[-1] < self.life_days):
            raise ValueError(f"ages from 0 to below {self.life_days} days are wanted")
        if np.any(np.diff(self.ages) <= 0):
            raise ValueError("ages must ascend")


@dataclass(frozen=True, slots=True, eq=False)
class Stay:
    """Time in one class.

    Attributes:
        name: The class.
        chosen: Which of the group's ages.
        begin: The first day that is counted, for each.
        end: The day after the last.
        entered: When they came into the class.
        moved: Whether they were moved there, and the move is paid.
        leave: For which of them the stay ends within what is looked at.
    """

    name: StorageClass
    chosen: NDArray[np.bool_]
    begin: Ints
    end: Ints
    entered: Ints
    moved: bool
    leave: NDArray[np.bool_]


def reachable(schedule: Schedule, start: StorageClass) -> tuple[Step, ...]:
    """Return the steps that lifecycle can make from a class; those that lead back up are none."""
    now, found = start, []
    for step in schedule.steps:
        if step.to in RULES[now].onward:
            found.append(step)
            now = step.to
    return tuple(found)


def stays(schedule: Schedule, group: Group, within: int | None = None) -> Iterator[Stay]:
    """Yield where a group's objects are from now on, class by class.

    An object that is older than several steps goes straight to the last of them, as S3 moves it.

    Args:
        schedule: The rule.
        group: The objects.
        within: Look at so many days from now alone; None: to the end of their lives.
    """
    steps = reachable(schedule, group.now)
    names = [group.now, *(step.to for step in steps)]
    first = [0, *(step.day for step in steps)]
    last = [*(step.day for step in steps), group.life_days]
    limit = group.life_days + 0 * group.ages if within is None else np.minimum(group.life_days, group.ages + within)
    for number, (name, since, until) in enumerate(zip(names, first, last, strict=True)):
        begin, natural = np.maximum(group.ages, since), np.full(group.ages.shape, min(until, group.life_days))
        end = np.minimum(natural, limit)
        chosen = begin < end
        if chosen.any():
            entered = begin if number else np.zeros_like(begin)
            yield Stay(
                name,
                chosen,
                begin[chosen],
                end[chosen],
                entered[chosen],
                moved=number > 0,
                leave=(end == natural)[chosen],
            )


def quantities(
    schedule: Schedule,
    groups: Sequence[Group],
    charges: Mapping[StorageClass, Sequence[Charge]],
    within: int | None = None,
) -> Used:
    """Return how much of each fee's unit the groups use up under a schedule, from now on."""
    found: Used = {}
    for group in groups:
        for stay in stays(schedule, group, within):
            objects, gib = group.objects[stay.chosen], group.gib[stay.chosen]
            for charge in charges[stay.name]:
                if charge.entry and not stay.moved:
                    continue
                an_object, a_gib = charge.units(stay.begin, stay.end, stay.entered)
                used = objects * an_object + gib * a_gib
                if charge.least_days:
                    used = used[stay.leave]
                key = charge.item, charge.why
                found[key] = found.get(key, 0.0) + float(used.sum())
    return found


def tables(access: Access, *, small: bool) -> dict[StorageClass, tuple[Charge, ...]]:
    """Return the fees of every class for objects that are read like this."""
    return {name: charges_of(name, access, small=small) for name in StorageClass}


def spent(used: Used, usd: Callable[[str], float]) -> float:
    """Return USD for quantities; NaN where a fee that is used is not known."""
    return sum(amount * usd(item) for (item, _), amount in used.items() if amount)

"""The cheapest schedule by an exact dynamic program over (day, class), for all of a population at once. Pure.

A schedule is a chain of segments (class, first day, last day). What a population pays is a sum over segments: an object that is
younger than a segment's first day pays it from there on, one that is older from its own age on, and one that is older than its last
day pays nothing of it, as S3 moves it straight to a later class. So the cheapest chain is found by backward induction over the days
on which a step may fall, and no other chain of these days is cheaper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cost.tiering.charges import Charge, Floats
from cost.tiering.model import INTELLIGENT, KEEP, RULES, Schedule, Step, StorageClass
from cost.tiering.population import Group, Ints, quantities, spent

Charges = Mapping[StorageClass, Sequence[Charge]]
Usd = Callable[[str], float]
_SIMPLER = 0.002
"""A plain rule that costs at most this share more than the cheapest one is preferred: fewer moves, and less of chance."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule and what a population pays under it for the rest of its life, USD."""

    schedule: Schedule
    usd: float


def step_days(life_days: int) -> Ints:
    """Return the days on which a step may fall: each of the first 400, then weekly to three years, then every 30th."""
    days = [*range(min(400, life_days)), *range(400, min(1100, life_days), 7), *range(1100, life_days, 30)]
    return np.asarray(days or [0], dtype=np.int64)


def fixed_rules(allowed: Iterable[StorageClass]) -> tuple[Schedule, ...]:
    """Return the rules that people write without a look at their accesses: a class after a round number of days."""
    days = {
        StorageClass.STANDARD_IA: (30, 60, 90),
        StorageClass.ONEZONE_IA: (30, 60, 90),
        StorageClass.GLACIER_IR: (0, 30, 60, 90, 180, 365),
        StorageClass.GLACIER: (0, 30, 60, 90, 180, 365),
        StorageClass.DEEP_ARCHIVE: (0, 30, 60, 90, 180, 365),
    }
    known = set(allowed)
    found = [KEEP]
    for name, each in days.items():
        if name in known:
            found += [Schedule((Step(day, name),)) for day in each]
    classic = (Step(30, StorageClass.STANDARD_IA), Step(90, StorageClass.GLACIER_IR))
    if {step.to for step in classic} <= known:
        found.append(Schedule(classic))
    return tuple(found)


def costs(schedule: Schedule, groups: Sequence[Group], charges: Charges, usd: Usd) -> float:
    """Return what groups pay under a schedule until the end of their lives, USD; NaN where a fee is not known."""
    return spent(quantities(schedule, groups, charges), usd)


def cheapest(groups: Sequence[Group], charges: Charges, usd: Usd, allowed: Iterable[StorageClass]) -> Plan:
    """Return the cheapest schedule of the allowed classes, for objects that lie in Standard or are still to come.

    Args:
        groups: The objects; those that lie elsewhere do not take part in the choice.
        charges: Fees by class.
        usd: Price of an item.
        allowed: Classes whose fees are all known and that the data may lie in.

    Returns:
        A plain rule where none is cheaper by more than a fifth of a percent.
    """
    mine = [group for group in groups if group.now is StorageClass.STANDARD and group.ages.size]
    if not mine:
        return Plan(KEEP, 0.0)
    names = [StorageClass.STANDARD, *(name for name in allowed if name is not StorageClass.STANDARD)]
    best = induce(mine, charges, usd, names)
    plain = [KEEP, *([INTELLIGENT] if StorageClass.INTELLIGENT_TIERING in names else []), *fixed_rules(names)]
    simpler = min((Plan(rule, costs(rule, mine, charges, usd)) for rule in plain), key=lambda item: item.usd)
    return simpler if simpler.usd <= best.usd * (1 + _SIMPLER) else best


def induce(groups: Sequence[Group], charges: Charges, usd: Usd, names: Sequence[StorageClass]) -> Plan:
    """Return the cheapest schedule by backward induction; the first name is Standard."""
    life = max(group.life_days for group in groups)
    days = step_days(life)
    ends = np.append(days, life)
    values = {name: np.zeros(len(ends)) for name in names}
    choice = {name: np.zeros(len(ends), dtype=np.int64) for name in names}
    follow = {name: [other for other in RULES[name].onward if other in values] for name in names}
    segment = {name: _segments(name, groups, charges[name], usd, days, ends) for name in names}
    for at in range(len(days) - 1, -1, -1):
        for name in names:
            ahead = segment[name][at, at + 1 :] + _onward(values, follow[name], ends, at, name)
            least = int(np.argmin(ahead))
            # Where staying to the end is as cheap, nothing is moved.
            pick = least if ahead[least] < ahead[-1] * (1 - 1e-12) else len(ahead) - 1
            values[name][at], choice[name][at] = ahead[pick], at + 1 + pick
    return _chain(values, choice, follow, ends, names[0])


def _onward(
    values: Mapping[StorageClass, Floats], follow: Sequence[StorageClass], ends: Ints, at: int, name: StorageClass
) -> Floats:
    """Return what is still to be paid after a segment from day `at`, by where it ends."""
    after = np.full(len(ends) - at - 1, np.inf)
    after[-1] = 0.0
    for other in follow:
        open_ = (ends[at + 1 : -1] >= RULES[other].earliest_day) & (
            ends[at + 1 : -1] - ends[at] >= RULES[name].next_after_days
        )
        after[:-1] = np.where(open_, np.minimum(after[:-1], values[other][at + 1 : -1]), after[:-1])
    return after


def _chain(
    values: Mapping[StorageClass, Floats],
    choice: Mapping[StorageClass, Ints],
    follow: Mapping[StorageClass, Sequence[StorageClass]],
    ends: Ints,
    start: StorageClass,
) -> Plan:
    at, now, steps, last = 0, start, [], len(ends) - 1
    total = float(values[start][0])
    for other in follow[start]:  # on the very first day, before Standard cost anything
        if RULES[other].earliest_day == 0 and values[other][0] < total:
            now, total = other, float(values[other][0])
    if now is not start:
        steps.append(Step(0, now))
    while (at := int(choice[now][at])) != last:
        possible = [other for other in follow[now] if ends[at] >= RULES[other].earliest_day]
        now = min(possible, key=lambda other: values[other][at])
        steps.append(Step(int(ends[at]), now))
    return Plan(Schedule(tuple(steps)), total)


def _segments(
    name: StorageClass, groups: Sequence[Group], charges: Sequence[Charge], usd: Usd, days: Ints, ends: Ints
) -> Floats:
    """Return what all groups pay for a class from day `days[i]` to day `ends[j]`, USD."""
    found = np.zeros((len(days), len(ends)))
    merged = _merged(charges, usd)
    for group in groups:
        stop = np.minimum(ends, group.life_days)
        begin = np.minimum(days, group.life_days - 1)[:, None]
        young = np.searchsorted(group.ages, days, side="right")
        objects, gib = (np.concatenate(([0.0], np.cumsum(each)))[young][:, None] for each in (group.objects, group.gib))
        paid = _paid(merged, objects, gib, begin, stop[None, :])
        found += np.where(days[:, None] < stop[None, :], paid, 0.0)
        if group.ages[-1] > 0:
            found += _older(group, merged, stop)[young]
    return found


def _older(group: Group, merged: Sequence[Charge], stop: Ints) -> Floats:
    """Return what the objects from the k-th age on pay that come into a class at their own age, by where it ends."""
    ages = group.ages[:, None]
    paid = _paid(merged, group.objects[:, None], group.gib[:, None], ages, stop[None, :])
    total = np.cumsum(np.where(ages < stop[None, :], paid, 0.0)[::-1], axis=0)[::-1]
    return np.concatenate((total, np.zeros((1, len(stop)))))


def _paid(merged: Sequence[Charge], objects: Floats, gib: Floats, begin: Ints, end: Ints) -> Floats:
    paid: Floats = np.zeros(np.broadcast_shapes(begin.shape, end.shape))
    for charge in merged:
        an_object, a_gib = charge.units(begin, end)
        if charge.per_object.any():
            paid += objects * an_object
        if charge.per_gib.any():
            paid += gib * a_gib
    return paid


def _merged(charges: Sequence[Charge], usd: Usd) -> list[Charge]:
    """Return a class's fees as few series of dollars: one for each way in which they run."""
    sums: dict[tuple[int, bool, int], tuple[Floats, Floats]] = {}
    for charge in charges:
        price, key = usd(charge.item), (charge.lag, charge.entry, charge.least_days)
        before = sums.get(key, (0.0 * charge.per_object, 0.0 * charge.per_gib))
        sums[key] = (before[0] + price * charge.per_object, before[1] + price * charge.per_gib)
    return [Charge("", "", *series, lag, entry, least) for (lag, entry, least), series in sums.items()]

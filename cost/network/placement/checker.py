"""Holds a placement against its problem, rule by rule; knows nothing of how it was found. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from cost.network.placement.problem import Problem, Rule, RuleKind


def broken(problem: Problem, placement: Sequence[int]) -> tuple[str, ...]:
    """Return what a placement breaks, in words; empty for a sound one."""
    if len(placement) != len(problem.units):
        return (f"places {len(placement)} of {len(problem.units)} units",)
    return (
        *_places(problem, placement),
        *_loads(problem, placement),
        *(text for rule in problem.rules for text in _rule(problem, rule, placement)),
    )


def _places(problem: Problem, placement: Sequence[int]) -> Iterator[str]:
    for unit, zone in zip(problem.units, placement, strict=True):
        if not 0 <= zone < len(problem.zones):
            yield f"{unit.name} is in no zone"
        elif zone not in unit.allowed:
            allowed = ", ".join(problem.zones[item] for item in sorted(unit.allowed)) or "none"
            yield f"{unit.name} is in {problem.zones[zone]}, and may be in: {allowed}"


def _loads(problem: Problem, placement: Sequence[int]) -> Iterator[str]:
    for number, resource in enumerate(problem.resources):
        load: Counter[int] = Counter()
        for unit, zone in zip(problem.units, placement, strict=True):
            load[zone] += unit.needs[number]
        for zone, used in sorted(load.items()):
            if 0 <= zone < len(problem.zones) and used > problem.capacity[zone][number]:
                yield f"{problem.zones[zone]} has {problem.capacity[zone][number]} {resource}, and {used} are placed there"


def _rule(problem: Problem, rule: Rule, placement: Sequence[int]) -> Iterator[str]:
    pods: Counter[int] = Counter()
    for unit in rule.units:
        pods[placement[unit]] += problem.units[unit].members
    beside = {placement[unit] for unit in rule.others}
    if rule.kind is RuleKind.SKEW:
        # As the scheduler sees it, pod after pod: only a zone that is above the least by more than the limit breaks it.
        zones = rule.zones or frozenset(range(len(problem.zones)))
        least = 0 if rule.least_is_zero else min(pods[zone] for zone in zones)
        for zone in sorted(zones):
            if pods[zone] - least > rule.limit:
                yield f"{rule.name}: {pods[zone]} in {problem.zones[zone]}, {least} at the least: more than {rule.limit} apart"
    elif rule.kind is RuleKind.AT_MOST:
        for zone, count in sorted(pods.items()):
            if count > rule.limit:
                yield f"{rule.name}: {count} in {problem.zones[zone]}, at most {rule.limit}"
    elif rule.kind is RuleKind.APART:
        for zone in sorted(set(pods) & beside):
            yield f"{rule.name}: both in {problem.zones[zone]}"
    else:
        for zone in sorted(set(pods) - beside):
            yield f"{rule.name}: in {problem.zones[zone]}, without what it must be near"

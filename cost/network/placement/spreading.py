"""What crosses zones if everything is spread evenly: what placements are measured against. Pure."""

from __future__ import annotations

import random
from statistics import fmean

from cost.network.placement.problem import Placement, Problem, RuleKind

_DRAWS = 50


def even_spread(problem: Problem, *, seed: int = 0, draws: int = _DRAWS) -> float:
    """Return the mean of the bytes that cross zones over even spreads.

    Each group of a spreading rule goes round the zones from a random one on; so do all other units together, in random
    order. A unit goes on to the next zone that it may be in. What any of several units may serve goes to each alike, near or
    not, as a service without `trafficDistribution` sends it. Capacity is not looked at: it is a yardstick, no plan.
    """
    generator = random.Random(seed)  # noqa: S311 - draws, no secrets
    return fmean(_alike(problem, _draw(problem, generator)) for _ in range(draws))


def _alike(problem: Problem, placement: Placement) -> float:
    found = 0.0
    for edge in problem.edges:
        away = sum(placement[target] != placement[edge.source] for target in edge.targets)
        found += edge.weight * away / len(edge.targets)
    return found


def _draw(problem: Problem, generator: random.Random) -> Placement:
    groups = [list(rule.units) for rule in problem.rules if rule.kind in {RuleKind.SKEW, RuleKind.AT_MOST}]
    grouped = {unit for group in groups for unit in group}
    groups.append([unit for unit in range(len(problem.units)) if unit not in grouped])
    zones = [-1] * len(problem.units)
    count = len(problem.zones)
    for group in groups:
        generator.shuffle(group)
        at = generator.randrange(count)
        for unit in group:
            if zones[unit] >= 0:
                continue
            allowed = problem.units[unit].allowed
            zones[unit] = next((z for step in range(count) if (z := (at + step) % count) in allowed), 0)
            at += 1
    return tuple(zones)

"""Local search: annealing runs from sound placements, until the time is over (pure; the clock is given)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cost.network.placement.kernel import anneal
from cost.network.placement.problem import Placement, Problem, objective

_STEPS_A_UNIT = 20_000
_STEPS_MOST = 8_000_000
_PATIENCE = 9
"""Runs in a row that find nothing better: three from each beginning, hot, and three near the best one."""


@dataclass(frozen=True, slots=True)
class Arrays:
    """A problem as `kernel.anneal` takes it; see there."""

    allowed: Any
    free: Any
    need: Any
    capacity: Any
    starts: Any
    inc: Any
    source: Any
    tstarts: Any
    targets: Any
    weight: Any
    rstarts: Any
    rinc: Any
    members: Any
    kind: Any
    limit: Any
    compared: Any
    zero: Any
    now: Any

    @classmethod
    def of(cls, problem: Problem) -> Arrays:
        """Lay a problem out."""
        units, zones = len(problem.units), len(problem.zones)
        allowed = np.array([[z in unit.allowed for z in range(zones)] for unit in problem.units], dtype=bool)
        ends: list[list[tuple[int, int]]] = [[] for _ in range(units)]
        for number, edge in enumerate(problem.edges):
            ends[edge.source].append((number, 0))
            for target in edge.targets:
                ends[target].append((number, 1))
        bound: list[list[tuple[int, int]]] = [[] for _ in range(units)]
        for number, rule in enumerate(problem.rules):
            for side, members in enumerate((rule.units, rule.others)):
                for unit in members:
                    bound[unit].append((number, side))
        starts, inc = _rows(ends)
        rstarts, rinc = _rows(bound)
        tstarts = np.cumsum([0, *(len(edge.targets) for edge in problem.edges)])
        rules = problem.rules
        compared = [[not rule.zones or z in rule.zones for z in range(zones)] for rule in rules]
        return cls(
            allowed, np.flatnonzero(allowed.sum(axis=1) > 1),
            np.array([unit.needs for unit in problem.units], dtype=np.int64).reshape(units, -1),
            np.array(problem.capacity, dtype=np.int64).reshape(zones, -1), starts, inc,
            np.array([edge.source for edge in problem.edges], dtype=np.int64), tstarts.astype(np.int64),
            np.array([target for edge in problem.edges for target in edge.targets], dtype=np.int64),
            np.array([edge.weight for edge in problem.edges], dtype=np.float64), rstarts, rinc,
            np.array([unit.members for unit in problem.units], dtype=np.int64),
            np.array([int(rule.kind) for rule in rules], dtype=np.int64),
            np.array([rule.limit for rule in rules], dtype=np.int64),
            np.array(compared, dtype=bool).reshape(len(rules), zones),
            np.array([rule.least_is_zero for rule in rules], dtype=bool),
            np.array([-1 if unit.now is None else unit.now for unit in problem.units], dtype=np.int64),
        )  # fmt: skip


def _rows(lists: Sequence[Sequence[tuple[int, int]]]) -> tuple[Any, Any]:
    starts = np.cumsum([0, *(len(item) for item in lists)]).astype(np.int64)
    rows = np.array([pair for item in lists for pair in item], dtype=np.int64).reshape(-1, 2)
    return starts, rows


def search(
    problem: Problem, begins: Sequence[Placement], *, seconds: float, clock: Callable[[], float], seed: int = 0, runs: int = 60
) -> Placement:  # fmt: skip
    """Return the best placement that annealing met; at least one run is made.

    Args:
        problem: The problem.
        begins: Sound placements to begin from, in turn; later runs also begin from the best one.
        seconds: When to begin no further run.
        clock: Seconds, of whatever is counted.
        seed: Of the random numbers: the same seed and number of runs give the same placement.
        runs: At most so many.
    """
    arrays = Arrays.of(problem)
    best = min(begins, key=lambda item: objective(problem, item))
    if not len(arrays.free) or not problem.total:  # without a byte there is no heat to anneal with
        return best
    least = objective(problem, best)
    heat = float(np.mean(arrays.weight)) * 4
    steps = min(_STEPS_A_UNIT * len(arrays.free), _STEPS_MOST)
    begun, idle = clock(), 0
    for run in range(runs):
        begin = begins[run % len(begins)] if run % 3 < 2 else best
        # Reheating the best one a little explores near it; a hot run forgets where it began.
        zone = np.array(begin, dtype=np.int64)
        hot = heat if run % 3 < 2 else heat / 10
        anneal(
            seed + run, steps, hot, hot / 1e5, zone, **{name: getattr(arrays, name) for name in Arrays.__slots__},
            stay=problem.stay,
        )  # fmt: skip
        found = tuple(zone.tolist())
        value = objective(problem, found)
        idle += 1
        if value < least * (1 - 1e-9):
            best, least, idle = found, value, 0
        if clock() - begun >= seconds or idle >= _PATIENCE:
            break
    return best

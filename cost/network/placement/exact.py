"""The problem as a mixed-integer program for HiGHS. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from cost.network.placement.bounds import stars_of
from cost.network.placement.problem import Placement, Problem, Rule, RuleKind

TOLERANCE = 1e-5
"""Of all bytes: placements closer than this count as equal. HiGHS keeps rows to 1e-6."""
_OPTIMAL, _INFEASIBLE = 0, 2
"""Of `scipy.optimize.milp`."""


@dataclass(frozen=True, slots=True)
class Solved:
    """What HiGHS found.

    Attributes:
        placement: The best one; None where none was found in time, or there is none.
        bound: No placement has fewer bytes across zones.
        proven: Whether nothing is better than the placement, by more than `TOLERANCE` of all bytes.
        infeasible: Whether there is none at all.
    """

    placement: Placement | None
    bound: float
    proven: bool
    infeasible: bool


class _Rows:
    """Collects linear rows."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, int, float]] = []
        self.low: list[float] = []
        self.high: list[float] = []

    def add(self, terms: list[tuple[int, float]], low: float, high: float) -> int:
        row = len(self.low)
        self.entries += [(row, column, value) for column, value in terms]
        self.low.append(low)
        self.high.append(high)
        return row

    def constraint(self, columns: int) -> LinearConstraint:
        rows, places, values = zip(*self.entries, strict=True) if self.entries else ((), (), ())
        matrix = coo_array((values, (rows, places)), shape=(len(self.low), columns))
        return LinearConstraint(matrix.tocsr(), np.array(self.low), np.array(self.high))


@dataclass(frozen=True, slots=True)
class Program:
    """Variables: `x[unit, zone]` first, then `y[edge]`, then one slack a requirement where they may be broken."""

    problem: Problem
    rows: _Rows
    slack_of: tuple[str, ...]

    def x(self, unit: int, zone: int) -> int:
        """Return a placement variable's column."""
        return unit * len(self.problem.zones) + zone

    @property
    def first_y(self) -> int:
        """Column of the first edge."""
        return len(self.problem.units) * len(self.problem.zones)


def build(problem: Problem, *, elastic: bool = False) -> Program:
    """Write a problem as rows; `elastic` lets each requirement be broken at a price, to see which cannot hold."""
    program = Program(problem, _Rows(), ())
    names: list[str] = []
    zones, rows, x = range(len(problem.zones)), program.rows, program.x
    slack = program.first_y + len(problem.edges)

    def loose(name: str) -> list[tuple[int, float]]:
        if not elastic:
            return []
        names.append(name)
        return [(slack + len(names) - 1, -1.0)]

    for unit in range(len(problem.units)):
        rows.add([(x(unit, zone), 1.0) for zone in zones], 1.0, 1.0)
    for number, resource in enumerate(problem.resources):
        for zone in zones:
            terms = [
                (x(u, zone), float(unit.needs[number])) for u, unit in enumerate(problem.units) if unit.needs[number]
            ]
            top = float(problem.capacity[zone][number])
            scale = 1.0 / max(top, 1.0)
            rows.add(
                [(column, value * scale) for column, value in terms] + loose(f"{resource} of {problem.zones[zone]}"),
                -np.inf,
                top * scale,
            )
    for rule in problem.rules:
        _add_rule(program, rule, loose)
    for number, edge in enumerate(problem.edges):
        y = program.first_y + number
        for zone in zones:
            near = [(x(target, zone), 1.0) for target in edge.targets]
            rows.add([(y, 1.0), (x(edge.source, zone), -1.0), *near], 0.0, np.inf)
    for star in stars_of(problem):
        # Implied for whole placements; without it a third of everything in each zone would let nothing cross.
        rows.add(
            [(program.first_y + edge, 1.0) for edge in star.edges], float(len(star.edges) - star.near_most), np.inf
        )
    return Program(problem, rows, tuple(names))


def _add_rule(program: Program, rule: Rule, loose: Any) -> None:
    problem, rows, x = program.problem, program.rows, program.x
    zones = range(len(problem.zones))

    def pods(zone: int, sign: float) -> list[tuple[int, float]]:
        return [(x(unit, zone), sign * problem.units[unit].members) for unit in rule.units]

    if rule.kind is RuleKind.SKEW:
        compared = sorted(rule.zones or zones)
        for zone in compared:
            if rule.least_is_zero:
                rows.add(pods(zone, 1.0) + loose(rule.name), -np.inf, float(rule.limit))
                continue
            for other in compared:
                if other != zone:
                    rows.add(pods(zone, 1.0) + pods(other, -1.0) + loose(rule.name), -np.inf, float(rule.limit))
    elif rule.kind is RuleKind.AT_MOST:
        for zone in zones:
            rows.add(pods(zone, 1.0) + loose(rule.name), -np.inf, float(rule.limit))
    else:
        _add_two_sides(program, rule, loose)


def _add_two_sides(program: Program, rule: Rule, loose: Any) -> None:
    for zone in range(len(program.problem.zones)):
        beside = [program.x(other, zone) for other in rule.others]
        for own in (program.x(unit, zone) for unit in rule.units):
            if rule.kind is RuleKind.NEAR:
                terms = [(own, 1.0), *((column, -1.0) for column in beside)]
                program.rows.add(terms + loose(rule.name), -np.inf, 0.0)
                continue
            for column in beside:
                program.rows.add([(own, 1.0), (column, 1.0), *loose(rule.name)], -np.inf, 1.0)


def solve(problem: Problem, *, seconds: float, cutoff: float | None = None, feasible_only: bool = False) -> Solved:
    """Solve with HiGHS.

    Args:
        problem: The problem.
        seconds: At most so long.
        cutoff: Only what is better than this is of interest: the value of a placement that is known. Where there is nothing
            better, `proven` is set and `placement` is None.
        feasible_only: Any sound placement will do.
    """
    program = build(problem)
    columns = program.first_y + len(problem.edges)
    weights = np.array([edge.weight for edge in problem.edges])
    scale = max(float(weights.sum()), 1.0)
    cost = np.zeros(columns)
    if not feasible_only:
        cost[program.first_y :] = weights / scale
        for number, unit in enumerate(problem.units):
            for zone in range(len(problem.zones)):
                if unit.now is not None and zone != unit.now:
                    cost[program.x(number, zone)] = problem.stay / scale
        if cutoff is not None:
            top = cutoff / scale - TOLERANCE
            program.rows.add([(int(c), float(cost[c])) for c in np.flatnonzero(cost)], -np.inf, top)
    upper = np.ones(columns)
    for number, unit in enumerate(problem.units):
        for zone in range(len(problem.zones)):
            if zone not in unit.allowed:
                upper[program.x(number, zone)] = 0.0
    _break_symmetry(program, upper)
    integral = np.zeros(columns)
    integral[: program.first_y] = 1
    found = milp(
        cost, integrality=integral, bounds=Bounds(np.zeros(columns), upper), constraints=program.rows.constraint(columns),
        options={"time_limit": max(seconds, 0.1), "mip_rel_gap": 1e-6},
    )  # fmt: skip
    bound = (
        0.0 if found.mip_dual_bound is None or not np.isfinite(found.mip_dual_bound) else float(found.mip_dual_bound)
    )
    if found.status == _INFEASIBLE:
        known = cutoff is not None
        return Solved(None, cutoff if cutoff is not None else np.inf, proven=known, infeasible=not known)
    if found.x is None:
        return Solved(None, max(bound * scale, 0.0), proven=False, infeasible=False)
    zones = np.argmax(found.x[: program.first_y].reshape(len(problem.units), -1), axis=1)
    done = found.status == _OPTIMAL and not feasible_only
    return Solved(tuple(zones.tolist()), max(bound * scale, 0.0), proven=done, infeasible=False)


def _break_symmetry(program: Program, upper: Any) -> None:
    """Where zones cannot be told apart, put the busiest unit into the first: each placement has mirror images otherwise."""
    problem = program.problem
    every = frozenset(range(len(problem.zones)))
    alike = len(set(problem.capacity)) == 1 and all(unit.allowed == every for unit in problem.units)
    moves = problem.stay > 0 and any(unit.now is not None for unit in problem.units)
    if not alike or moves or any(rule.zones not in {frozenset(), every} for rule in problem.rules) or not problem.units:
        return
    busy = np.zeros(len(problem.units))
    for edge in problem.edges:
        for unit in (edge.source, *edge.targets):
            busy[unit] += edge.weight
    first = int(np.argmax(busy))
    for zone in range(1, len(problem.zones)):
        upper[program.x(first, zone)] = 0.0

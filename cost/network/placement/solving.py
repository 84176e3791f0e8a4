"""Finds a placement: HiGHS, with local search before it, and alone above sixty units; says how far from the best it can be. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, milp

from cost.network.placement.bounds import lower_bound
from cost.network.placement.checker import broken
from cost.network.placement.exact import Solved, build, solve
from cost.network.placement.problem import Placement, Problem, Rule, RuleKind, crossing, moved, objective, present
from cost.network.placement.search import search

EXACT_UNITS = 60
"""Up to so many free units HiGHS gets most of the time; above, it closes no gap in a minute."""
_LARGE_UNITS = 400
"""Above, not even a bound comes out of HiGHS in a minute."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A placement and what is known of it.

    Attributes:
        placement: The zone of each unit; None where there is no sound one.
        crossing_bytes: What crosses zones.
        bound_bytes: No sound placement lets less cross.
        proven: Whether none is better, to a hundred-thousandth of all bytes.
        seconds: What it took, by the clock that was given.
        moved: Units that leave their present zone.
        method: What found it.
        refused: Why there is no sound placement; empty where there is one.
    """

    placement: Placement | None
    crossing_bytes: float
    bound_bytes: float
    proven: bool
    seconds: float
    moved: int
    method: str
    refused: tuple[str, ...] = ()

    @property
    def gap(self) -> float | None:
        """How much better another one could be at most, as a share of what crosses; None without a placement."""
        if self.placement is None:
            return None
        if self.proven or self.crossing_bytes <= 0:
            return 0.0
        return max(0.0, (self.crossing_bytes - self.bound_bytes) / self.crossing_bytes)


def place(problem: Problem, *, seconds: float, clock: Callable[[], float], seed: int = 0) -> Outcome:
    """Place every unit.

    Args:
        problem: The problem.
        seconds: At most about so long, by `clock`.
        clock: Seconds; of the processor for a fair comparison.
        seed: Of the search.
    """
    begun = clock()
    why = impossible(problem)
    begins: list[Placement] = []
    if not why:
        begins, why = _begins(problem, seconds)
    if why or not begins:
        said = why or (f"no sound placement was found in {seconds:g} s",)
        return Outcome(None, 0.0, 0.0, proven=False, seconds=clock() - begun, moved=0, method="none", refused=said)
    free = sum(len(unit.allowed) > 1 for unit in problem.units)
    small = free <= EXACT_UNITS
    best = search(problem, begins, seconds=seconds * (0.1 if small else 0.4), clock=clock, seed=seed)
    method = "local search"
    solved = Solved(None, 0.0, proven=False, infeasible=False)
    left = seconds - (clock() - begun)
    if free <= _LARGE_UNITS and left > 0:
        solved = solve(problem, seconds=left * (0.95 if small else 0.8), cutoff=objective(problem, best))
        if solved.placement is not None and not broken(problem, solved.placement):
            if objective(problem, solved.placement) < objective(problem, best):
                best, method = solved.placement, "HiGHS"
        if solved.proven:
            method = f"{method}, proven by HiGHS"
    cut = crossing(problem, best)
    # The program's bound is of bytes and moves together: what the moves may cost is taken off it.
    slack = problem.stay * free
    bound = min(max(solved.bound - slack, lower_bound(problem), 0.0), cut)
    return Outcome(
        best, cut, cut if solved.proven and not slack else bound, solved.proven, clock() - begun, moved(problem, best), method
    )  # fmt: skip


def _begins(problem: Problem, seconds: float) -> tuple[list[Placement], tuple[str, ...]]:
    """Return sound placements to begin from, or why there is none."""
    now = present(problem)
    begins = [now] if now is not None and not broken(problem, now) else []
    if begins and len(problem.units) > _LARGE_UNITS:
        return begins, ()
    first = solve(problem, seconds=seconds / 2, feasible_only=True)
    if first.infeasible:
        return [], unmet(problem, seconds / 2)
    if first.placement is not None and not broken(problem, first.placement):
        begins.append(first.placement)
    return begins, ()


def impossible(problem: Problem) -> tuple[str, ...]:
    """Return what cannot hold, as far as it shows without solving: by unit, by resource, by rule."""
    said = [f"{unit.name} may be in no zone" for unit in problem.units if not unit.allowed]
    for number, resource in enumerate(problem.resources):
        tops = [row[number] for row in problem.capacity]
        total = sum(unit.needs[number] for unit in problem.units)
        if total > sum(tops):
            said.append(f"all zones together have {sum(tops)} {resource}, and {total} are needed")
        for unit in problem.units:
            if unit.allowed and unit.needs[number] > max(tops[zone] for zone in unit.allowed):
                said.append(
                    f"{unit.name} needs {unit.needs[number]} {resource}: more than any zone that it may be in has"
                )
        for zone, name in enumerate(problem.zones):
            fixed = sum(unit.needs[number] for unit in problem.units if unit.allowed == {zone})
            if fixed > tops[zone]:
                said.append(f"what is pinned to {name} needs {fixed} {resource}, and it has {tops[zone]}")
    said += [text for rule in problem.rules for text in _impossible_rule(problem, rule)]
    return tuple(said)


def _impossible_rule(problem: Problem, rule: Rule) -> list[str]:
    pods = sum(problem.units[unit].members for unit in rule.units)
    zones = frozenset().union(*(problem.units[unit].allowed for unit in rule.units))
    if rule.kind is RuleKind.AT_MOST and pods > rule.limit * len(zones):
        return [f"{rule.name}: {pods} pods, at most {rule.limit} a zone, in {len(zones)} zones"]
    if rule.kind is RuleKind.SKEW:
        compared = rule.zones or frozenset(range(len(problem.zones)))
        unreachable = compared - zones
        if unreachable and pods > rule.limit * len(zones):
            names = ", ".join(problem.zones[zone] for zone in sorted(unreachable))
            return [f"{rule.name}: {pods} pods differ by {rule.limit} at most, and none may be in {names}"]
    return []


def unmet(problem: Problem, seconds: float) -> tuple[str, ...]:
    """Return which requirements cannot hold together: those broken where breaking as little as possible."""
    program = build(problem, elastic=True)
    first = program.first_y + len(problem.edges)
    columns = first + len(program.slack_of)
    cost = np.zeros(columns)
    cost[first:] = 1.0
    upper = np.full(columns, np.inf)
    upper[:first] = 1.0
    for number, unit in enumerate(problem.units):
        for zone in range(len(problem.zones)):
            if zone not in unit.allowed:
                upper[program.x(number, zone)] = 0.0
    integral = np.zeros(columns)
    integral[: program.first_y] = 1
    found = milp(
        cost, integrality=integral, bounds=Bounds(np.zeros(columns), upper), constraints=program.rows.constraint(columns),
        options={"time_limit": max(seconds, 1.0)},
    )  # fmt: skip
    if found.x is None:
        return ("no sound placement exists, and which requirement stands in the way was not found in time",)
    names = {program.slack_of[item] for item in np.flatnonzero(found.x[first:] > 1e-6)}
    return tuple(f"cannot hold together with the rest: {name}" for name in sorted(names))

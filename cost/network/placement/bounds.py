"""Bounds below what any sound placement lets cross, found without searching. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from cost.network.placement.problem import Problem, Rule, RuleKind


@dataclass(frozen=True, slots=True)
class Star:
    """Edges from a spread group to one place: the group cannot all be near it.

    Attributes:
        edges: Numbers of the edges, each of another unit of the group.
        near_most: How many of them stay within a zone at most.
    """

    edges: tuple[int, ...]
    near_most: int


def lower_bound(problem: Problem) -> float:
    """Return bytes that cross zones in every sound placement: what spread groups must send, and what fits into no zone."""
    weight = [edge.weight for edge in problem.edges]
    taken: set[int] = set()
    found = 0.0
    stars = sorted(stars_of(problem), key=lambda star: -_far(star.edges, star.near_most, weight))
    for star in stars:
        left = tuple(edge for edge in star.edges if edge not in taken)
        far = _far(left, star.near_most, weight)
        if far > 0:
            found += far
            taken.update(left)
    # The stars' edges and the others are different bytes: what each must let cross adds up.
    apart = found + spectral_bound(problem, frozenset(taken))
    return max(apart, spectral_bound(problem))


def _far(edges: tuple[int, ...], near_most: int, weight: list[float]) -> float:
    """Return what crosses at least: all but the heaviest that may be near."""
    return sum(sorted((weight[edge] for edge in edges), reverse=True)[near_most:])


def stars_of(problem: Problem) -> list[Star]:
    """Return the stars that bind: groups of which more have an edge to a place than may be near it."""
    ends: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
    for number, edge in enumerate(problem.edges):
        ends[edge.source, edge.targets].append(number)
        if len(edge.targets) == 1:  # an edge to one unit is the same from either end
            ends[edge.targets[0], (edge.source,)].append(number)
    by_place: dict[int, list[tuple[tuple[int, ...], int]]] = defaultdict(list)
    for (unit, place), numbers in ends.items():
        by_place[unit] += [(place, number) for number in numbers]
    found = {}
    for rule in problem.rules:
        most = _most_a_zone(problem, rule)
        if most is None:
            continue
        edges: dict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
        for unit in rule.units:
            for place, number in by_place[unit]:
                if unit not in place:
                    edges[place].setdefault(unit, number)
        for place, by_unit in edges.items():
            near = most * len(place)
            if len(by_unit) > near:
                star = Star(tuple(sorted(by_unit.values())), near)
                found[star.edges] = star
    return list(found.values())


def _most_a_zone(problem: Problem, rule: Rule) -> int | None:
    """Return how many units of a group a zone has at most; None for rules that say no such thing."""
    if any(problem.units[unit].members != 1 for unit in rule.units):
        return None
    if rule.kind is RuleKind.AT_MOST:
        return rule.limit
    if rule.kind is not RuleKind.SKEW:
        return None
    zones = rule.zones or frozenset(range(len(problem.zones)))
    allowed = frozenset().union(*(problem.units[unit].allowed for unit in rule.units))
    if not allowed <= zones:  # what lies outside the compared zones is bound by nothing
        return None
    if rule.least_is_zero:
        return rule.limit
    # With c in one zone, each other one has c - limit or more: c + (zones - 1) * (c - limit) is all there is, or less.
    return max((len(rule.units) + (len(zones) - 1) * rule.limit) // len(zones), 1)


def spectral_bound(problem: Problem, without: frozenset[int] = frozenset()) -> float:
    """Return bytes that must cross zones because no zone can hold everything.

    With L the Laplacian of the edges between two units and S the diagonal of one resource's needs, a placement with loads
    m_1 >= m_2 >= ... cuts at least half the sum of m_z lambda_z, lambda ascending of L v = lambda S v. The loads that make
    this least fill the largest zones first. Source: W. Donath, A. Hoffman, "Lower bounds for the partitioning of graphs",
    IBM J. Res. Dev. 17 (1973), with weighted vertices.

    Args:
        problem: The problem.
        without: Edges that are not looked at.
    """
    count, zones = len(problem.units), len(problem.zones)
    laplace = np.zeros((count, count))
    for number, edge in enumerate(problem.edges):
        if len(edge.targets) == 1 and number not in without:
            a, b = edge.source, edge.targets[0]
            laplace[a, a] += edge.weight
            laplace[b, b] += edge.weight
            laplace[a, b] -= edge.weight
            laplace[b, a] -= edge.weight
    best = 0.0
    for number in range(len(problem.resources)):
        needs = np.array([unit.needs[number] for unit in problem.units], dtype=np.float64)
        held = np.flatnonzero(needs > 0)
        total = float(needs.sum())
        tops = sorted((float(row[number]) for row in problem.capacity), reverse=True)
        if len(held) < zones or total <= tops[0]:
            continue
        inner = laplace[np.ix_(held, held)].copy()
        # Edges to units without this need may lie anywhere: without them, and their part of the diagonal, it is still a bound.
        np.fill_diagonal(inner, 0.0)
        np.fill_diagonal(inner, -inner.sum(axis=1))
        values = np.sort(eigh(inner, np.diag(needs[held]), eigvals_only=True))[:zones]
        loads = []
        left = total
        for top in tops:
            loads.append(min(top, left))
            left -= loads[-1]
        best = max(best, 0.5 * float(np.dot(loads, np.maximum(values, 0.0))))
    return best

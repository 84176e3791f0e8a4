from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost.network.placement.bounds import lower_bound, spectral_bound, stars_of
from cost.network.placement.checker import broken
from cost.network.placement.exact import solve
from cost.network.placement.problem import Edge, Problem, Rule, RuleKind, Unit, crossing, moved, objective
from cost.network.placement.search import search
from cost.network.placement.solving import impossible, place, unmet
from cost.network.placement.spreading import even_spread
from tests.bench.network_graphs import FAMILIES

EVERY = frozenset({0, 1, 2})


def problem_of(
    count: int, edges: tuple[Edge, ...], rules: tuple[Rule, ...] = (), *, top: int = 4, **units: Unit
) -> Problem:
    made = [units.get(f"u{n}", Unit(f"u{n}", (1,), EVERY)) for n in range(count)]
    return Problem(("a", "b", "c"), tuple(made), ("cpu",), ((top,),) * 3, edges, rules)


def best_of_all(problem: Problem) -> float:
    """Return the least that any sound placement lets cross, by trying all."""
    count, zones = len(problem.units), len(problem.zones)
    grid = np.array(np.unravel_index(np.arange(zones**count), (zones,) * count)).T.tolist()
    return min(objective(problem, item) for item in grid if not broken(problem, item))


SPREAD = Rule(RuleKind.SKEW, "web", (0, 1, 2), 1)
CHAIN = tuple(Edge(n, (n + 1,), 10.0 + n) for n in range(5))


def test_bytes_cross_unless_one_of_the_targets_is_near() -> None:
    problem = problem_of(3, (Edge(0, (1, 2), 5.0), Edge(0, (1,), 2.0)))
    assert crossing(problem, (0, 0, 1)) == 0.0
    assert crossing(problem, (0, 1, 0)) == 2.0
    assert crossing(problem, (0, 1, 2)) == 7.0


@pytest.mark.parametrize(
    ("rule", "sound", "fault", "said"),
    [
        (SPREAD, (0, 1, 2), (0, 0, 1), "2 in a, 0 at the least"),
        (Rule(RuleKind.SKEW, "web", (0, 1, 2), 2), (0, 0, 1), (0, 0, 0), "3 in a"),
        (
            Rule(RuleKind.SKEW, "web", (0, 1), 1, zones=frozenset({0, 1}), least_is_zero=True),
            (0, 1, 0),
            (0, 0, 1),
            "2 in a",
        ),
        (Rule(RuleKind.AT_MOST, "db", (0, 1, 2), 1), (2, 1, 0), (2, 1, 1), "2 in b, at most 1"),
        (Rule(RuleKind.APART, "one and other", (0,), others=(1, 2)), (0, 1, 1), (0, 1, 0), "both in a"),
        (Rule(RuleKind.NEAR, "side", (0, 1), others=(2,)), (1, 1, 1), (1, 0, 1), "in a, without"),
    ],
)
def test_each_rule_holds_a_sound_placement_and_catches_a_planted_fault(
    rule: Rule, sound: tuple[int, ...], fault: tuple[int, ...], said: str
) -> None:
    problem = problem_of(3, (), (rule,))
    assert broken(problem, sound) == ()
    assert any(said in text for text in broken(problem, fault))


def test_capacity_pins_and_missing_units_are_caught() -> None:
    problem = problem_of(3, (), top=2, u0=Unit("u0", (1,), frozenset({2})))
    assert broken(problem, (2, 0, 1)) == ()
    assert "u0 is in a, and may be in: c" in broken(problem, (0, 0, 1))
    assert "a has 2 cpu, and 3 are placed there" in broken(problem_of(3, (), top=2), (0, 0, 0))
    assert broken(problem, (2, 0))
    assert broken(problem, (2, 0, 7))


def test_a_gang_counts_as_all_of_its_pods() -> None:
    problem = problem_of(3, (), (SPREAD,), top=9, u0=Unit("u0", (4,), EVERY, members=4))
    assert broken(problem, (0, 1, 2))  # four against one


@pytest.mark.parametrize("size", [7, 8])
def test_highs_and_the_search_find_the_best_of_all(size: int) -> None:
    edges = (*CHAIN, Edge(6, (0, 3), 8.0), Edge(5, (1,), 3.0))
    problem = problem_of(size, edges, (SPREAD,), top=4, u3=Unit("u3", (2,), frozenset({1})))
    best = best_of_all(problem)
    solved = solve(problem, seconds=20)
    assert solved.proven
    assert solved.placement is not None
    assert crossing(problem, solved.placement) == pytest.approx(best)
    begin = solve(problem, seconds=20, feasible_only=True).placement
    assert begin is not None
    found = search(problem, [begin], seconds=0.5, clock=time.process_time, runs=3)
    assert broken(problem, found) == ()
    assert crossing(problem, found) == pytest.approx(best)


def test_a_cutoff_that_is_the_best_proves_it() -> None:
    problem = problem_of(6, CHAIN, (SPREAD,), top=2)
    best = best_of_all(problem)
    solved = solve(problem, seconds=20, cutoff=best)
    assert solved.placement is None
    assert solved.proven
    assert solved.bound == pytest.approx(best, rel=1e-4)
    assert solve(problem, seconds=20, cutoff=best + 1).placement is not None


def test_a_spread_group_cannot_all_be_near_one_place() -> None:
    problem = problem_of(4, tuple(Edge(n, (3,), 5.0 + n) for n in range(3)), (SPREAD,))
    (star,) = stars_of(problem)
    assert star.near_most == 1
    assert lower_bound(problem) == best_of_all(problem) == 11.0
    assert stars_of(problem_of(4, problem.edges)) == []


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_no_bound_is_above_the_best_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    edges = tuple(
        Edge(int(a), (int(b),), float(random.uniform(1, 9))) for a, b in random.integers(0, 6, (9, 2)) if a != b
    )
    units = {f"u{n}": Unit(f"u{n}", (int(random.integers(1, 4)),), EVERY) for n in range(6)}
    kinds = [
        Rule(RuleKind.SKEW, "s", (0, 1, 2), 1),
        Rule(RuleKind.AT_MOST, "m", (3, 4), 1),
        Rule(RuleKind.SKEW, "t", (1, 2, 3, 4), 2),
    ]
    fans = tuple(Edge(n, (4, 5), float(random.uniform(1, 9))) for n in range(3))
    rules = tuple(rule for rule in kinds if random.random() < 0.6)
    problem = problem_of(6, edges + fans, rules, top=6, **units)
    if any(True for _ in impossible(problem)):
        return
    try:
        best = best_of_all(problem)
    except ValueError:  # no sound placement at all
        return
    assert lower_bound(problem) <= best + 1e-6


@pytest.mark.parametrize("family", ["services", "training"])
def test_found_placements_are_sound_and_within_their_gap(family: str) -> None:
    problem = FAMILIES[family](24, np.random.default_rng(3))
    outcome = place(problem, seconds=2.0, clock=time.process_time)
    assert outcome.placement is not None
    assert broken(problem, outcome.placement) == ()
    assert outcome.gap is not None
    assert outcome.bound_bytes <= outcome.crossing_bytes <= 0.25 * even_spread(problem)
    # A solver that forgot the spreading would be caught: everything in one zone.
    assert broken(problem, (0,) * len(problem.units))


def test_nothing_moves_for_nothing() -> None:
    units = {f"u{n}": Unit(f"u{n}", (1,), EVERY, n % 3) for n in range(4)}
    problem = replace(problem_of(4, (Edge(0, (3,), 5.0), Edge(1, (2,), 0.001)), **units), stay=0.1)
    outcome = place(problem, seconds=1.0, clock=time.process_time)
    assert outcome.placement is not None
    assert moved(problem, outcome.placement) == 0


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (problem_of(9, (), top=2), "all zones together have 6 cpu, and 9 are needed"),
        (problem_of(2, (), u0=Unit("u0", (1,), frozenset())), "u0 may be in no zone"),
        (problem_of(2, (), u0=Unit("u0", (5,), EVERY)), "u0 needs 5 cpu"),
        (
            problem_of(3, (), top=1, u0=Unit("u0", (1,), frozenset({0})), u1=Unit("u1", (1,), frozenset({0}))),
            "pinned to a needs 2",
        ),
        (
            problem_of(4, (), (Rule(RuleKind.AT_MOST, "db", (0, 1, 2, 3), 1),)),
            "db: 4 pods, at most 1 a zone, in 3 zones",
        ),
    ],
)
def test_what_cannot_be_says_why(problem: Problem, said: str) -> None:
    outcome = place(problem, seconds=1.0, clock=time.process_time)
    assert outcome.placement is None
    assert any(said in text for text in outcome.refused)


def test_requirements_that_cannot_hold_together_are_named() -> None:
    near = Rule(RuleKind.NEAR, "side near main", (0,), others=(1,))
    apart = Rule(RuleKind.APART, "side apart from main", (0,), others=(1,))
    outcome = place(problem_of(2, (), (near, apart)), seconds=2.0, clock=time.process_time)
    assert outcome.placement is None
    assert any("side near main" in text or "side apart from main" in text for text in outcome.refused)
    assert unmet(problem_of(2, (), (near,)), 2.0) == ()


def test_a_problem_that_contradicts_itself_is_refused() -> None:
    for edges in ((Edge(0, (0,), 1.0),), (Edge(0, (9,), 1.0),), (Edge(0, (1,), -1.0),), (Edge(0, (), 1.0),)):
        with pytest.raises(ValueError, match="edge"):
            problem_of(2, edges)


def test_edges_without_a_byte_leave_everything_where_it_is() -> None:
    problem = problem_of(3, (Edge(0, (1,), 0.0),), (SPREAD,))
    found = place(problem, seconds=1, clock=time.process_time)
    assert found.placement is not None
    assert (found.crossing_bytes, found.gap) == (0.0, 0.0)


def test_any_near_target_is_enough_for_highs_too() -> None:
    # u0 needs either u1 (pinned to b) or u2 (pinned to c), and u3 (pinned to c) as well: c alone crosses nothing.
    pins = {f"u{n}": Unit(f"u{n}", (1,), frozenset({zone})) for n, zone in ((1, 1), (2, 2), (3, 2))}
    problem = problem_of(4, (Edge(0, (1, 2), 10.0), Edge(0, (3,), 1.0)), top=4, **pins)
    found = solve(problem, seconds=5)
    assert found.placement is not None
    assert found.placement[0] == 2
    assert found.bound == pytest.approx(0.0, abs=1e-6)
    assert best_of_all(problem) == 0.0


def test_the_spectral_bound_is_reached_where_everything_talks_to_everything() -> None:
    units = tuple(Unit(f"u{n}", (1,), frozenset({0, 1})) for n in range(6))
    edges = tuple(Edge(a, (b,), 1.0) for a in range(6) for b in range(a + 1, 6))
    problem = Problem(("a", "b"), units, ("cpu",), ((3,), (3,)), edges)
    assert best_of_all(problem) == 9.0  # three by three pairs are cut, whoever is where
    assert spectral_bound(problem) == pytest.approx(9.0)

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_compile.precision_search import explain, search

NOISE = {"stem": 1e-3, "block": 1e-4, "head": 1e-2, "out": 3e-2, "skip": 1e-5}


class Engine:
    """Tensors whose errors in 8 bits add up, each a 65,536th of it in 16; counts what it is asked."""

    def __init__(self, noise: dict[str, float]) -> None:
        self.noise, self.asked = noise, []

    def __call__(self, wide: frozenset[str]) -> float:
        self.asked.append(wide)
        total = sum(value / 65536 if name in wide else value for name, value in self.noise.items())
        return math.inf if total == 0 else -10 * math.log10(total)


@pytest.mark.parametrize(
    ("tolerance_db", "wide"),
    [(10.0, ()), (18.0, ("out",)), (28.0, ("out", "head")), (41.0, ("out", "head", "stem", "block"))],
)
def test_the_fewest_tensors_that_reach_the_tolerance(tolerance_db: float, wide: tuple[str, ...]) -> None:
    engine = Engine(NOISE)
    found = search(tuple(NOISE), engine, tolerance_db)
    assert (found.wide, found.reached, found.stopped) == (wide, True, False)
    assert engine(frozenset(found.wide)) >= tolerance_db
    assert found.order == ("out", "head", "stem", "block", "skip")


@given(st.dictionaries(st.text("abcdef", min_size=1), st.floats(1e-9, 1e-1), min_size=1, max_size=12), st.floats(0, 90))
@settings(max_examples=100, deadline=None)
def test_one_tensor_fewer_would_not_do(noise: dict[str, float], tolerance_db: float) -> None:
    engine = Engine(noise)
    found = search(tuple(noise), engine, tolerance_db)
    assert found.reached == (engine(frozenset(noise)) >= tolerance_db)
    if found.reached:
        assert engine(frozenset(found.wide)) >= tolerance_db
        assert not found.wide or engine(frozenset(found.wide[:-1])) < tolerance_db


def test_what_cannot_be_reached_says_so() -> None:
    found = search(tuple(NOISE), Engine(NOISE), 500.0)
    assert (found.reached, set(found.wide)) == (False, set(NOISE))
    assert "even with every tensor in 16 bits 500 dB are not reached" in explain(found, "head", 500.0)


def test_a_budget_gives_a_wider_mix_and_never_a_worse_one() -> None:
    engine, left = Engine(NOISE), iter([False, False, True])
    found = search(tuple(NOISE), engine, 18.0, over_budget=lambda: next(left))
    assert found.stopped
    assert set(found.alone_db) == {"stem", "block"}
    assert engine(frozenset(found.wide)) >= 18.0
    assert "not measured before the budget ended" in explain(found, "out", 18.0)


def test_a_search_that_was_ended_goes_on_where_it_was() -> None:
    noted: dict[str, float] = {}
    first = search(tuple(NOISE), Engine(NOISE), 28.0, note=noted.__setitem__)
    again = Engine(NOISE)
    assert search(tuple(NOISE), again, 28.0, known=noted) == first
    assert not [wide for wide in again.asked if len(wide) == len(NOISE) - 1 and wide != frozenset(first.order[:-1])]


def test_every_tensor_is_explained() -> None:
    found = search(tuple(NOISE), Engine(NOISE), 28.0)
    assert (
        explain(found, "skip", 28.0)
        == "8 bits are enough: alone in 8 bits it leaves 49.7 dB, place 5 of 5 in sensitivity"
    )
    said = explain(found, "head", 28.0)
    assert said.startswith("16 bits: alone in 8 bits it leaves 20.0 dB, place 2 of 5")
    assert said.endswith("with 1 wide tensors instead of 2 the model has 19.5 dB, and 28 dB are asked")

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_compile.precision_search import Asked, Closeness, Found, Mix, explain, explain_weight, search

NOISE = {"stem": 1e-3, "block": 1e-4, "head": 1e-2, "out": 3e-2, "skip": 1e-5}
WEIGHTS = {"w_stem": 3e-4, "w_head": 1e-7, "w_block": 2e-5}
BYTES = {"w_stem": 10, "w_head": 1000, "w_block": 100}


class Engine:
    """Tensors whose errors in 8 bits add up, each a 65,536th of it in 16, and weights in 4 bits; counts what it is asked.

    `rare` is what one tensor in 8 bits costs the task on a slice that hardly shows in the SQNR.
    """

    def __init__(self, noise: dict[str, float], rare: dict[str, float] | None = None) -> None:
        self.noise, self.rare, self.asked = noise, rare, []

    def __call__(self, mix: Mix) -> Closeness:
        self.asked.append(mix)
        total = sum(value / 65536 if name in mix.wide else value for name, value in self.noise.items())
        total += sum(WEIGHTS[name] for name in mix.coarse)
        ratio = math.inf if total == 0 else -10 * math.log10(total)
        if self.rare is None:
            return Closeness(ratio)
        return Closeness(ratio, sum(loss for name, loss in self.rare.items() if name not in mix.wide), "tunnel")

    def db(self, *wide: str) -> float:
        return self(Mix(frozenset(wide))).sqnr_db


@pytest.mark.parametrize(
    ("tolerance_db", "wide"),
    [(10.0, ()), (18.0, ("out",)), (28.0, ("out", "head")), (41.0, ("out", "head", "stem", "block"))],
)
def test_the_fewest_tensors_that_reach_the_tolerance(tolerance_db: float, wide: tuple[str, ...]) -> None:
    engine = Engine(NOISE)
    found = search(tuple(NOISE), engine, Asked(tolerance_db))
    assert (found.wide, found.reached, found.stopped) == (wide, True, False)
    assert engine.db(*found.wide) >= tolerance_db
    assert found.order == ("out", "head", "stem", "block", "skip")


@given(st.dictionaries(st.text("abcdef", min_size=1), st.floats(1e-9, 1e-1), min_size=1, max_size=12), st.floats(0, 90))
@settings(max_examples=100, deadline=None)
def test_one_tensor_fewer_would_not_do(noise: dict[str, float], tolerance_db: float) -> None:
    engine = Engine(noise)
    found = search(tuple(noise), engine, Asked(tolerance_db))
    assert found.reached == (engine.db(*noise) >= tolerance_db or engine.db() >= tolerance_db)
    if found.reached:
        assert engine.db(*found.wide) >= tolerance_db
        assert not found.wide or engine.db(*found.wide[:-1]) < tolerance_db
    for item in found.candidates:
        assert item.enough == (engine(item.mix).sqnr_db >= tolerance_db)


def test_a_tensor_that_hurts_one_slice_is_widened_though_the_mean_is_good() -> None:
    """Planted: `skip` is the least noisy of all, and without it the tunnel is lost."""
    rare = {"skip": 2.0, "out": 0.1}
    by_mean = search(tuple(NOISE), Engine(NOISE), Asked(18.0))
    assert "skip" not in by_mean.wide
    by_slice = search(tuple(NOISE), Engine(NOISE, rare), Asked(18.0, loss=0.5))
    assert by_slice.order[0] == "skip"
    assert set(by_slice.wide) == {"skip", "out"}
    refused = {item.name for item in by_slice.candidates if not item.enough}
    assert "w8a8" in refused
    assert "loses 2 in slice 'tunnel'" in explain(by_slice, "skip", Asked(18.0, loss=0.5))


def test_what_cannot_be_reached_says_so() -> None:
    found = search(tuple(NOISE), Engine(NOISE), Asked(500.0), weights=BYTES)
    assert (found.reached, set(found.wide)) == (False, set(NOISE))
    assert "even with every tensor in 16 bits 500 dB are not reached" in explain(found, "head", Asked(500.0))
    assert not any(item.enough for item in found.candidates)


def test_a_budget_gives_a_wider_mix_and_never_a_worse_one() -> None:
    engine, left = Engine(NOISE), iter([False, False])
    found = search(tuple(NOISE), engine, Asked(18.0), weights=BYTES, over_budget=lambda: next(left, True))
    assert found.stopped
    assert set(found.alone) == {"stem", "block"}
    assert engine.db(*found.wide) >= 18.0
    assert "not measured before the budget ended" in explain(found, "out", Asked(18.0))
    assert "it stays in 8 bits" in explain_weight(found, "w_stem")
    assert all(not item.mix.coarse for item in found.candidates if item.name != "w4a16")


def test_a_search_that_was_ended_goes_on_where_it_was() -> None:
    noted: dict[str, Closeness] = {}
    first = search(tuple(NOISE), Engine(NOISE), Asked(28.0), weights=BYTES, note=noted.__setitem__)
    again = Engine(NOISE)
    assert search(tuple(NOISE), again, Asked(28.0), weights=BYTES, known=noted) == first
    assert set(noted) == {*NOISE, *BYTES}
    assert len(again.asked) == len(set(again.asked))


def names_of(found: Found) -> dict[str, Mix]:
    return {item.name: item.mix for item in found.candidates if item.enough}


def test_weights_that_save_most_for_their_harm_have_4_bits() -> None:
    engine = Engine(NOISE)
    found = search(tuple(NOISE), engine, Asked(45.0), weights=BYTES)
    mixes = names_of(found)
    assert mixes["w8a16, 2 weights in 4 bits"].coarse == {"w_head", "w_block"}
    assert engine(Mix(frozenset(NOISE), frozenset(WEIGHTS))).sqnr_db < 45.0  # one more would not do
    assert "w4a16" not in mixes
    assert explain_weight(found, "w_head").startswith("alone in 4 bits it leaves 6")


def test_uniform_precisions_and_whole_ends_are_weighed_too() -> None:
    found = search(
        tuple(NOISE), Engine(NOISE), Asked(18.0), widen=lambda wide: wide | {"head"} if "out" in wide else wide
    )
    mixes = names_of(found)
    assert {"w8a16", "fewest wide", "wide end"} <= set(mixes)
    assert mixes["fewest wide"].wide == {"out"}
    assert mixes["wide end"].wide == {"skip", "out"}
    assert {"out", "head"} in {mix.wide for mix in mixes.values()}
    assert len(set(mixes.values())) == len(mixes)


def test_every_tensor_is_explained() -> None:
    asked = Asked(28.0)
    found = search(tuple(NOISE), Engine(NOISE), asked)
    assert (
        explain(found, "skip", asked)
        == "8 bits are enough: alone in 8 bits it leaves 49.7 dB, place 5 of 5 in sensitivity"
    )
    said = explain(found, "head", asked)
    assert said.startswith("16 bits: alone in 8 bits it leaves 20.0 dB, place 2 of 5")
    assert said.endswith("with 1 wide tensors instead of 2 the model has 19.5 dB, and 28 dB are asked")

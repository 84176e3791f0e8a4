from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_compile.front_picture import Point, front_of
from edge_compile.messages import SearchCandidate, SearchedTensor, SearchedWeight, SearchReport
from edge_compile.mix_choice import best_of, settled


def candidate(
    name: str,
    latency_us: float | None,
    sqnr_db: float,
    size_bytes: int = 4096,
    *,
    refused: str | None = None,
    wide: tuple[str, ...] = (),
    coarse: tuple[str, ...] = (),
    bounds_us: float = 5.0,
) -> SearchCandidate:
    return SearchCandidate(
        name=name, uniform=name.startswith("w"), wide=wide, coarse=coarse, sqnr_db=sqnr_db, loss=None, slice="all", enough=True,
        made=True, latency_us=latency_us, latency_high_us=None if latency_us is None else latency_us + bounds_us,
        size_bytes=size_bytes, refused=refused,
    )  # fmt: skip


def test_a_mix_slower_than_the_uniform_precision_is_not_taken() -> None:
    """As measured once: a mix of 94 us where w8a16, which is closer too, takes 72."""
    assert best_of([candidate("fewest wide", 94.0, 35.0), candidate("w8a16", 72.0, 45.0)], "latency") == 1


def test_the_fastest_counts_and_within_its_bounds_the_closest() -> None:
    some = [candidate("a", 60.0, 30.0), candidate("b", 64.0, 50.0), candidate("c", 66.0, 60.0)]
    assert best_of(some, "latency") == 1
    assert best_of([*some, candidate("d", 40.0, 70.0, refused="computes in float")], "latency") == 1


def test_for_size_the_smallest_counts_and_without_latencies_too() -> None:
    some = [
        candidate("w8a16", 50.0, 40.0, 900),
        candidate("coarse", 70.0, 30.0, 500),
        candidate("same", 60.0, 30.0, 500),
    ]
    assert best_of(some, "size") == 2
    assert best_of([candidate("w8a16", None, 40.0, 900), candidate("coarse", None, 30.0, 500)], "latency") == 1


def test_where_none_can_be_taken_there_is_no_best() -> None:
    assert best_of([candidate("w8a16", None, 40.0, refused="did not compile")], "latency") is None


@given(st.lists(st.tuples(st.floats(1, 99), st.floats(1, 99)), min_size=1, max_size=10))
def test_what_is_chosen_lies_on_the_front(values: list[tuple[float, float]]) -> None:
    some = [candidate(str(at), latency, ratio) for at, (latency, ratio) in enumerate(values)]
    best = some[best_of(some, "latency")]
    points = [Point(item.name, item.latency_us, item.sqnr_db, "") for item in some]
    assert (best.latency_us, best.sqnr_db) in {(point.cost, point.closeness_db) for point in front_of(points)} or any(
        (item.latency_us, item.sqnr_db) == (best.latency_us, best.sqnr_db) for item in some if item is not best
    ) or best.sqnr_db == max(item.sqnr_db for item in some if item.latency_us <= best.latency_us)  # fmt: skip


def test_the_account_has_the_widths_of_the_chosen_mix() -> None:
    tensors = tuple(
        SearchedTensor(
            tensor=name, shared_with=(), layer="Conv", bits=bits, alone_db=30.0, why=f"{bits} bits: measured"
        )
        for name, bits in (("a", 16), ("b", 8))
    )
    weights = (SearchedWeight(weight="w", layer="Conv", bits=8, alone_db=40.0, why="alone"),)
    fewest = candidate("fewest wide", 94.0, 35.0, wide=("a",))
    joined = candidate("fewest wide, joined", 60.0, 45.0, wide=("a", "b"), coarse=("w",))
    left_out = candidate("w8a8", None, 10.0).model_copy(update={"made": False, "enough": False})
    before = SearchReport(
        tolerance_db=30.0, reached=True, stopped=False, steps=(), tensors=tensors, weights=weights,
        candidates=(left_out, fewest, joined),
    )  # fmt: skip
    after = settled(before, [fewest, joined], 1, "latency")
    assert [item.bits for item in after.tensors] == [16, 16]
    assert after.tensors[1].why == "16 bits in the mix 'fewest wide, joined', which costs less; 8 bits: measured"
    assert after.weights[0].bits == 4
    assert [item.name for item in after.candidates if item.chosen] == ["fewest wide, joined"]
    assert [item.name for item in after.candidates] == [item.name for item in before.candidates]

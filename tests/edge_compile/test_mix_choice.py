from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edge_compile.front_picture import Point, front_of
from edge_compile.job import Job, Settings, check_job
from edge_compile.messages import SearchCandidate, SearchedTensor, SearchedWeight, SearchReport
from edge_compile.mix_choice import Cost, _Costs, _key, best_of, choose_mix, settled
from edge_compile.quantize import Quantized
from edge_compile.targets.table import find_target
from edge_compile.workplace import Workplace, open_workplace
from platform_lib.storage import sha256_file

NOTHING = {"latency_us": None, "latency_high_us": None, "size_bytes": None, "refused": None}


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


def noted(job: Job, models: list[Path], workplace: Workplace, *costs: dict) -> None:
    """Write the notes that a killed command left behind."""
    found = {
        sha256_file(model): Cost.model_validate(NOTHING | cost) for model, cost in zip(models, costs, strict=False)
    }
    workplace.mixes.write_text(_Costs(key=_key(job), found=found).model_dump_json())


def test_what_was_compiled_before_the_command_was_killed_is_not_compiled_again(
    linear: Path, samples: dict, tmp_path: Path
) -> None:
    """No compiler could read these files: whoever starts one is refused."""
    models = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for model in models:
        model.write_text(model.name)
    settings = Settings(("mixed",))
    job = check_job(linear, find_target("sa8255p"), settings, calibration=samples, frozen=None, reference=None)
    search = SearchReport(
        tolerance_db=30.0, reached=True, stopped=False, steps=(), tensors=(),
        candidates=(candidate("w8a16", None, 45.0), candidate("fewest wide", None, 35.0)),
    )  # fmt: skip
    names = {f"mixed-{row}": model for row, model in enumerate(models)}
    quantized = Quantized(
        frozen=tmp_path, onnx={}, original=None, simulation={name: {} for name in names}, qdq={name: {} for name in names},
        models=names,
        encodings=names, folded_batch_norms=0, search=search, techniques=(), notes=(),
    )  # fmt: skip
    stages: list[str] = []
    with open_workplace(tmp_path / "out") as workplace:
        noted(job, models, workplace, {"latency_us": 94.0}, {"latency_us": 72.0, "size_bytes": 9})
        found = choose_mix(job, quantized, workplace, stages.append, lambda: False)
        assert (stages, found.models["mixed"]) == ([], models[1])
        assert found.notes == ("mixed is the mix 'fewest wide', the best by latency of 2 candidates compiled",)
        noted(job, models, workplace, {"latency_us": 72.0})
        late = choose_mix(job, quantized, workplace, stages.append, lambda: True)
        assert late.search.candidates[1].refused == "the budget ended before it was compiled"
        assert late.models["mixed"] == models[0]
        workplace.mixes.write_text("{")
        after = choose_mix(job, quantized, workplace, stages.append, lambda: True)
        assert [item.refused for item in after.search.candidates if item.refused is None] == []  # the first was tried
        assert stages == ["searching: compiling 'w8a16', 1 of 2 candidates"]

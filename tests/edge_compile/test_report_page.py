from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_compile.front_picture import Axes, Point, front_of, picture
from edge_compile.messages import SearchCandidate, SearchedTensor, SearchReport, SearchStep
from edge_compile.report_page import page, points_of
from platform_lib.evidence import Check, CompiledPrecision, CompileReport, Interval, ParityRung, Performance, Rewrite


def compiled(name: str, latency_us: float | None, sqnr_db: float | None) -> tuple[CompiledPrecision, ParityRung]:
    timed = Performance(
        measured_on="not_run" if latency_us is None else "simulator",
        latency_us=None if latency_us is None else Interval(value=latency_us, low=None, high=None),
        ddr_read_bytes=None,
        ddr_write_bytes=None,
        reason="the vendor gives none" if latency_us is None else None,
    )
    item = CompiledPrecision(
        precision=name, qdq=None, encodings=None, context=("c.onnx",), context_bytes=2048, graph=None, performance=timed, checks=()
    )  # fmt: skip
    rung = ParityRung(
        name="onnx->target", precision=name, status="pass", samples=8, sqnr_db=sqnr_db, max_abs_error=0.1, cosine=1.0, threshold_db=20.0
    )  # fmt: skip
    return item, rung


def report_of(*rows: tuple[CompiledPrecision, ParityRung], **changes: object) -> CompileReport:
    values: dict[str, object] = {
        "model_name": "<net>", "onnx_sha256": "0" * 64, "target": "sa8255p", "soc_model": 52, "architecture": "v73",
        "id_confirmed": True, "tools": {}, "chosen": "mixed", "precisions": tuple(item for item, _ in rows),
        "parity": tuple(rung for _, rung in rows), "digests": {}, "notes": ("a note & more",),
    }  # fmt: skip
    return CompileReport.model_validate(values | changes)


def candidate(name: str, latency_us: float | None, sqnr_db: float, *, chosen: bool = False) -> SearchCandidate:
    return SearchCandidate(
        name=name, uniform=False, wide=("h",), coarse=(), sqnr_db=sqnr_db, loss=None, slice="all", enough=latency_us is not None,
        made=latency_us is not None, latency_us=latency_us, size_bytes=None if latency_us is None else 4096, chosen=chosen,
    )  # fmt: skip


ROWS = (
    compiled("w8a8", 50.0, 28.0),
    compiled("mixed", 56.0, 38.0),
    compiled("w8a16", 104.0, 45.0),
    compiled("fp16", 120.0, 40.0),
)


def test_the_front_leaves_out_what_another_beats_in_both() -> None:
    assert [point.name for point in front_of(points_of(report_of(*ROWS)))] == ["w8a8", "mixed", "w8a16"]


@given(st.lists(st.tuples(st.floats(1, 9), st.floats(1, 9)), min_size=1, max_size=12))
def test_nothing_on_the_front_is_beaten_and_everything_off_it_is(values: list[tuple[float, float]]) -> None:
    points = [Point(str(at), latency, ratio, "") for at, (latency, ratio) in enumerate(values)]
    front = front_of(points)
    for point in points:
        beaten = any(other.cost <= point.cost and other.closeness_db >= point.closeness_db for other in front)
        assert beaten
    assert all(one.cost < two.cost and one.closeness_db < two.closeness_db for one, two in itertools.pairwise(front))


def test_the_page_shows_the_front_the_reasons_and_the_rewrites() -> None:
    search = SearchReport(
        tolerance_db=38.0,
        reached=True,
        stopped=False,
        steps=(SearchStep(wide=1, sqnr_db=39.0),),
        tensors=(
            SearchedTensor(tensor="h", shared_with=(), layer="Conv 'stem'", bits=16, alone_db=21.0, why="it hurts"),
        ),
        candidates=(
            candidate("w8a16", 72.0, 45.0),
            candidate("fewest wide", 94.0, 39.0, chosen=True),
            candidate("w8a8", None, 20.0),
        ),
    )
    rewrites = (Rewrite(name="erf-gelu", layer="mlp", what="5 nodes became one"),)
    text = page(report_of(*ROWS, rewrites=rewrites), search)
    for said in ("<svg", "On the front: w8a8, mixed, w8a16.", "1 of 1 tensors need 16 bits for 38 dB", "it hurts",
                 "On the front: w8a16.</p>", "outside the tolerance", "erf-gelu", "a note &amp; more", "&lt;net&gt;", "Times are the vendor's"):  # fmt: skip
        assert said in text
    assert "<net>" not in text
    assert text == page(report_of(*ROWS, rewrites=rewrites), search)


def test_the_page_tells_a_check_that_was_not_run_from_one_that_passed() -> None:
    item, rung = compiled("fp16", 40.0, None)
    timed = item.performance.model_copy(update={"latency_us": Interval(value=40.0, low=15.0, high=122.0)})
    checks = (
        Check(name="not_float_by_accident", status="not_run", detail="float was asked for"),
        Check(name="npu_only", status="fail", detail="Det is on the CPU"),
        Check(name="device_readback", status="pass", detail="52"),
    )
    changed = item.model_copy(update={"performance": timed, "checks": checks})
    sound = item.model_copy(update={"checks": checks[2:]})
    text = page(report_of((changed, rung)), None)
    for said in ("1 failed, 1 not run", "float was asked for", "Det is on the CPU", "40 us (15 to 122)", "<td>identical</td>",
                 "<th>needs</th>", "<td>20 dB</td>", "<td>0.1</td>", "<td>1.0000</td>"):  # fmt: skip
        assert said in text
    assert "device_readback" not in text
    assert "not run" not in page(report_of((sound, rung)), None)


def test_the_picture_has_figures_at_its_axes_and_no_name_runs_out_of_it() -> None:
    text = picture(points_of(report_of(*ROWS)), None, Axes("us", "dB"), kind="precisions")
    for said in (">50</text>", ">120</text>", ">28</text>", ">45</text>"):
        assert said in text
    assert 'text-anchor="end" y' not in text.split(">w8a8<")[0].rpartition("<text")[2]
    assert 'text-anchor="end"' in text.split(">fp16<")[0].rpartition("<text")[2]


@pytest.mark.parametrize("rows", [(), (compiled("w8a8", None, 28.0),), (compiled("w8a8", 5.0, None),)])
def test_without_figures_there_is_no_picture_and_it_says_so(rows: tuple) -> None:
    text = page(report_of(*rows, chosen=None), None)
    assert "<svg" not in text
    assert "No picture: fewer than two precisions" in text
    assert "none, no precision passed" in text

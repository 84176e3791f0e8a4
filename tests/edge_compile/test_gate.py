from __future__ import annotations

import hashlib
import itertools
import json
import math
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import handoff_sources as sources
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_compile.gate import judge
from edge_compile.gate_files import read_released
from platform_lib.errors import IntegrityError, MissingPartError
from platform_lib.evaluation.rates import wilson
from platform_lib.evidence import (
    ChampionReport,
    Check,
    Comparison,
    CompileReport,
    DeviceRun,
    GateReport,
    GateResult,
    Interval,
    NodeWaiver,
    Performance,
    write_evidence,
)
from platform_lib.handoff.gates import GATES, blocking, state_of, worst
from platform_lib.handoff.thresholds import GateWaiver, Privacy, Released
from platform_lib.manifest import Manifest, Output, read_manifest

SHA = sources.sha
QDQ = {"w8a16.qdq.onnx": SHA("qdq")}
STATUSES = ("pass", "fail", "not_run")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return sources.write_dataset(tmp_path_factory.mktemp("gate") / "demo")


def _case(dataset: Manifest, /, **changes: Any) -> GateReport:
    """Judge sound evidence with some of it replaced."""
    evaluation = changes.get("evaluation", lambda e: e)(sources.evaluation(SHA("w"), dataset.step_sha256))
    compressed = sources.evaluation(SHA("qdq"), dataset.step_sha256, planner="w8a16", worse_m=0.02)
    compressed = changes.get("compressed", lambda e: e)(compressed)
    compiled = changes.get("compiled", lambda c: c)(sources.compile_report(SHA("onnx"), QDQ))
    manifest = changes.get("dataset", lambda d: d)(dataset)
    scored = changes.get("scored", lambda s: s)(sources.scored(SHA("onnx")))
    rescored = changes.get("rescored", lambda s: s)(sources.scored(SHA("qdq")))
    thresholds = changes.get("thresholds", sources.THRESHOLDS)
    today = changes.get("today")
    return judge(evaluation, compressed, compiled, manifest, thresholds, scored=scored, rescored=rescored, today=today)


def _status(report: GateReport, gate: str) -> str:
    return next(item.status for item in report.gates if item.gate == gate)


def _reason(report: GateReport, gate: str) -> str:
    return next(item.reason for item in report.gates if item.gate == gate)


def test_sound_evidence_is_a_candidate_and_names_what_was_not_run(dataset: Manifest) -> None:
    report = _case(dataset)
    assert report.state == "candidate"
    assert [item.gate for item in report.gates] == list(GATES)
    assert report.blocking == (
        "G3 champion",
        "G4 regression",
        "G5 device",
        "G6 reproduce",
        "G7 approval",
        "G8 deployment",
    )
    assert all(item.reason and item.evidence for item in report.gates)


def _rival(status: str = "pass", slices: tuple[str, ...] = (), sha256: str = "c" * 64) -> ChampionReport:
    scenes = slices or ("all", *sources.THRESHOLDS.float_model.scene_slices)
    return ChampionReport(
        champion="old",
        champion_sha256=sha256,
        alpha=0.05,
        comparisons=tuple(
            Comparison(
                slice=name,
                metric="open_loop ade_m",
                n=200,
                drives=20,
                difference=Interval(value=-0.1, low=-0.2, high=0.0),
                margin=0.1,
                p=0.001,
                p_holm=0.01,
                status=status if place == 0 else "pass",
                reason="as judged",
            )
            for place, name in enumerate(scenes)
        ),
    )


@pytest.mark.parametrize(
    ("rival", "status", "said"),
    [
        (_rival(), "pass", "old: open_loop ade_m on all"),
        (_rival("fail"), "fail", "as judged"),
        (_rival("not_run"), "not_run", "as judged"),
        (_rival(slices=("all",)), "not_run", "not compared on"),
        (_rival(sha256=SHA("onnx")), "not_run", "this model itself"),
    ],
)
def test_a_champion_is_believed_only_when_every_safety_slice_was_compared(
    dataset: Manifest, rival: ChampionReport, status: str, said: str
) -> None:
    report = _case(dataset, evaluation=lambda e: e.model_copy(update={"champion": rival}))
    assert _status(report, "G3 champion") == status
    assert said in _reason(report, "G3 champion")


def _row(report: Any, planner: str, name: str, **metrics: Interval | None) -> Any:
    """Replace (or drop, by None) metrics of one open-loop row."""

    def changed(row: Any) -> Any:
        if (row.planner, row.slice) != (planner, name):
            return row
        merged = {**row.metrics, **metrics}
        return row.model_copy(update={"metrics": {k: v for k, v in merged.items() if v is not None}})

    return report.model_copy(update={"open_loop": tuple(changed(row) for row in report.open_loop)})


def _without(report: Any, planner: str, name: str) -> Any:
    rows = tuple(row for row in report.open_loop if (row.planner, row.slice) != (planner, name))
    return report.model_copy(update={"open_loop": rows})


def _of_row(report: Any, planner: str, name: str, **fields: int) -> Any:
    rows = tuple(
        row.model_copy(update=fields) if (row.planner, row.slice) == (planner, name) else row
        for row in report.open_loop
    )
    return report.model_copy(update={"open_loop": rows})


def _closed(report: Any, rate: float, n: int) -> Any:
    row = report.closed_loop[0]
    metrics = {"collision_rate": Interval.model_construct(value=rate, low=rate, high=rate)}
    return report.model_copy(update={"closed_loop": (row.model_copy(update={"metrics": metrics, "n": n}),)})


def _proof(dataset: Manifest, **changes: Any) -> Manifest:
    return dataset.model_copy(update={"metrics": {**dataset.metrics, "split_proof": sources.proof(**changes)}})


def _contracts(dataset: Manifest, **changes: Any) -> Manifest:
    """Replace fields of what contracts found; of one contract where a field of one is named."""
    found = dict(sources.contracts())
    own = {name: value for name, value in changes.items() if name not in found}
    found |= {name: value for name, value in changes.items() if name in found}
    if own:
        found["contracts"] = [{**found["contracts"][0], **own}, *found["contracts"][1:]]
    return dataset.model_copy(update={"metrics": {**dataset.metrics, "contracts": found}})


def _part(dataset: Manifest, part: str, **changes: Any) -> Manifest:
    """Replace fields of one part of the split proof."""
    return _proof(dataset, **{part: {**sources.proof()[part], **changes}})  # type: ignore[dict-item]  # JSON


def _chosen(report: Any, **changes: Any) -> Any:
    items = tuple(
        item.model_copy(update=changes) if item.precision == report.chosen else item for item in report.precisions
    )
    return report.model_copy(update={"precisions": items})


def _waived(report: CompileReport, node: str) -> CompileReport:
    waiver = NodeWaiver(precision=str(report.chosen), node=node, until=date(2027, 1, 31), approved_by="A", why="B")
    return report.model_copy(update={"waivers": (waiver,)})


def _graph(report: Any, **changes: Any) -> Any:
    return _chosen(report, graph=report.precision(report.chosen).graph.model_copy(update=changes))


def _latency(report: Any, value: Interval | None, **changes: Any) -> Any:
    performance = report.precision(report.chosen).performance
    return _chosen(report, performance=performance.model_copy(update={"latency_us": value, **changes}))


def _check(report: Any, name: str, status: str | None) -> Any:
    checks = report.precision(report.chosen).checks
    kept = tuple(
        item.model_copy(update={"status": status}) if item.name == name else item
        for item in checks
        if item.name != name or status is not None
    )
    return _chosen(report, checks=kept)


def _rung(report: Any, name: str, **changes: Any) -> Any:
    rungs = tuple(item.model_copy(update=changes) if item.name == name else item for item in report.parity)
    return report.model_copy(update={"parity": rungs})


def _rewritten(report: Any, status: str) -> Any:
    changed = report.parity[0].model_copy(
        update={"name": "original->onnx", "precision": "fp32", "status": status, "reason": "so"}
    )
    return report.model_copy(update={"parity": (*report.parity, changed)})


def _pii(dataset: Manifest, state: str) -> Manifest:
    return _proof(dataset, pii_states={"train": {"none_present": 30}, "val": {state: 10}, "test": {"none_present": 20}})


def _nan(end: str) -> Interval:
    """An interval that no evidence file can hold: only a defect of ours would put it there."""
    return Interval(value=1.0, low=0.5, high=1.5).model_copy(update={end: math.nan})


# Gate, what is planted, the status it has to get.
FAULTS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("other dataset", "G0 evidence", "fail", {"evaluation": lambda e: e.model_copy(update={"dataset_sha256": SHA("x")})}),
    ("train split", "G0 evidence", "fail", {"evaluation": lambda e: e.model_copy(update={"split": "train"})}),
    ("other scorer", "G0 evidence", "fail", {"compressed": lambda e: e.model_copy(update={"scorer_sha256": SHA("x")})}),
    ("other artefact", "G0 evidence", "fail", {"compressed": lambda e: e.model_copy(update={"weights_sha256": SHA("x")})}),
    ("other seeds", "G0 evidence", "fail", {"compressed": lambda e: e.model_copy(update={"seeds": (1, 99)})}),
    ("other model", "G0 evidence", "fail", {"scored": lambda _: sources.scored(SHA("another"))}),
    ("model unsaid", "G0 evidence", "not_run", {"scored": lambda _: None}),
    ("float unvouched", "G3 closed loop", "not_run", {"scored": lambda _: None}),
    ("float unvouched", "G3 limits", "not_run", {"scored": lambda _: None}),
    ("float unvouched", "G4 margins", "not_run", {"scored": lambda _: None}),
    ("compressed unvouched", "G0 evidence", "not_run", {"rescored": lambda _: None}),
    ("compressed unvouched", "G4 margins", "not_run", {"rescored": lambda _: None}),
    ("digest empty", "G0 evidence", "fail",
     {"evaluation": lambda e: e.model_copy(update={"dataset_sha256": ""}),
      "compressed": lambda e: e.model_copy(update={"dataset_sha256": ""}),
      "dataset": lambda d: d.model_copy(update={"outputs": {"x": Output(path="x", sha256="", bytes=0)}})}),
    ("scorer empty", "G0 evidence", "fail",
     {"evaluation": lambda e: e.model_copy(update={"scorer_sha256": ""}),
      "compressed": lambda e: e.model_copy(update={"scorer_sha256": ""})}),
    ("no seeds", "G0 evidence", "not_run", {"compressed": lambda e: e.model_copy(update={"seeds": ()})}),
    ("row twice", "G0 evidence", "fail",
     {"evaluation": lambda e: e.model_copy(update={"open_loop": (*e.open_loop, e.open_loop[0])})}),
    ("part of the split", "G0 evidence", "not_run", {"evaluation": lambda e: _of_row(e, "camera", "all", n=19)}),
    ("one drive left out", "G0 evidence", "not_run", {"evaluation": lambda e: _of_row(e, "camera", "all", drives=1)}),
    ("more than the split", "G0 evidence", "fail", {"evaluation": lambda e: _of_row(e, "camera", "all", n=21)}),
    ("no rows at all", "G0 evidence", "not_run", {"evaluation": lambda e: e.model_copy(update={"open_loop": ()})}),
    ("no compressed", "G0 evidence", "not_run", {"compressed": lambda _: None}),
    ("nothing chosen", "G0 evidence", "not_run", {"compiled": lambda c: c.model_copy(update={"chosen": None})}),
    ("person visible", "G0 PII", "fail", {"dataset": lambda d: _pii(d, "present")}),
    ("state unknown", "G0 PII", "fail", {"dataset": lambda d: _pii(d, "unknown")}),
    ("blurred", "G0 PII", "not_run", {"dataset": lambda d: _pii(d, "blurred")}),
    ("samples uncounted", "G0 PII", "fail", {"dataset": lambda d: _proof(d, samples={"train": 99, "val": 10, "test": 20})}),
    ("a split uncounted", "G0 PII", "fail",
     {"dataset": lambda d: _proof(d, pii_states={"train": {"none_present": 50}, "val": {"none_present": 10}, "test": {}})}),
    ("counted below zero", "G0 PII", "fail",
     {"dataset": lambda d: _proof(d, pii_states={"train": {"none_present": 31, "blurred": -1}, "val": {"none_present": 10},
                                                 "test": {"none_present": 20}})}),
    ("no samples", "G0 PII", "not_run",
     {"dataset": lambda d: _proof(d, samples={}, pii_states={"test": {"none_present": 0}})}),
    ("no proof", "G0 PII", "not_run", {"dataset": lambda d: d.model_copy(update={"metrics": {}})}),
    ("no proof", "G1 drives", "not_run", {"dataset": lambda d: d.model_copy(update={"metrics": {}})}),
    ("unreadable proof", "G1 drives", "not_run", {"dataset": lambda d: d.model_copy(update={"metrics": {"split_proof": 1}})}),
    ("no contract was run", "G0 contract", "not_run",
     {"dataset": lambda d: d.model_copy(update={"metrics": {"split_proof": d.metrics["split_proof"]}})}),
    ("evidence of another shape", "G0 contract", "not_run", {"dataset": lambda d: _contracts(d, schema_version=2)}),
    ("no contract at all", "G0 contract", "not_run", {"dataset": lambda d: _contracts(d, contracts=[])}),
    ("none on the dataset's rows", "G0 contract", "not_run",
     {"dataset": lambda d: _contracts(d, contracts=sources.contracts()["contracts"][:2])}),
    ("an error", "G0 contract", "fail", {"dataset": lambda d: _contracts(d, errors=1)}),
    ("no rule", "G0 contract", "not_run", {"dataset": lambda d: _contracts(d, rules=0)}),
    ("nothing to measure", "G0 contract", "not_run", {"dataset": lambda d: _contracts(d, not_run=3)}),
    ("a drive without contract", "G0 contract", "not_run", {"dataset": lambda d: _contracts(d, uncovered=["a"])}),
    ("of other drives", "G0 contract", "not_run", {"dataset": lambda d: _contracts(d, drives=1)}),
    ("drive in two", "G1 drives", "fail",
     {"dataset": lambda d: _proof(d, drives={"train": ["d1", "d5"], "val": ["d4"], "test": ["d5"]})}),
    ("file in two", "G1 drives", "fail",
     {"dataset": lambda d: _proof(d, files={"train": {"d1": [SHA("a")]}, "val": {}, "test": {"d5": [SHA("a")]}})}),
    ("image in two", "G1 drives", "fail",
     {"dataset": lambda d: _proof(d, shared_content={"train/val": 0, "train/test": 3, "val/test": 0})}),
    ("empty test", "G1 drives", "not_run",
     {"dataset": lambda d: _proof(d, drives={"train": ["d1"], "val": ["d4"], "test": []})}),
    ("files unlisted", "G1 drives", "not_run", {"dataset": lambda d: _proof(d, files={"train": {}, "val": {}, "test": {}})}),
    ("images not compared", "G1 drives", "not_run", {"dataset": lambda d: _proof(d, shared_content={})}),
    ("not searched", "G1 near-duplicates", "not_run", {"dataset": lambda d: _proof(d, near_duplicates=None)}),
    ("one frame in two", "G1 near-duplicates", "fail",
     {"dataset": lambda d: _part(d, "near_duplicates", across={"train/val": 0, "train/test": 1, "val/test": 0})}),
    ("two splits not compared", "G1 near-duplicates", "not_run",
     {"dataset": lambda d: _part(d, "near_duplicates", across={"train/val": 0, "train/test": 0})}),
    ("searched too closely", "G1 near-duplicates", "not_run", {"dataset": lambda d: _part(d, "near_duplicates", max_bits=7)}),
    ("frames not compared", "G1 near-duplicates", "not_run",
     {"dataset": lambda d: _part(d, "near_duplicates", compared={"train": 29, "val": 10, "test": 20})}),
    ("pictures of nothing", "G1 near-duplicates", "not_run",
     {"dataset": lambda d: _part(d, "near_duplicates", compared={"train": 30, "val": 10, "test": 10},
                                 featureless={"train": 0, "val": 0, "test": 10})}),
    ("below zero", "G1 near-duplicates", "fail",
     {"dataset": lambda d: _part(d, "near_duplicates", across={"train/val": 0, "train/test": -1, "val/test": 0})}),
    ("not compared", "G1 places", "not_run", {"dataset": lambda d: _proof(d, places=None)}),
    ("times not compared", "G1 places", "not_run", {"dataset": lambda d: _proof(d, trips=None)}),
    ("a cell in two", "G1 places", "fail",
     {"dataset": lambda d: _part(d, "places", shared={"train/val": 0, "train/test": 2, "val/test": 0})}),
    ("cells too small", "G1 places", "not_run", {"dataset": lambda d: _part(d, "places", reach_m=10.0)}),
    ("no position", "G1 places", "not_run",
     {"dataset": lambda d: _part(d, "places", positioned={"train": 0, "val": 0, "test": 0}, reach_m=None,
                                 unpositioned={"train": 30, "val": 10, "test": 20})}),
    ("a trip in two", "G1 places", "fail",
     {"dataset": lambda d: _part(d, "trips", shared={"train/val": 0, "train/test": 0, "val/test": 1})}),
    ("trips too short", "G1 places", "not_run", {"dataset": lambda d: _part(d, "trips", gap_s=60)}),
    ("vehicle unnamed", "G1 places", "not_run", {"dataset": lambda d: _part(d, "trips", unnamed=["d1"])}),
    ("self-test of nothing", "G2 scorer", "fail",
     {"evaluation": lambda e: e.model_copy(
         update={"findings": ("scorer self-test: passed 0 cases and caught 0 planted wrong scorers",)})}),
    ("self-test in part", "G2 scorer", "fail",
     {"evaluation": lambda e: e.model_copy(
         update={"findings": ("scorer self-test: passed 3 of 27 cases and caught 8 planted wrong scorers",)})}),
    ("no self-test", "G2 scorer", "not_run", {"evaluation": lambda e: e.model_copy(update={"findings": ("camera is better",)})}),
    ("failed self-test", "G2 scorer", "fail",
     {"evaluation": lambda e: e.model_copy(update={"findings": ("scorer self-test: FAILED in oracle has no error",)})}),
    ("both", "G2 scorer", "fail",
     {"compressed": lambda e: e.model_copy(update={"findings": (sources.SELF_TEST, "scorer self-test: FAILED")})}),
    ("interval over the limit", "G3 limits", "not_run",
     {"evaluation": lambda e: _row(e, "camera", "night", fde_m=Interval(value=1.0, low=0.5, high=99.0))}),
    ("value over the limit", "G3 limits", "fail",
     {"evaluation": lambda e: _row(e, "camera", "all", ade_m=Interval(value=9.0, low=None, high=None))}),
    ("slice missing", "G3 limits", "not_run", {"evaluation": lambda e: _without(e, "camera", "pedestrian")}),
    ("metric missing", "G3 limits", "not_run", {"evaluation": lambda e: _row(e, "camera", "rain", fde_m=None)}),
    ("no interval", "G3 limits", "not_run",
     {"evaluation": lambda e: _row(e, "camera", "rain", fde_m=Interval(value=1.0, low=None, high=None))}),
    ("one drive", "G3 limits", "not_run", {"evaluation": lambda e: _of_row(e, "camera", "rain", drives=1)}),
    ("few samples", "G3 limits", "not_run", {"evaluation": lambda e: _of_row(e, "camera", "rain", n=19)}),
    ("no samples", "G3 limits", "not_run", {"evaluation": lambda e: _of_row(e, "camera", "rain", n=0)}),
    ("below zero", "G3 limits", "fail",
     {"evaluation": lambda e: _row(e, "camera", "rain", ade_m=Interval(value=-5.0, low=-5.0, high=-5.0))}),
    ("NaN", "G3 limits", "fail", {"evaluation": lambda e: _row(e, "camera", "rain", ade_m=_nan("value"))}),
    ("NaN above", "G3 limits", "fail", {"evaluation": lambda e: _row(e, "camera", "rain", ade_m=_nan("high"))}),
    ("part with one drive", "G3 camera", "not_run",
     {"evaluation": lambda e: _row(e, "camera", "lead", ade_vs_ego_only_m=Interval(value=5.0, low=None, high=None))}),
    ("part with few samples", "G3 camera", "not_run", {"evaluation": lambda e: _of_row(e, "camera", "lead", n=3)}),
    ("NaN", "G3 camera", "fail", {"evaluation": lambda e: _row(e, "camera", "lead", ade_vs_ego_only_m=_nan("low"))}),
    ("outside its interval", "G3 camera", "not_run",
     {"evaluation": lambda e: _row(e, "camera", "scene", ade_vs_ego_only_m=Interval(value=5.0, low=-3.0, high=-1.0))}),
    ("neither better nor worse than blind", "G3 camera", "not_run",
     {"evaluation": lambda e: _row(e, "camera", "scene", ade_vs_ego_only_m=Interval(value=-0.1, low=-0.3, high=0.1))}),
    ("one drive where the scene decides", "G3 camera", "not_run",
     {"evaluation": lambda e: _row(e, "camera", "scene", ade_vs_ego_only_m=Interval(value=-1.0, low=None, high=None))}),
    ("worse than blind", "G3 camera", "fail",
     {"evaluation": lambda e: _row(e, "camera", "scene", ade_vs_ego_only_m=Interval(value=5.0, low=1.0, high=9.0))}),
    ("worse beyond doubt", "G3 camera", "fail",
     {"evaluation": lambda e: _row(e, "camera", "lead", ade_vs_ego_only_m=Interval(value=0.1, low=0.05, high=0.2))}),
    ("not paired", "G3 camera", "not_run", {"evaluation": lambda e: _row(e, "camera", "lead", ade_vs_ego_only_m=None)}),
    ("collides", "G3 closed loop", "fail", {"evaluation": lambda e: _closed(e, 0.6, 30)}),
    ("no rate", "G3 closed loop", "fail", {"evaluation": lambda e: _closed(e, -0.5, 30)}),
    ("NaN", "G3 closed loop", "fail", {"evaluation": lambda e: _closed(e, math.nan, 30)}),
    ("no episodes", "G3 closed loop", "not_run", {"evaluation": lambda e: _closed(e, 0.0, 0)}),
    ("few episodes", "G3 closed loop", "not_run", {"evaluation": lambda e: _closed(e, 0.0, 3)}),
    ("not driven", "G3 closed loop", "not_run", {"evaluation": lambda e: e.model_copy(update={"closed_loop": ()})}),
    ("slice suffers", "G4 margins", "fail",
     {"compressed": lambda e: _row(e, "w8a16", "pedestrian", ade_m=sources.interval(1.2))}),
    ("below zero", "G4 margins", "fail",
     {"compressed": lambda e: _row(e, "w8a16", "rain", ade_m=Interval(value=-5.0, low=-5.0, high=-5.0))}),
    ("NaN", "G4 margins", "fail", {"compressed": lambda e: _row(e, "w8a16", "rain", ade_m=_nan("value"))}),
    ("no frames", "G4 margins", "fail", {"evaluation": lambda e: _of_row(e, "camera", "rain", n=0),
                                         "compressed": lambda e: _of_row(e, "w8a16", "rain", n=0)}),
    ("other frames", "G4 margins", "fail", {"compressed": lambda e: _of_row(e, "w8a16", "rain", n=19)}),
    ("slice unscored", "G4 margins", "not_run", {"compressed": lambda e: _without(e, "w8a16", "rain")}),
    ("not evaluated", "G4 margins", "not_run", {"compressed": lambda _: None}),
    ("node on the CPU", "G4 NPU", "fail", {"compiled": lambda c: _graph(c, cpu_nodes=1)}),
    ("float island", "G4 NPU", "fail", {"compiled": lambda c: _graph(c, float_nodes=("LayerNorm_3",))}),
    ("waived float island", "G4 NPU", "not_run", {"compiled": lambda c: _waived(_graph(c, float_nodes=("LayerNorm_3",)), "LayerNorm_3")}),
    ("another node waived", "G4 NPU", "fail", {"compiled": lambda c: _waived(_graph(c, float_nodes=("LayerNorm_3",)), "LayerNorm_4")}),
    ("refused node", "G4 NPU", "fail", {"compiled": lambda c: _graph(c, unsupported={"Erf": "no kernel"})}),
    ("empty graph", "G4 NPU", "fail", {"compiled": lambda c: _graph(c, npu_nodes=0)}),
    ("no graph", "G4 NPU", "not_run", {"compiled": lambda c: _chosen(c, graph=None)}),
    ("slower", "G4 latency", "fail", {"compiled": lambda c: _latency(c, sources.interval(480.0, 5.0))}),
    ("slower within bounds", "G4 latency", "fail", {"compiled": lambda c: _latency(c, sources.interval(405.0, 20.0))}),
    ("bounds overlap", "G4 latency", "not_run", {"compiled": lambda c: _latency(c, sources.interval(395.0, 20.0))}),
    ("no latency", "G4 latency", "not_run", {"compiled": lambda c: _latency(c, None, reason="none for v68")}),
    ("no time", "G4 latency", "fail", {"compiled": lambda c: _latency(c, Interval(value=0.0, low=None, high=None))}),
    ("NaN", "G4 latency", "fail", {"compiled": lambda c: _latency(c, _nan("value"))}),
    ("uncosted operators", "G4 latency", "not_run",
     {"compiled": lambda c: _latency(c, sources.interval(100.0, 1.0), reason="3 operators carry no cost")}),
    ("outside its bounds", "G4 latency", "fail",
     {"compiled": lambda c: _latency(c, Interval(value=500.0, low=1.0, high=2.0))}),
    ("other ruler", "G4 latency", "not_run",
     {"compiled": lambda c: _latency(c, sources.interval(100.0, 1.0), measured_on="device")}),
    ("check failed", "G4 toolchain", "fail", {"compiled": lambda c: _check(c, "soc_readback", "fail")}),
    ("check not run", "G4 toolchain", "not_run", {"compiled": lambda c: _check(c, "digest_before_load", "not_run")}),
    ("check missing", "G4 toolchain", "not_run", {"compiled": lambda c: _check(c, "no_float_islands", None)}),
    ("chip guessed", "G4 toolchain", "not_run", {"compiled": lambda c: c.model_copy(update={"id_confirmed": False})}),
    ("no checks", "G4 toolchain", "not_run", {"compiled": lambda c: _chosen(c, checks=())}),
    ("check contradicts itself", "G4 toolchain", "fail",
     {"compiled": lambda c: _chosen(c, checks=(*c.precision("w8a16").checks,
                                               Check(name="soc_readback", status="fail", detail="seen")))}),
    ("NaN", "G5 ladder", "fail", {"compiled": lambda c: _rung(c, "qdq->target", sqnr_db=math.nan)}),
    ("no frames", "G5 ladder", "not_run", {"compiled": lambda c: _rung(c, "qdq->target", samples=0)}),
    ("other precision", "G5 ladder", "not_run", {"compiled": lambda c: _rung(c, "qdq->target", precision="w8a8")}),
    ("rung failed", "G5 ladder", "fail", {"compiled": lambda c: _rung(c, "qdq->target", status="fail", reason="9 dB")}),
    ("rung under the floor", "G5 ladder", "fail", {"compiled": lambda c: _rung(c, "qdq->target", sqnr_db=12.0)}),
    ("lax tolerance", "G5 ladder", "fail",
     {"compiled": lambda c: _rung(c, "onnx->target", sqnr_db=12.0, threshold_db=10.0)}),
    ("rung not run", "G5 ladder", "not_run",
     {"compiled": lambda c: _rung(c, "torch->onnx", status="not_run", reason="no reference given")}),
    ("few samples", "G5 ladder", "not_run", {"compiled": lambda c: _rung(c, "qdq->target", samples=1)}),
    ("no number", "G5 ladder", "fail", {"compiled": lambda c: _rung(c, "qdq->target", sqnr_db=None, max_abs_error=0.1)}),
    ("rewrite not proven", "G5 ladder", "fail", {"compiled": lambda c: _rewritten(c, "fail")}),
    ("rewrite not compared", "G5 ladder", "not_run", {"compiled": lambda c: _rewritten(c, "not_run")}),
    ("rung missing", "G5 ladder", "not_run", {"compiled": lambda c: c.model_copy(update={"parity": c.parity[1:]})}),
    ("rung twice", "G5 ladder", "fail", {"compiled": lambda c: c.model_copy(update={"parity": c.parity + c.parity[:1]})}),
    ("device failed", "G5 device", "fail",
     {"compiled": lambda c: c.model_copy(update={"parity": (*c.parity, sources.rung("target->device", "w8a16", 5.0))})}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("gate", "expected", "changes"), [f[1:] for f in FAULTS], ids=[f"{f[1]}: {f[0]}" for f in FAULTS]
)
def test_a_planted_fault_is_caught(dataset: Manifest, gate: str, expected: str, changes: dict[str, Any]) -> None:
    report = _case(dataset, **changes)
    assert (_status(report, gate), bool(_reason(report, gate))) == (expected, True)
    assert gate in report.blocking
    assert report.state == ("rejected" if "fail" in {item.status for item in report.gates} else "candidate")


def test_each_gate_that_can_be_judged_has_a_passing_case(dataset: Manifest) -> None:
    on_device = {
        "compiled": lambda c: c.model_copy(update={"parity": (*c.parity, sources.rung("target->device", "w8a16"))})
    }
    report = _case(dataset, **on_device)
    assert {item.gate for item in report.gates if item.status == "pass"} == {gate for _, gate, _, _ in FAULTS}


def _on_board(precision: str, latency: Interval | None) -> DeviceRun:
    performance = Performance(
        measured_on="device",
        latency_us=latency,
        ddr_read_bytes=None,
        ddr_write_bytes=None,
        reason=None if latency else "no",
    )
    named = {
        "folder": f"device/{precision}",
        "measured_by": "A. Person",
        "key_id": "0",
        "board": "b",
        "machine": "aarch64",
    }
    return DeviceRun(
        precision=precision,
        measured_utc=datetime(2026, 1, 1, tzinfo=UTC),
        performance=performance,
        p99_us=None,
        max_us=None,
        timed=50,
        **named,
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "status", "said"),
    [
        (sources.interval(100.0, 1.0), sources.interval(90.0, 1.0), "fail", "measured on the device: not faster"),
        (sources.interval(80.0, 1.0), sources.interval(90.0, 1.0), "pass", "measured on the device"),
        (sources.interval(100.0, 1.0), None, "pass", "vendor simulated"),
    ],
)
def test_where_both_were_timed_on_a_board_its_times_decide(
    dataset: Manifest, ours: Interval, theirs: Interval | None, status: str, said: str
) -> None:
    runs = (_on_board("w8a16", ours), _on_board("fp16", theirs))
    report = _case(dataset, compiled=lambda c: c.model_copy(update={"device": runs}))
    assert (_status(report, "G4 latency"), said in _reason(report, "G4 latency")) == (status, True)


def test_a_bit_identical_rung_passes(dataset: Manifest) -> None:
    report = _case(dataset, compiled=lambda c: _rung(c, "torch->onnx", sqnr_db=None, max_abs_error=0.0))
    assert _status(report, "G5 ladder") == "pass"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(STATUSES), min_size=len(GATES), max_size=len(GATES)), st.data())
def test_only_a_pass_of_every_gate_approves(statuses: list[str], data: st.DataObject) -> None:
    results = [
        GateResult(gate=gate, title="t", status=status, reason="r", evidence=())  # type: ignore[arg-type]  # drawn
        for gate, status in zip(GATES, statuses, strict=True)
    ]
    dropped = data.draw(st.sets(st.sampled_from(range(len(results))), max_size=2))
    kept = [result for index, result in enumerate(results) if index not in dropped]
    sound = not dropped and set(statuses) == {"pass"}
    assert (state_of(kept) == "approved") == sound
    assert (blocking(kept) == ()) == sound
    assert (state_of(kept) == "rejected") == any(result.status == "fail" for result in kept)


def test_all_pass_approves_and_nothing_less_does() -> None:
    passed = [GateResult(gate=gate, title="t", status="pass", reason="r", evidence=()) for gate in GATES]
    assert state_of(passed) == "approved"
    assert state_of([]) == "candidate"
    assert state_of([*passed, passed[0]]) == "candidate"
    assert state_of([*passed[:-1], passed[-1].model_copy(update={"gate": "G9 wished"})]) == "candidate"
    for index, status in itertools.product(range(len(passed)), ("fail", "not_run")):
        changed = [r.model_copy(update={"status": status}) if i == index else r for i, r in enumerate(passed)]
        assert state_of(changed) == ("rejected" if status == "fail" else "candidate")


@given(st.lists(st.sampled_from(STATUSES)))
def test_parts_combine_to_the_worst_of_them(statuses: list[Any]) -> None:
    assert (worst(statuses) == "pass") == (bool(statuses) and set(statuses) == {"pass"})
    assert (worst(statuses) == "fail") == ("fail" in statuses)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_refused_when_read_and_never_pass_if_they_slip_in(
    dataset: Manifest, bad: float
) -> None:
    with pytest.raises(ValidationError):
        Interval(value=bad, low=None, high=None)
    slipped = Interval.model_construct(value=math.nan, low=math.nan, high=math.nan)
    assert _status(_case(dataset, evaluation=lambda e: _row(e, "camera", "all", ade_m=slipped)), "G3 limits") == "fail"
    assert _status(_case(dataset, compressed=lambda e: _row(e, "w8a16", "all", ade_m=slipped)), "G4 margins") == "fail"
    assert _status(_case(dataset, compiled=lambda c: _latency(c, slipped)), "G4 latency") == "fail"
    assert _status(_case(dataset, compiled=lambda c: _rung(c, "qdq->target", sqnr_db=math.nan)), "G5 ladder") == "fail"
    paired = _case(dataset, evaluation=lambda e: _row(e, "camera", "lead", ade_vs_ego_only_m=slipped))
    assert _status(paired, "G3 camera") == "fail"


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_upper_bound_of_a_rate_is_a_rate_above_it(hits: int, n: int) -> None:
    rate = min(hits, n) / n
    low, high = wilson(rate, n)
    assert 0.0 <= low <= rate <= high <= 1.0 + 1e-12
    assert high > wilson(rate, 1000 * n)[1] or rate == 1.0


def test_the_upper_bound_of_a_rate_is_the_published_one() -> None:
    # Source: Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 0 of 20 gives 0.1611.
    assert wilson(0.0, 20, z=1.959964) == pytest.approx((0.0, 0.1611), abs=5e-5)


# --- the command ------------------------------------------------------------------------------------------------


def _gate(places: Any, *more: str) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "platform_lib.cli", "gate"),
        *("--evaluation", str(places.evaluation), "--compressed-evaluation", str(places.compressed)),
        *("--compile", str(places.compiled), "--dataset", str(places.dataset), "--out", str(places.gates), *more),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_one_document_and_is_skipped_the_second_time(tmp_path: Path) -> None:
    places = sources.write_sources(tmp_path)
    before = places.gates.read_bytes()
    done = _gate(places, "--json")
    document = json.loads(done.stdout)
    assert (done.returncode, document["state"], document["skipped"]) == (0, "candidate", True)
    assert places.gates.read_bytes() == before
    assert read_manifest(places.gates.with_name("gates.json.manifest.json")).kind == "gate"


def test_a_rejection_ends_with_status_1_and_names_its_gates(tmp_path: Path) -> None:
    places = sources.write_sources(tmp_path)
    strict = tmp_path / "strict.yaml"
    written = sources.DEFAULT_THRESHOLDS.read_text()
    strict.write_text(written.replace("max_ade_increase_m: 0.10", "max_ade_increase_m: 0.01"))
    done = _gate(places, "--thresholds", str(strict))
    assert done.returncode == 1
    assert "rejected by G4 margins" in done.stderr
    assert "margin 0.01" in done.stdout
    assert json.loads(places.gates.read_text())["state"] == "rejected"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("min_drives: 2", "min_drive: 2", "min_drive"),
        ("ade_m: 2.0", "ade_m: .nan", "finite"),
        ("closed_loop_max_collision_rate: 0.50", "closed_loop_max_collision_rate: 25", "less than or equal to 1"),
        ("schema_version: 1", "schema_version: 1\n\tx", "not YAML"),
    ],
)
def test_thresholds_that_cannot_be_meant_are_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    from edge_compile.gate_files import read_thresholds
    from platform_lib.errors import ConfigError

    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(sources.DEFAULT_THRESHOLDS.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=said):
        read_thresholds(wrong)


def test_gates_forged_with_their_manifest_are_judged_again(tmp_path: Path) -> None:
    places = sources.write_sources(tmp_path)
    places.gates.write_text(json.dumps(json.loads(places.gates.read_text()) | {"state": "approved", "blocking": []}))
    beside = places.gates.with_name("gates.json.manifest.json")
    manifest = json.loads(beside.read_text())
    manifest["outputs"]["gates.json"]["sha256"] = hashlib.sha256(places.gates.read_bytes()).hexdigest()
    beside.write_text(json.dumps(manifest))
    done = _gate(places, "--json")
    assert json.loads(done.stdout)["state"] == json.loads(places.gates.read_text())["state"] == "candidate"


def test_a_dataset_or_evaluation_changed_after_the_fact_is_refused(tmp_path: Path) -> None:
    places = sources.write_sources(tmp_path)
    (places.dataset / "samples.lance/data.bin").write_bytes(b"other rows")
    done = _gate(places)
    assert (done.returncode, "samples.lance" in done.stderr) == (1, True)
    (places.dataset / "samples.lance/data.bin").write_bytes(b"rows")
    places.evaluation.write_text(places.evaluation.read_text() + " ")
    done = _gate(places)
    assert (done.returncode, "changed after it was evaluated" in done.stderr) == (1, True)


def test_a_compile_changed_after_the_fact_is_refused(tmp_path: Path) -> None:
    places = sources.write_sources(tmp_path)
    (places.compiled / "w8a16.ctx.bin").write_bytes(b"other")
    done = _gate(places)
    assert done.returncode == 1
    assert "w8a16.ctx.bin" in done.stderr


def _blurred(dataset: Manifest, **recall: Any) -> Manifest:
    """The dataset with every sample blurred, and what its manifest says of that blur."""
    states = {split: {"blurred": count} for split, count in sources.proof()["samples"].items()}
    told = {
        "config_sha256": "c" * 64,
        "labels_name": "our-streets",
        "labels_version": "2",
        "labels_sha256": "d" * 64,
        "composed": False,
        "source": "recorded and labelled by us",
        "frames": 300,
        "regions": 400,
        "covered_share": 0.9,
        "confidence": 0.95,
        "kinds": {"face": {"labelled": 400, "blurred": 396, "recall": 0.99, "lower_bound": 0.977}},
    }
    blur = {
        "config_sha256": ["c" * 64],
        "recall": {**told, **recall} if recall.get("labels_name", "") is not None else None,
    }
    return dataset.model_copy(update={"metrics": {"split_proof": sources.proof(pii_states=states), "blur": blur}})


def test_blurred_samples_pass_by_a_measured_recall_alone(dataset: Manifest) -> None:
    strict = sources.THRESHOLDS.model_copy(update={"privacy": Privacy(min_blur_recall={"face": 0.97})})

    def judged(thresholds: Any = strict, **recall: Any) -> tuple[str, str]:
        report = _case(dataset, dataset=lambda found: _blurred(found, **recall), thresholds=thresholds)
        return _status(report, "G0 PII"), _reason(report, "G0 PII")

    assert judged()[0] == "pass"
    low = {"face": {"labelled": 100, "blurred": 97, "recall": 0.97, "lower_bound": 0.925}}
    assert judged(kinds=low)[0] == "fail"  # the share reaches it, its lower bound does not
    assert "composed" in judged(composed=True)[1]
    assert judged(composed=True)[0] == "not_run"
    assert "another blur configuration" in judged(config_sha256="e" * 64)[1]
    assert "no box is labelled" in judged(kinds={"plate": low["face"]})[1]
    assert "was not measured" in judged(labels_name=None)[1]
    assert "was not measured" in judged(confidence="high")[1]  # what cannot be read proves nothing
    assert "no recall is written" in judged(sources.THRESHOLDS)[1]


# Against what was released last

RELEASED = Released(
    model_name="planner", target="sa8255p", precision="w8a16", report_sha256=SHA("last"), measured_on="simulator",
    latency_us=250.0, size_bytes=1000, ddr_bytes=2000,
)  # fmt: skip


def _regression(dataset: Manifest, last: Released | None, **figures: Any) -> tuple[str, str]:
    """Judge an artefact of 250 us, 1000 bytes and 2000 bytes of traffic, with some of it replaced."""
    values = {"latency": 250.0, "size": 1000, "read": 1500, "write": 500, "measured_on": "simulator"} | figures
    compression = sources.THRESHOLDS.compression.model_copy(update={"released": last})

    def changed(report: CompileReport) -> CompileReport:
        time = None if values["latency"] is None else sources.interval(values["latency"], 1.0)
        traffic = {"ddr_read_bytes": values["read"], "ddr_write_bytes": values["write"]}
        told = {"measured_on": values["measured_on"], "reason": None if time else "none for v68"}
        return _chosen(_latency(report, time, **traffic, **told), context_bytes=values["size"])

    report = _case(
        dataset, compiled=changed, thresholds=sources.THRESHOLDS.model_copy(update={"compression": compression})
    )
    return _status(report, "G4 regression"), _reason(report, "G4 regression")


@pytest.mark.parametrize(
    ("status", "said", "figures"),
    [
        ("pass", "latency in us", {}),
        ("pass", "latency in us", {"latency": 262.5, "size": 1050, "read": 1700}),
        ("fail", "latency in us of w8a16 against planner w8a16", {"latency": 263.0}),
        ("fail", "size in bytes", {"size": 1051}),
        ("fail", "memory traffic in bytes", {"read": 1701}),
        ("fail", "latency in us", {"latency": -1.0}),
        ("not_run", "latency in us", {"latency": None}),
        ("not_run", "memory traffic", {"write": None}),
        ("not_run", "not comparable", {"measured_on": "device"}),
    ],
)
def test_a_release_is_not_followed_by_something_slower_larger_or_hungrier(
    dataset: Manifest, status: str, said: str, figures: dict[str, Any]
) -> None:
    found = _regression(dataset, RELEASED, **figures)
    assert found[0] == status
    assert said in found[1]


@pytest.mark.parametrize("last", [None, RELEASED.model_copy(update={"target": "sa8797p"})])
def test_without_a_release_for_this_chip_nothing_is_compared(dataset: Manifest, last: Released | None) -> None:
    assert _regression(dataset, last)[0] == "not_run"


def test_the_release_is_read_from_a_compile_and_from_a_bundle(tmp_path: Path) -> None:
    report = sources.compile_report(SHA("onnx"), QDQ)
    write_evidence(tmp_path / "compiled" / "report.json", report)
    write_evidence(tmp_path / "bundle" / "evidence" / "compile_report.json", report)
    one, two = (read_released(tmp_path / name) for name in ("compiled", "bundle"))
    assert one == two
    assert (one.precision, one.size_bytes) == (report.chosen, report.precision("w8a16").context_bytes)
    with pytest.raises(MissingPartError):
        read_released(tmp_path)
    write_evidence(tmp_path / "report.json", report.model_copy(update={"chosen": None}))
    with pytest.raises(IntegrityError, match="chose no precision"):
        read_released(tmp_path)


# Waived until a day

WAIVED = GateWaiver(
    gate="G4 latency", target="sa8255p", until=date(2027, 3, 31), approved_by="A. Person", why="measured on the bench"
)


@pytest.mark.parametrize(
    ("changes", "blocks"),
    [
        ({}, False),
        ({"today": date(2027, 4, 1)}, True),
        ({"today": None}, True),
        ({"waiver": WAIVED.model_copy(update={"target": "sa8797p"})}, True),
    ],
)
def test_a_chip_without_estimates_blocks_until_it_is_waived_with_a_date(
    dataset: Manifest, changes: dict[str, Any], blocks: bool
) -> None:
    thresholds = sources.THRESHOLDS.model_copy(update={"waivers": (changes.get("waiver", WAIVED),)})
    report = _case(
        dataset,
        compiled=lambda c: _latency(c, None, reason="none for v68"),
        thresholds=thresholds,
        today=changes.get("today", date(2027, 3, 31)),
    )
    assert _status(report, "G4 latency") == "not_run"
    assert ("G4 latency" in report.blocking) == blocks
    assert ("waived until 2027-03-31 by A. Person: measured on the bench" in _reason(report, "G4 latency")) != blocks


def test_a_failure_is_waived_by_nobody(dataset: Manifest) -> None:
    thresholds = sources.THRESHOLDS.model_copy(update={"waivers": (WAIVED,)})
    slower = _case(
        dataset, compiled=lambda c: _latency(c, sources.interval(480.0, 5.0)), thresholds=thresholds, today=WAIVED.until
    )
    assert (_status(slower, "G4 latency"), slower.state) == ("fail", "rejected")
    with pytest.raises(ValidationError):
        GateWaiver.model_validate({**WAIVED.model_dump(), "gate": "G5 ladder"})

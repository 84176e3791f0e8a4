"""Small, real sources of a bundle: a dataset, a run, a compile and two evaluations, each with its manifest."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from edge_compile.bundle_sources import Places
from edge_compile.gate_files import DEFAULT_THRESHOLDS, read_thresholds, run_gate
from platform_lib.evidence import (
    Check,
    CompiledPrecision,
    CompileReport,
    EvaluationReport,
    GraphSummary,
    Interval,
    MetricsRow,
    ParityRung,
    Performance,
    write_evidence,
)
from platform_lib.manifest import Input, Manifest, Step, manifest_path_of
from platform_lib.storage import sha256_file

THRESHOLDS = read_thresholds(DEFAULT_THRESHOLDS)
SLICES = (*THRESHOLDS.float_model.slices, THRESHOLDS.float_model.scene)
SELF_TEST = "scorer self-test: passed 27 cases and caught 8 planted wrong scorers"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def interval(value: float, width: float = 0.05) -> Interval:
    return Interval(value=value, low=value - width, high=value + width)


def proof(**changes: object) -> dict[str, object]:
    drives = {"train": ["d1", "d2", "d3"], "val": ["d4"], "test": ["d5", "d6"]}
    base: dict[str, object] = {
        "seed": 7,
        "drives": drives,
        "files": {split: {drive: [sha(drive)] for drive in members} for split, members in drives.items()},
        "shared_drives": {"train/val": 0, "train/test": 0, "val/test": 0},
        "shared_content": {"train/val": 0, "train/test": 0, "val/test": 0},
        "samples": {"train": 30, "val": 10, "test": 20},
        "slices": {"train": {"clear": 30}, "val": {"clear": 10}, "test": {"clear": 20}},
        "pii_states": {split: {"none_present": n} for split, n in (("train", 30), ("val", 10), ("test", 20))},
        "duplicates": [],
        "near_duplicates": {
            "method": "perceptual hash, 256 bits",
            "max_bits": 12,
            "compared": {"train": 30, "val": 10, "test": 20},
            "featureless": {"train": 0, "val": 0, "test": 0},
            "across": {"train/val": 0, "train/test": 0, "val/test": 0},
            "nearest_bits": {"train/val": 30, "train/test": 22, "val/test": None},
            "left_out": 0,
        },
        "places": {
            "cell": "geohash of 7 characters and the 8 around it",
            "reach_m": 102.0,
            "positioned": {"train": 30, "val": 10, "test": 20},
            "unpositioned": {"train": 0, "val": 0, "test": 0},
            "cells": {"train": 6, "val": 2, "test": 4},
            "shared": {"train/val": 0, "train/test": 0, "val/test": 0},
            "left_out": 0,
        },
        "trips": {
            "gap_s": 900,
            "shared": {"train/val": 0, "train/test": 0, "val/test": 0},
            "unnamed": [],
            "left_out": 0,
        },
    }
    return base | changes


def contracts(**changes: Any) -> dict[str, Any]:
    """What data contracts found of the dataset that `proof` divides."""

    def held(name: str, level: str) -> dict[str, Any]:
        counts = {"subjects": 1, "rules": 20, "errors": 0, "warnings": 0, "not_run": 0}
        return {"contract_id": name, "version": "1.0.0", "sha256": sha(name), "level": level, **counts}

    levels = (("vehicle-signals", "file"), ("drives", "lake"), ("dataset-samples", "dataset"))
    return {
        "schema_version": 1,
        "drives": 6,
        "contracts": [held(name, level) for name, level in levels],
        "uncovered": [],
        "left_out": [],
        "findings": [],
        **changes,
    }


def write_dataset(folder: Path, proof_json: dict[str, object] | None = None) -> Manifest:
    (folder / "samples.lance").mkdir(parents=True)
    (folder / "samples.lance" / "data.bin").write_bytes(b"rows")
    (folder / "split.json").write_text("{}")
    step = Step("dataset", inputs={}, config={"name": folder.name}, modules=())
    outputs = {name: folder / name for name in ("samples.lance", "split.json")}
    return step.finish(
        folder / "manifest.json", outputs, {"split_proof": proof_json or proof(), "contracts": contracts()}
    )


def tiny_model() -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 4, 8]),
        helper.make_tensor_value_info("command", TensorProto.FLOAT, [1, 3]),
    ]
    output = helper.make_tensor_value_info("plan", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([helper.make_node("Relu", ["command"], ["plan"])], "planner", inputs, [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def write_run(folder: Path, dataset: Manifest) -> Manifest:
    folder.mkdir(parents=True)
    onnx.save(tiny_model(), folder / "model.onnx")
    (folder / "weights.pt").write_bytes(b"weights")
    np.savez(folder / "calibration.npz", image=np.zeros((2, 3, 4, 8), np.float32))
    np.savez(folder / "frozen.npz", image=np.zeros((2, 3, 4, 8), np.float32))
    step = Step("run", inputs={"dataset": Input(sha256=dataset.step_sha256, uri="x")}, config={"e": 1}, modules=())
    names = ("model.onnx", "weights.pt", "calibration.npz", "frozen.npz")
    return step.finish(folder / "manifest.json", {name: folder / name for name in names}, {})


def rung(name: str, precision: str, sqnr_db: float = 90.0) -> ParityRung:
    return ParityRung(
        name=name,
        precision=precision,
        status="pass",
        samples=16,
        sqnr_db=sqnr_db,
        max_abs_error=0.001,
        cosine=0.9999,
        threshold_db=None,
    )


def compiled_precision(precision: str, latency_us: float) -> CompiledPrecision:
    quantized = precision != "fp16"
    return CompiledPrecision(
        precision=precision,
        qdq=f"{precision}.qdq.onnx" if quantized else None,
        encodings=f"{precision}.encodings" if quantized else None,
        context=(f"{precision}.ctx.onnx", f"{precision}.ctx.bin"),
        context_bytes=7,
        graph=GraphSummary(npu_nodes=12, cpu_nodes=0, dtypes={"ufixed16": 12}, float_nodes=(), unsupported={}),
        performance=Performance(
            measured_on="simulator", latency_us=interval(latency_us, 10.0), ddr_read_bytes=100, ddr_write_bytes=10
        ),
        checks=tuple(Check(name=name, status="pass", detail="seen") for name in THRESHOLDS.compression.required_checks),
    )


def compile_report(onnx_sha256: str, digests: dict[str, str]) -> CompileReport:
    return CompileReport(
        model_name="planner",
        onnx_sha256=onnx_sha256,
        target="sa8255p",
        soc_model=52,
        architecture="v73",
        id_confirmed=True,
        tools={"onnxruntime-qnn": "2.7.0", "qnn": "2.51.0"},
        chosen="w8a16",
        precisions=(compiled_precision("fp16", 400.0), compiled_precision("w8a16", 250.0)),
        parity=(
            *(
                rung(floor.name, "fp32" if "fp32" in floor.min_db else "w8a16")
                for floor in THRESHOLDS.parity.rungs
                if "w8a16" not in floor.absent_for
            ),
            rung("onnx->target", "fp16"),
        ),
        digests=digests,
    )


def write_compile(folder: Path, model_onnx: Path) -> CompileReport:
    folder.mkdir(parents=True)
    for item in (compiled_precision("fp16", 400.0), compiled_precision("w8a16", 250.0)):
        for name in (item.qdq, item.encodings, *item.context):
            if name is not None:
                (folder / name).write_bytes(f"content of {name}".encode())
    digests = {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
    report = compile_report(sha256_file(model_onnx), digests)
    write_evidence(folder / "report.json", report)
    step = Step(
        "compile",
        inputs={"onnx": Input(sha256=report.onnx_sha256, uri="x"), "calibration": Input(sha256=sha("c"), uri="c")},
        config={},
        modules=(),
    )
    step.finish(folder / "manifest.json", {path.name: path for path in sorted(folder.iterdir())}, {})
    return report


def evaluation(
    weights_sha256: str, dataset_sha256: str, *, planner: str = "camera", worse_m: float = 0.0
) -> EvaluationReport:
    def row(who: str, name: str, ade_m: float) -> MetricsRow:
        metrics = {"ade_m": interval(ade_m), "fde_m": interval(2 * ade_m)}
        if who == "camera":
            metrics["ade_vs_ego_only_m"] = interval(-0.2)
        return MetricsRow(planner=who, slice=name, n=20, drives=2, metrics=metrics)

    rows = [row(planner, name, 0.8 + worse_m) for name in SLICES]
    closed: tuple[MetricsRow, ...] = ()
    if planner == "camera":
        rows += [row("ego_only", name, 1.0) for name in SLICES]
        rate = {"collision_rate": Interval(value=0.0, low=0.0, high=0.0)}
        closed = (MetricsRow(planner="camera", slice="all", n=30, drives=30, metrics=rate),)
    return EvaluationReport(
        model_name="planner",
        weights_sha256=weights_sha256,
        dataset_sha256=dataset_sha256,
        split="test",
        scorer_version="1",
        scorer_sha256=sha("scorer"),
        seeds=(1,),
        open_loop=tuple(rows),
        closed_loop=closed,
        findings=(SELF_TEST,),
    )


def write_sources(root: Path) -> Places:
    """Write everything a bundle needs below `root`, gates included."""
    places = Places(
        run=root / "runs" / "planner",
        dataset=root / "datasets" / "demo",
        compiled=root / "compiled" / "demo",
        evaluation=root / "runs" / "planner" / "evaluation" / "evaluation.json",
        compressed=root / "reports" / "evaluation.json",
        gates=root / "reports" / "gates.json",
    )
    dataset = write_dataset(places.dataset)
    run = write_run(places.run, dataset)
    compiled = write_compile(places.compiled, places.run / "model.onnx")
    weights = run.outputs["weights.pt"].sha256
    write_evidence(places.evaluation, evaluation(weights, dataset.step_sha256))
    qdq = compiled.digests["w8a16.qdq.onnx"]
    write_evidence(places.compressed, evaluation(qdq, dataset.step_sha256, planner="w8a16", worse_m=0.02))
    write_evaluation_manifest(places)
    judge_again(places)
    return places


def scored(onnx_sha256: str) -> Manifest:
    """The manifest of an evaluation of that model, without its outputs."""
    step = Step("evaluation", inputs={"camera": Input(sha256=onnx_sha256, uri="x")}, config={}, modules=())
    return step._manifest({}, {}, root=Path())


def write_evaluation_manifest(places: Places) -> None:
    scored_files = (
        (places.evaluation, places.evaluation.with_name("manifest.json"), places.run / "model.onnx"),
        (places.compressed, manifest_path_of(places.compressed), places.compiled / "w8a16.qdq.onnx"),
    )
    for path, manifest, model in scored_files:
        step = Step("evaluation", inputs={"camera": Input(sha256=sha256_file(model), uri="x")}, config={}, modules=())
        step.finish(manifest, {"evaluation.json": path}, {})


def judge_again(places: Places) -> None:
    run_gate(
        places.evaluation,
        places.compressed,
        places.compiled,
        places.dataset,
        thresholds=DEFAULT_THRESHOLDS,
        out=places.gates,
    )


def moved(places: Places, old: Path, new: Path) -> Places:
    """The same sources after their root was copied elsewhere."""
    fields = ("run", "dataset", "compiled", "evaluation", "compressed", "gates")
    return replace(places, **{name: new / getattr(places, name).relative_to(old) for name in fields})

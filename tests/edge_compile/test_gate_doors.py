"""The gates on what NVIDIA's compiler made: its own rungs and checks, and a float build that has to be the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import handoff_sources as sources
import pytest
from pydantic import ValidationError

from edge_compile.gate import judge
from platform_lib.evidence import Check, CompiledPrecision, CompileReport, GateResult, Performance
from platform_lib.handoff.thresholds import RungFloor
from platform_lib.manifest import Manifest

CHECKS = sources.THRESHOLDS.compression.required_checks_for["int8"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return sources.write_dataset(tmp_path_factory.mktemp("doors") / "demo")


def _precision(name: str, latency_us: float) -> CompiledPrecision:
    return CompiledPrecision(
        precision=name,
        qdq=None if name == "fp16" else f"{name}.qdq.onnx",
        encodings=None,
        context=(f"{name}.engine",),
        context_bytes=7,
        graph=None,
        performance=Performance(
            measured_on="device",
            latency_us=sources.interval(latency_us, 1.0),
            ddr_read_bytes=None,
            ddr_write_bytes=None,
        ),
        checks=tuple(Check(name=check, status="pass", detail="seen") for check in CHECKS),
    )


def _engine(precision: str = "int8") -> CompileReport:
    """What a compile on an Orin leaves, with the figures that nvidia-modelopt reached on resnet18."""
    rungs = [sources.rung("torch->onnx", "fp32"), sources.rung("onnx->target", "fp16", 70.0)]
    rungs += [sources.rung(name, precision, 28.1) for name in ("onnx->qdq", "qdq->target", "onnx->target")]
    return sources.compile_report(sources.sha("onnx"), {f"{precision}.qdq.onnx": sources.sha("qdq")}).model_copy(
        update={
            "target": "orin",
            "soc_model": 0,
            "chosen": precision,
            "tools": {"device": "Orin (8.7)", "runner": "trtexec", "runner_sha256": sources.sha("trtexec")},
            "precisions": (_precision("fp16", 900.0), _precision(precision, 400.0)),
            "parity": tuple(rungs),
        }
    )


def _gates(dataset: Manifest, compiled: CompileReport) -> dict[str, GateResult]:
    float_report = sources.evaluation(sources.sha("w"), dataset.step_sha256)
    compressed = sources.evaluation(sources.sha("qdq"), dataset.step_sha256, planner=str(compiled.chosen), worse_m=0.02)
    scored, rescored = sources.scored(sources.sha("onnx")), sources.scored(sources.sha("qdq"))
    report = judge(float_report, compressed, compiled, dataset, sources.THRESHOLDS, scored=scored, rescored=rescored)
    return {item.gate: item for item in report.gates}


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_a_sound_engine_passes_by_the_rungs_and_checks_of_its_own_toolchain(dataset: Manifest, precision: str) -> None:
    gates = _gates(dataset, _engine(precision))
    assert {name: gates[name].status for name in ("G4 latency", "G4 toolchain", "G5 ladder")} == {
        "G4 latency": "pass",
        "G4 toolchain": "pass",
        "G5 ladder": "pass",
    }
    assert not any("simulation" in line for line in gates["G5 ladder"].evidence)
    assert gates["G5 device"].status == "not_run"
    assert "no floor is written" in gates["G5 device"].reason


def _rung(name: str, precision: str, **changes: Any) -> Callable[[CompileReport], CompileReport]:
    def plant(report: CompileReport) -> CompileReport:
        rungs = [
            item.model_copy(update=changes) if (item.name, item.precision) == (name, precision) else item
            for item in report.parity
        ]
        return report.model_copy(update={"parity": tuple(rungs)})

    return plant


def _left_out(name: str, precision: str) -> Callable[[CompileReport], CompileReport]:
    def plant(report: CompileReport) -> CompileReport:
        rungs = tuple(item for item in report.parity if (item.name, item.precision) != (name, precision))
        return report.model_copy(update={"parity": rungs})

    return plant


def _unchecked(report: CompileReport) -> CompileReport:
    items = [item.model_copy(update={"checks": item.checks[1:]}) for item in report.precisions]
    return report.model_copy(update={"precisions": tuple(items)})


FAULTS: dict[str, tuple[Callable[[CompileReport], CompileReport], str, str, str]] = {
    "collapsed in the quantizer": (_rung("onnx->qdq", "int8", sqnr_db=14.9), "G5 ladder", "fail", "needs 18 dB"),
    "collapsed in the fused engine": (
        _rung("qdq->target", "int8", sqnr_db=9.0, threshold_db=6.0), "G5 ladder", "fail", "needs 18 dB"),
    "a lax tolerance": (
        _rung("onnx->target", "int8", sqnr_db=17.9, threshold_db=3.0), "G5 ladder", "fail", "needs 18 dB"),
    "the quantizer not compared": (_left_out("onnx->qdq", "int8"), "G5 ladder", "not_run", "was not run"),
    "a rung that nobody asked for, and that failed": (
        lambda c: c.model_copy(
            update={"parity": (*c.parity, sources.rung("onnx->simulation", "int8").model_copy(
                update={"status": "fail", "reason": "broken"}))}),
        "G5 ladder", "fail", "onnx->simulation"),
    "a float build that computes something else": (
        _rung("onnx->target", "fp16", sqnr_db=12.0), "G4 latency", "not_run", "was not shown to compute what the model does"),
    "a float build that failed": (
        _rung("onnx->target", "fp16", status="fail", reason="12 dB, below 40 dB"), "G4 latency", "not_run", "12 dB, below"),
    "a float build nobody compared": (_left_out("onnx->target", "fp16"), "G4 latency", "not_run", "was not run"),
    "a check left out": (_unchecked, "G4 toolchain", "not_run", "no check 'compiled'"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_planted_fault_is_seen_by_its_own_gate(dataset: Manifest, fault: str) -> None:
    plant, gate, status, said = FAULTS[fault]
    found, sound = _gates(dataset, plant(_engine())), _gates(dataset, _engine())
    assert (found[gate].status, said in found[gate].reason) == (status, True), found[gate].reason
    assert [name for name in found if found[name].status != sound[name].status] == [gate]


def test_a_slower_engine_fails_whatever_its_float_build_computes(dataset: Manifest) -> None:
    slower = _engine().model_copy(update={"precisions": (_precision("fp16", 400.0), _precision("int8", 900.0))})
    assert _gates(dataset, _left_out("onnx->target", "fp16")(slower))["G4 latency"].status == "fail"


def test_every_precision_has_a_floor_on_each_rung_or_is_absent_there() -> None:
    rungs = [floor for floor in sources.THRESHOLDS.parity.rungs if "fp32" not in floor.min_db]
    for precision in ("w8a16", "w8a8", "w8mixed", "mixed", "w4a16", "int8", "fp8"):
        assert all((precision in floor.min_db) != (precision in floor.absent_for) for floor in rungs)
    with pytest.raises(ValidationError, match="and is absent for it"):
        RungFloor(name="a->b", min_db={"int8": 18.0}, min_samples=8, absent_for=("int8",))

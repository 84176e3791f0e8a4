"""A whole compile for another maker's chip: with stand-ins of its programs, and with none of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from maker_tools import calls_of, conv_model, linear_model, linear_samples, write_modelopt, write_qaic, write_trtexec

from edge_compile import compile_model
from edge_compile.arrays import save_arrays
from edge_compile.compiler import CompileResult
from edge_compile.doors import modelopt
from platform_lib.errors import CompileError, ConfigError, IntegrityError
from platform_lib.evidence import CompileReport, read_evidence
from platform_lib.manifest import changed_outputs, read_manifest

pytestmark = pytest.mark.slow
REAL_MODELOPT = os.environ.get(modelopt.PYTHON)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tools"
    folder.mkdir()
    model = linear_model(folder / "m.onnx")
    write_trtexec(folder, model)
    write_qaic(folder)
    monkeypatch.setenv(modelopt.PYTHON, str(write_modelopt(folder, model)))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def call(tmp_path: Path, target: str = "orin", **changes: Any) -> CompileResult:
    model, samples = linear_model(tmp_path / "m.onnx"), linear_samples()
    return compile_model(model, target, samples, tmp_path / "out", frozen=samples, **changes)


def rungs(report: CompileReport) -> dict[tuple[str, str], str]:
    return {(rung.precision, rung.name): rung.status for rung in report.parity}


def test_the_ladder_runs_and_simulated_against_fused_is_a_rung(tools: Path, tmp_path: Path) -> None:
    result = call(tmp_path)
    report = result.report
    assert rungs(report) == {
        ("fp32", "torch->onnx"): "not_run",
        ("fp16", "onnx->target"): "pass",
        ("int8", "onnx->qdq"): "pass",
        ("int8", "qdq->target"): "pass",
        ("int8", "onnx->target"): "pass",
    }
    assert (report.chosen, report.id_confirmed, report.soc_model) == ("int8", True, 0)
    assert report.tools["device"] == "Orin (8.7)"
    assert report.tools["nvidia-modelopt"] == "0.0.1"
    assert {item.performance.measured_on for item in report.precisions} == {"device"}
    manifest = read_manifest(result.folder / "manifest.json")
    assert manifest.inputs["compiler"].sha256 == report.tools["runner_sha256"]
    assert changed_outputs(manifest, result.folder) == []
    assert "measured on Orin (8.7) by trtexec, TensorRT 10.3.0" in (result.folder / "report.html").read_text()
    before = len(calls_of(tools))
    assert call(tmp_path).skipped
    assert len(calls_of(tools)) == before  # the second run compiles nothing
    # A report that says "device" and does not say which, and what timed it, is no evidence.
    place = result.folder / "report.json"
    document = json.loads(place.read_text())
    for missing in ("device", "runner_sha256"):
        tools_left = {name: value for name, value in document["tools"].items() if name != missing}
        place.write_text(json.dumps(document | {"tools": tools_left}))
        with pytest.raises(IntegrityError, match="what timed it is not named"):
            read_evidence(CompileReport, place)


def test_a_fused_engine_that_drifts_fails_its_rung(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULT", "drifts")
    report = call(tmp_path).report
    assert rungs(report)["int8", "onnx->qdq"] == "pass"
    assert rungs(report)["int8", "qdq->target"] == "fail"
    assert report.chosen is None


def test_without_the_makers_programs_nothing_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv(modelopt.PYTHON, raising=False)
    report = call(tmp_path).report
    assert (report.chosen, set(rungs(report).values())) == (None, {"not_run"})
    assert {item.performance.measured_on for item in report.precisions} == {"not_run"}
    assert all(item.context == () for item in report.precisions)
    assert any("trtexec is not available here: install TensorRT 10" in note for note in report.notes)
    assert any("nvidia-modelopt is not available here" in note for note in report.notes)
    reasons = {rung.name: rung.reason for rung in report.parity if rung.precision == "int8"}
    assert "nvidia-modelopt is not available here" in reasons["onnx->qdq"]
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_quantizer_that_does_nothing_is_caught(tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULT", "no quantizer")
    report = call(tmp_path).report
    assert rungs(report)["fp16", "onnx->target"] == "pass"
    assert report.precision("int8").qdq is None
    assert "put no quantizer into the int8 model" in report.precision("int8").checks[0].detail
    assert report.chosen is None
    monkeypatch.setenv("FAULT", "no model")
    model, python = linear_model(tmp_path / "m.onnx"), Path(os.environ[modelopt.PYTHON])
    save_arrays(tmp_path / "c.npz", {"x": linear_samples()["x"].reshape(-1, 1, 4)})
    with pytest.raises(CompileError, match="wrote no int8 model"):
        modelopt.quantize(
            python, model, tmp_path / "c.npz", "int8", tmp_path / "q.onnx", log=tmp_path / "log", time_s=60.0
        )


def test_cloud_ai_100_stays_open_without_a_card(tools: Path, tmp_path: Path) -> None:
    report = call(tmp_path, "aic100").report
    assert report.precision("int8").context == ("int8.programqpc.bin",)
    assert rungs(report)["int8", "onnx->qdq"] == "pass"
    assert rungs(report)["int8", "qdq->target"] == "not_run"
    assert (report.chosen, report.id_confirmed) == (None, False)


def test_what_makes_no_sense_is_refused_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for changes in ({"precisions": ("w8a8",)}, {"precisions": ()}, {"choose": "fp8"}, {"compiler": tmp_path / "none"}):
        with pytest.raises(ConfigError):
            call(tmp_path, **changes)
    monkeypatch.setenv(modelopt.PYTHON, "/bin/true-not-there")
    with pytest.raises(ConfigError, match="no Python that has nvidia-modelopt"):
        call(tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(REAL_MODELOPT is None, reason=f"{modelopt.PYTHON} names no Python that has nvidia-modelopt")
def test_the_real_quantizer_keeps_to_the_float_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    model = conv_model(tmp_path / "m.onnx")
    samples = {"x": np.random.default_rng(1).normal(size=(32, 1, 32, 16, 16)).astype(np.float32)}
    report = compile_model(model, "thor", samples, tmp_path / "out", frozen=samples, precisions=("int8", "fp8")).report
    found = {rung.precision: rung for rung in report.parity if rung.name == "onnx->qdq"}
    assert (found["int8"].status, found["int8"].sqnr_db > 30) == ("pass", True), found
    assert found["fp8"].status == "pass", found
    assert (report.tools["nvidia-modelopt"][0], report.chosen) == ("0", None)

"""A maker's compiler, by a stand-in that prints what the maker documents: command lines, readings, and every fault of them."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from boards import executable
from hypothesis import given
from hypothesis import strategies as st
from maker_tools import calls_of, linear_model, weights_of, write_qaic, write_trtexec

from edge_compile.doors import trtexec
from edge_compile.doors.building import Bench, build
from edge_compile.doors.tool import Tool, find_tool
from edge_compile.targets.doors import DoorTarget, door_target
from edge_compile.worker import Limits, WorkerStoppedError
from platform_lib.errors import CompileError, ConfigError
from platform_lib.storage import sha256_file


def bench_of(tmp_path: Path, tool: Path, target: str = "orin") -> Bench:
    found = door_target(target)
    assert isinstance(found, DoorTarget)
    (tmp_path / "scratch").mkdir()
    inputs = {"x": np.random.default_rng(0).normal(size=(3, 1, 4)).astype(np.float32)}
    return Bench(
        found,
        Tool(tool, sha256_file(tool)),
        inputs,
        {"y": (1, 3)},
        tmp_path / "scratch",
        tmp_path / "log",
        Limits(30.0),
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return linear_model(tmp_path / "m.onnx")


@pytest.fixture
def bench(tmp_path: Path, model: Path) -> Bench:
    return bench_of(tmp_path, write_trtexec(tmp_path, model))


def test_an_engine_is_built_timed_and_answers(bench: Bench, model: Path, tmp_path: Path) -> None:
    built = build(bench, "int8", model)
    assert [check.status for check in built.checks] == ["pass"] * 3
    assert built.performance.measured_on == "device"
    assert built.performance.latency_us.value == pytest.approx(93.0)  # of "Latency", not of "GPU Compute Time"
    expected = np.maximum(bench.inputs["x"] @ np.asarray(weights_of(model), np.float32), 0)
    assert np.allclose(built.outputs["y"], expected, atol=0.01)
    assert built.versions == {
        "runner": "trtexec, TensorRT 10.3.0",
        "runner_sha256": bench.tool.sha256,
        "device": "Orin (8.7)",
    }
    cache = bench.scratch / "timing.cache"
    first, second, *others = calls_of(tmp_path)
    assert first == [
        f"--onnx={model}",
        "--saveEngine=int8.engine",
        "--int8",
        "--fp16",
        f"--timingCacheFile={cache}",
        "--exportLayerInfo=layers.json",
        "--profilingVerbosity=detailed",
        "--skipInference",
    ]
    assert second == ["--loadEngine=int8.engine", "--useSpinWait", "--duration=3"]
    answer = ["--loadEngine=int8.engine", "--loadInputs=x:in0.raw", "--exportOutput=outputs.json"]
    assert others == [[*answer, "--iterations=1", "--duration=0", "--warmUp=0"]] * 3
    assert cache.read_bytes() == b"t"
    assert "TensorRT version: 10.3.0" in (tmp_path / "log").read_text()


FAULTS = {
    "fails": "status 1: .*Error\\[4\\]: no kernel for node last",
    "no engine": "says it passed and wrote no int8.engine",
    "no version": "does not say which TensorRT ran",
    "not passed": "or that it passed",
    "no layers": "no readable account of its layers",
    "no latency": "no line of latencies",
    "nan": "latencies that are none",
    "no outputs": "wrote no outputs",
    "other output": "no output 'y'",
    "short": "2 values of 'y', which has 3",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_that_is_none_is_refused(fault: str, bench: Bench, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULT", fault)
    with pytest.raises(CompileError, match=FAULTS[fault]):
        build(bench, "int8", model)


def test_one_that_hangs_is_stopped(bench: Bench, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAULT", "hangs")
    start_s = time.monotonic()
    with pytest.raises(WorkerStoppedError, match=r"longer than 0\.5 s"):
        build(replace(bench, limits=Limits(0.5)), "int8", model)
    assert time.monotonic() - start_s < 20


def test_another_gpu_is_not_the_target_and_nothing_is_measured(
    bench: Bench, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULT", "another gpu")
    built = build(bench, "fp16", model)
    assert built.checks[0].status == "fail"
    assert "NVIDIA H200, compute capability 9.0; orin is 8.7" in built.checks[0].detail
    assert (built.performance.measured_on, built.performance.latency_us, built.outputs) == ("not_run", None, None)


def test_an_engine_without_a_layer_in_8_bits_fails_its_check(
    bench: Bench, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULT", "no int8")
    checks = {check.name: check for check in build(bench, "int8", model).checks}
    assert (checks["not_float_by_accident"].status, checks["not_float_by_accident"].detail) == (
        "fail",
        "outputs of layers: 1 fp16",
    )


@pytest.mark.parametrize(("precision", "flags"), [("fp16", ["--fp16"]), ("fp8", ["--fp8", "--fp16"])])
def test_each_precision_has_its_flags(precision: str, flags: list[str]) -> None:
    found = trtexec.build_arguments(precision, "m", "e", "c")
    assert [item for item in found if item in ("--fp16", "--int8", "--fp8")] == flags
    with pytest.raises(ConfigError, match="no 'int3'"):
        trtexec.build_arguments("int3", "m", "e", "c")
    with pytest.raises(ConfigError, match="no input called"):
        trtexec.answer_arguments("e", {"a:b": "f"})


@given(st.text(max_size=200))
def test_any_words_are_read_or_refused(text: str) -> None:
    for read in (trtexec.said_of, trtexec.times_of, trtexec.layer_types, lambda t: trtexec.outputs_of(t, {"y": (1,)})):
        with pytest.raises(CompileError):
            read(text)


def test_cloud_ai_100_is_compiled_and_not_run(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_of(tmp_path, write_qaic(tmp_path), "aic100")
    built = build(bench, "int8", model)
    assert [path.read_bytes() for path in built.files.values()] == [b"qpc"]
    assert (built.outputs, built.performance.measured_on) == (None, "not_run")
    assert "takes a Cloud AI 100 card" in built.not_run
    build(bench, "fp16", model)
    plain = [f"-m={model}", "-aic-hw", "-aic-hw-version=2.0", "-compile-only", "-aic-binary-dir=qpc"]
    assert calls_of(tmp_path) == [plain, [*plain, "-convert-to-fp16"]]
    with pytest.raises(ConfigError, match="has no 'fp8'"):
        build(bench, "fp8", model)
    for fault, words in {"fails": "status 2: Error: unsupported", "no engine": "wrote no programqpc.bin"}.items():
        monkeypatch.setenv("FAULT", fault)
        (tmp_path / fault).mkdir()
        with pytest.raises(CompileError, match=words):
            build(replace(bench, scratch=tmp_path / fault), "int8", model)


def test_a_compiler_is_the_one_named_or_the_one_on_path(tmp_path: Path) -> None:
    assert find_tool("trtexec", None, search_path=str(tmp_path)) is None
    tool = executable(tmp_path / "trtexec", "#!/bin/sh\n")
    found = find_tool("trtexec", None, search_path=str(tmp_path))
    assert found == Tool(tool, sha256_file(tool))
    with pytest.raises(ConfigError, match="is no program"):
        find_tool("trtexec", tmp_path / "none")

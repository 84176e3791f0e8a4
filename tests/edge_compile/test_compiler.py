"""The real path: AIMET, the QNN compiler and its emulator on a small planner, and each silent failure planted in it."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import psutil
import pytest
from onnx import helper

from edge_compile import compile_model, qnn
from edge_compile.arrays import load_arrays, save_arrays
from edge_compile.checks import CHECK_NAMES, run_checks
from edge_compile.compiled import Compiled
from edge_compile.compiler import CompileResult
from edge_compile.context import check_context, read_context
from edge_compile.device.kit import make_kit
from edge_compile.device.measurement import read_facts, sign_results
from edge_compile.explaining import reasons_of
from edge_compile.graph_audit import GraphDump
from edge_compile.messages import CompileAnswer, CompileRequest, LayersFile, SearchReport
from edge_compile.provider_options import CALLER_OPTIONS
from edge_compile.qnn import compile_precision, layers_on_emulator, run_on_emulator
from edge_compile.quantize import quantize
from edge_compile.sharing import share_models
from edge_compile.targets.table import find_target
from edge_compile.worker import Limits, WorkerStoppedError, run_worker
from edge_compile.workplace import open_workplace
from platform_lib.errors import CompileError, ConfigError, ContractError, IntegrityError, PlatformError
from platform_lib.handoff.keys import ensure_signing_key
from platform_lib.home import open_home
from platform_lib.manifest import changed_outputs, read_manifest
from platform_lib.storage import sha256_file

pytestmark = pytest.mark.slow
LIMITS = Limits(time_s=240.0)
FROZEN = 8
TARGET = find_target("sa8255p")


@dataclass(frozen=True)
class Planner:
    """A small planner exported from torch, with its samples and torch's own answers."""

    path: Path
    calibration: dict[str, np.ndarray]
    frozen: dict[str, np.ndarray]
    reference: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def planner(tmp_path_factory: pytest.TempPathFactory) -> Planner:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = (3, 16, 32, 48)
            blocks = [
                layer
                for i, o in itertools.pairwise(widths)
                for layer in (nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
            ]
            self.stem = nn.Sequential(*blocks)
            self.state = nn.Sequential(nn.Linear(33, 32), nn.ReLU())
            self.head = nn.Sequential(nn.Linear(48 + 32, 64), nn.ReLU(), nn.Linear(64, 12))

        def forward(self, image, ego_history, command):
            state = self.state(torch.cat([ego_history.flatten(1), command], 1))
            return self.head(torch.cat([self.stem(image).mean((2, 3)), state], 1)).reshape(1, 6, 2)

    def samples(count: int, seed: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(seed)
        return {
            "image": rng.random((count, 3, 32, 64), dtype=np.float32),
            "ego_history": rng.normal(size=(count, 10, 3)).astype(np.float32),
            "command": np.eye(3, dtype=np.float32)[rng.integers(0, 3, count)],
        }

    torch.manual_seed(0)
    net, frozen, names = Net().eval(), samples(FROZEN, seed=1), ("image", "ego_history", "command")
    path = tmp_path_factory.mktemp("planner") / "planner.onnx"
    rows = [tuple(torch.from_numpy(frozen[name][index : index + 1]) for name in names) for index in range(FROZEN)]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that this exporter is the older one
        torch.onnx.export(net, rows[0], path, input_names=names, output_names=["plan"], opset_version=20, dynamo=False)
        plan = np.concatenate([net(*row).numpy() for row in rows])
    return Planner(path, samples(24, seed=2), frozen, {"plan": plan})


@dataclass(frozen=True)
class Published:
    """One real compile, and what lay around it before and after."""

    result: CompileResult
    stages: list[str]
    left_beside: set[str]
    left_in_current_folder: set[str]


@pytest.fixture(scope="module")
def published(planner: Planner, tmp_path_factory: pytest.TempPathFactory) -> Published:
    around, elsewhere = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("cwd")
    before, stages = Path.cwd(), []
    os.chdir(elsewhere)
    try:
        result = compile_planner(planner, around / "planner", on_stage=stages.append)
    finally:
        os.chdir(before)
    return Published(result, stages, names_in(around), names_in(elsewhere))


def compile_planner(planner: Planner, out: Path, **changes) -> CompileResult:
    arguments = {
        "target": "sa8255p",
        "calibration": planner.calibration,
        "out": out,
        "frozen": planner.frozen,
        "reference": planner.reference,
        "limits": LIMITS,
    }
    return compile_model(planner.path, **{**arguments, **changes})


def names_in(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()}


def compile_raw(model: Path, precision: str, target_name: str, folder: Path) -> Compiled:
    """Compile without any of the checks that `compile_model` makes."""
    target = find_target(target_name)
    return compile_precision(
        model, precision, target, {}, scratch=folder / "raw", log=folder / "tools.log", limits=LIMITS
    )


def run_raw(context: Path, digests: dict[str, str], planner: Planner, folder: Path, target_name: str = "sa8255p"):
    save_arrays(folder / "in.npz", {name: array[:, np.newaxis] for name, array in planner.frozen.items()})
    return run_on_emulator(
        context,
        digests,
        find_target(target_name),
        folder / "in.npz",
        folder / "outputs.npz",
        samples=1,
        scratch=folder / "emulator",
        log=folder / "tools.log",
        limits=LIMITS,
    )


# The sound path


def test_every_precision_is_compiled_compared_and_the_fastest_chosen(published: Published) -> None:
    report = published.result.report
    assert [item.precision for item in report.precisions] == ["fp16", "w8a16", "w8a8"]
    assert (report.soc_model, report.architecture, report.id_confirmed) == (52, "v73", True)
    latencies = {
        item.precision: item.performance.latency_us.value for item in report.precisions if item.precision != "fp16"
    }
    assert report.chosen == min(latencies, key=latencies.get)
    for item in report.precisions:
        assert item.performance.measured_on == "simulator"
        assert item.performance.latency_us.low <= item.performance.latency_us.value <= item.performance.latency_us.high
        assert (item.graph.cpu_nodes, item.graph.float_nodes, item.graph.unsupported) == (0, (), {})
        assert item.graph.npu_nodes > 5


def test_the_nine_named_checks_and_the_placement_stand_in_the_report(published: Published) -> None:
    for item in published.result.report.precisions:
        assert tuple(check.name for check in item.checks) == CHECK_NAMES
        bad = [check for check in item.checks if check.status != "pass"]
        assert [check.name for check in bad] == (["no_float_islands"] if item.precision == "fp16" else [])


def test_every_rung_of_the_ladder_ran_and_passed(published: Published) -> None:
    rungs = {(rung.name, rung.precision): rung for rung in published.result.report.parity}
    assert all(rung.status == "pass" for rung in rungs.values())
    assert {rung.samples for rung in rungs.values()} == {FROZEN}
    said = f"the emulator ran {FROZEN} of {FROZEN} frozen inputs; every other engine ran all"
    assert said in published.result.report.notes
    assert rungs["onnx->target", "w8a16"].sqnr_db > rungs["onnx->target", "w8a8"].sqnr_db


def test_every_artefact_is_named_with_its_digest(published: Published) -> None:
    folder, report = published.result.folder, published.result.report
    assert set(report.digests) == names_in(folder) - {"report.json", "report.html", "manifest.json"}
    assert all(sha256_file(folder / name) == digest for name, digest in report.digests.items())
    assert changed_outputs(published.result.manifest, folder) == []
    assert {item.path for item in published.result.manifest.outputs.values()} == names_in(folder) - {"manifest.json"}
    for item in report.precisions:
        assert set(item.context) <= set(report.digests)
    assert not [name for name in names_in(folder) if name.endswith(".so")]


def test_side_files_stay_in_the_scratch_folder_and_it_is_removed(published: Published) -> None:
    assert published.left_in_current_folder == set()
    assert published.left_beside == {"planner"}
    assert not [name for name in names_in(published.result.folder) if "log" in name or name.startswith("QNN")]


def test_progress_names_each_stage(published: Published) -> None:
    assert published.stages[1] == "quantizing: w8a16, w8a8"
    assert published.stages[-1] == "running w8a8 on the emulator"


def test_an_up_to_date_compile_is_skipped_and_a_damaged_one_is_not(
    published: Published, planner: Planner, tmp_path: Path
) -> None:
    out = tmp_path / "copy"
    shutil.copytree(published.result.folder, out)
    assert compile_planner(planner, out).skipped
    flip_byte(out / "w8a8.ctx_qnn.bin")
    with pytest.raises(WorkerStoppedError):  # it starts again, and only this limit keeps the test short
        compile_planner(planner, out, limits=Limits(time_s=0.2))


def test_the_same_inputs_give_the_same_bytes(published: Published, planner: Planner, tmp_path: Path) -> None:
    again = compile_planner(planner, tmp_path / "elsewhere", precisions=("w8a8",), emulator_samples=2).report
    assert {rung.samples for rung in again.parity if rung.name.endswith("target")} == {2}
    assert any(note.startswith("the emulator ran 2 of 8 frozen inputs") for note in again.notes)
    first = published.result.report.digests
    compiled = {name: digest for name, digest in again.digests.items() if not name.endswith(".target.npz")}
    assert {name: first[name] for name in compiled} == compiled  # the emulator's answers are those to fewer inputs
    assert "w8a8.ctx_qnn.bin" in again.digests


def test_a_compiled_qdq_model_still_loads_by_its_own_names(published: Published) -> None:
    graph = onnx.load(published.result.folder / "w8a8.qdq.onnx").graph
    assert [item.name for item in graph.input] == ["image", "ego_history", "command"]
    assert [item.name for item in graph.output] == ["plan"]


def test_a_mix_is_searched_explained_and_put_into_one_binary_for_two_chips(planner: Planner, tmp_path: Path) -> None:
    stages: list[str] = []
    changes = {"precisions": ("mixed",), "tolerance": 38.5, "also": ("sa8797p",), "emulator_samples": 2}
    result = compile_planner(planner, tmp_path / "out", on_stage=stages.append, **changes)
    report, folder = result.report, result.folder
    assert report.chosen == "mixed"
    search = SearchReport.model_validate_json((folder / "mixed.search.json").read_bytes())
    wide = {item.tensor for item in search.tensors if item.bits == 16}
    assert search.reached
    assert 0 < len(wide) < len(search.tensors)
    assert any(stage.startswith("searching: ") for stage in stages)
    reasons = {row.tensor: row for row in reasons_of(folder, report)}
    assert {name for name in wide if reasons[name].why.startswith("16 bits")} == wide
    made = {item.name: item for item in search.candidates if item.made}
    chosen = next(item for item in made.values() if item.chosen)
    assert chosen.latency_us <= min(item.latency_high_us for item in made.values() if item.refused is None)
    assert {item.name for item in search.candidates if item.uniform} == {"w8a8", "w8a16", "w4a16"}
    assert set(reasons) >= {item.weight for item in search.weights}
    assert {"ufixed8", "ufixed16"} <= graph_tensors(folder / "mixed.graph.json")
    assert report.shared is not None
    assert (report.shared.targets, report.shared.soc_models) == (("sa8255p", "sa8797p"), (52, 72))
    assert read_context(folder / report.shared.context[0]).soc_models == (52, 72)
    rungs = {rung.name: rung.status for rung in report.shared.parity}
    assert rungs == {"qdq->sa8255p": "not_run", "qdq->sa8797p": "not_run"}
    assert "Why a tensor is in 16 bits" in (folder / "report.html").read_text()
    assert names_in(tmp_path) == {"out"}  # the search's notes are gone


def test_the_layers_are_compared_on_this_machine_and_on_the_chips_emulator(
    published: Published, planner: Planner, tmp_path: Path
) -> None:
    folder = published.result.folder
    files = [folder / f"{name}.by_layer.json" for name in ("w8a16", "w8a8")]
    found = [item for file in files for item in LayersFile.model_validate_json(file.read_bytes()).reports]
    assert [(item.rung, item.precision, item.first_break) for item in found] == [
        ("onnx->qdq", "w8a16", None),
        ("onnx->qdq", "w8a8", None),
    ]
    assert "Layer by layer" in (folder / "report.html").read_text()
    assert all(rung.outputs[0].name == "plan" for rung in published.result.report.parity)
    save_arrays(tmp_path / "in.npz", {name: array[:, np.newaxis] for name, array in planner.frozen.items()})
    on_chip = layers_on_emulator(
        *(folder / "fp32.onnx", folder / "w8a8.qdq.onnx", "w8a8", TARGET, {}, tmp_path / "in.npz"),
        samples=1,
        threshold_db=200.0,
        scratch=tmp_path / "scratch",
        log=tmp_path / "log",
        limits=LIMITS,
    )
    assert [row.layer for row in on_chip.rows] == [row.layer for row in found[1].rows]
    assert on_chip.first_break is not None  # no chip answers to 200 dB
    assert all(row.layout == "same" and (row.sqnr_db is None or row.sqnr_db > 20) for row in on_chip.rows)


def graph_tensors(path: Path) -> set[str]:
    return {item.type_name for item in GraphDump.model_validate_json(path.read_bytes()).graph.tensors.values()}


# The silent failures, planted one by one


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_1_an_ignored_chip_name_is_seen_in_the_readback(published: Published, tmp_path: Path) -> None:
    # What the vendor's runtime does with a name it does not know: a warning, and a binary for its default chip.
    code = (
        "import sys, onnxruntime as ort, onnxruntime_qnn as qnn\n"
        "ort.register_execution_provider_library('QNNExecutionProvider', qnn.get_library_path())\n"
        "devices = [d for d in ort.get_ep_devices() if 'QNN' in d.ep_name]\n"
        "options = ort.SessionOptions()\n"
        "options.add_provider_for_devices(devices, {'backend_path': qnn.get_qnn_htp_path(), 'soc_model': 'SA8255P'})\n"
        "level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC\n"
        "ort.ModelCompiler(options, sys.argv[1], embed_compiled_data_into_model=False, graph_optimization_level=level)"
        ".compile_to_file('ctx.onnx')\n"
    )
    model = published.result.folder / "w8a8.qdq.onnx"
    subprocess.run([sys.executable, "-c", code, str(model)], cwd=tmp_path, check=True, capture_output=True)
    context = tmp_path / "ctx.onnx"
    info = read_context(context)
    assert info.soc_model == 0
    digests = {name: sha256_file(tmp_path / name) for name in ("ctx.onnx", *info.binaries)}
    with pytest.raises(IntegrityError, match="built for chip id 0, not 52"):
        check_context(context, digests=digests, soc_model=52)


def unsupported_model(path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["h"]), helper.make_node("Erf", ["h"], ["y"], name="gelu_erf")],
        "erf",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 16])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 16])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_2_a_failed_compile_publishes_nothing_and_names_the_operator(tmp_path: Path) -> None:
    model = unsupported_model(tmp_path / "erf.onnx")
    calibration = {"x": np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)}
    with pytest.raises(CompileError, match="gelu_erf") as caught:
        compile_model(model, "sa8255p", calibration, tmp_path / "out", precisions=("w8a8",), limits=LIMITS)
    assert names_in(tmp_path) == {"erf.onnx", "out.compile-tools.log"}
    assert "out.compile-tools.log" in str(caught.value.remedy)


def test_3_a_flipped_byte_is_refused_before_the_load(published: Published, planner: Planner, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(published.result.folder, copy)
    digests = published.result.report.digests
    assert run_raw(copy / "w8a8.ctx.onnx", digests, planner, tmp_path).samples == 1
    (tmp_path / "outputs.npz").unlink()
    shutil.rmtree(tmp_path / "emulator")
    flip_byte(copy / "w8a8.ctx_qnn.bin")
    with pytest.raises(IntegrityError, match="not the ones that were proven"):
        run_raw(copy / "w8a8.ctx.onnx", digests, planner, tmp_path)
    assert not (tmp_path / "outputs.npz").exists()


def norm_model(path: Path) -> Path:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(32, 32)).astype(np.float32),
        "g": np.ones(32, np.float32),
        "b": rng.normal(size=32).astype(np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("LayerNormalization", ["h", "g", "b"], ["n"], name="norm"),
            helper.make_node("Relu", ["n"], ["y"]),
        ],
        "norm",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8, 32])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 8, 32])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def test_4_a_float_island_is_seen_in_the_graphs_data_types(
    tmp_path: Path,
) -> None:
    samples = {"x": np.random.default_rng(0).normal(size=(4, 1, 8, 32)).astype(np.float32)}
    quantized = quantize(
        norm_model(tmp_path / "norm.onnx"),
        samples,
        samples,
        architecture="v73",
        precisions=("w8a8",),
        scratch=tmp_path / "quantize",
        log=tmp_path / "tools.log",
        limits=LIMITS,
        export_int32_bias=False,
    )
    compiled = compile_raw(quantized.models["w8a8"], "w8a8", "sa8255p", tmp_path)
    verdicts = {item.name: item.status for item in run_checks(compiled, None, TARGET, tmp_path, why_not_run="no need")}
    assert verdicts["no_float_islands"] == "fail"
    assert verdicts["not_fp16_by_accident"] == "pass"
    assert any("norm" in name for name in compiled.graph.float_nodes)


def test_5_a_float_model_under_a_quantized_name_is_seen_as_fp16(planner: Planner, tmp_path: Path) -> None:
    compiled = compile_raw(planner.path, "w8a8", "sa8255p", tmp_path)
    verdicts = {item.name: item.status for item in run_checks(compiled, None, TARGET, tmp_path, why_not_run="no need")}
    assert verdicts["not_fp16_by_accident"] == "fail"
    assert verdicts["no_float_islands"] == "fail"
    assert verdicts["soc_readback"] == "pass"


def compile_by_hand(model: Path, folder: Path, level: str) -> Compiled:
    """Compile in any folder and at any level, as `compile_precision` never would."""
    folder.mkdir()
    request = CompileRequest(
        model=str(model), context="w8a8.ctx.onnx", soc_model=52, options={}, optimisation_level=level
    )
    log = folder.with_name("tools.log")
    answer = run_worker("edge_compile.qnn_worker", request, CompileAnswer, scratch=folder, log=log, limits=LIMITS)
    return qnn._collect("w8a8", answer, folder)


def failed_checks(compiled: Compiled, scratch: Path) -> set[str]:
    found = run_checks(compiled, None, TARGET, scratch, why_not_run="no need")
    return {item.name for item in found if item.status == "fail"}


def test_6_another_optimisation_level_compiles_without_a_word_and_is_seen(published: Published, tmp_path: Path) -> None:
    model = published.result.folder / "w8a8.qdq.onnx"
    compiled = compile_by_hand(model, tmp_path / "scratch", "ORT_DISABLE_ALL")
    assert failed_checks(compiled, tmp_path / "scratch") == {"optimisation_level_named"}
    check = next(c for c in published.result.report.precision("w8a8").checks if c.name == "optimisation_level_named")
    assert (check.status, check.detail) == ("pass", "onnxruntime level ORT_ENABLE_BASIC")


@pytest.mark.parametrize("value", ["99", "-3"])
def test_7_an_absurd_option_is_refused_by_the_worker_too(planner: Planner, tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="out of range"):
        compile_planner(planner, tmp_path / "out", options={"vtcm_mb": value})
    with pytest.raises(ConfigError, match="out of range"):
        compile_precision(
            planner.path,
            "fp16",
            TARGET,
            {"vtcm_mb": value},
            scratch=tmp_path / "raw",
            log=tmp_path / "tools.log",
            limits=LIMITS,
        )
    assert not (tmp_path / "out").exists()


def test_7_a_listed_option_changes_the_binary(published: Published, planner: Planner, tmp_path: Path) -> None:
    found = set()
    for value in CALLER_OPTIONS["vtcm_mb"]:
        (tmp_path / value).mkdir()
        compiled = compile_precision(
            published.result.folder / "w8a8.qdq.onnx",
            "w8a8",
            TARGET,
            {"vtcm_mb": value},
            scratch=tmp_path / value / "raw",
            log=tmp_path / "tools.log",
            limits=LIMITS,
        )
        found.add(compiled.digests["w8a8.ctx_qnn.bin"])
    assert len(found) == len(CALLER_OPTIONS["vtcm_mb"])


def test_8_a_context_of_another_generation_is_refused(published: Published, planner: Planner, tmp_path: Path) -> None:
    model = published.result.folder / "w8a8.qdq.onnx"
    compiled = compile_raw(model, "w8a8", "sa8295p", tmp_path)
    with pytest.raises(IntegrityError, match="built for chip id 39, not 52"):
        run_raw(compiled.context, dict(compiled.digests), planner, tmp_path)
    checks = {item.name: item.status for item in run_checks(compiled, None, TARGET, tmp_path, why_not_run="refused")}
    assert checks["soc_readback"] == "fail"


def test_a_generation_without_estimates_says_so(published: Published, tmp_path: Path) -> None:
    found = compile_raw(published.result.folder / "w8a8.qdq.onnx", "w8a8", "sa8295p", tmp_path).performance
    assert (found.measured_on, found.latency_us) == ("not_run", None)
    assert "no performance estimate" in found.reason


def test_9_side_files_in_the_callers_folder_are_seen(published: Published, tmp_path: Path) -> None:
    model = published.result.folder / "w8a8.qdq.onnx"
    compiled = compile_by_hand(model, tmp_path / "home", "ORT_ENABLE_BASIC")
    assert {"qnn_op_trace.json", "profile.csv"} <= names_in(tmp_path / "home")  # what the compiler drops, and where
    assert failed_checks(compiled, tmp_path / "scratch") == {"scratch_folder"}
    assert failed_checks(compiled, tmp_path / "home") == set()


# Kills and limits


def kill_worker_once(module: str, killed: list[int]) -> None:
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and not killed:
        for child in psutil.Process().children():
            if module in " ".join(command_line(child)):
                child.kill()
                killed.append(child.pid)
        time.sleep(0.02)


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.mark.parametrize("module", ["edge_compile.quantize_worker", "edge_compile.qnn_worker"])
def test_a_killed_worker_ends_the_compile_with_nothing_published(planner: Planner, tmp_path: Path, module: str) -> None:
    killed: list[int] = []
    killer = threading.Thread(target=kill_worker_once, args=(module, killed))
    killer.start()
    with pytest.raises(CompileError, match="killed by SIGKILL"):
        compile_planner(planner, tmp_path / "out", precisions=("w8a8",))
    killer.join()
    assert len(killed) == 1
    assert names_in(tmp_path) == {"out.compile-tools.log"}


def started_compile(planner: Planner, folder: Path) -> tuple[subprocess.Popen[bytes], Path]:
    np.savez(folder / "calibration.npz", **planner.calibration)
    out = folder / "out" / "planner"
    arguments = ["--target", "sa8255p", "--calibration", str(folder / "calibration.npz"), "--out", str(out)]
    command = subprocess.Popen(
        [sys.executable, "-m", "platform_lib.cli", "compile", str(planner.path), *arguments, "--precision", "w8a8"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # may be ignored around the tests
    )
    return command, out


def worker_of(command: subprocess.Popen[bytes], module: str) -> psutil.Process:
    deadline_s = time.monotonic() + 90
    while True:
        assert time.monotonic() < deadline_s
        assert command.poll() is None
        for child in psutil.Process(command.pid).children():
            if module in command_line(child):
                return child
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("module", "how"),
    [
        ("edge_compile.quantize_worker", "SIGKILL"),
        ("edge_compile.quantize_worker", "SIGTERM"),
        ("edge_compile.quantize_worker", "SIGINT"),
        ("edge_compile.qnn_worker", "SIGKILL"),
    ],
)
def test_an_ended_command_leaves_no_result_and_no_worker(
    planner: Planner, tmp_path: Path, module: str, how: str
) -> None:
    command, out = started_compile(planner, tmp_path)
    worker = worker_of(command, module)
    if how == "SIGKILL":
        os.killpg(command.pid, signal.SIGKILL)  # the worker leads a group of its own, which this does not reach
    else:
        command.send_signal(signal.Signals[how])
    assert command.wait(timeout=30) == {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}[how]
    _, alive = psutil.wait_procs([worker], timeout=10)
    assert alive == []
    assert not out.exists()
    if how != "SIGKILL":
        assert names_in(out.parent) == set()
        return
    assert {name[:5] for name in names_in(out.parent)} == {".lock", ".tmp-"}
    with open_workplace(out) as workplace:  # as the next command does
        assert names_in(out.parent) == {".lock-planner", workplace.scratch.name}
    assert names_in(out.parent) == set()


def test_after_a_kill_the_same_command_gives_the_same_result(
    published: Published, planner: Planner, tmp_path: Path
) -> None:
    command, out = started_compile(planner, tmp_path)
    worker_of(command, "edge_compile.quantize_worker")
    command.kill()
    command.wait()
    report = compile_planner(planner, out, precisions=("w8a8",)).report
    assert report.digests["w8a8.ctx_qnn.bin"] == published.result.report.digests["w8a8.ctx_qnn.bin"]
    assert names_in(out.parent) == {"planner"}


def test_a_time_limit_stops_the_compile(planner: Planner, tmp_path: Path) -> None:
    with pytest.raises(WorkerStoppedError, match=r"took longer than 0\.5 s"):
        compile_planner(planner, tmp_path / "out", limits=Limits(time_s=0.5))
    assert names_in(tmp_path) == {"out.compile-tools.log"}


# Models of other people


def save_model(path: Path, nodes: list, inputs: dict, outputs: dict, weights: dict, opset: int = 17) -> Path:
    tensors = [
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in specs.items()]
        for specs in (inputs, outputs)
    ]
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, path.stem, *tensors, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def test_any_static_float_model_compiles_under_its_own_names(tmp_path: Path) -> None:
    """A batch of 4, three inputs (one a scalar), two outputs, names that no file system likes, opset 17."""
    rng = np.random.default_rng(0)
    shapes = {"k1": (8, 3, 3, 3), "b1": (8,), "w2": (10, 5), "b2": (5,), "k2": (2, 8, 3, 3)}
    inputs = {"cam/front:0": [4, 3, 16, 24], "speed m/s": [4, 2], "gain": []}
    nodes = [
        helper.make_node("Conv", ["cam/front:0", "k1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("GlobalAveragePool", ["r1"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Concat", ["f", "speed m/s"], ["cc"], axis=1),
        helper.make_node("Gemm", ["cc", "w2", "b2"], ["l"]),
        helper.make_node("Mul", ["l", "gain"], ["logits"]),
        helper.make_node("Conv", ["r1", "k2"], ["heat.map"], pads=[1, 1, 1, 1]),
    ]
    outputs = {"logits": [4, 5], "heat.map": [4, 2, 16, 24]}
    weights = {name: (rng.normal(size=shape) * 0.3).astype(np.float32) for name, shape in shapes.items()}
    path = save_model(tmp_path / "front camera.onnx", nodes, inputs, outputs, weights)
    calibration = {name: rng.random((6, *shape), dtype=np.float32) + 0.5 for name, shape in inputs.items()}
    result = compile_model(path, "sa8255p", calibration, tmp_path / "out", precisions=("w8a8",), limits=LIMITS)
    assert result.report.chosen == "w8a8"
    assert {rung.samples for rung in result.report.parity if rung.status == "pass"} == {6}
    graph = onnx.load(result.folder / "w8a8.ctx.onnx").graph
    assert {item.name for item in graph.input} == set(inputs)
    assert {item.name for item in graph.output} == set(outputs)


def test_a_shape_that_depends_on_the_values_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["found"]),
        helper.make_node("Cast", ["found"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    path = save_model(tmp_path / "nonzero.onnx", nodes, {"x": [1, 16]}, {"y": [2, 16]}, {})
    calibration = {"x": np.random.default_rng(0).normal(size=(4, 16)).clip(0).astype(np.float32)}
    with pytest.raises(CompileError, match=r"the output 'y' came out as \(2, \d+\), and the model says \(2, 16\)"):
        compile_model(path, "sa8255p", calibration, tmp_path / "out", precisions=("w8a8",), limits=LIMITS)


# What is refused before any tool starts


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "orin", "precisions": ("w8a8",)},
        {"target": "sa8650p"},
        {"precisions": ()},
        {"precisions": ("w4a4",)},
        {"precisions": ("w8a8", "w8a8")},
        {"tolerance": float("nan")},
        {"emulator_samples": 0},
        {"options": {"turbo": "1"}},
        {"frozen": None},
        {"calibration": {}},
    ],
)
def test_nonsense_is_refused_at_once(planner: Planner, tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(PlatformError) as caught:
        compile_planner(planner, tmp_path / "out", **changes)
    assert caught.value.remedy
    assert names_in(tmp_path) == set()  # no log either: no tool was started


# The command


def test_the_command_reports_in_json_and_fails_when_nothing_passes(planner: Planner, tmp_path: Path) -> None:
    np.savez(tmp_path / "calibration.npz", **planner.calibration)
    np.savez(tmp_path / "frozen.npz", **planner.frozen, **planner.reference, sample_id=np.array(["a"] * 8))
    command = [
        *(sys.executable, "-m", "platform_lib.cli", "compile", str(planner.path), "--target", "sa8255p"),
        *("--calibration", str(tmp_path / "calibration.npz"), "--frozen", str(tmp_path / "frozen.npz")),
        *("--out", str(tmp_path / "out"), "--precision", "w8a8", "--tolerance-db", "200", "--technique", "plain"),
    ]
    first = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    document = json.loads(first.stdout)
    assert (first.returncode, document["chosen"], document["skipped"]) == (1, None, False)
    (said,) = [note for note in document["notes"] if "`drivetrain qat`" in note]
    assert said.startswith("w8a8: quantizing alone did not reach 200 dB in simulation (closest ")
    assert "onnxruntime" not in first.stderr
    assert "AIMET" not in first.stderr
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "skipped" in again.stderr
    assert "nothing was chosen" in again.stdout
    assert "below 200.0 dB" in again.stdout


def test_arrays_survive_names_that_numpy_takes_for_itself(tmp_path: Path) -> None:
    arrays = {"file": np.ones(2, np.float32), "allow_pickle": np.zeros(1, np.float32), "a/b:0": np.ones(1, np.float32)}
    save_arrays(tmp_path / "x.npz", arrays)
    assert {name: value.tolist() for name, value in load_arrays(tmp_path / "x.npz").items()} == {
        name: value.tolist() for name, value in arrays.items()
    }


# The door to a board


def test_the_boards_program_answers_on_the_emulator_and_is_not_believed(
    published: Published, planner: Planner, tmp_path: Path
) -> None:
    make_kit(published.result.folder, "w8a8", planner.frozen, tmp_path / "kit")
    line = f"sh facts.sh > facts.txt && {sys.executable} board_runner.py 1"
    subprocess.run(["sh", "-c", line], cwd=tmp_path / "kit", check=True, capture_output=True)
    answers = load_arrays(published.result.folder / "w8a8.target.npz")["plan"]
    found = [np.fromfile(tmp_path / f"kit/outputs/Result_{index}/plan.raw", "<f4") for index in range(FROZEN)]
    assert np.array_equal(np.stack(found).reshape(answers.shape), answers)
    facts = read_facts((tmp_path / "kit/facts.txt").read_text())
    with pytest.raises(ContractError, match="on x86 the vendor's runtime is its emulator"):
        sign_results(
            tmp_path / "kit",
            tmp_path / "kit",
            facts,
            tmp_path / "measured",
            key=ensure_signing_key(open_home(tmp_path / "home")),
            board="none",
            by="nobody",
            transport="by hand",
            command=None,
        )
    assert not (tmp_path / "measured").exists()


# Several models in one binary


def test_models_of_the_same_weights_share_one_binary(
    published: Published, planner: Planner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    twin = tmp_path / "twin"  # another compile of the same weights: another model's name is all that differs
    shutil.copytree(published.result.folder, twin)
    found = share_models((published.result.folder, twin), tmp_path / "shared")
    assert found.soc_model == 52
    assert {read_context(tmp_path / "shared" / item.context).binaries for item in found.models} == {(found.binary,)}
    assert found.binary_bytes == (tmp_path / "shared" / found.binary).stat().st_size < 0.8 * found.alone_bytes
    assert {item.parity.status for item in found.models} == {"not_run"}
    assert changed_outputs(read_manifest(tmp_path / "shared/manifest.json"), tmp_path / "shared") == []
    with pytest.raises(ConfigError, match="not an empty folder"):
        share_models((published.result.folder, twin), tmp_path / "shared")
    with pytest.raises(ConfigError, match="fewer than two"):
        share_models((twin, twin), tmp_path / "again")
    (twin / "w8a8.qdq.onnx").write_bytes(b"changed")
    with pytest.raises(IntegrityError, match="changed after it was compiled"):
        share_models((published.result.folder, twin), tmp_path / "again")
    assert names_in(tmp_path) == {"shared", "twin"}

"""`compile_model` for a chip behind a door: the same ladder, folder and report; what could not be run is ``not_run``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import onnx
from pydantic import JsonValue

from edge_compile import parity
from edge_compile.arrays import TARGET_OUTPUTS, load_arrays, save_arrays
from edge_compile.checks import FLOAT_REFERENCE
from edge_compile.choice import choose as choose_precision
from edge_compile.doors import modelopt, trtexec
from edge_compile.doors.building import Bench, Built, build
from edge_compile.doors.onnx_worker import Answered, AnswerRequest
from edge_compile.doors.tool import Tool, find_tool
from edge_compile.job import EMULATED_AT_MOST, PRECISIONS, Arrays, OnStage, check_precisions, sample_count
from edge_compile.onnx_model import FloatModel, read_model
from edge_compile.report_page import page
from edge_compile.samples import Samples, check_outputs, check_samples, samples_sha256
from edge_compile.targets.doors import DoorTarget
from edge_compile.worker import Limits, WorkerStoppedError, run_worker
from edge_compile.workplace import MANIFEST, Workplace, check_replaceable, open_workplace
from platform_lib.errors import CompileError, ConfigError
from platform_lib.evidence import (
    Check,
    CompiledPrecision,
    CompileReport,
    ParityRung,
    Performance,
    read_evidence,
    write_evidence,
)
from platform_lib.manifest import Input, Manifest, Step, input_of
from platform_lib.storage import publish_bytes, publish_folder, sha256_file

ONNX_QDQ = "onnx->qdq"
# Source: int8 of nvidia-modelopt 0.47.0 reached 28.1 dB on resnet18 and 14.9 dB on a small BEV net with random weights, ONNX
# Runtime on the CPU, 2026-11-20. No TensorRT was here: what the fused engine keeps of the simulated model, which differs by
# design (NVIDIA/TensorRT issue 2586), has to be set by the first device.
THRESHOLDS_DB: Mapping[str, Mapping[str, float]] = {
    "fp16": {parity.ONNX_TARGET: 40.0},
    "int8": {ONNX_QDQ: 18.0, parity.QDQ_TARGET: 18.0, parity.ONNX_TARGET: 18.0},
    "fp8": {ONNX_QDQ: 18.0, parity.QDQ_TARGET: 18.0, parity.ONNX_TARGET: 18.0},
}
_WORKER = "edge_compile.doors.onnx_worker"
_MODULES = ("edge_compile.doors.compiling", _WORKER, "edge_compile.worker_main")
_PACKAGES = ("numpy", "onnx", "onnxruntime")
_NO_ID = "trtexec and qaic-exec take no chip id; id 0 stands for none"


@dataclass(frozen=True, slots=True)
class DoorJob:
    """Everything that was asked, checked.

    Attributes:
        tool: The maker's compiler, None where it is not installed.
        quantizer: The Python that has nvidia-modelopt, None where there is none.
        samples: How many frozen inputs the target runs.
    """

    model: FloatModel
    onnx_sha256: str
    target: DoorTarget
    tool: Tool | None
    quantizer: modelopt.Quantizer | None
    calibration: Samples
    frozen: Samples
    reference: Samples | None
    precisions: tuple[str, ...]
    tolerance_db: float | None
    choose: str | None
    samples: int
    limits: Limits


@dataclass(slots=True)
class _Made:
    """What has been made so far."""

    rungs: list[ParityRung] = field(default_factory=list)
    precisions: list[CompiledPrecision] = field(default_factory=list)
    tools: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_door_job(
    path: Path,
    target: DoorTarget,
    *,
    calibration: Arrays,
    frozen: Arrays | None,
    reference: Arrays | None,
    precisions: Sequence[str],
    tolerance_db: float | None,
    choose: str | None,
    samples: int | None,
    compiler: Path | None,
    limits: Limits,
) -> DoorJob:
    """Check what is asked before any work starts; arguments as `edge_compile.compiler.compile_model` has them.

    Raises:
        PlatformError: The model cannot be compiled, an array does not fit it, or a precision is not the compiler's.
    """
    wanted = target.door.precisions[:1] if tuple(precisions) == PRECISIONS else tuple(precisions)
    check_precisions(wanted, target.door.precisions, also=f" for {target.name}; fp16 is always made")
    if choose is not None and choose not in wanted:
        raise ConfigError(
            f"'{choose}' is not among the precisions to make",
            where="--choose",
            remedy=f"choose from {', '.join(wanted)}, or add it with --precision",
        )
    model = read_model(path)
    calibrated = check_samples("calibration", calibration, model.inputs)
    inputs = calibrated if frozen is None else check_samples("frozen", frozen, model.inputs)
    if frozen is None and reference is not None:
        raise ConfigError("reference outputs without frozen inputs", remedy="give the inputs they belong to")
    outputs = None if reference is None else check_outputs(reference, model.outputs, count=sample_count(inputs))
    return DoorJob(
        model=model,
        onnx_sha256=sha256_file(path),
        target=target,
        tool=find_tool(target.door.tool, compiler),
        quantizer=modelopt.find_modelopt(),
        calibration=calibrated,
        frozen=inputs,
        reference=outputs,
        precisions=wanted,
        tolerance_db=tolerance_db,
        choose=choose,
        samples=min(samples or EMULATED_AT_MOST, sample_count(inputs)),
        limits=limits,
    )


def compile_for_door(job: DoorJob, folder: Path, *, force: bool, say: OnStage) -> tuple[CompileReport, Manifest, bool]:
    """Compile, compare and publish; return the report, its manifest, and whether an up-to-date one was found.

    A folder is published even where neither the compiler nor the quantizer is installed: its report says what is missing,
    what was compared all the same, and chooses nothing.

    Raises:
        PlatformError: The float model itself does not run, or a tool was stopped.
    """
    check_replaceable(folder)
    step = _step_of(job)
    with open_workplace(folder) as workplace:
        found = None if force else step.done(folder / MANIFEST)
        if found is not None:
            return read_evidence(CompileReport, folder / "report.json"), found, True
        _seed_timing_cache(folder, workplace)
        with publish_folder(folder) as temporary:
            report = _run(job, workplace, temporary, say)
            outputs = {item.name: item for item in sorted(temporary.iterdir())}
            metrics: dict[str, JsonValue] = {"frozen_samples": sample_count(job.frozen), "chosen": report.chosen}
            manifest = step.finish(temporary / MANIFEST, outputs, metrics)
    return report, manifest, False


def _step_of(job: DoorJob) -> Step:
    arrays = {"calibration": job.calibration, "frozen": job.frozen, "reference": job.reference}
    inputs = {"onnx": Input(sha256=job.onnx_sha256, uri=str(job.model.path))}
    inputs |= {f"weights/{item.name}": input_of(item) for item in job.model.external}
    inputs |= {name: Input(sha256=samples_sha256(item), uri=name) for name, item in arrays.items() if item is not None}
    # A tool that is installed later makes the step another one, so that what was not run is.
    if job.tool is not None:
        inputs["compiler"] = Input(sha256=job.tool.sha256, uri=str(job.tool.path))
    config: dict[str, JsonValue] = {
        "target": job.target.name,
        "precisions": list(job.precisions),
        "tolerance_db": job.tolerance_db,
        "choose": job.choose,
        "samples": job.samples,
        "quantizer": None if job.quantizer is None else job.quantizer.version,
        "tools": {name: metadata.version(name) for name in _PACKAGES},
    }
    return Step("compile", inputs=inputs, config=config, modules=_MODULES)


def _seed_timing_cache(folder: Path, workplace: Workplace) -> None:
    earlier = folder / trtexec.TIMING_CACHE
    if earlier.is_file():
        shutil.copyfile(earlier, workplace.scratch / trtexec.TIMING_CACHE)


def _run(job: DoorJob, workplace: Workplace, folder: Path, say: OnStage) -> CompileReport:
    say("running the float model")
    float_model = folder / "fp32.onnx"
    onnx.save(job.model.proto, float_model)
    save_arrays(workplace.scratch / "calibration.npz", job.calibration)
    save_arrays(workplace.scratch / "frozen.npz", job.frozen)
    expected, _ = _answer(job, workplace, float_model, "fp32")
    made = _Made(tools={name: metadata.version(name) for name in _PACKAGES})
    made.rungs.append(
        parity.rung(
            parity.TORCH_ONNX,
            "fp32",
            job.reference,
            expected,
            threshold_db=parity.thresholds_db("fp32", None)[parity.TORCH_ONNX],
            missing="no reference outputs from torch were given",
        )
    )
    made.rungs += _rewrite_rungs(job, workplace, expected)
    for precision in (FLOAT_REFERENCE, *job.precisions):
        _make(job, precision, float_model, expected, workplace, folder, made, say)
    cache = workplace.scratch / trtexec.TIMING_CACHE
    if cache.is_file():
        shutil.copyfile(cache, folder / cache.name)
    report = _report(job, folder, made)
    write_evidence(folder / "report.json", report)
    publish_bytes(folder / "report.html", page(report, None).encode())
    return report


def _answer(job: DoorJob, workplace: Workplace, model: Path, name: str) -> tuple[Samples, int]:
    """Run a model on ONNX Runtime and return its outputs and how many quantizers it has."""
    scratch, outputs = workplace.scratch / f"{name}-answers", workplace.scratch / f"{name}.answers.npz"
    scratch.mkdir()
    request = AnswerRequest(model=str(model), inputs=str(workplace.scratch / "frozen.npz"), outputs=str(outputs))
    answered = run_worker(_WORKER, request, Answered, scratch=scratch, log=workplace.log, limits=job.limits)
    return load_arrays(outputs), answered.quantizers


def _rewrite_rungs(job: DoorJob, workplace: Workplace, expected: Samples) -> list[ParityRung]:
    if not job.model.rewrites:
        return []
    original, _ = _answer(job, workplace, job.model.path, "original")
    threshold_db = parity.thresholds_db("fp32", None)[parity.ORIGINAL_ONNX]
    found = parity.rung(parity.ORIGINAL_ONNX, "fp32", original, expected, threshold_db=threshold_db)
    if found.status != "pass":
        raise CompileError(f"the rewritten model answers otherwise than the model brought: {found.reason}")
    return [found]


def _make(
    job: DoorJob,
    precision: str,
    float_model: Path,
    expected: Samples,
    workplace: Workplace,
    folder: Path,
    made: _Made,
    say: OnStage,
) -> None:
    """Quantize, build, run and compare one precision; what is missing or fails is noted with its reason."""
    model: Path | None = float_model
    answers: Samples | None = None
    why = ""
    if precision != FLOAT_REFERENCE:
        say(f"quantizing {precision}")
        model, answers, why = _quantized(job, precision, float_model, workplace, made)
        if model is not None:
            shutil.copyfile(model, folder / model.name)
    built, check = None, Check(name="compiled", status="not_run", detail=why or job.target.door.missing)
    if model is not None and job.tool is not None:
        say(f"compiling {precision} for {job.target.name}")
        built, check = _built(job, job.tool, precision, model, workplace)
    if built is not None:
        made.tools |= built.versions
        for name, file in built.files.items():
            shutil.copyfile(file, folder / name)
        if built.outputs is not None:
            save_arrays(folder / f"{precision}{TARGET_OUTPUTS}", built.outputs)
    made.precisions.append(_item(precision, model, built, check))
    engines = {"onnx": expected, "qdq": answers, "target": None if built is None else built.outputs}
    reasons = {"qdq": why, "target": check.detail if built is None else built.not_run}
    for name, threshold_db in THRESHOLDS_DB[precision].items():
        first, second = name.split("->")
        asked = job.tolerance_db if name == parity.ONNX_TARGET and job.tolerance_db is not None else threshold_db
        missing = next((reasons[item] for item in (first, second) if engines[item] is None and reasons.get(item)), "")
        made.rungs.append(
            parity.rung(name, precision, engines[first], engines[second], threshold_db=asked, missing=missing)
        )


def _quantized(
    job: DoorJob, precision: str, float_model: Path, workplace: Workplace, made: _Made
) -> tuple[Path | None, Samples | None, str]:
    """Return the QDQ model and what it answers on the CPU, or why there is none."""
    if job.quantizer is None:
        return None, None, modelopt.MISSING
    scratch = workplace.scratch / f"{precision}-quantizing"
    scratch.mkdir()
    out = scratch / f"{precision}.qdq.onnx"
    try:
        made.tools |= modelopt.quantize(
            job.quantizer.python,
            float_model,
            workplace.scratch / "calibration.npz",
            precision,
            out,
            log=workplace.log,
            time_s=job.limits.time_s,
        )
        answers, quantizers = _answer(job, workplace, out, precision)
    except WorkerStoppedError:
        raise
    except CompileError as error:
        return None, None, f"{precision} was not quantized: {error.what}"
    if not quantizers:
        return None, None, f"nvidia-modelopt put no quantizer into the {precision} model, and said nothing of it"
    return out, answers, ""


def _built(job: DoorJob, tool: Tool, precision: str, model: Path, workplace: Workplace) -> tuple[Built | None, Check]:
    bench = Bench(
        target=job.target,
        tool=tool,
        inputs={name: array[: job.samples] for name, array in job.frozen.items()},
        shapes={item.name: item.shape for item in job.model.outputs},
        scratch=workplace.scratch,
        log=workplace.log,
        limits=job.limits,
    )
    try:
        built = build(bench, precision, model)
    except WorkerStoppedError:
        raise  # that says nothing about the model, so it must not be recorded
    except CompileError as error:
        return None, Check(name="compiled", status="fail", detail=error.what)
    return built, Check(name="compiled", status="pass", detail=f"by {tool.path.name} {tool.sha256[:12]}")


def _item(precision: str, model: Path | None, built: Built | None, check: Check) -> CompiledPrecision:
    nothing = Performance(
        measured_on="not_run", latency_us=None, ddr_read_bytes=None, ddr_write_bytes=None, reason=check.detail
    )
    loaded = None if built is None else next(iter(built.files.items()))
    return CompiledPrecision(
        precision=precision,
        qdq=None if precision == FLOAT_REFERENCE or model is None else model.name,
        encodings=None,
        context=() if loaded is None else (loaded[0],),
        context_bytes=0 if loaded is None else loaded[1].stat().st_size,
        graph=None,
        performance=nothing if built is None else built.performance,
        checks=(check, *(() if built is None else built.checks)),
    )


def _report(job: DoorJob, folder: Path, made: _Made) -> CompileReport:
    chosen, notes = choose_precision(made.precisions, made.rungs, wanted=job.choose)
    missing = [] if job.tool is not None else [job.target.door.missing]
    missing += [] if job.quantizer is not None else [modelopt.MISSING]
    return CompileReport(
        model_name=job.model.path.stem,
        onnx_sha256=job.onnx_sha256,
        target=job.target.name,
        soc_model=0,
        architecture=", ".join(job.target.capabilities) or job.target.door.maker,
        id_confirmed="device" in made.tools and _read_back(made.precisions),
        tools=made.tools,
        chosen=chosen,
        precisions=tuple(made.precisions),
        parity=tuple(made.rungs),
        digests={item.name: sha256_file(item) for item in sorted(folder.iterdir())},
        rewrites=job.model.rewrites,
        notes=(*missing, *notes, _NO_ID),
    )


def _read_back(precisions: Sequence[CompiledPrecision]) -> bool:
    """Say whether the program named the target's own chip, each time that it ran."""
    found = [check.status for item in precisions for check in item.checks if check.name == "device_readback"]
    return bool(found) and set(found) == {"pass"}

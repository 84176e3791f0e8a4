"""`compile_model`: float ONNX in, a folder of artefacts out, each proven against the one before it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from pydantic import JsonValue

from edge_compile import parity
from edge_compile.arrays import load_arrays
from edge_compile.checks import FLOAT_REFERENCE, failed_compile, run_checks
from edge_compile.choice import choose
from edge_compile.compiled import OPTIMISATION_LEVEL, Compiled
from edge_compile.onnx_model import FloatModel, read_model
from edge_compile.performance import not_estimated
from edge_compile.provider_options import check_caller_options
from edge_compile.qnn import compile_precision, run_on_emulator
from edge_compile.quantize import Quantized, quantize
from edge_compile.samples import Samples, beyond_calibration, check_samples, samples_sha256
from edge_compile.targets.table import Target, find_target
from edge_compile.worker import Limits
from edge_compile.workplace import MANIFEST, Workplace, check_replaceable, open_workplace
from platform_lib.errors import CompileError, ConfigError
from platform_lib.evidence import CompiledPrecision, CompileReport, ParityRung, read_evidence, write_evidence
from platform_lib.manifest import Input, Manifest, Step, input_of
from platform_lib.storage import publish_folder, sha256_file

REPORT = "report.json"
PRECISIONS = ("w8a16", "w8a8")
_FLOAT_MODEL = "fp32.onnx"
_TOOLS = ("aimet-onnx", "numpy", "onnx", "onnxruntime", "onnxruntime-qnn", "torch")
_MODULES = (
    "edge_compile.compiler",
    "edge_compile.qnn_worker",
    "edge_compile.quantize_worker",
    "edge_compile.worker_main",
)
_STANDING_NOTES = (
    "latency and memory traffic are vendor simulated figures, not measured on a device",
    "qdq->target and onnx->target were measured on the vendor's emulator of the chip, on this machine",
)

Arrays = Mapping[str, NDArray[np.generic]]
OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class CompileResult:
    """A published compile.

    Attributes:
        folder: Where it lies.
        skipped: An up-to-date one was found, and nothing ran.
    """

    folder: Path
    report: CompileReport
    manifest: Manifest
    skipped: bool


@dataclass(frozen=True, slots=True)
class _Job:
    """Everything that was asked, checked."""

    model: FloatModel
    target: Target
    calibration: Samples
    frozen: Samples
    reference: Samples | None
    tolerance_db: float | None
    precisions: tuple[str, ...]
    options: dict[str, str]
    emulator_samples: int
    limits: Limits
    notes: tuple[str, ...]
    say: OnStage


def compile_model(
    onnx_path: str | Path,
    target: str,
    calibration: Arrays,
    out: str | Path,
    tolerance: float | None = None,
    accept_unconfirmed: bool = False,  # noqa: FBT001, FBT002 - a stable public signature
    *,
    frozen: Arrays | None = None,
    reference: Arrays | None = None,
    precisions: Sequence[str] = PRECISIONS,
    options: Mapping[str, str] | None = None,
    emulator_samples: int = 16,
    limits: Limits | None = None,
    force: bool = False,
    on_stage: OnStage | None = None,
) -> CompileResult:
    """Quantize a float ONNX model, compile it for a chip, and prove each step against the one before.

    Nothing is published unless at least one quantized precision compiled; then the whole folder appears at once. A
    precision that misses a check or a threshold is published with its verdict, and never chosen.

    Args:
        onnx_path: The float model, static shapes, float32 inputs, opset 13 or newer (20 is best).
        target: A name from ``targets/qnn.yaml``, for example ``sa8255p``.
        calibration: Input name -> float32 (N, *shape); a batch axis of 1 may be left out.
        out: The folder to publish.
        tolerance: The SQNR in dB that the compiled model has to keep against the float model; None takes the
            thresholds of `edge_compile.parity`.
        accept_unconfirmed: Accept a target whose compiler id is a guess.
        frozen: Inputs for the parity ladder, as `calibration`; without them the calibration inputs are taken.
        reference: torch's outputs on the frozen inputs, output name -> (N, *shape).
        precisions: Which to make, of ``w8a16`` and ``w8a8``.
        options: Compiler options of the allow-list in `edge_compile.provider_options`.
        emulator_samples: How many frozen inputs the emulator runs.
        limits: Time and memory of each worker process.
        force: Compile even if `out` is up to date.
        on_stage: Told what happens next.

    Raises:
        PlatformError: What was asked makes no sense, or the tools failed; nothing was published.
    """
    folder = Path(out).expanduser().resolve()
    job = _check_job(
        Path(onnx_path), find_target(target, accept_unconfirmed=accept_unconfirmed), calibration, frozen, reference,
        tolerance, precisions, options or {}, emulator_samples, limits or Limits(), on_stage or _silent,
    )  # fmt: skip
    step = _step(job)
    check_replaceable(folder)
    with open_workplace(folder) as workplace:
        found = None if force else step.done(folder / MANIFEST)
        if found is not None:
            return CompileResult(folder, read_evidence(CompileReport, folder / REPORT), found, skipped=True)
        with publish_folder(folder) as temporary:
            report = _run(job, workplace, temporary)
            outputs = {item.name: item for item in sorted(temporary.iterdir())}
            manifest = step.finish(temporary / MANIFEST, outputs, _metrics(job, report))
    return CompileResult(folder, report, manifest, skipped=False)


def _check_job(
    path: Path,
    target: Target,
    calibration: Arrays,
    frozen: Arrays | None,
    reference: Arrays | None,
    tolerance_db: float | None,
    precisions: Sequence[str],
    options: Mapping[str, str],
    emulator_samples: int,
    limits: Limits,
    say: OnStage,
) -> _Job:
    say("checking the model and its samples")
    if not precisions or set(precisions) - set(PRECISIONS) or len(set(precisions)) < len(precisions):
        raise ConfigError(f"precisions {list(precisions)}", remedy=f"choose from {', '.join(PRECISIONS)}, each once")
    if tolerance_db is not None and not np.isfinite(tolerance_db):
        raise ConfigError(f"a tolerance of {tolerance_db} dB", remedy="give a finite number of dB")
    if emulator_samples < 1:
        raise ConfigError(f"{emulator_samples} emulator samples", remedy="give at least 1")
    checked_options = check_caller_options(options)
    model = read_model(path)
    calibrated = check_samples("calibration", calibration, model.inputs)
    notes: list[str] = [] if target.confirmed else [f"the chip id {target.soc_model} is unconfirmed: {target.note}"]
    if frozen is None:
        if reference is not None:
            raise ConfigError("reference outputs without frozen inputs", remedy="give the inputs they belong to")
        notes.append("no frozen inputs were given: parity was measured on the calibration inputs")
    inputs = calibrated if frozen is None else check_samples("frozen", frozen, model.inputs)
    for name, share in beyond_calibration(calibrated, inputs).items():
        notes.append(f"{share:.0%} of the frozen values of '{name}' lie outside the calibrated range")
    outputs = None if reference is None else check_samples("reference", reference, model.outputs)
    if outputs is not None and len(next(iter(outputs.values()))) != len(next(iter(inputs.values()))):
        raise ConfigError("reference and frozen differ in their numbers of samples", remedy="give one for each input")
    return _Job(
        model, target, calibrated, inputs, outputs, tolerance_db, tuple(precisions), checked_options,
        emulator_samples, limits, tuple(notes), say,
    )  # fmt: skip


def _step(job: _Job) -> Step:
    inputs = {"onnx": input_of(job.model.path)}
    inputs |= {f"weights/{item.name}": input_of(item) for item in job.model.external}
    arrays = {"calibration": job.calibration, "frozen": job.frozen, "reference": job.reference}
    inputs |= {name: Input(sha256=samples_sha256(item), uri=name) for name, item in arrays.items() if item is not None}
    config: dict[str, JsonValue] = {
        "target": job.target.name,
        "soc_model": job.target.soc_model,
        "architecture": job.target.architecture,
        "confirmed": job.target.confirmed,
        "precisions": list(job.precisions),
        "tolerance_db": job.tolerance_db,
        "options": dict(job.options),
        "optimisation_level": OPTIMISATION_LEVEL,
        "emulator_samples": job.emulator_samples,
        "tools": dict(_tools()),
    }
    return Step("compile", inputs=inputs, config=config, modules=_MODULES)


def _run(job: _Job, workplace: Workplace, folder: Path) -> CompileReport:
    """Quantize, compile, run, compare, judge; every file to publish is copied into `folder`."""
    if job.model.external:
        onnx.save(job.model.proto, folder / _FLOAT_MODEL)
    else:
        shutil.copyfile(job.model.path, folder / _FLOAT_MODEL)
    job.say(f"quantizing: {', '.join(job.precisions)}")
    quantized = quantize(
        folder / _FLOAT_MODEL,
        job.calibration,
        job.frozen,
        architecture=job.target.architecture,
        precisions=job.precisions,
        scratch=workplace.scratch / "quantize",
        log=workplace.log,
        limits=job.limits,
    )
    rungs = [_torch_rung(job, quantized)]
    precisions, sdk_versions = [], set()
    for precision in (FLOAT_REFERENCE, *job.precisions):
        try:
            compiled, on_target, item = _compile_one(job, precision, quantized, workplace)
        except CompileError as error:
            on_target, item = None, _failed(precision, error)
        else:
            sdk_versions.add(compiled.info.sdk_version)
            for name, file in compiled.files.items():
                shutil.copyfile(file, folder / name)
        rungs.extend(_rungs(job, precision, quantized, on_target))
        precisions.append(item)
    _refuse_if_none_compiled(precisions)
    for precision in job.precisions:
        shutil.copyfile(quantized.models[precision], folder / f"{precision}.qdq.onnx")
        shutil.copyfile(quantized.encodings[precision], folder / f"{precision}.encodings.json")
    report = _report(job, folder, precisions, rungs, sdk_versions)
    write_evidence(folder / REPORT, report)
    return report


def _compile_one(
    job: _Job, precision: str, quantized: Quantized, workplace: Workplace
) -> tuple[Compiled, Samples, CompiledPrecision]:
    job.say(f"compiling {precision} for {job.target.name}")
    model = quantized.models.get(precision, job.model.path)
    scratch = workplace.scratch / precision
    compiled = compile_precision(
        model, precision, job.target, job.options, scratch=scratch, log=workplace.log, limits=job.limits
    )
    job.say(f"running {precision} on the emulator")
    outputs = workplace.scratch / f"{precision}.target.npz"
    ran = run_on_emulator(
        compiled.context,
        compiled.digests,
        job.target,
        quantized.frozen,
        outputs,
        samples=job.emulator_samples,
        scratch=workplace.scratch / f"{precision}-emulator",
        log=workplace.log,
        limits=job.limits,
    )
    item = CompiledPrecision(
        precision=precision,
        qdq=None if precision == FLOAT_REFERENCE else f"{precision}.qdq.onnx",
        encodings=None if precision == FLOAT_REFERENCE else f"{precision}.encodings.json",
        context=(compiled.context.name, *compiled.info.binaries),
        context_bytes=sum((scratch / name).stat().st_size for name in compiled.info.binaries),
        graph=compiled.graph,
        performance=compiled.performance,
        checks=run_checks(compiled, ran, job.target, workplace.scratch),
    )
    return compiled, load_arrays(outputs), item


def _failed(precision: str, error: CompileError) -> CompiledPrecision:
    return CompiledPrecision(
        precision=precision,
        qdq=None if precision == FLOAT_REFERENCE else f"{precision}.qdq.onnx",
        encodings=None if precision == FLOAT_REFERENCE else f"{precision}.encodings.json",
        context=(),
        context_bytes=0,
        graph=None,
        performance=not_estimated("it did not compile"),
        checks=failed_compile(error.what),
    )


def _refuse_if_none_compiled(precisions: Sequence[CompiledPrecision]) -> None:
    quantized = [item for item in precisions if item.precision != FLOAT_REFERENCE]
    if any(item.context for item in quantized):
        return
    reason = next(check.detail for check in quantized[0].checks if check.status == "fail")
    raise CompileError(f"no precision compiled: {reason}", remedy="mend the model for this chip and compile again")


def _torch_rung(job: _Job, quantized: Quantized) -> ParityRung:
    return parity.rung(
        parity.TORCH_ONNX,
        "fp32",
        job.reference,
        quantized.onnx,
        threshold_db=parity.thresholds_db("fp32", None)[parity.TORCH_ONNX],
        missing="no reference outputs from torch were given",
    )


def _rungs(job: _Job, precision: str, quantized: Quantized, on_target: Samples | None) -> list[ParityRung]:
    engines = {
        "onnx": quantized.onnx,
        "simulation": quantized.simulation.get(precision),
        "qdq": quantized.qdq.get(precision),
        "target": on_target,
    }
    found = []
    for name, threshold_db in parity.thresholds_db(precision, job.tolerance_db).items():
        first, second = name.split("->")
        found.append(
            parity.rung(
                name,
                precision,
                engines[first],
                engines[second],
                threshold_db=threshold_db,
                missing="it did not compile",
            )
        )
    return found


def _report(
    job: _Job,
    folder: Path,
    precisions: Sequence[CompiledPrecision],
    rungs: Sequence[ParityRung],
    sdk_versions: set[str],
) -> CompileReport:
    chosen, notes = choose(precisions, rungs)
    return CompileReport(
        model_name=job.model.path.stem,
        onnx_sha256=sha256_file(job.model.path),
        target=job.target.name,
        soc_model=job.target.soc_model,
        architecture=job.target.architecture,
        id_confirmed=job.target.confirmed,
        tools={**_tools(), "qnn": ", ".join(sorted(sdk_versions))},
        chosen=chosen,
        precisions=tuple(precisions),
        parity=tuple(rungs),
        digests={item.name: sha256_file(item) for item in sorted(folder.iterdir())},
        notes=(*job.notes, *notes, *_STANDING_NOTES),
    )


def _metrics(job: _Job, report: CompileReport) -> dict[str, JsonValue]:
    return {
        "calibration_samples": len(next(iter(job.calibration.values()))),
        "frozen_samples": len(next(iter(job.frozen.values()))),
        "chosen": report.chosen,
    }


def _tools() -> dict[str, str]:
    return {name: metadata.version(name) for name in _TOOLS}


def _silent(stage: str) -> None:
    del stage

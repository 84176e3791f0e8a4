"""`compile_model`: float ONNX in, a folder of artefacts out, each proven against the one before it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge_compile import parity
from edge_compile.arrays import TARGET_OUTPUTS, load_arrays
from edge_compile.checks import FLOAT_REFERENCE, failed_compile, run_checks
from edge_compile.choice import choose as choose_precision
from edge_compile.compiled import Compiled
from edge_compile.doors.compiling import check_door_job, compile_for_door
from edge_compile.float_files import save_float
from edge_compile.job import (
    PRECISIONS,
    SEARCH_BUDGET_S,
    Arrays,
    Job,
    OnStage,
    Settings,
    check_job,
    sample_count,
    search_of,
    step_of,
    techniques_of,
)
from edge_compile.layer_stage import go_down, thresholds_of
from edge_compile.messages import Objective, Technique
from edge_compile.mix_choice import choose_mix
from edge_compile.performance import not_estimated
from edge_compile.preprocessing import Preprocessing
from edge_compile.qnn import compile_precision, run_on_emulator
from edge_compile.quantize import Quantized, quantize
from edge_compile.report_page import page
from edge_compile.reporting import Made, metrics_of, report_of
from edge_compile.samples import Samples
from edge_compile.search_notes import said_of
from edge_compile.shared import compile_shared
from edge_compile.targets.doors import door_target
from edge_compile.targets.table import find_target
from edge_compile.task_slices import Engine, Task, judge
from edge_compile.unheard import check_heard
from edge_compile.waivers import in_force
from edge_compile.worker import Limits, WorkerStoppedError
from edge_compile.workplace import MANIFEST, Workplace, check_replaceable, open_workplace
from platform_lib.errors import CompileError
from platform_lib.evidence import (
    CompiledPrecision,
    CompileReport,
    NodeWaiver,
    ParityRung,
    read_evidence,
    write_evidence,
)
from platform_lib.manifest import Manifest
from platform_lib.storage import publish_bytes, publish_folder

REPORT = "report.json"
SEARCH = "mixed.search.json"
PAGE = "report.html"
SEARCHING = "searching:"


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
    emulator_samples: int | None = None,
    choose: str | None = None,
    also: Sequence[str] = (),
    waivers: Sequence[NodeWaiver] = (),
    search_budget_s: float = SEARCH_BUDGET_S,
    layers: bool = False,
    preprocessing: Preprocessing | None = None,
    task: Task | None = None,
    minimise: Objective = "latency",
    techniques: Sequence[Technique] = (),
    compiler: Path | None = None,
    target_file: Path | None = None,
    limits: Limits | None = None,
    force: bool = False,
    on_stage: OnStage | None = None,
) -> CompileResult:
    """Quantize a float ONNX model, compile it for a chip, and prove each step against the one before.

    Nothing is published unless at least one quantized precision compiled; then the whole folder appears at once. A
    precision that misses a check or a threshold is published with its verdict, and never chosen.

    Args:
        onnx_path: The float model, static shapes but for the batch, float32 inputs, opset 11 or newer (20 is best).
        target: A name from ``targets/qnn.yaml``, for example ``sa8255p``, or one of `edge_compile.targets.doors`.
        calibration: Input name -> float32 (N, *shape); a batch axis of 1 may be left out.
        out: The folder to publish.
        tolerance: The SQNR in dB that the compiled model has to keep against the float model; None takes the
            thresholds of `edge_compile.parity`.
        accept_unconfirmed: Accept a target whose compiler id is a guess.
        frozen: Inputs for the parity ladder, as `calibration`; without them the calibration inputs are taken.
        reference: torch's outputs on the frozen inputs, output name -> (N, *shape).
        precisions: Which to make, of ``w8a16``, ``w8a8``, ``w8mixed`` (feature maps in 8 bits, vectors in 16), ``mixed`` (the
            fewest tensors in 16 bits that reach the tolerance) and ``w4a16``.
        options: Compiler options of the allow-list in `edge_compile.provider_options`.
        emulator_samples: How many frozen inputs the emulator runs; None for all, up to `job.EMULATED_AT_MOST`.
        choose: The only precision to choose, if it passes; None for the fastest that passes.
        also: Other targets; the chosen precision is also compiled into one binary for all of them and `target`.
        waivers: Nodes that may compute in float until a day (`edge_compile.waivers`); an expired one counts for nothing.
        search_budget_s: How long the search of ``mixed`` may measure single tensors; more of them stay wide after it.
        layers: Compare the emulator layer by layer, where nothing failed too.
        preprocessing: What turns the samples into the model's inputs; they are raw then, in the graph and outside.
        task: The metric that every slice of the frozen samples has to keep, with its tolerance; the ladder's SQNR of the
            model's ends is then a floor alone, unless `tolerance` sets it.
        minimise: What the choice among those within the tolerance is for: ``latency`` or ``size``.
        techniques: ``cle``, ``seqmse``, ``adaround`` or ``plain`` for every precision; none to try them where one misses
            its tolerance in simulation.
        compiler: The maker's compiler for a chip of NVIDIA's or a Cloud AI 100; None for the one on PATH.
        target_file: Targets of your own, in the form of ``targets/qnn.yaml``.
        limits: Time and memory of each worker process.
        force: Compile even if `out` is up to date.
        on_stage: Told what happens next.

    Raises:
        PlatformError: What was asked makes no sense, or the tools failed; nothing was published.
    """
    say = on_stage or _silent
    door = door_target(target)
    if door is not None:
        unheard = {
            "--also": bool(also),
            "--option": bool(options),
            "--waivers": bool(waivers),
            "--layers": layers,
            "--preprocess": preprocessing is not None,
            "--task-metric": task is not None,
            "--technique": bool(techniques),
            "--minimise": minimise != "latency",
        }
        check_heard(target, unheard)
        door_job = check_door_job(
            Path(onnx_path),
            door,
            calibration=calibration,
            frozen=frozen,
            reference=reference,
            precisions=precisions,
            tolerance_db=tolerance,
            choose=choose,
            samples=emulator_samples,
            compiler=compiler,
            limits=limits or Limits(),
        )
        place = Path(out).expanduser().resolve()
        return CompileResult(place, *compile_for_door(door_job, place, force=force, say=say))
    check_heard(target, {"--compiler": compiler is not None})
    chip, *others = (
        find_target(name, accept_unconfirmed=accept_unconfirmed, file=target_file) for name in (target, *also)
    )
    settings = Settings(
        tuple(precisions),
        tolerance,
        options,
        emulator_samples,
        choose,
        tuple(others),
        in_force(waivers, datetime.now(tz=UTC).date()),
        search_budget_s,
        layers,
        preprocessing,
        task,
        minimise,
        tuple(techniques),
        limits or Limits(),
    )
    folder = Path(out).expanduser().resolve()
    check_replaceable(folder)
    say("checking the model and its samples")
    # Absolute, since the workers that read it have a current folder of their own.
    job = check_job(
        Path(onnx_path).expanduser().absolute(),
        chip,
        settings,
        calibration=calibration,
        frozen=frozen,
        reference=reference,
    )
    step = step_of(job)
    with open_workplace(folder) as workplace:
        found = None if force else step.done(folder / MANIFEST)
        if found is not None:
            return CompileResult(folder, read_evidence(CompileReport, folder / REPORT), found, skipped=True)
        with publish_folder(folder) as temporary:
            report = _run(job, workplace, temporary, say)
            outputs = {item.name: item for item in sorted(temporary.iterdir())}
            manifest = step.finish(temporary / MANIFEST, outputs, metrics_of(job, report))
    return CompileResult(folder, report, manifest, skipped=False)


def _run(job: Job, workplace: Workplace, folder: Path, say: OnStage) -> CompileReport:
    """Quantize, compile, run, compare, judge; every file to publish is copied into `folder`."""
    float_model, tail = save_float(job, folder)
    say(f"quantizing: {', '.join(job.settings.precisions)}")
    told: set[str] = set()
    quantized = quantize(
        float_model,
        job.calibration,
        job.frozen,
        architecture=job.target.architecture,
        precisions=job.settings.precisions,
        scratch=workplace.scratch / "quantize",
        log=workplace.log,
        limits=job.settings.limits,
        original=job.model.path if job.model.rewrites else None,
        search=search_of(job, workplace.notes),
        techniques=techniques_of(job),
        watch=lambda: _tell_search(workplace.notes, told, say),
        layers=thresholds_of(job),
        tail=tail,
        original_frozen=None if job.ready is job.frozen else job.ready,
    )
    started_s = time.monotonic()
    quantized = choose_mix(
        job, quantized, workplace, say, lambda: time.monotonic() - started_s > job.settings.search_budget_s
    )
    made = Made([_torch_rung(job, quantized), *_proven_rewrites(job, quantized)], [], {}, set())
    for precision in (FLOAT_REFERENCE, *job.settings.precisions):
        _make(job, precision, quantized, float_model, workplace, folder, made, say)
    _refuse_if_none_compiled(job, made.failures)
    made.rungs[:], layers = go_down(job, quantized, made.rungs, float_model, workplace, folder, say)
    for precision in job.settings.precisions:
        shutil.copyfile(quantized.models[precision], folder / f"{precision}.qdq.onnx")
        shutil.copyfile(quantized.encodings[precision], folder / f"{precision}.encodings.json")
    if quantized.search is not None:
        publish_bytes(folder / SEARCH, (quantized.search.model_dump_json(indent=2) + "\n").encode())
    choice = choose_precision(
        made.precisions,
        made.rungs,
        wanted=job.settings.choose,
        task=None if job.task is None else made.task,
        minimise=job.settings.minimise,
    )
    shared = None
    if job.settings.also and choice[0] is not None:
        say(f"compiling {choice[0]} for {len(job.settings.also) + 1} chips in one binary")
        shared = compile_shared(job, choice[0], quantized, workplace, folder)
    report = report_of(job, folder, made, quantized, choice, shared)
    write_evidence(folder / REPORT, report)
    publish_bytes(folder / PAGE, page(report, quantized.search, layers).encode())
    return report


def _make(
    job: Job,
    precision: str,
    quantized: Quantized,
    float_model: Path,
    workplace: Workplace,
    folder: Path,
    made: Made,
    say: OnStage,
) -> None:
    """Compile and run one precision, and note what came of it; its files go into `folder`."""
    try:
        model = quantized.models.get(precision, float_model)
        compiled, on_target, item = _compile_one(job, precision, model, quantized.frozen, workplace, say)
    except WorkerStoppedError:
        raise  # killed or out of its limits: that says nothing about the model, so it must not be recorded
    except CompileError as error:
        on_target, item = None, _failed(precision, error)
        made.failures[precision] = error
    else:
        made.sdk_versions.add(compiled.info.sdk_version)
        for name, file in compiled.files.items():
            shutil.copyfile(file, folder / name)
        shutil.copyfile(workplace.scratch / f"{precision}{TARGET_OUTPUTS}", folder / f"{precision}{TARGET_OUTPUTS}")
    made.rungs.extend(_rungs(job, precision, quantized, on_target))
    if job.task is not None and precision != FLOAT_REFERENCE:
        engines: tuple[tuple[Engine, Samples | None], ...] = (
            ("qdq", quantized.qdq.get(precision)),
            ("target", on_target),
        )
        for engine, answers in engines:
            made.task.extend(judge(job.task, precision, engine, quantized.onnx, answers, missing="it did not compile"))
    made.precisions.append(item)


def _tell_search(notes: Path, told: set[str], say: OnStage) -> None:
    """Say how far a search is, each time it has measured another tensor."""
    said = said_of(notes)
    if said is not None and said not in told:
        told.add(said)
        say(f"{SEARCHING} {said}")


def _compile_one(
    job: Job, precision: str, model: Path, frozen: Path, workplace: Workplace, say: OnStage
) -> tuple[Compiled, Samples, CompiledPrecision]:
    say(f"compiling {precision} for {job.target.name}")
    scratch = workplace.scratch / precision
    compiled = compile_precision(
        model,
        precision,
        job.target,
        job.settings.options or {},
        scratch=scratch,
        log=workplace.log,
        limits=job.settings.limits,
    )
    say(f"running {precision} on the emulator")
    outputs = workplace.scratch / f"{precision}{TARGET_OUTPUTS}"
    ran = run_on_emulator(
        compiled.context,
        compiled.digests,
        job.target,
        frozen,
        outputs,
        samples=job.emulated,
        scratch=workplace.scratch / f"{precision}-emulator",
        log=workplace.log,
        limits=job.settings.limits,
    )
    item = CompiledPrecision(
        precision=precision,
        qdq=None if precision == FLOAT_REFERENCE else f"{precision}.qdq.onnx",
        encodings=None if precision == FLOAT_REFERENCE else f"{precision}.encodings.json",
        context=(compiled.context.name, *compiled.info.binaries),
        context_bytes=sum((scratch / name).stat().st_size for name in compiled.info.binaries),
        graph=compiled.graph,
        performance=compiled.performance,
        checks=run_checks(compiled, ran, job.target, workplace.scratch, waivers=job.settings.waivers),
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


def _refuse_if_none_compiled(job: Job, failures: Mapping[str, CompileError]) -> None:
    if all(precision in failures for precision in job.settings.precisions):
        first = failures[job.settings.precisions[0]]
        raise CompileError(f"no precision compiled: {first.what}", where=first.where, remedy=first.remedy) from first


def _torch_rung(job: Job, quantized: Quantized) -> ParityRung:
    return parity.rung(
        parity.TORCH_ONNX,
        "fp32",
        job.reference,
        quantized.onnx,
        threshold_db=parity.thresholds_db("fp32", None)[parity.TORCH_ONNX],
        missing="no reference outputs from torch were given",
    )


def _proven_rewrites(job: Job, quantized: Quantized) -> list[ParityRung]:
    """Compare the model as it was brought with its rewrite; one that answers otherwise ends the compile."""
    if not job.model.rewrites:
        return []
    found = parity.rung(
        parity.ORIGINAL_ONNX,
        "fp32",
        quantized.original,
        quantized.onnx if quantized.rejoined is None else quantized.rejoined,
        threshold_db=parity.thresholds_db("fp32", None)[parity.ORIGINAL_ONNX],
    )
    if quantized.rejoined is not None:  # the sizes of what was suppressed differ, so that one row holds every sample
        found = found.model_copy(update={"samples": sample_count(job.frozen)})
    if found.status != "pass":
        changed = ", ".join(f"{item.name} of '{item.layer}'" for item in job.model.rewrites[:3])
        raise CompileError(
            f"the rewritten model answers otherwise than the model brought ({found.reason}): {changed}",
            where=job.model.path,
            remedy="export with opset 20, static shapes and batch 1, so that nothing has to be rewritten",
        )
    return [found]


def _rungs(job: Job, precision: str, quantized: Quantized, on_target: Samples | None) -> list[ParityRung]:
    engines = {
        "onnx": quantized.onnx,
        "simulation": quantized.simulation.get(precision),
        "qdq": quantized.qdq.get(precision),
        "target": on_target,
    }
    found = []
    thresholds = parity.thresholds_db(precision, job.settings.tolerance_db, by_task=job.task is not None)
    for name, threshold_db in thresholds.items():
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


def _silent(stage: str) -> None:
    del stage

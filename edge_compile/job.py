"""What is to be compiled, checked before any work starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from edge_compile.compiled import OPTIMISATION_LEVEL
from edge_compile.messages import Objective, SearchRequest, TaskRequest, Technique, TechniqueRequest
from edge_compile.onnx_model import FloatModel, read_model
from edge_compile.parity import ONNX_TARGET, thresholds_db
from edge_compile.preprocessing import Preprocessing, apply, described, into_graph, raw_specs
from edge_compile.provider_options import check_caller_options
from edge_compile.samples import Samples, beyond_calibration, check_outputs, check_samples, check_varied, samples_sha256
from edge_compile.targets.table import Target
from edge_compile.task_slices import Task, TaskCase, check_task, few_of_each
from edge_compile.worker import Limits
from platform_lib.errors import ConfigError
from platform_lib.evidence import NodeWaiver
from platform_lib.manifest import Input, Step, input_of
from platform_lib.storage import sha256_file

PRECISIONS = ("w8a16", "w8a8")
# w8mixed: feature maps in 8 bits, vectors in 16, for outputs that 256 steps are too coarse for. In some graphs it
# leaves nodes that compute in float, which fails a check, so it is made only where it is asked for.
# mixed: the fewest tensors in 16 bits that reach the tolerance, found by a search. w4a16: weights in 4 bits, for size.
KNOWN_PRECISIONS = (*PRECISIONS, "w8mixed", "mixed", "w4a16")
# What a search is asked for beyond the tolerance: it measures on calibration samples, whose ranges are known, and the target
# loses some more. Source: a BEV net lost 2.6 dB on the way and the planner of the tests 0.8; measured on 2026-11-30.
SEARCH_MARGIN_DB = 3.0
SEARCH_BUDGET_S = 600.0
# float32 holds 24 bits, 144 dB; what is asked beyond only an identical answer could give.
MOST_TOLERANCE_DB = 200.0
# The same of a task's tolerance: 3 dB of amplitude.
SEARCH_TASK_SHARE = 0.7
_SEARCH_SAMPLES = 8
# Frozen inputs that the emulator runs unless the caller says how many: all, up to this. Source: measured on 2026-11-20;
# one takes 0.03 s (the demo's planner) to 14 s (resnet18), so this many stay within a worker's time limit.
EMULATED_AT_MOST = 64
_TOOLS = ("aimet-onnx", "numpy", "onnx", "onnxruntime", "onnxruntime-qnn", "torch")
# The workers are started by name, so their code has to be named here for the skip digest.
_MODULES = (
    "edge_compile.compiler",
    "edge_compile.qnn_worker",
    "edge_compile.quantize_worker",
    "edge_compile.worker_main",
)

Arrays = Mapping[str, NDArray[np.generic]]
OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a caller may set beside the model, the samples and the target.

    Attributes:
        precisions: Which quantized precisions to make, of `KNOWN_PRECISIONS`.
        tolerance_db: The SQNR that the compiled model has to keep against the float model; None for the defaults.
        options: Compiler options of the allow-list.
        emulator_samples: How many frozen inputs the emulator runs; None for all, up to `EMULATED_AT_MOST`.
        choose: The only precision to choose, if it passes; None for the fastest that passes,
            and of those no slower than its bounds the most exact.
        also: Other chips whose code is to go into one binary with the target's.
        waivers: Nodes that may compute in float; those in force alone, so that one that expires compiles again.
        search_budget_s: How long the search of ``mixed`` may measure single tensors.
        preprocessing: What turns raw samples into the model's inputs, and where; the samples are ready to use without it.
        layers: Whether the emulator is compared layer by layer even where nothing failed.
        task: The metric that each slice has to keep; None to judge by SQNR alone.
        minimise: What the choice among those within the tolerance is for.
        techniques: What quantization does beyond plain ranges; nothing to try one after another where it is needed.
        limits: Time and memory of each worker process; no part of the result, so not of the skip digest.
    """

    precisions: tuple[str, ...] = PRECISIONS
    tolerance_db: float | None = None
    options: Mapping[str, str] | None = None
    emulator_samples: int | None = None
    choose: str | None = None
    also: tuple[Target, ...] = ()
    waivers: tuple[NodeWaiver, ...] = ()
    search_budget_s: float = SEARCH_BUDGET_S
    layers: bool = False
    preprocessing: Preprocessing | None = None
    task: Task | None = None
    minimise: Objective = "latency"
    techniques: tuple[Technique, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_precisions(self.precisions, KNOWN_PRECISIONS)
        if self.choose is not None and self.choose not in self.precisions:
            raise ConfigError(
                f"'{self.choose}' is not among the precisions to make",
                where="--choose",
                remedy=f"choose from {', '.join(self.precisions)}, or add it with --precision",
            )
        if self.tolerance_db is not None and not 0.0 <= self.tolerance_db <= MOST_TOLERANCE_DB:
            raise ConfigError(
                f"a tolerance of {self.tolerance_db} dB",
                where="--tolerance-db",
                remedy=f"give 0 (as much noise as signal) to {MOST_TOLERANCE_DB:g} dB (more than float32 holds)",
            )
        if self.emulator_samples is not None and self.emulator_samples < 1:
            raise ConfigError(f"{self.emulator_samples} emulator samples", remedy="give at least 1")
        unknown = set(map(str, self.techniques)) - set(get_args(Technique))
        alone = "plain" in self.techniques or {"seqmse", "adaround"} <= set(self.techniques)
        if unknown or len(set(self.techniques)) < len(self.techniques) or (alone and len(self.techniques) > 1):
            raise ConfigError(
                f"techniques {', '.join(self.techniques)} are not known, or not together",
                where="--technique",
                remedy=f"choose from {', '.join(get_args(Technique))}: plain alone, and of seqmse and adaround one",
            )
        if self.minimise not in get_args(Objective):
            raise ConfigError(f"to minimise {self.minimise}", remedy=f"choose from {', '.join(get_args(Objective))}")
        if not 0.0 <= self.search_budget_s < np.inf:
            raise ConfigError(f"a search budget of {self.search_budget_s} s", remedy="give a number of seconds")
        check_caller_options(self.options or {})


def check_precisions(asked: Sequence[str], known: Sequence[str], *, also: str = "") -> None:
    """Refuse precisions that cannot be made, and say which of them and why.

    Args:
        asked: As they were asked for.
        known: Those that can be made.
        also: What to add to the remedy.

    Raises:
        ConfigError: None is asked for, one is not among `known`, or one is named twice.
    """
    wrong = [name for name in asked if name not in known]
    if wrong:
        what = f"unknown precision {', '.join(map(repr, wrong))}"
    elif not asked:
        what = "no precision to make"
    elif twice := [name for index, name in enumerate(asked) if name in asked[:index]]:
        what = f"precision '{twice[0]}' is named twice"
    else:
        return
    raise ConfigError(what, where="--precision", remedy=f"choose from {', '.join(known)}, each once{also}")


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that was asked, checked.

    Attributes:
        onnx_sha256: Digest of the model's file.
        reference: torch's outputs on the frozen inputs, if there are any.
        notes: What a reader of the report has to know about the inputs.
        ready: The frozen inputs as the model was brought for; other than `frozen` where its graph now preprocesses.
        task: The metric by slice, where one was asked for.
    """

    model: FloatModel
    onnx_sha256: str
    target: Target
    calibration: Samples
    frozen: Samples
    reference: Samples | None
    settings: Settings
    notes: tuple[str, ...]
    ready: Samples
    task: TaskCase | None = None

    @property
    def emulated(self) -> int:
        """How many of the frozen inputs, from the first on, the emulator runs."""
        asked = EMULATED_AT_MOST if self.settings.emulator_samples is None else self.settings.emulator_samples
        return min(asked, sample_count(self.frozen))


def check_job(
    path: Path,
    target: Target,
    settings: Settings,
    *,
    calibration: Arrays,
    frozen: Arrays | None,
    reference: Arrays | None,
) -> Job:
    """Read the model and check every array against it.

    Raises:
        PlatformError: The model cannot be compiled, or an array does not fit it.
    """
    if len({target.soc_model, *(other.soc_model for other in settings.also)}) <= len(settings.also):
        names = ", ".join((target.name, *(other.name for other in settings.also)))
        raise ConfigError(
            f"a chip twice in one binary: {names}", where="--also", remedy="name each other chip once, by --also"
        )
    model = read_model(path)
    onnx_sha256 = sha256_file(path)
    notes = [] if target.confirmed else [f"the chip id {target.soc_model} is unconfirmed: {target.note}"]
    if target.origin is not None:
        notes.append(f"the chip id {target.soc_model} is of {target.origin}, not of the product's table: {target.note}")
    raw = settings.preprocessing
    specs = model.inputs if raw is None else raw_specs(raw, model.inputs)
    calibrated = check_samples("calibration", calibration, specs)
    check_varied(calibrated)
    if frozen is None:
        if reference is not None:
            raise ConfigError("reference outputs without frozen inputs", remedy="give the inputs they belong to")
        notes.append("no frozen inputs were given: parity was measured on the calibration inputs")
    inputs = calibrated if frozen is None else check_samples("frozen", frozen, specs)
    notes.extend(
        f"{share:.0%} of the frozen values of '{name}' lie outside the calibrated range"
        for name, share in beyond_calibration(calibrated, inputs).items()
    )
    outputs = None if reference is None else check_outputs(reference, model.outputs, count=sample_count(inputs))
    ready = inputs if raw is None else apply(raw, inputs)
    if raw is not None and raw.where == "graph":
        proto, put_in = into_graph(raw, model.proto, model.inputs)
        model = replace(model, proto=proto, inputs=specs, rewrites=(*model.rewrites, *put_in))
    elif raw is not None:
        calibrated, inputs = apply(raw, calibrated), ready
    job = Job(model, onnx_sha256, target, calibrated, inputs, outputs, settings, tuple(notes), ready)
    return job if settings.task is None else _with_task(job, settings.task)


def _with_task(job: Job, task: Task) -> Job:
    names = tuple(item.name for item in job.model.outputs)
    counts = {"frozen": sample_count(job.frozen), "calibration": sample_count(job.calibration)}
    case = check_task(task, names, **counts)
    notes = list(job.notes)
    if "mixed" in job.settings.precisions and task.slices is not None and task.calibration_slices is None:
        notes.append("the calibration samples name no slices: the search took all of them for one")
    return replace(job, notes=tuple(notes), task=case)


def search_of(job: Job, notes: Path) -> SearchRequest | None:
    """Return how to search for a mix, None if none was asked for."""
    if "mixed" not in job.settings.precisions:
        return None
    of = {
        "model": job.onnx_sha256,
        "calibration": samples_sha256(job.calibration),
        "architecture": job.target.architecture,
        "tools": tool_versions(),
        "task": _task_config(job),
        "techniques": list(job.settings.techniques),
    }
    asked_db = thresholds_db("mixed", job.settings.tolerance_db, by_task=job.task is not None)[ONNX_TARGET]
    return SearchRequest(
        tolerance_db=asked_db + SEARCH_MARGIN_DB,
        budget_s=job.settings.search_budget_s,
        samples=_SEARCH_SAMPLES,
        notes=str(notes),
        key=hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest(),
        task=None if job.task is None else _task_request(job.task),
    )


def techniques_of(job: Job) -> TechniqueRequest:
    """Return how to quantize, and what each precision has to reach in simulation."""
    by_task = job.task is not None
    asked = {
        name: thresholds_db(name, job.settings.tolerance_db, by_task=by_task)[ONNX_TARGET]
        for name in job.settings.precisions
    }
    return TechniqueRequest(
        named=job.settings.techniques,
        tolerances_db=asked,
        samples=_SEARCH_SAMPLES,
        budget_s=job.settings.search_budget_s,
        task=None if job.task is None else _task_request(job.task),
    )


def _task_request(case: TaskCase) -> TaskRequest:
    rows = few_of_each(case.calibration_slices, _SEARCH_SAMPLES)
    return TaskRequest(
        metric=case.asked.metric,
        output=case.asked.output,
        scores=case.asked.scores,
        # Labels or not, the search compares with the float model: the difference bounds what labels would show.
        tolerance=case.tolerance * SEARCH_TASK_SHARE,
        rows=tuple(int(row) for row in rows),
        slices=tuple(case.calibration_slices[row] for row in rows),
    )


def _task_config(job: Job) -> JsonValue:
    if job.task is None:
        return None
    case = job.task
    labels = {name: np.asarray(values, np.float32) for name, values in case.labels.items()}
    return {
        "metric": case.asked.metric,
        "sha256": case.metric.sha256,
        "output": case.asked.output,
        "scores": case.asked.scores,
        "tolerance": case.tolerance,
        "enough": case.enough,
        "labels": samples_sha256(labels),
        "slices": [list(names) for names in (*case.slices, *case.calibration_slices)],
    }


def step_of(job: Job) -> Step:
    """Return the step whose digest decides whether this job was done before."""
    inputs = {"onnx": Input(sha256=job.onnx_sha256, uri=str(job.model.path))}
    inputs |= {f"weights/{item.name}": input_of(item) for item in job.model.external}
    arrays = {"calibration": job.calibration, "frozen": job.frozen, "reference": job.reference}
    inputs |= {name: Input(sha256=samples_sha256(item), uri=name) for name, item in arrays.items() if item is not None}
    config: dict[str, JsonValue] = {
        "target": job.target.name,
        "soc_model": job.target.soc_model,
        "architecture": job.target.architecture,
        "id_confirmed": job.target.confirmed,
        "precisions": list(job.settings.precisions),
        "tolerance_db": job.settings.tolerance_db,
        "options": dict(job.settings.options or {}),
        "optimisation_level": OPTIMISATION_LEVEL,
        "emulator_samples": job.emulated,
        "choose": job.settings.choose,
        "waivers": [item.model_dump(mode="json") for item in job.settings.waivers],
        "also": [other.name for other in job.settings.also],
        "search_budget_s": job.settings.search_budget_s if "mixed" in job.settings.precisions else None,
        "layers": job.settings.layers,
        "preprocessing": described(job.settings.preprocessing),
        "task": _task_config(job),
        "minimise": job.settings.minimise,
        "techniques": list(job.settings.techniques),
        "tools": dict(tool_versions()),
    }
    return Step("compile", inputs=inputs, config=config, modules=_MODULES)


def tool_versions() -> dict[str, str]:
    """Return the versions of the packages that decide what comes out."""
    return {name: metadata.version(name) for name in _TOOLS}


def sample_count(samples: Samples) -> int:
    """Return how many samples there are."""
    return len(next(iter(samples.values())))

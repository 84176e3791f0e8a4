"""Puts a compile's report together from what was made and proven."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from edge_compile.job import Job, sample_count, techniques_of, tool_versions
from edge_compile.quantize import Quantized
from platform_lib.errors import CompileError
from platform_lib.evidence import (
    CompiledPrecision,
    CompileReport,
    ParityRung,
    SharedContext,
    SliceScore,
    TriedTechnique,
)
from platform_lib.storage import sha256_file

# What `edge_compile.qat` trains for, of what a compile makes.
_TRAINABLE = ("w8a8", "w8a16", "w4a16")
_STANDING_NOTES = (
    "latency and memory traffic are vendor simulated figures, not measured on a device",
    "qdq->target and onnx->target were measured on the vendor's emulator of the chip, on this machine",
)


@dataclass(frozen=True, slots=True)
class Made:
    """What has been made so far; grows with each precision."""

    rungs: list[ParityRung]
    precisions: list[CompiledPrecision]
    failures: dict[str, CompileError]
    sdk_versions: set[str]
    task: list[SliceScore] = field(default_factory=list)


def report_of(
    job: Job,
    folder: Path,
    made: Made,
    quantized: Quantized,
    choice: tuple[str | None, tuple[str, ...]],
    shared: SharedContext | None,
) -> CompileReport:
    """Put together what was made and proven; the files in `folder` are all but the report itself."""
    chosen, notes = choice[0], (*quantized.notes, *choice[1])
    return CompileReport(
        model_name=job.model.path.stem,
        onnx_sha256=job.onnx_sha256,
        target=job.target.name,
        soc_model=job.target.soc_model,
        architecture=job.target.architecture,
        id_confirmed=job.target.confirmed,
        tools={**tool_versions(), "qnn": ", ".join(sorted(made.sdk_versions))},
        chosen=chosen,
        precisions=tuple(made.precisions),
        parity=tuple(made.rungs),
        digests={item.name: sha256_file(item) for item in sorted(folder.iterdir())},
        rewrites=job.model.rewrites,
        shared=shared,
        waivers=job.settings.waivers,
        notes=(*job.notes, *_preprocessed(job), *_to_train(job, quantized), *notes, _emulated(job), *_STANDING_NOTES),
        task=tuple(made.task),
        techniques=tuple(TriedTechnique.model_validate(item.model_dump()) for item in quantized.techniques),
    )


def _emulated(job: Job) -> str:
    count = sample_count(job.frozen)
    more = "" if job.emulated == count else "; --emulator-samples runs more"
    return f"the emulator ran {job.emulated} of {count} frozen inputs; every other engine ran all{more}"


def _to_train(job: Job, quantized: Quantized) -> tuple[str, ...]:
    """Say where training is what is left: nothing that was tried brings the simulation within the tolerance."""
    found = []
    for precision in (name for name in job.settings.precisions if name in _TRAINABLE):
        tried = [item for item in quantized.techniques if item.precision == precision and item.sqnr_db is not None]
        if not tried or any(item.enough for item in tried):
            continue
        best = max(tried, key=lambda item: item.sqnr_db or 0.0)
        asked = "the task's tolerance" if job.task else f"{techniques_of(job).tolerances_db[precision]:g} dB"
        found.append(
            f"{precision}: quantizing alone did not reach {asked} in simulation (closest {best.sqnr_db:.1f} dB, by "
            f"{best.techniques}); `drivetrain qat` trains the torch module of a run, or your own, for it"
        )
    return tuple(found)


def _preprocessed(job: Job) -> tuple[str, ...]:
    asked = job.settings.preprocessing
    if asked is None:
        return ()
    done = "is in the graph" if asked.where == "graph" else "has to be done outside of it, by preprocessing.json"
    return (f"preprocessing {asked.sha256[:12]} of {', '.join(asked.inputs)} {done}; all samples are raw",)


def metrics_of(job: Job, report: CompileReport) -> dict[str, JsonValue]:
    """Return the counts that the manifest carries."""
    return {
        "calibration_samples": sample_count(job.calibration),
        "frozen_samples": sample_count(job.frozen),
        "emulated_samples": job.emulated,
        "chosen": report.chosen,
    }

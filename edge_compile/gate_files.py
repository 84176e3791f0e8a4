"""The gate's files: evidence and thresholds read, the report published with its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pydantic import ValidationError

from edge_compile.gate import Thresholds, judge
from edge_compile.gate_speed import traffic_of
from platform_lib.errors import ConfigError, IntegrityError, MissingPartError
from platform_lib.evidence import CompileReport, EvaluationReport, GateReport, read_evidence, write_evidence
from platform_lib.handoff.model import COMPILE_REPORT
from platform_lib.handoff.thresholds import Released
from platform_lib.manifest import Manifest, Step, changed_outputs, input_of, manifest_path_of, read_manifest
from platform_lib.refusals import first_problem
from platform_lib.storage import sha256_file

DEFAULT_THRESHOLDS = Path(__file__).with_name("thresholds.yaml")


@dataclass(frozen=True, slots=True)
class Judged:
    """What `run_gate` decided.

    Attributes:
        step_sha256: Digest of evidence, thresholds and code together.
        skipped: It was up to date and nothing was judged.
    """

    report: GateReport
    step_sha256: str
    skipped: bool


def run_gate(
    evaluation: Path,
    compressed: Path | None,
    compile_: Path,
    dataset: Path,
    *,
    thresholds: Path,
    out: Path,
    released: Path | None = None,
) -> Judged:
    """Read the evidence, judge it, and publish ``gates.json`` with its manifest; skipped when nothing changed.

    Args:
        evaluation: Of the float model.
        compressed: Of the compressed model.
        compile_: The folder that `compile` wrote.
        dataset: The dataset's folder.
        thresholds: What has to be reached.
        out: Where ``gates.json`` goes.
        released: The compile folder, or the bundle, of the artefact released last; its figures become part of the thresholds.

    Raises:
        MissingPartError: Evidence is missing.
        IntegrityError: Evidence is no such evidence, or differs from the manifest beside it.
        ConfigError: The thresholds are not.
    """
    float_report = read_evidence(EvaluationReport, evaluation)
    compressed_report = None if compressed is None else read_evidence(EvaluationReport, compressed)
    compiled = read_evidence(CompileReport, compile_ / "report.json")
    _unchanged_report(compile_)
    if compiled.device:  # a base installation judges too, and has no numpy to compare a board's outputs with
        from edge_compile.device.importing import check_runs

        check_runs(compile_, compiled)
    dataset_manifest = read_step_manifest(dataset / "manifest.json", kind="dataset")
    if changed := changed_outputs(dataset_manifest, dataset):
        raise IntegrityError(
            f"changed after the dataset was made: {', '.join(changed)}", where=dataset, remedy="make the dataset again"
        )
    found, again = evaluation_manifest(evaluation), None if compressed is None else evaluation_manifest(compressed)
    limits = read_thresholds(thresholds)
    if released is not None:
        last = read_released(released)
        limits = limits.model_copy(update={"compression": limits.compression.model_copy(update={"released": last})})
    sources = {
        "evaluation": evaluation,
        "compile": compile_ / "report.json",
        "dataset": dataset / "manifest.json",
        **({} if compressed is None else {"compressed_evaluation": compressed}),
        **({} if found is None else {"evaluation_manifest": found[0]}),
        **({} if again is None else {"compressed_evaluation_manifest": again[0]}),
    }
    step = Step(
        "gate",
        inputs={name: input_of(path) for name, path in sources.items()},
        config=limits.model_dump(mode="json"),
        modules=("edge_compile.gate",),
    )
    scored, rescored = (None if item is None else item[1] for item in (found, again))
    report = judge(
        float_report,
        compressed_report,
        compiled,
        dataset_manifest,
        limits,
        scored=scored,
        rescored=rescored,
        today=datetime.now(tz=UTC).date(),
    )
    # Judging costs nothing, so what lies there is never believed: it is what is judged now, or it is written anew.
    if step.done(manifest_path_of(out)) is not None and read_evidence(GateReport, out) == report:
        return Judged(report, step.sha256, skipped=True)
    write_evidence(out, report)
    step.finish(manifest_path_of(out), {"gates.json": out}, {"state": report.state, "blocking": list(report.blocking)})
    return Judged(report, step.sha256, skipped=False)


def read_thresholds(path: Path) -> Thresholds:
    """Read written thresholds.

    Raises:
        MissingPartError: There is no such file.
        ConfigError: It is not YAML, misspells a key, or holds a limit that cannot be one.
    """
    remedy = f"compare it with {DEFAULT_THRESHOLDS}"
    try:
        return Thresholds.model_validate(yaml.safe_load(path.read_bytes()))
    except FileNotFoundError as error:
        raise MissingPartError("no thresholds", where=path, remedy="name a file with --thresholds") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"not YAML: {' '.join(str(error).split())}", where=path, remedy=remedy) from error
    except ValidationError as error:
        raise ConfigError(first_problem(error), where=path, remedy=remedy) from error


def read_released(folder: Path) -> Released:
    """Read the figures of a released artefact from its compile folder, or from its bundle.

    Raises:
        MissingPartError: There is no compile report.
        IntegrityError: It is none, or chose nothing.
    """
    places = (folder / "report.json", folder / COMPILE_REPORT)
    path = next((place for place in places if place.is_file()), places[0])
    report = read_evidence(CompileReport, path)
    chosen = None if report.chosen is None else report.precision(report.chosen)
    if chosen is None:
        raise IntegrityError("a compile that chose no precision", where=path, remedy="name what was released")
    time = chosen.performance.latency_us
    return Released(
        model_name=report.model_name,
        target=report.target,
        precision=chosen.precision,
        report_sha256=sha256_file(path),
        measured_on=chosen.performance.measured_on,
        latency_us=None if time is None else time.value,
        size_bytes=chosen.context_bytes,
        ddr_bytes=traffic_of(chosen),
    )


def read_step_manifest(path: Path, *, kind: str) -> Manifest:
    """Read the manifest of a step of the given kind.

    Raises:
        MissingPartError: There is none.
        IntegrityError: It is none, or of another kind.
    """
    try:
        manifest = read_manifest(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingPartError(
            f"no {kind} here", where=path, remedy=f"name the folder that the step making a {kind} wrote"
        ) from error
    if manifest.kind != kind:
        raise IntegrityError(f"the manifest of a {manifest.kind}, not of a {kind}", where=path)
    return manifest


def evaluation_manifest(path: Path) -> tuple[Path, Manifest] | None:
    """Return the manifest beside an evaluation with its place, checked against it; None where it has none.

    Raises:
        IntegrityError: The evaluation differs from it.
    """
    for candidate in (manifest_path_of(path), path.with_name("manifest.json")):
        if candidate.is_file():
            manifest = read_step_manifest(candidate, kind="evaluation")
            listed = {output.path for output in manifest.outputs.values()}
            if path.name not in listed or path.name in changed_outputs(manifest, candidate.parent):
                raise IntegrityError("changed after it was evaluated", where=path, remedy="evaluate again")
            return candidate, manifest
    return None


def _unchanged_report(folder: Path) -> None:
    manifest = read_step_manifest(folder / "manifest.json", kind="compile")
    listed = {output.path for output in manifest.outputs.values()}
    changed = changed_outputs(manifest, folder)
    if "report.json" not in listed or changed:
        raise IntegrityError(
            f"changed after it was compiled: {', '.join(changed) or 'report.json is not in the manifest'}",
            where=folder,
            remedy="compile it again",
        )

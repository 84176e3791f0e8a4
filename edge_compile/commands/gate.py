"""`drivetrain gate`: the thin command over the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from edge_compile.gate import Thresholds, judge
from platform_lib.console import ERR, OUT, print_json
from platform_lib.errors import ConfigError, IntegrityError, MissingPartError
from platform_lib.evidence import CompileReport, EvaluationReport, GateReport, read_evidence, write_evidence
from platform_lib.manifest import Manifest, Step, changed_outputs, input_of, manifest_path_of, read_manifest
from platform_lib.options import JsonOption

DEFAULT_THRESHOLDS = Path(__file__).resolve().parent.parent / "thresholds.yaml"
_COLOURS = {"pass": "green", "fail": "bold red", "not_run": "yellow"}
_STATE_COLOURS = {"rejected": "bold red", "candidate": "yellow", "approved": "green"}


def gate(
    evaluation: Annotated[Path, typer.Option(help="evaluation.json of the float model.", show_default=False)],
    compile_: Annotated[Path, typer.Option("--compile", help="Folder that `compile` wrote.", show_default=False)],
    dataset: Annotated[Path, typer.Option(help="The dataset's folder.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Where to write gates.json.", show_default=False)],
    compressed_evaluation: Annotated[
        Path | None, typer.Option(help="evaluation.json of the compressed model.", show_default=False)
    ] = None,
    thresholds: Annotated[
        Path, typer.Option(help="The written thresholds.", show_default="those of the built-in planner")
    ] = DEFAULT_THRESHOLDS,
    as_json: JsonOption = False,
) -> None:
    """Judge evidence against written thresholds: pass, fail or not run, and only pass passes.

    Exit status 0 for a candidate or an approved package, 1 when a gate fails.
    """
    report = run_gate(evaluation, compressed_evaluation, compile_, dataset, thresholds=thresholds, out=out)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        _print(report, out)
    if report.state == "rejected":
        failed = [item.gate for item in report.gates if item.status == "fail"]
        if not as_json:
            ERR.print(f"[bold red]rejected[/] by {escape(', '.join(failed))}", highlight=False)
        raise typer.Exit(1)


def run_gate(
    evaluation: Path, compressed: Path | None, compile_: Path, dataset: Path, *, thresholds: Path, out: Path
) -> GateReport:
    """Read the evidence, judge it, and publish ``gates.json`` with its manifest; skipped when nothing changed.

    Raises:
        MissingPartError: Evidence is missing.
        IntegrityError: Evidence is no such evidence, or differs from the manifest beside it.
        ConfigError: The thresholds are not.
    """
    float_report = read_evidence(EvaluationReport, evaluation)
    compressed_report = None if compressed is None else read_evidence(EvaluationReport, compressed)
    compiled = read_evidence(CompileReport, compile_ / "report.json")
    _unchanged_report(compile_)
    dataset_manifest = read_step_manifest(dataset / "manifest.json", kind="dataset")
    limits = read_thresholds(thresholds)
    sources = {
        "evaluation": evaluation,
        "compile": compile_ / "report.json",
        "dataset": dataset / "manifest.json",
        **({} if compressed is None else {"compressed_evaluation": compressed}),
    }
    step = Step(
        "gate",
        inputs={name: input_of(path) for name, path in sources.items()},
        config=limits.model_dump(mode="json"),
        modules=("edge_compile.gate",),
    )
    if (done := step.done(manifest_path_of(out))) is not None:
        ERR.print(f"  gates are up to date, skipped (digest {done.step_sha256[:12]})", highlight=False)
        return read_evidence(GateReport, out)
    report = judge(float_report, compressed_report, compiled, dataset_manifest, limits)
    write_evidence(out, report)
    step.finish(manifest_path_of(out), {"gates.json": out}, {"state": report.state, "blocking": list(report.blocking)})
    return report


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
        first = error.errors()[0]
        raise ConfigError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", where=path, remedy=remedy) from error


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


def _print(report: GateReport, out: Path) -> None:
    table = Table("gate", "result", "why", title=f"gates for {report.target}", title_justify="left", box=None)
    for item in report.gates:
        status = f"[{_COLOURS[item.status]}]{item.status.replace('_', ' ')}[/]"
        table.add_row(escape(item.gate), status, escape(f"{item.title}: {item.reason}"))
    OUT.print(table)
    counts = {status: sum(item.status == status for item in report.gates) for status in _COLOURS}
    OUT.print(
        f"[{_STATE_COLOURS[report.state]}]{report.state}[/]: {counts['pass']} pass, {counts['fail']} fail, "
        f"{counts['not_run']} not run; figures in {escape(str(out))}",
        highlight=False,
    )

"""`drivetrain gate`: the thin command over the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from edge_compile.gate_files import DEFAULT_THRESHOLDS, run_gate
from platform_lib.console import ERR, OUT, print_json
from platform_lib.evidence import GateReport
from platform_lib.manifest import up_to_date
from platform_lib.options import JsonOption

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
    released: Annotated[
        Path | None,
        typer.Option(
            help="Compile folder or bundle of the artefact released last, to compare with.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Judge evidence against written thresholds: pass, fail or not run, and only pass passes.

    Exit status 0 for a candidate or an approved one, 1 when a gate fails.
    """
    judged = run_gate(
        *(evaluation, compressed_evaluation, compile_, dataset), thresholds=thresholds, out=out, released=released
    )
    report = judged.report
    if as_json:
        print_json({"skipped": judged.skipped, **report.model_dump(mode="json")})
    else:
        if judged.skipped:
            ERR.print(up_to_date(judged.step_sha256), highlight=False)
        _print(report, out)
    if report.state == "rejected":
        failed = [item.gate for item in report.gates if item.status == "fail"]
        if not as_json:
            ERR.print(f"[bold red]rejected[/] by {escape(', '.join(failed))}", highlight=False)
        raise typer.Exit(1)


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

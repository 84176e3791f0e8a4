"""The demo's last screen: what was made, how good it is, what keeps it from approval, where to look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from platform_lib.console import OUT
from platform_lib.demo.evidence_tables import ladder_rows, planner_label, planners_of, precision_rows, slice_rows
from platform_lib.demo.runner import StageOutcome
from platform_lib.demo.stages import Places, places
from platform_lib.evidence import CompileReport, EvaluationReport, GateReport, read_evidence
from platform_lib.home import Home

_COLOURS = {"pass": "green", "fail": "red", "not_run": "yellow"}


def print_summary(home: Home, outcomes: Sequence[StageOutcome], *, seconds: float, page: Path) -> None:
    """Print the summary on standard output."""
    at = places(home)
    OUT.print()
    _print_metrics(at)
    compiled = read_evidence(CompileReport, at.compiled / "report.json")
    _print_precisions(compiled)
    _print_ladder(compiled)
    gates = read_evidence(GateReport, at.gates)
    _print_gates(gates)
    skipped = sum(item.skipped for item in outcomes)
    OUT.print(f"\n[bold]{gates.state}[/], signed and verified, in {seconds:.0f} s ({skipped} stages were up to date)")
    for title, path in (("bundle", at.bundle), ("page", page)):
        OUT.print(f"  {title:<7}", _relative(path, Path.cwd()), markup=False, highlight=False)
    OUT.print("  verify ", outcomes[-1].command, markup=False, highlight=False)


def _print_metrics(at: Places) -> None:
    report = read_evidence(EvaluationReport, at.evaluation)
    compressed = read_evidence(EvaluationReport, at.compressed_evaluation)
    planners = [planner_label(name) for name in planners_of(report, compressed)]
    table = Table(
        "slice", "frames", title="ADE / FDE in metres, open loop, test drives", title_justify="left", box=None
    )
    for name in planners:
        table.add_column(name, justify="right")
    for row in slice_rows(report, compressed):
        cells = [f"[bold]{cell.text}[/]" if cell.best else cell.text for cell in row.cells[: len(planners)]]
        table.add_row(row.slice, str(row.n), *cells)
    OUT.print(table)


def _print_precisions(report: CompileReport) -> None:
    title = f"compiled for {report.target} (latency: vendor simulated, not measured on a device)"
    table = Table(
        "precision", "latency", "bounds", "size", "NPU / CPU", "", title=title, title_justify="left", box=None
    )
    for row in precision_rows(report):
        table.add_row(row.precision, row.latency, row.bounds, row.size, row.nodes, row.note)
    OUT.print("\n", table)


def _print_ladder(report: CompileReport) -> None:
    table = Table("rung", "precision", "result", "SQNR", title="parity ladder", title_justify="left", box=None)
    for row in ladder_rows(report.parity):
        table.add_row(row.name, row.precision, _status(row.status), row.text)
    OUT.print("\n", table)


def _print_gates(report: GateReport) -> None:
    table = Table("gate", "result", "why", title="gates", title_justify="left", box=None)
    for gate in report.gates:
        table.add_row(f"{gate.gate} {gate.title}", _status(gate.status), gate.reason)
    OUT.print("\n", table)


def _status(status: str) -> str:
    return f"[{_COLOURS[status]}]{status.replace('_', ' ')}[/]"


def _relative(path: Path, root: Path) -> str:
    """Show a path below `root` in its short form."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)

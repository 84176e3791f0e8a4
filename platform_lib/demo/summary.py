"""The demo's last screen: what was made, how good it is, what keeps it from approval, where to look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from platform_lib.console import OUT
from platform_lib.demo.evidence_tables import ladder_rows, planner_label, planners_of, precision_rows, slice_rows
from platform_lib.demo.runner import StageOutcome
from platform_lib.demo.stages import Places, places
from platform_lib.evidence import CompileReport, EvaluationReport, GateReport, read_evidence
from platform_lib.home import Home
from platform_lib.table import Column, print_table


def print_summary(home: Home, outcomes: Sequence[StageOutcome], *, seconds: float, page: Path) -> None:
    """Print the summary on standard output."""
    at = places(home)
    _print_metrics(at)
    compiled = read_evidence(CompileReport, at.compiled / "report.json")
    _print_precisions(compiled)
    _print_ladder(compiled)
    gates = read_evidence(GateReport, at.gates)
    _print_gates(gates)
    skipped = sum(item.skipped for item in outcomes)
    done = f"in {seconds:.0f} s; {skipped} of {len(outcomes)} stages were up to date"
    if outcomes[-1].rejected:
        OUT.print(f"\n[bold red]rejected[/], so nothing was bundled, {done}", highlight=False)
        for gate in gates.gates:
            if gate.status == "fail":
                OUT.print(f"  {gate.gate}: {gate.reason}", markup=False, highlight=False)
        OUT.print("  page   ", _relative(page, Path.cwd()), markup=False, highlight=False)
        return
    OUT.print(f"\n[bold]{gates.state}[/], signed and verified, {done}", highlight=False)
    for title, path in (("bundle", at.bundle), ("page", page)):
        OUT.print(f"  {title:<7}", _relative(path, Path.cwd()), markup=False, highlight=False)
    OUT.print("  verify ", outcomes[-1].command, markup=False, highlight=False)


def _print_metrics(at: Places) -> None:
    report = read_evidence(EvaluationReport, at.evaluation)
    compressed = read_evidence(EvaluationReport, at.compressed_evaluation)
    planners = [planner_label(name) for name in planners_of(report, compressed)]
    columns = [Column("slice"), *(Column(title, right=True) for title in ("frames", *planners))]
    rows = [
        [row.slice, str(row.n), *(cell.text for cell in row.cells[: len(planners)])]
        for row in slice_rows(report, compressed)
    ]
    _print("ADE / FDE in metres, open loop, test drives", columns, rows)


def _print_precisions(report: CompileReport) -> None:
    title = f"compiled for {report.target}; latency in us is the vendor's simulation, not measured on a device"
    columns = [Column(name, right=True) for name in ("latency", "bounds", "size", "NPU / CPU nodes")]
    rows = [[row.precision, row.latency, row.bounds, row.size, row.nodes, row.note] for row in precision_rows(report)]
    _print(title, [Column("precision"), *columns, Column("")], rows)


def _print_ladder(report: CompileReport) -> None:
    rows = [[row.name, row.precision, _status(row.status), row.text] for row in ladder_rows(report.parity)]
    _print("parity ladder", [Column("rung"), Column("precision"), Column("result"), Column("SQNR")], rows)


def _print_gates(report: GateReport) -> None:
    rows = [[gate.gate, _status(gate.status), gate.title] for gate in report.gates]
    _print("gates; the page says why", [Column("gate"), Column("result"), Column("it asks for")], rows)


def _print(title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    OUT.print(f"\n{title}", markup=False, highlight=False)
    print_table(columns, rows)


def _status(status: str) -> str:
    return status.replace("_", " ")


def _relative(path: Path, root: Path) -> str:
    """Show a path below `root` in its short form."""
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)

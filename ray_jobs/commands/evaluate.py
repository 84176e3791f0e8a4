"""`drivetrain evaluate`: score a run, or any ONNX graph with the planner's interface."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from platform_lib.console import ERR, OUT, print_json
from platform_lib.errors import ConfigError, UsageError
from platform_lib.home import open_home
from platform_lib.manifest import up_to_date
from platform_lib.options import ForceOption, HomeOption, JsonOption
from platform_lib.table import Column, print_table

if TYPE_CHECKING:
    from platform_lib.evidence import MetricsRow
    from ray_jobs.evaluate import EvaluationOutcome


def evaluate(
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Dataset of this home whose test split is used.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", help="Run to be scored.")] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", help="Ego-only run beside it; with --onnx or --compiled the dataset's newest."),
    ] = None,
    champion: Annotated[
        str | None, typer.Option("--champion", help="With --run: a run it must not be worse than, on any safety slice.")
    ] = None,
    onnx: Annotated[Path | None, typer.Option("--onnx", help="Instead of a run: an ONNX graph, open loop.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="With --onnx: the planner's name in the report.")] = None,
    compiled: Annotated[
        Path | None, typer.Option("--compiled", help="Instead of --onnx and --name: a compile; its chosen precision.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --onnx or --compiled: folder of the report.")] = None,
    queue: Annotated[bool, typer.Option("--queue", help="List the runs that have to be scored, and why.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Score what --queue lists and what comes, until Ctrl-C; write the page.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="List every evaluation, and write the page.")] = False,
    poll: Annotated[float, typer.Option(min=0.1, help="With --watch: seconds between two looks.")] = 5.0,
    until_idle: Annotated[
        float | None, typer.Option(min=0.0, help="With --watch: end when nothing came for so many seconds.")
    ] = None,
    *,
    closed_loop: Annotated[bool, typer.Option(help="With --run: also drive in the simulator.")] = True,
    force: ForceOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a planner by slice, open and closed loop, with 95 % intervals over drives.

    The scorer first proves itself on agents with known scores; its digest travels with the report.
    """
    if queue or watch or history:
        if any(value is not None for value in (dataset, run, baseline, champion, onnx, name, compiled, out)):
            raise UsageError(
                "--queue, --watch and --history look at every run of the home",
                where="evaluate",
                remedy="leave out what names a single one",
            )
        from ray_jobs.commands import evaluation_queue

        at = open_home(home)
        if watch:
            evaluation_queue.watch(at, closed=closed_loop, poll_s=poll, until_idle_s=until_idle, as_json=as_json)
        elif queue:
            evaluation_queue.show_queue(at, as_json=as_json)
        else:
            evaluation_queue.show_history(at, as_json=as_json)
        return
    from ray_jobs.evaluate import evaluate_onnx, evaluate_run

    if dataset is None:
        raise UsageError("no dataset is named", where="evaluate", remedy="name one with --dataset, or use --queue")
    if compiled is not None and onnx is None and name is None:
        onnx, name = _chosen(compiled)
    if run is not None and baseline is not None and onnx is None and name is None and out is None:
        outcome = evaluate_run(
            open_home(home),
            run=run,
            baseline=baseline,
            dataset=dataset,
            champion=champion,
            closed=closed_loop,
            force=force,
        )
    elif onnx is not None and name is not None and out is not None and run is None and champion is None:
        outcome = evaluate_onnx(
            open_home(home), onnx=onnx, name=name, dataset=dataset, out=out, baseline=baseline, force=force
        )
    else:
        raise UsageError(
            "name either a run and its baseline, or a graph, its name and where the report goes",
            where="evaluate",
            remedy="use --run RUN --baseline RUN, --compiled DIR --out DIR, or --onnx FILE --name NAME --out DIR",
        )
    if as_json:
        print_json(
            {
                "evaluation": outcome.folder / "evaluation.json",
                "skipped": outcome.skipped,
                "step_sha256": outcome.manifest.step_sha256,
                "report": outcome.report.model_dump(mode="json"),
            }
        )
        return
    _show(outcome)


def _chosen(compiled: Path) -> tuple[Path, str]:
    """Return the QDQ graph and the name of the precision that a compile chose for the bundle."""
    from platform_lib.evidence import CompileReport, read_evidence

    report = read_evidence(CompileReport, compiled / "report.json")
    chosen = report.precision(report.chosen) if report.chosen is not None else None
    if chosen is None or chosen.qdq is None:
        raise ConfigError(
            "this compile chose no precision, so there is no compressed planner to score",
            where=compiled / "report.json",
            remedy="read its parity ladder; compile again with other precisions or another tolerance",
        )
    return compiled / chosen.qdq, chosen.precision


def _show(outcome: EvaluationOutcome) -> None:
    if outcome.skipped:
        ERR.print(up_to_date(outcome.manifest.step_sha256), highlight=False)
    report = outcome.report
    columns = {"ade_m": "ADE m", "fde_m": "FDE m", "collision_rate": "hit"}
    OUT.print("Open loop, test split", style="bold")
    _print_rows(report.open_loop, columns)
    if report.pseudo_closed_loop:
        total = tuple(row for row in report.pseudo_closed_loop if row.slice == "all")
        columns = {name: name.upper() for name in ("epdms", "nc", "dac", "ddc", "tlc", "ep", "ttc", "lk", "hc", "ec")}
        OUT.print("Pseudo closed loop, all scenes", style="bold")
        _print_rows(total, columns)
    if report.closed_loop:
        total = tuple(row for row in report.closed_loop if row.slice == "all")
        columns = {
            "progress_ratio": "progress", "collision_rate": "hit", "at_fault_rate": "at fault", "offroad_rate": "off road",
            "rules_kept_rate": "rules kept", "comfort_rate": "comfort",
        }  # fmt: skip
        OUT.print("Closed loop, all episodes", style="bold")
        _print_rows(total, columns)
    for finding in report.findings:
        OUT.print(f"- {finding}", markup=False, highlight=False)
    for what, why in report.not_run.items():
        OUT.print(f"- not run: {what}: {why}", markup=False, highlight=False)
    _show_failures(outcome)
    OUT.print(str(outcome.folder / "evaluation.json"), markup=False, highlight=False)


def _show_failures(outcome: EvaluationOutcome) -> None:
    """Name the files of the drives that went wrong, which Foxglove and Rerun open."""
    failures = outcome.report.failures
    if not failures:
        return
    OUT.print(f"Failed drives: {len(failures)}, the worst first; the seed gives the world again", style="bold")
    cells = [
        [one.what, one.event, one.weather, str(one.seed), f"{one.after_s:.1f}", one.file or "not written"]
        for one in failures
    ]
    print_table(
        [
            Column("what"),
            Column("event"),
            Column("weather"),
            Column("seed", right=True),
            Column("s", right=True),
            Column("file"),
        ],
        cells,
    )


def _print_rows(rows: tuple[MetricsRow, ...], figures: dict[str, str]) -> None:
    """Print rows; the first column of figures carries its 95 % interval."""
    first = next(iter(figures))
    cells = []
    for row in rows:
        low, high = row.metrics[first].low, row.metrics[first].high
        values = [f"{row.metrics[name].value:.3f}" if name in row.metrics else "unknown" for name in figures]
        values[0] += "" if low is None or high is None else f" ({low:.2f}..{high:.2f})"
        cells.append([row.planner, row.slice, str(row.n), str(row.drives), *values])
    numbers = [Column(title, right=True) for title in ("n", "drives", *figures.values())]
    print_table([Column("planner"), Column("slice"), *numbers], cells)

"""`drivetrain matrix`: a folder of models, compiled for several targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from platform_lib.console import OUT, print_json, progress
from platform_lib.home import open_home
from platform_lib.matrix import Matrix
from platform_lib.options import HomeOption, JsonOption
from platform_lib.table import Column, print_table
from ray_jobs.matrix import PAGE, compile_matrix, plan

_COLUMNS = (
    *(Column(name) for name in ("model", "target", "precision")),
    *(Column(name, right=True) for name in ("SQNR", "simulated us", "KiB")),
    *(Column(name) for name in ("gate", "")),
)


def matrix(
    models: Annotated[Path, typer.Argument(help="Folder of NAME.onnx with NAME.calibration.npz beside each.")],
    target: Annotated[list[str], typer.Option(help="Chip, for example sa8255p; repeatable.")],
    out: Annotated[Path, typer.Option(help="Folder for the matrix, one folder a model and target in it.")],
    precision: Annotated[
        list[str] | None, typer.Option(help="As in `drivetrain compile`; repeatable.", show_default=False)
    ] = None,
    cpus: Annotated[
        int | None, typer.Option(min=1, help="Cells compiled at once. Default: the CPUs.", show_default=False)
    ] = None,
    task_metric: Annotated[
        str | None,
        typer.Option(
            help="As in `drivetrain compile`: what every slice of the frozen samples has to keep.", show_default=False
        ),
    ] = None,
    task_tolerance: Annotated[
        float | None, typer.Option(help="As in `drivetrain compile`, in the metric's unit.", show_default=False)
    ] = None,
    accept_unconfirmed: Annotated[
        bool, typer.Option("--accept-unconfirmed", help="Accept targets whose compiler id is a guess.")
    ] = False,
    home: HomeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Compile every model of a folder for every target; what is up to date is skipped. Status 1 where a cell has none."""
    folder = out.expanduser().resolve()
    cells = plan(models, target, folder)
    extra = [part for name in precision or [] for part in ("--precision", name)]
    extra += [] if task_metric is None else ["--task-metric", task_metric]
    extra += [] if task_tolerance is None else ["--task-tolerance", str(task_tolerance)]
    extra += ["--accept-unconfirmed"] if accept_unconfirmed else []
    folder.mkdir(parents=True, exist_ok=True)
    with progress("compiling", total=len(cells)) as task:
        found = compile_matrix(
            open_home(home), cells, folder, extra, cpus=cpus, note=lambda text: task.advance(1, note=text)
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        _show(found)
        OUT.print(f"{sum(cell.skipped for cell in found.cells)} of {len(found.cells)} up to date; {folder / PAGE}")
    if not found.whole:
        raise typer.Exit(1)


def _show(found: Matrix) -> None:
    rows = []
    for cell in found.cells:
        if cell.refused is not None:
            rows.append((cell.model, cell.target, "-", "-", "-", "-", f"refused: {cell.refused}", ""))
        for row in cell.rows:
            ratio = "-" if row.sqnr_db is None else f"{row.sqnr_db:.1f} dB"
            time = "unknown" if row.latency_us is None else f"{row.latency_us.value:g}"
            size = f"{row.size_bytes / 1024:.0f}"
            chosen = "chosen" if row.precision == cell.chosen else ""
            rows.append((cell.model, cell.target, row.precision, ratio, time, size, row.verdict, chosen))
    print_table(_COLUMNS, rows)

"""`drivetrain ingest`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from platform_lib.console import OUT, plain_line, print_error, print_json, progress
from platform_lib.errors import StoppedError
from platform_lib.home import open_home
from platform_lib.options import HomeOption, JsonOption
from ray_jobs.ingest import IngestReport, Progress
from ray_jobs.ingest import ingest as run_ingest

_SHOWN = 20
_TOLD = 3


def ingest(
    sources: Annotated[list[Path], typer.Argument(help="Drive logs, or folders that hold them.", show_default=False)],
    home: HomeOption = None,
    dbc: Annotated[
        list[str] | None,
        typer.Option(
            "--dbc", help="CAN database, or a folder of them; CAN2=body.dbc ties it to one bus. May be repeated."
        ),
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Zone of headers that carry local time only: a name, or +HH:MM.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Reading processes. Default: one a CPU.")] = None,
    *,
    recover: Annotated[
        bool, typer.Option("--recover", help="Take what is whole of damaged logs; they are flagged.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if a log was quarantined or breaks its contract.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read drive logs (MDF, MCAP, ROS bags) into the lake, each content once.

    What cannot be read is quarantined with a reason and the rest goes on. A file that is in the lake already is
    skipped, under whatever name it comes. Killed at any moment, run it again: every row is there once.
    """
    now = Progress(0, 0, 0, 0)
    with progress("ingest", None) as line:

        def advance(then: Progress) -> None:
            nonlocal now
            line.expect(then.total)
            line.advance(then.done - now.done, note=f"files, {then.rows:,} rows, {then.quarantined} quarantined")
            now = then

        try:
            report = run_ingest(
                open_home(home),
                sources,
                dbc=dbc or (),
                recover=recover,
                timezone=timezone,
                cpus=jobs,
                on_progress=advance,
            )
        except KeyboardInterrupt as error:
            raise _interrupted(now) from error
        except SystemExit:  # SIGTERM and SIGHUP, which have a status of their own
            print_error(_interrupted(now), as_json=as_json)
            raise
    if as_json:
        print_json(asdict(report))
    else:
        _print(report)
    if strict and (report.quarantined or report.contract_errors):
        raise typer.Exit(1)


def _interrupted(now: Progress) -> StoppedError:
    return StoppedError(
        f"interrupted: {now.done} of {now.total or 'an unknown number of'} files were done, and stay",
        where="drivetrain ingest",
        remedy="run the same command again: it goes on where this one ended",
    )


def _print(report: IngestReport) -> None:
    table = Table(title="Ingest", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name, value in (
        ("logs found", report.found),
        ("same content under another name", report.duplicates),
        ("taken in", report.ingested),
        ("in the lake before, skipped", report.skipped),
        ("quarantined", len(report.quarantined)),
        ("damaged, the rest taken", len(report.recovered)),
        ("drives", len(report.drives)),
        ("streams", report.streams),
        ("signal rows", report.signal_rows),
        ("samples", report.sample_rows),
        ("CAN frames no database explains", report.raw_can_frames),
        ("break a data contract", len(report.contract_errors)),
    ):
        table.add_row(name, f"{value:,}")
    table.add_row("lake version", report.lake.sha256[:12])
    table.add_row("seconds", f"{report.seconds:.1f}")
    OUT.print(table)
    for item in report.quarantined:
        _say(f"quarantined {item.path}: {item.reason}" + (f". Remedy: {item.remedy}" if item.remedy else ""))
    for path, told in report.contract_errors.items():
        _say(f"contract broken {path}: {'; '.join(told[:_TOLD])}{_more(told)}; its drive stays out of datasets")
    if report.contract_warnings:
        _say(f"note {len(report.contract_warnings)} logs with warnings of their contracts: `drivetrain contract check`")
    for drive_id, why in report.drive_problems.items():
        _say(f"note drive {drive_id}: {why}")
    notes = _notes(report)
    for note in notes[:_SHOWN]:
        _say(f"note {note}")
    if len(notes) > _SHOWN:
        OUT.print(f"{len(notes) - _SHOWN} more notes: --json lists them")


def _more(told: tuple[str, ...]) -> str:
    return f" (and {len(told) - _TOLD} more)" if len(told) > _TOLD else ""


def _say(line: str) -> None:
    OUT.print(plain_line(line), markup=False, highlight=False)


def _notes(report: IngestReport) -> list[str]:
    """Say each sentence once: of one log, or of how many."""
    logs: dict[str, list[str]] = {}
    for path, told in report.problems.items():
        for sentence in told:
            logs.setdefault(sentence, []).append(path)
    return [
        f"{paths[0]}: {sentence}" if len(paths) == 1 else f"{len(paths)} logs, {paths[0]} the first: {sentence}"
        for sentence, paths in logs.items()
    ]

"""`drivetrain ingest`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer
from rich.table import Table

from platform_lib.console import ERR, OUT, plain_line, print_error, print_json, progress, size
from platform_lib.errors import StoppedError, UsageError
from platform_lib.home import Home, open_home
from platform_lib.logs.bytes_source import located
from platform_lib.options import HomeOption, JsonOption
from ray_jobs.ingest import ingest as run_ingest
from ray_jobs.ingest import reprocess as run_reprocess
from ray_jobs.ingest_report import IngestReport, Progress
from ray_jobs.read_options import Chosen, choose
from ray_jobs.watch import Rhythm, WatchReport
from ray_jobs.watch import watch as run_watch

_SHOWN = 20
_RAW = ".pii_state.valid"  # the rule of a contract that frames break which may show people
_TOLD = 3
_LONGEST_S = 7 * 86_400.0


def ingest(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Drive logs, folders that hold them, or s3://bucket/prefix; with --reprocess none are needed."
        ),
    ] = None,
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
    drive: Annotated[
        list[str] | None,
        typer.Option("--drive", help="With --reprocess: only this drive. May be given more than once."),
    ] = None,
    poll: Annotated[float, typer.Option(min=0.1, help="With --watch: seconds between two looks.")] = 5.0,
    settle: Annotated[
        float, typer.Option(min=0.0, help="With --watch: seconds a log has to stay unchanged before it is read.")
    ] = 10.0,
    until_idle: Annotated[
        float | None, typer.Option(min=0.0, help="With --watch: end when nothing arrived for so many seconds.")
    ] = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", help="Go on: take in what arrives, when its copy is complete, until Ctrl-C.")
    ] = False,
    reprocess: Annotated[
        bool,
        typer.Option("--reprocess", help="Read drives again that an older reader gave; each is replaced in one step."),
    ] = False,
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
    _refuse_contradiction(sources, drive, watch=watch, reprocess=reprocess, recover=recover)
    _refuse_no_length(**{"--poll": poll, "--settle": settle, "--until-idle": until_idle})
    at = open_home(home, make=not reprocess)
    if watch:
        chosen = choose(dbc or (), recover=recover, timezone=timezone)
        seen = _watch(at, sources or [], chosen, Rhythm(poll, settle, until_idle), cpus=jobs, as_json=as_json)
        if code := seen.status or int(strict and bool(seen.quarantined or seen.contract_errors)):
            raise typer.Exit(code)
        return
    with shown(as_json=as_json) as advance:
        if reprocess:
            report = run_reprocess(
                at,
                sources or (),
                drives=drive or (),
                dbc=dbc or (),
                timezone=timezone,
                cpus=jobs,
                on_progress=advance,
            )
        else:
            report = run_ingest(
                at, sources or (), dbc=dbc or (), recover=recover, timezone=timezone, cpus=jobs, on_progress=advance
            )
    if as_json:
        print_json(asdict(report))
    else:
        print_report(report)
        if reprocess and not report.found and not report.left:
            _say("note nothing is read again: no drive was given by an older reader or schema")
    if (strict and (report.quarantined or report.contract_errors)) or report.left:
        raise typer.Exit(1)


def _refuse_contradiction(
    sources: list[Path] | None, drive: list[str] | None, *, watch: bool, reprocess: bool, recover: bool
) -> None:
    wrong = None
    if reprocess and (recover or watch):
        wrong = "--reprocess reads what is there as it was read before: it goes with neither --recover nor --watch"
    elif not reprocess and drive:
        wrong = "--drive needs --reprocess"
    elif not reprocess and not sources:
        wrong = "no drive log or folder is named"
    if wrong is not None:
        raise UsageError(wrong, where="drivetrain ingest", remedy="see `drivetrain ingest --help`")


def _refuse_no_length(**seconds: float | None) -> None:
    """Refuse what a number may also be: no number, and more than anybody waits."""
    for name, value in seconds.items():
        if value is not None and not value <= _LONGEST_S:
            raise UsageError(
                f"{name} takes at most {_LONGEST_S:,.0f} seconds, not {value}",
                where="drivetrain ingest",
                remedy="see `drivetrain ingest --help`",
            )


def _watch(
    home: Home, sources: list[Path], chosen: Chosen, rhythm: Rhythm, *, cpus: int | None, as_json: bool
) -> WatchReport:
    def tell(report: IngestReport) -> None:
        rows = report.signal_rows + report.sample_rows
        ERR.print(
            f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {report.ingested} taken in, {rows:,} rows, "
            f"{report.skipped} known, {len(report.quarantined)} quarantined",
            highlight=False,
        )
        for item in report.quarantined:
            ERR.print(plain_line(f"quarantined {item.path}: {item.reason}"), markup=False, highlight=False)
        for line in _changed(report):
            ERR.print(plain_line(line), markup=False, highlight=False)

    ERR.print(f"watching {', '.join(map(str, map(located, sources)))}; Ctrl-C ends it", markup=False, highlight=False)
    report = run_watch(home, sources, chosen, rhythm, cpus=cpus, on_round=tell)
    if as_json:
        print_json(asdict(report))
        return report
    rows = report.signal_rows + report.sample_rows
    cut = "; the last round was cut, and its committed part stays" if report.interrupted else ""
    _say(
        f"{report.rounds} rounds in {report.seconds:.0f} s: {report.ingested} taken in, {rows:,} rows, "
        f"{report.quarantined} quarantined{cut}"
    )
    return report


@contextmanager
def shown(*, as_json: bool) -> Iterator[Callable[[Progress], None]]:
    """Show an ingest's progress for the block; Ctrl-C in it says what was done."""
    now = Progress(0, 0, 0, 0, 0, 0)
    started_s = monotonic()
    with progress("files taken in", None) as line:

        def advance(then: Progress) -> None:
            nonlocal now
            line.expect(then.total)
            line.advance(then.done - now.done, note=note(then, monotonic() - started_s))
            now = then

        try:
            yield advance
        except KeyboardInterrupt as error:
            raise _interrupted(now) from error
        except SystemExit:  # SIGTERM and SIGHUP, which have a status of their own
            print_error(_interrupted(now), as_json=as_json)
            raise


def note(now: Progress, seconds: float) -> str:
    """Say where an ingest is: bytes, rows a second, what is left of the time at the speed so far, quarantined."""
    parts = [f"{size(now.done_bytes)} of {size(now.total_bytes)}", f"{now.rows:,} rows"]
    if now.rows and seconds > 0:
        parts.append(f"{now.rows / seconds:,.0f} rows/s")
    if now.done and now.done_bytes and now.done < now.total:
        # Large files take their time by the byte and small ones by the file; which are still to come is not known.
        share = (now.done_bytes / now.total_bytes + now.done / now.total) / 2
        left_s = seconds * (1 - share) / share
        parts.append(f"{timedelta(seconds=round(left_s))} left")
    return ", ".join([*parts, f"{now.quarantined} quarantined"])


def _interrupted(now: Progress) -> StoppedError:
    return StoppedError(
        f"interrupted: {now.done} of {now.total or 'an unknown number of'} files were done, and stay",
        where="drivetrain ingest",
        remedy="run the same command again: it goes on where this one ended",
    )


def print_report(report: IngestReport) -> None:
    """Print for people what an ingest did."""
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
    if report.raw_can_frames:
        _say("note frames of the vehicle's bus are signals once its CAN database is named: --dbc FILE")
    for item in report.quarantined:
        _say(f"quarantined {item.path}: {item.reason}" + (f". Remedy: {item.remedy}" if item.remedy else ""))
    for drive_id, why in report.left.items():
        _say(f"left as it was, drive {drive_id}: {why}")
    if report.outdated:
        _say(
            f"note {report.outdated} logs were read by an older reader: `drivetrain ingest --reprocess` reads them anew"
        )
    for line in _changed(report):
        _say(line)
    _say_contracts(report)
    for drive_id, why in report.drive_problems.items():
        _say(f"note drive {drive_id}: {why}")
    notes = _notes(report)
    for note in notes[:_SHOWN]:
        _say(f"note {note}")
    if len(notes) > _SHOWN:
        OUT.print(f"{len(notes) - _SHOWN} more notes: --json lists them")


def _changed(report: IngestReport) -> Iterator[str]:
    """Say what of the lake is other than before, beside what was added."""
    for path, count in report.completed.items():
        readings = "a reading" if count == 1 else f"{count} readings"
        yield f"completed {path}: its rows replace those of {readings} from before it was complete"
    for path, told in report.schema_changes.items():
        yield f"new schema {path}: {'; '.join(told[:_TOLD])}{_more(told)}"


def _say_contracts(report: IngestReport) -> None:
    for path, told in report.contract_errors.items():
        _say(f"contract broken {path}: {'; '.join(told[:_TOLD])}{_more(told)}; its drive stays out of datasets")
    if any(_RAW in item for told in report.contract_errors.values() for item in told):
        _say(
            "note frames may show people: `drivetrain blur frames`, and the contracts are held against what it made of them"
        )
    if report.contract_warnings:
        _say(f"note {len(report.contract_warnings)} logs with warnings of their contracts: `drivetrain contract check`")


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

"""`drivetrain log`: look into one drive log, and take streams out of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from platform_lib.console import ERR, print_json, progress
from platform_lib.errors import ConfigError, CorruptLog, StoppedError, UsageError
from platform_lib.logs.describing import Note, describe, describe_stream
from platform_lib.logs.door import Log, advised, open_log
from platform_lib.logs.export.exporting import export_log
from platform_lib.logs.export.model import Form
from platform_lib.logs.instants import Instant, parse_instant, utc_text
from platform_lib.logs.members import Member, member
from platform_lib.logs.model import TIMESTAMP, Stream, Window
from platform_lib.logs.pages import as_json as json_value
from platform_lib.logs.pages import show_export, show_log, show_rows, show_stream
from platform_lib.logs.stream_names import fitting, meant, quoted
from platform_lib.options import JsonOption

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look into one drive log: info, head, export.")

FileArgument = Annotated[
    str,
    typer.Argument(metavar="FILE", help="An MDF, MCAP or bag file, a ROS 2 bag folder, or s3://bucket/key."),
]
DbcOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dbc",
        help="CAN database, or a folder of them; CAN2=file ties it to one bus, LIN1=file to a LIN bus. May be repeated.",
        show_default=False,
    ),
]
ArxmlOption = Annotated[
    list[str] | None, typer.Option("--arxml", help="The same, as AUTOSAR system description.", show_default=False)
]
RecoverOption = Annotated[bool, typer.Option("--recover", help="Take what is whole of a damaged log.")]
TimezoneOption = Annotated[
    str | None,
    typer.Option("--timezone", help="Where an MDF without a zone was recorded: Europe/Berlin, UTC, +02:00."),
]
StartOption = Annotated[
    str | None,
    typer.Option("--start", help="From here on: 2026-06-01T08:00:00Z, or seconds from the log's start."),
]
StopOption = Annotated[str | None, typer.Option("--stop", help="Up to here, not included; the same forms.")]
_LONG_ROWS = 500_000
_AGAIN = "run the same command again: the log is as it was, and no file is there by half"


def _reading(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command what says which log is read and how; it is called with the open log in place of that."""

    def read(
        file: FileArgument,
        *,
        dbc: DbcOption = None,
        arxml: ArxmlOption = None,
        recover: RecoverOption = False,
        timezone: TimezoneOption = None,
        as_json: JsonOption = False,
        **own: Any,
    ) -> None:
        try:
            with open_log(file, dbc or (), arxml or (), recover, timezone=timezone) as log:
                if (dbc or arxml) and not any(item.kind == "can" for item in log.streams):
                    log.report.notes.append("the log has no bus frames that the databases named could describe")
                command(log, **own, as_json=as_json)
        except CorruptLog as error:
            raise (error if recover else advised(error, file, timezone=timezone)) from error
        except KeyboardInterrupt as error:
            raise StoppedError("interrupted", where=file, remedy=_AGAIN) from error

    # Typer makes the options from the signature: the file, what the command adds, then what all of them share.
    file, *shared = list(inspect.signature(read, eval_str=True).parameters.values())[:-1]
    added = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    alone = [item for item in added if item.name != "as_json"]
    merged = sorted([file, *alone, *shared], key=lambda item: item.kind)
    vars(read)["__signature__"] = inspect.Signature(merged)
    read.__name__, read.__doc__ = command.__name__, command.__doc__
    read.__annotations__ = {item.name: item.annotation for item in merged}
    return read


@contextmanager
def _watched(title: str, rows: int) -> Iterator[Note]:
    """Show how many rows were read, of a long log on a terminal."""
    if rows < _LONG_ROWS or not ERR.is_terminal:
        yield lambda _name, _rows: None
        return
    with progress(title, rows) as task:
        yield lambda name, count: task.advance(count, note=name)


@app.command()
@_reading
def info(
    log: Log,
    *,
    stream: Annotated[
        str | None, typer.Option("--stream", help="Show this stream's columns: ranges, nulls, course over time.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every value, not only times.")] = False,
    as_json: bool,
) -> None:
    """Show a log's streams (rows, rate, gaps, units), and how sound it is."""
    if stream is not None:
        chosen = _stream(log, stream)
        with _watched("reading", chosen.rows) as note:
            document = describe_stream(log, chosen, note)
        show = show_stream
    else:
        with _watched("reading", sum(item.rows for item in log.streams)) as note:
            document = describe(log, note, deep=deep)
        show = show_log
    if as_json:
        print_json(json_value(document))
    else:
        show(document)


def _stream(log: Log, name: str) -> Stream:
    """Return the stream of that name, or the only one that it is short for: `Engine` for `2:Engine` or `CAN1/Engine`."""
    names = [item.name for item in log.streams]
    found = meant(name, names)
    if found not in names and found not in log.report.unsupported and (Path(name).is_file() or Path(name).is_dir()):
        what, remedy = "no stream of this log, but a file or folder", "one log at a time; streams are named behind it"
        raise ConfigError(what, where=name, remedy=remedy)
    return log.stream(found)


def _streams(log: Log, names: list[str]) -> list[Stream]:
    """Return the streams of these names, or that these patterns fit, each once."""
    known = [item.name for item in log.streams]
    found = [item for name in names for item in (fitting(name, known) or [_stream(log, name).name])]
    return [log.stream(name) for name in dict.fromkeys(found)]


def _refuse_raw(chosen: Sequence[Stream]) -> None:
    """Say that there is nothing raw to have of streams that are no topics."""
    if chosen and not any(item.kind == "message" for item in chosen):
        what = f"{quoted(chosen[0].name)} is no topic: it has values, and no payloads"
        raise UsageError(what, where="--raw", remedy="leave out --raw")


def _window(log: Log, start: str | None, stop: str | None) -> Window:
    named = [None if text is None else parse_instant(text) for text in (start, stop)]
    begin_ns = None
    if any(item is not None and item.from_start for item in named):
        begin_ns = min((item.start_ns for item in log.streams if item.start_ns is not None), default=None)

    def absolute(item: Instant | None) -> int | None:
        return None if item is None else item.absolute_ns(begin_ns)

    window = Window(absolute(named[0]), absolute(named[1]))
    if window.start_ns is not None and window.stop_ns is not None and window.start_ns >= window.stop_ns:
        what = f"nothing lies from {start} up to {stop}, which is no later"
        raise UsageError(what, where="--start, --stop", remedy="name the earlier moment as --start")
    return window


@app.command()
@_reading
def head(
    log: Log,
    stream: Annotated[
        str, typer.Argument(metavar="STREAM", help="As `drivetrain log info` names it, or its unambiguous end.")
    ],
    *,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="How many rows.")] = 5,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", "-c", help="Only this column, or header.stamp of one. May be repeated.", show_default=False
        ),
    ] = None,
    start: StartOption = None,
    stop: StopOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="A topic's payloads, not its fields.")] = False,
    as_json: bool,
) -> None:
    """Show the first rows of one stream."""
    chosen = _stream(log, stream)
    if raw:
        _refuse_raw([chosen])
    window = _window(log, start, stop)
    wanted = [member(chosen.schema, name) for name in column or ()] if not raw else [Member(n, n) for n in column or ()]
    columns = list(dict.fromkeys(item.column for item in wanted)) if column else None
    found: list[dict[str, Any]] = []
    for batch in log.read(chosen.name, columns, window.start_ns, window.stop_ns, decode=not raw):
        found.extend(batch.slice(0, min(batch.num_rows, rows - len(found))).to_pylist())
        if len(found) >= rows:
            break
    if wanted:
        found = [{TIMESTAMP: row[TIMESTAMP], **{item.name: item.of(row) for item in wanted}} for row in found]
    if as_json:
        print_json({"path": str(log.path), "stream": chosen.name, "rows": json_value(found), "of_rows": chosen.rows})
        return
    if found:
        nested = any(isinstance(value, dict | list) for row in found for value in row.values())
        show_rows(found, None if nested else list(found[0]))
    typer.echo(f"{len(found)} of {chosen.rows} rows of {quoted(chosen.name)}{_nothing_between(chosen, window, found)}")


def _nothing_between(stream: Stream, window: Window, found: list[dict[str, Any]]) -> str:
    """Say of an empty answer where the stream's rows lie, if a window was asked for."""
    if found or window == Window(None, None) or stream.start_ns is None or stream.stop_ns is None:
        return ""
    return f" in that window; they lie from {utc_text(stream.start_ns)} to {utc_text(stream.stop_ns - 1)}"


@app.command()
@_reading
def export(
    log: Log,
    stream: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STREAM", help="Which streams; 'CAN1/*' for all that fit. Default: all.", show_default=False
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write into, or one file NAME.mcap.")],
    to: Annotated[
        Form | None,
        typer.Option("--to", help="One file a stream, or one MCAP of an MDF log. Default: by --out, else parquet."),
    ] = None,
    start: StartOption = None,
    stop: StopOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="Topics' payloads, not their fields.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist already.")] = False,
    as_json: bool,
) -> None:
    """Write streams to Parquet or CSV, or an MDF log to MCAP; whole or not at all."""
    chosen = _streams(log, stream) if stream else log.streams
    if raw:
        _refuse_raw(chosen)
    window = _window(log, start, stop)
    with _watched("exporting", sum(item.rows for item in chosen)) as note:
        done = export_log(log, chosen, out, to, window=window, decode=not raw, force=force, note=note)
    hints = _empty(chosen, window, {item.stream: item.rows for item in done.written})
    if as_json:
        print_json({"path": str(log.path), **asdict(done), **asdict(log.report), "hints": hints})
    else:
        show_export(done, asdict(log.report), hints)


def _empty(chosen: Sequence[Stream], window: Window, rows: Mapping[str, int]) -> list[str]:
    """Say of streams without a row in the window where their rows lie."""
    lacking = [
        item for item in chosen if not rows[item.name] and item.start_ns is not None and item.stop_ns is not None
    ]
    if window.everything or not lacking:
        return []
    first, last = min(item.start_ns or 0 for item in lacking), max(item.stop_ns or 0 for item in lacking)
    who = quoted(lacking[0].name) if len(lacking) == 1 else f"{len(lacking)} streams"
    return [f"no row of {who} lies in that window; they lie from {utc_text(first)} to {utc_text(last - 1)}"]

"""`drivetrain log`: look into one drive log, and take streams out of it."""

from __future__ import annotations

import base64
import inspect
import math
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer
from rich.markup import escape

from platform_lib.console import OUT, plain_line, print_json, progress
from platform_lib.errors import ConfigError
from platform_lib.logs.door import Log, open_log
from platform_lib.logs.model import DATA, PUBLISH, TIMESTAMP, Stream, unique
from platform_lib.logs.summary import timing
from platform_lib.options import JsonOption
from platform_lib.storage import publish_file
from platform_lib.table import Column, print_table

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Look into one drive log: info, head, export.")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="An MDF, MCAP or bag file, or a ROS 2 bag folder.")]
DbcOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dbc",
        help="CAN database; CAN2=file ties it to one bus, LIN1=file to a LIN bus. May be repeated.",
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
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_SHOWN_BYTES = 24
_SHOWN_COLUMNS = 4
_COLUMNS = (
    Column("stream"),
    Column("kind"),
    Column("rows", right=True),
    Column("rate Hz", right=True),
    Column("seconds", right=True),
    Column("gaps", right=True),
    Column("longest s", right=True),
    Column("content"),
)


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
        with open_log(file, dbc or (), arxml or (), recover, timezone=timezone) as log:
            command(log, **own, as_json=as_json)

    # Typer makes the options from the signature: the file, what the command adds, then what all of them share.
    file, *shared = list(inspect.signature(read, eval_str=True).parameters.values())[:-1]
    added = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    alone = [item for item in added if item.name != "as_json"]
    merged = sorted([file, *alone, *shared], key=lambda item: item.kind)
    vars(read)["__signature__"] = inspect.Signature(merged)
    read.__name__, read.__doc__ = command.__name__, command.__doc__
    read.__annotations__ = {item.name: item.annotation for item in merged}
    return read


@app.command()
@_reading
def info(log: Log, *, as_json: bool) -> None:
    """Show a log's streams (kind, rows, rate, gaps, units), and how sound it is."""
    document = {
        "path": str(log.path),
        "format": log.report.format,
        "metadata": dict(log.metadata),
        "streams": [_describe(log, stream) for stream in log.streams],
        "report": asdict(log.report),
    }
    if as_json:
        print_json(document)
    else:
        _show(document)


def _describe(log: Log, stream: Stream) -> dict[str, Any]:
    """Return one stream's line; reading its times is also what proves that its rows are there."""
    pieces = [batch.column(0).to_numpy() for batch in log.read(stream.name, [TIMESTAMP])]
    times = np.concatenate(pieces) if pieces else np.zeros(0, np.int64)
    found = timing(times, several_sources=stream.kind == "can")
    units = {field.name: _unit(field) for field in stream.schema if _unit(field)}
    columns = [field.name for field in stream.schema if field.name not in (TIMESTAMP, PUBLISH)]
    return {
        "name": stream.name,
        "kind": stream.kind,
        "rows": int(times.size),
        "message_type": stream.message_type,
        "start_ns": stream.start_ns,
        "stop_ns": stream.stop_ns,
        "start_utc": _utc(stream.start_ns),
        **asdict(found),
        "columns": columns,
        "units": units,
    }


def _unit(field: pa.Field) -> str | None:
    value = (field.metadata or {}).get(b"unit")
    return value.decode() if value else None


def _utc(time_ns: int | None) -> str | None:
    if time_ns is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
    return moment.isoformat(timespec="microseconds")


def _show(document: dict[str, Any]) -> None:
    report = document["report"]
    OUT.print(f"[bold]{escape(plain_line(document['path']))}[/]  {document['format']}", highlight=False)
    for key, value in document["metadata"].items():
        OUT.print(f"  {plain_line(key)}: {' '.join(plain_line(value).split())[:120]}", markup=False, highlight=False)
    print_table(_COLUMNS, [_cells(stream) for stream in document["streams"]])
    health = "sound" if not report["recovered"] else f"DAMAGED, recovered; {report['bytes_lost']} bytes lost"
    OUT.print(f"health: [bold]{health}[/]", highlight=False)
    for title in ("problems", "unverified", "notes"):
        for line in report[title]:
            OUT.print(f"  {title.rstrip('s')}: {plain_line(line)}", markup=False, highlight=False)


def _cells(stream: dict[str, Any]) -> list[str]:
    units = stream["units"]
    shown = [f"{name} [{units[name]}]" if name in units else name for name in stream["columns"][:_SHOWN_COLUMNS]]
    more = len(stream["columns"]) - len(shown)
    return [
        stream["name"],
        stream["kind"],
        str(stream["rows"]),
        _number(stream["rate_hz"]),
        _number(stream["duration_s"]),
        str(stream["gaps"]) if stream["gaps"] else "",
        _number(stream["longest_gap_s"]) if stream["gaps"] else "",
        stream["message_type"] or ", ".join(shown) + (f" and {more} more" if more > 0 else ""),
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


@app.command()
@_reading
def head(
    log: Log,
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="As `drivetrain log info` names it.")],
    *,
    rows: Annotated[int, typer.Option("--rows", "-n", min=1, help="How many rows.")] = 5,
    raw: Annotated[bool, typer.Option("--raw", help="A topic's payloads, not its fields.")] = False,
    as_json: bool,
) -> None:
    """Show the first rows of one stream."""
    found: list[dict[str, Any]] = []
    for batch in log.read(stream, decode=not raw):
        found.extend(batch.slice(0, rows - len(found)).to_pylist())
        if len(found) >= rows:
            break
    kept = log.stream(stream)
    if as_json:
        print_json({"path": str(log.path), "stream": kept.name, "rows": _plain(found), "of_rows": kept.rows})
        return
    for row in found:
        OUT.print(_utc(row[TIMESTAMP]) or "", style="bold", markup=False, highlight=False)
        for name, value in row.items():
            OUT.print(f"  {plain_line(name)}: {plain_line(_short(value))}", markup=False, highlight=False)
    OUT.print(f"{len(found)} of {kept.rows} rows", style="dim", highlight=False)


def _short(value: object) -> str:
    if isinstance(value, bytes):
        tail = "..." if len(value) > _SHOWN_BYTES else ""
        return f"{len(value)} bytes {value[:_SHOWN_BYTES].hex(' ')}{tail}"
    text = str(_plain(value))
    return text if len(text) <= 200 else text[:197] + "..."


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it: bytes as base64, numbers that are none as text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


@app.command()
@_reading
def export(
    log: Log,
    stream: Annotated[
        list[str] | None, typer.Argument(metavar="STREAM", help="Which streams. Default: all.", show_default=False)
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write Parquet files into.")],
    raw: Annotated[bool, typer.Option("--raw", help="Topics' payloads, not their fields.")] = False,
    as_json: bool,
) -> None:
    """Write streams to Parquet, one file each, whole or not at all."""
    chosen = [log.stream(name) for name in stream] if stream else list(log.streams)
    if not chosen:
        raise ConfigError("the log has no streams", where=log.path, remedy="see `drivetrain log info`")
    names = unique([_file_name(item.name) for item in log.streams])
    files = {item.name: out / f"{name}.parquet" for item, name in zip(log.streams, names, strict=True)}
    written = []
    with progress("exporting", len(chosen)) as task:
        for item in chosen:
            rows = _write(log, item, files[item.name], decode=not raw)
            written.append({"stream": item.name, "path": str(files[item.name]), "rows": rows})
            task.advance(note=item.name)
    if as_json:
        recovered = {"recovered": log.report.recovered, "problems": log.report.problems}
        print_json({"path": str(log.path), "written": written, **recovered})
        return
    for entry in written:
        OUT.print(f"{entry['path']}  {entry['rows']} rows", markup=False, highlight=False)


def _write(log: Log, stream: Stream, path: Path, *, decode: bool) -> int:
    schema = stream.schema
    if not decode and stream.kind == "message":
        schema = pa.schema([schema.field(TIMESTAMP), pa.field(PUBLISH, pa.int64()), pa.field(DATA, pa.binary_view())])
    # Parquet has no views; the type on disk is plain binary either way.
    stored = pa.schema([field.with_type(_storable(field.type)) for field in schema])
    rows = 0
    # Opened here: Arrow takes no path whose bytes are no text.
    with (
        publish_file(path) as temporary,
        temporary.open("wb") as sink,
        pq.ParquetWriter(sink, stored, compression="zstd") as writer,
    ):
        for batch in log.read(stream.name, decode=decode):
            writer.write_batch(batch.cast(stored))
            rows += batch.num_rows
    return rows


def _storable(kind: pa.DataType) -> pa.DataType:
    return pa.large_binary() if kind == pa.binary_view() else kind


def _file_name(stream: str) -> str:
    return _UNSAFE.sub("_", stream).strip("_.") or "stream"

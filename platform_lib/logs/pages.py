"""The pages that `drivetrain log info` and `head` print for people."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from platform_lib.console import OUT, can_show, plain_line, size
from platform_lib.logs.column_summary import sparkline
from platform_lib.logs.export.model import Export
from platform_lib.logs.instants import utc_text
from platform_lib.logs.model import PUBLISH, TIMESTAMP
from platform_lib.logs.stream_names import quoted
from platform_lib.logs.summary import GAP_FACTOR
from platform_lib.table import Column, print_table

_SHOWN_BYTES = 24
_CONTENT_CELLS = 76
_SHOWN_LINES = 12
_SHOWN_WORDS = 6
_WORD_CELLS = 16
_MOST_TABLE_COLUMNS = 12
_TEXT_CELLS = 200
_STREAMS = (
    Column("stream"),
    Column("rows", right=True),
    Column("seconds", right=True),
    Column("mean Hz", right=True),
    Column("median Hz", right=True),
    Column("gaps", right=True),
    Column("content"),
)
_COLUMNS = (
    Column("column"),
    Column("course"),
    Column("min", right=True),
    Column("mean", right=True),
    Column("max", right=True),
    Column("unit"),
    Column("values"),
)


def show_log(document: dict[str, Any]) -> None:
    """Print what `describe` returned."""
    _show_head(document)
    if document["start_utc"] is not None:
        _line(f"{document['start_utc']} to {document['last_utc']}, {number(document['duration_s'])} s")
    _show_metadata(document["metadata"])
    print_table(_STREAMS, [_stream_cells(stream) for stream in document["streams"]])
    _line(
        f"mean: steps over seconds; median: 1 / median step; gaps: steps over {GAP_FACTOR:g} medians (the longest)",
        dim=True,
    )
    for stream in document["streams"]:
        if stream["backward_steps"]:
            _line(f"  {quoted(stream['name'])}: {_counted(stream['backward_steps'], 'step')} back in time")
    show_health(document["report"], f"read: {document['read']}")
    for text in document["hints"]:
        _line(f"  hint: {text}")
    _show_readers(document["streams"])
    _list("attachment", [f"{item['name']} ({size(item['size_bytes'])})" for item in document["attachments"]])
    _list(
        "event", [" ".join(filter(None, (item["time_utc"], item["kind"], item["name"]))) for item in document["events"]]
    )


def show_stream(document: dict[str, Any]) -> None:
    """Print what `describe_stream` returned."""
    _show_head(document)
    stream = document["stream"]
    kind = ", ".join(filter(None, (stream["kind"], stream["message_type"], f"{stream['reader']} reader")))
    OUT.print(f"[bold]{escape(quoted(stream['name']))}[/]  {escape(plain_line(kind))}", highlight=False)
    if stream["start_utc"] is not None:
        _line(f"  {stream['start_utc']} to {stream['last_utc']}")
    told = [
        _counted(stream["rows"], "row"),
        f"{number(stream['duration_s'])} s" if stream["duration_s"] is not None else "",
    ]
    rates = (("rate_hz", "mean"), ("median_rate_hz", "median"))
    told += [f"{number(stream[key])} Hz ({noun})" for key, noun in rates if stream[key] is not None]
    gaps = (
        f"{_counted(stream['gaps'], 'gap')}, the longest {number(stream['longest_gap_s'])} s"
        if stream["gaps"]
        else "no gaps"
    )
    told += [gaps if stream["median_step_s"] else ""]
    told += [f"{_counted(stream['backward_steps'], 'step')} back in time" if stream["backward_steps"] else ""]
    _line("  " + ", ".join(filter(None, told)))
    plain = not can_show("▁█")
    print_table(_COLUMNS, [_column_cells(item, plain=plain) for item in stream["summaries"] if item["name"] != PUBLISH])
    show_health(document["report"], "read: every value of this stream")


def _line(text: str, *, dim: bool = False) -> None:
    OUT.print(plain_line(text), style="dim" if dim else None, markup=False, highlight=False)


def _show_head(document: dict[str, Any]) -> None:
    told = [document["format"], document["version"] and f"version {document['version']}", document["profile"]]
    told += [document["written_by"] and f"by {document['written_by']}"]
    told += [None if document["size_bytes"] is None else size(document["size_bytes"])]
    text = ", ".join(plain_line(item) for item in told if item)
    OUT.print(f"[bold]{escape(plain_line(document['path']))}[/]  {escape(text)}", highlight=False)


def _show_metadata(metadata: dict[str, str]) -> None:
    for key, value in list(metadata.items())[:_SHOWN_LINES]:
        _line(f"  {key}: {_cut(' '.join(value.split()), 120)}")
    if len(metadata) > _SHOWN_LINES:
        _line(f"  and {len(metadata) - _SHOWN_LINES} more; --json has them all")


def _stream_cells(stream: dict[str, Any]) -> list[str]:
    return [
        quoted(stream["name"]),
        str(stream["rows"]),
        number(stream["duration_s"]),
        number(stream["rate_hz"]),
        number(stream["median_rate_hz"]),
        f"{stream['gaps']} ({number(stream['longest_gap_s'])} s)" if stream["gaps"] else "",
        _content(stream),
    ]


def _content(stream: dict[str, Any]) -> str:
    if stream["kind"] == "can":
        return "raw bus frames"
    if stream["kind"] == "message":
        return stream["message_type"] or "no type named"
    units, columns = stream["units"], stream["columns"]
    # No more than these can have room, of what may be a hundred thousand.
    shown = [f"{name} [{units[name]}]" if name in units else name for name in columns[:_CONTENT_CELLS]]
    text = _listed(shown, columns)
    while len(text) > _CONTENT_CELLS and len(shown) > 1:
        shown.pop()
        text = _listed(shown, columns)
    return _cut(text, _CONTENT_CELLS)


def _listed(shown: list[str], columns: list[str]) -> str:
    hidden = len(columns) - len(shown)
    return ", ".join(shown) + (f" +{hidden}" if hidden else "")


def _column_cells(item: dict[str, Any], *, plain: bool) -> list[str]:
    told = [item["type"] + (", lengths" if "binary" in item["type"] and item["min"] is not None else "")]
    told += [f"{item[key]} {noun}" for key, noun in (("nulls", "null"), ("not_finite", "not finite")) if item[key]]
    values = ", ".join(told)
    if item["words"]:
        words = shown_words(item["words"])
        more = item["more_words"] or len(item["words"]) > len(words)
        values += ": " + " ".join(words[:_SHOWN_WORDS]) + (" ..." if more or len(words) > _SHOWN_WORDS else "")
    return [
        item["name"],
        sparkline(item["course"], plain=plain),
        number(item["min"]),
        number(item["mean"]),
        number(item["max"]),
        item["unit"] or "",
        values,
    ]


def shown_words(words: Sequence[str]) -> list[str]:
    """Shorten words so that different ones stay different where that is possible: the end of each, if not its beginning."""
    short = [_cut(word, _WORD_CELLS) for word in words]
    if len(set(short)) < len(short):
        half = (_WORD_CELLS - 3) // 2
        short = [word if len(word) <= _WORD_CELLS else f"{word[:half]}...{word[-half:]}" for word in words]
    return [repr(word) for word in dict.fromkeys(short)]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def show_health(report: dict[str, Any], sound: str) -> None:
    """Print how sound a log is; `sound` says what that rests on."""
    health = f"DAMAGED, recovered; {report['bytes_lost']} bytes lost" if report["recovered"] else "sound"
    OUT.print(f"health: [bold]{health}[/]" + ("" if report["recovered"] else f" ({sound})"), highlight=False)
    for title, key in (("problem", "problems"), ("unverified", "unverified"), ("note", "notes")):
        for text in report[key]:
            _line(f"  {title}: {text}")
    for name, reason in report["unsupported"].items():
        if not any(name in text for text in report["problems"]):
            _line(f"  not decoded: {quoted(name)}: {reason}")


def _show_readers(streams: list[dict[str, Any]]) -> None:
    counts = Counter(stream["reader"] or "none" for stream in streams)
    if counts:
        _line("readers: " + ", ".join(f"{name} {count}" for name, count in sorted(counts.items())))
    for stream in streams:
        if stream["reader_reason"]:
            _line(f"  {quoted(stream['name'])}: {stream['reader_reason']}")


def _list(noun: str, items: Sequence[str]) -> None:
    if not items:
        return
    OUT.print(f"{len(items)} {noun}{'s' if len(items) > 1 else ''}", highlight=False)
    for text in items[:_SHOWN_LINES]:
        _line(f"  {_cut(text, _TEXT_CELLS)}")
    if len(items) > _SHOWN_LINES:
        _line(f"  and {len(items) - _SHOWN_LINES} more; --json has them all")


def number(value: float | None) -> str:
    """Return a number for a table: an integer in full, others with four digits, or whole where they are small and whole."""
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def show_export(done: Export, report: dict[str, Any], hints: Sequence[str]) -> None:
    """Print what was written, and what was lost on the way."""
    columns = (Column("stream"), Column("rows", right=True), Column("file"))
    print_table(columns, [[quoted(item.stream), str(item.rows), str(item.path)] for item in done.written])
    paths = {item.path for item in done.written}
    _line(f"{len(paths)} {'files' if len(paths) > 1 else 'file'}, {size(sum(path.stat().st_size for path in paths))}")
    for name in done.left_out:
        _line(f"left out: attachment '{name}', which is too large to copy")
    if report["recovered"] or report["problems"]:
        show_health(report, "read: what is exported")
    for text in hints:
        _line(f"hint: {text}")


def show_rows(rows: list[dict[str, Any]], scalar: Sequence[str] | None) -> None:
    """Print rows: side by side in a table, or one below the other.

    Args:
        rows: With their time first.
        scalar: The columns, if each holds single values only.
    """
    if scalar is not None and len(scalar) <= _MOST_TABLE_COLUMNS:
        columns = [Column("time, UTC"), *(Column(name, right=True) for name in scalar if name != TIMESTAMP)]
        print_table(columns, [[utc_text(row[TIMESTAMP]), *(_cell(row[name]) for name in scalar[1:])] for row in rows])
        return
    for row in rows:
        OUT.print(utc_text(row[TIMESTAMP]), style="bold", markup=False, highlight=False)
        for name, value in row.items():
            if name != TIMESTAMP:
                _show_value(name, value)


def _show_value(name: str, value: Any) -> None:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _show_value(f"{name}.{key}", item)
    else:
        _line(f"  {name}: {_cell(value)}")


def _cell(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bytes):
        tail = "..." if len(value) > _SHOWN_BYTES else ""
        return f"{len(value)} bytes {value[:_SHOWN_BYTES].hex(' ')}{tail}"
    return _cut(str(as_json(value)), _TEXT_CELLS)


def as_json(value: Any) -> Any:
    """Return a value as JSON can hold it: bytes as base64, numbers that are none and times as text."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)

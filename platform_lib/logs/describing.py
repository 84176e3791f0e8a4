"""A log, described for people: streams, rates, gaps, health. One pass over it, in bounded memory."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from platform_lib.logs.bytes_source import open_file
from platform_lib.logs.column_summary import ColumnCounts, ColumnSummary
from platform_lib.logs.door import Log
from platform_lib.logs.instants import utc_text
from platform_lib.logs.model import PUBLISH, TIMESTAMP, Stream
from platform_lib.logs.summary import Timing, TimingCount
from platform_lib.storage import walk_files

_MDF_MAGICS = (b"MDF     ", b"UnFinMF ")
_MCAP_MAGIC = b"\x89MCAP"
_MCAP_HEADER = 0x01  # the opcode of an MCAP file's first record. Source: https://mcap.dev/spec (2026-11-20)
_HEAD_BYTES = 4096
_BUS_STREAM = re.compile(r"(CAN|LIN)\d+/")  # a decoded message's name

Note = Callable[[str, int], None]
"""Is told a stream's name and how many rows of it were read just now."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a file says of itself in its first bytes.

    Attributes:
        version: Of its format; ``None`` where the first bytes do not say.
        written_by: The program or library that wrote it.
        profile: An MCAP file's profile (``ros2``, ...).
    """

    version: str | None = None
    written_by: str | None = None
    profile: str | None = None


def identity(head: bytes) -> Identity:
    """Read a file's first bytes, of which there may be too few."""
    if head.startswith(_MDF_MAGICS):
        return Identity(_plain(head[8:16]), _plain(head[16:24]))
    if head.startswith(b"#ROSBAG V"):
        return Identity(_plain(head[9:12]))
    if head.startswith(_MCAP_MAGIC) and head[8:9] == bytes([_MCAP_HEADER]):
        texts, at = [], 17
        for _ in range(2):
            stop = at + 4 + int.from_bytes(head[at : at + 4], "little")
            texts.append(_plain(head[at + 4 : stop]) if stop <= len(head) else None)
            at = stop
        return Identity(chr(head[5]), written_by=texts[1], profile=texts[0])
    return Identity()


def _plain(data: bytes) -> str | None:
    return data.partition(b"\0")[0].decode(errors="replace").strip() or None


def describe(log: Log, note: Note, *, deep: bool) -> dict[str, Any]:
    """Describe a whole log.

    Args:
        log: The log.
        note: Is told of every batch that was read.
        deep: Decode every value, which finds what no checksum covers; otherwise times and stored payloads are read.

    Returns:
        What `drivetrain log info --json` prints.

    Raises:
        CorruptLog: The bytes contradict the format.
    """
    counts = {item.name: TimingCount(several_sources=item.raw_frames) for item in log.streams}
    for name, batch in _every_batch(log, deep=deep):
        counts[name].add(batch.column(0).to_numpy())
        note(name, batch.num_rows)
    timings = {name: count.result() for name, count in counts.items()}
    return {**_head(log), **_span(list(timings.values())), **_about(log, timings, deep=deep)}


def describe_stream(log: Log, stream: Stream, note: Note) -> dict[str, Any]:
    """Describe one stream's columns; every value of it is decoded.

    Returns:
        What `drivetrain log info --stream NAME --json` prints.

    Raises:
        CorruptLog: The bytes contradict the format.
    """
    times = TimingCount(several_sources=stream.raw_frames)
    columns = ColumnCounts(stream.schema, stream.start_ns, stream.stop_ns)
    for batch in log.read(stream.name):
        times.add(batch.column(0).to_numpy())
        columns.add(batch)
        note(stream.name, batch.num_rows)
    found: list[ColumnSummary] = columns.result()
    about = _stream(log, stream, times.result())
    return {**_head(log), "stream": {**about, "summaries": [asdict(item) for item in found]}, "report": _report(log)}


def _every_batch(log: Log, *, deep: bool) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Yield every stream's batches: topics in one pass, other streams one by one, their times alone unless `deep`."""
    topics = [item.name for item in log.streams if item.kind == "message"]
    if topics:
        yield from log.read_all(topics, decode=deep)
    for item in log.streams:
        if item.kind != "message":
            yield from ((item.name, batch) for batch in log.read(item.name, None if deep else [TIMESTAMP]))


def _head(log: Log) -> dict[str, Any]:
    first, size_bytes = b"", None
    source = open_file(log.path)
    if source is not None:
        with contextlib.closing(source):
            first, size_bytes = source.read_at(0, min(_HEAD_BYTES, source.size_bytes)), source.size_bytes
    elif isinstance(log.path, Path):
        size_bytes = sum(path.stat().st_size for path in walk_files(log.path))
    return {
        "path": str(log.path),
        "format": log.report.format,
        **asdict(identity(first)),
        "size_bytes": size_bytes,
        "metadata": dict(log.metadata),
    }


def _span(timings: list[Timing]) -> dict[str, Any]:
    starts = [item.start_ns for item in timings if item.start_ns is not None]
    stops = [item.stop_ns for item in timings if item.stop_ns is not None]
    start_ns, stop_ns = min(starts, default=None), max(stops, default=None)
    return {
        "start_ns": start_ns,
        "stop_ns": stop_ns,
        "start_utc": _utc(start_ns),
        "last_utc": _utc(_last(stop_ns)),
        "duration_s": None if start_ns is None or stop_ns is None else (stop_ns - 1 - start_ns) / 1e9,
        "rows": sum(item.rows for item in timings),
    }


def _about(log: Log, timings: dict[str, Timing], *, deep: bool) -> dict[str, Any]:
    return {
        "streams": [_stream(log, item, timings[item.name]) for item in log.streams],
        "attachments": [
            {
                "name": item.name,
                "media_type": item.media_type,
                "size_bytes": item.size_bytes,
                "time_utc": _utc(item.time_ns),
            }
            for item in log.attachments
        ],
        "events": [{**asdict(item), "time_utc": _utc(item.time_ns)} for item in log.events],
        "read": "every value" if deep else "every time, every payload as stored",
        "report": _report(log),
        "hints": _hints(log),
    }


def _hints(log: Log) -> list[str]:
    frames = sum(item.rows for item in log.streams if item.kind == "can")
    if not frames or any(_BUS_STREAM.match(item.name) for item in log.streams):
        return []
    if log.report.undecoded:
        return [
            "the databases named describe none of the bus frames: name others, or tie them to the bus that they are of"
        ]
    return [f"{frames:,} bus frames are raw; name what describes them: --dbc FILE (a folder of .dbc or .arxml will do)"]


def _report(log: Log) -> dict[str, Any]:
    return asdict(log.report)


def _stream(log: Log, stream: Stream, timing: Timing) -> dict[str, Any]:
    fields = [item for item in stream.schema if item.name not in (TIMESTAMP, PUBLISH)]
    return {
        "name": stream.name,
        "kind": stream.kind,
        "message_type": stream.message_type,
        "reader": log.report.readers.get(stream.name),
        "reader_reason": log.report.reasons.get(stream.name),
        **asdict(timing),
        "start_utc": _utc(timing.start_ns),
        "last_utc": _utc(_last(timing.stop_ns)),
        "columns": [item.name for item in fields],
        "types": {item.name: str(item.type) for item in fields},
        "units": {item.name: unit for item in fields if (unit := unit_of(item))},
    }


def _last(stop_ns: int | None) -> int | None:
    return None if stop_ns is None else stop_ns - 1


def unit_of(field: pa.Field) -> str | None:
    """Return a column's unit, ``None`` where the log names none."""
    value = (field.metadata or {}).get(b"unit")
    return value.decode() if value else None


def _utc(time_ns: int | None) -> str | None:
    return None if time_ns is None else utc_text(time_ns)

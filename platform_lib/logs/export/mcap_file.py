"""MDF -> MCAP: every channel group and bus message a topic of protobuf messages, in one file, in bounded memory.

A chunk holds one topic: who reads or plots one signal reads its chunks alone, and no group waits for another's rows.
Chunks of all topics together stay small, because a reader in time order holds one of each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from platform_lib.errors import IntegrityError, UnsupportedLog
from platform_lib.logs.bytes_source import open_source
from platform_lib.logs.describing import Note
from platform_lib.logs.door import READER_VERSION, Log
from platform_lib.logs.export.mcap_writer import MOST_TOPICS, McapWriter
from platform_lib.logs.export.model import Export, Written
from platform_lib.logs.export.protobuf_rows import RowEncoder, identifier
from platform_lib.logs.model import Attachment, Stream, Window, unique
from platform_lib.storage import publish_file

_CHUNK_BYTES = 1 << 20
_ALL_CHUNKS_BYTES = 64 << 20
_LEAST_CHUNK_BYTES = 1 << 16
_PIECE_BYTES = 8 << 20
_MOST_ATTACHED_BYTES = 64 << 20
_LIBRARY = "drivetrain log export"


def write_mcap(log: Log, streams: Sequence[Stream], path: Path, *, window: Window, note: Note) -> Export:
    """Write streams of an MDF log as one MCAP file, published whole or not at all.

    Raises:
        CorruptLog: As in `Log.read`.
        UnsupportedLog: A column has a type that protobuf cannot hold, a row is of before 1970, or the log has topics.
        IntegrityError: The log changed while it was read.
    """
    topics = [item.name for item in streams if item.kind == "message"]
    if topics:
        what = f"'{topics[0]}' is a topic already; MDF logs are turned into MCAP"
        raise UnsupportedLog(what, where=log.path, remedy="read this log as it is, or export it as Parquet")
    if len(streams) > MOST_TOPICS:
        what = f"{len(streams)} streams; an MCAP file holds {MOST_TOPICS} topics"
        raise UnsupportedLog(what, where=log.path, remedy="name the streams to export, or export Parquet")
    state, sha256 = _state(log.path), _sha256(log.path)
    rows: dict[str, int] = {}
    with publish_file(path) as temporary:
        with temporary.open("wb") as stream:
            chunk_bytes = max(_LEAST_CHUNK_BYTES, min(_CHUNK_BYTES, _ALL_CHUNKS_BYTES // max(1, len(streams))))
            writer = McapWriter(stream, chunk_bytes, _LIBRARY)
            names = unique([identifier(item.name) for item in streams])
            for item, name in zip(streams, names, strict=True):
                rows[item.name] = _write_stream(writer, log, item, name.replace("#", "__"), window, note)
            writer.end_topic()
            left_out = _write_attachments(writer, log.attachments)
            _write_metadata(writer, log, sha256)
            writer.finish()
        if _state(log.path) != state:
            raise IntegrityError("the log changed while it was read", where=log.path, remedy="export it again")
    return Export(tuple(Written(item.name, path, rows[item.name]) for item in streams), sha256, left_out)


def _state(path: Path | str) -> tuple[int, ...]:
    """Return what tells that a local file was replaced or written to; an object's version is watched while it is read."""
    if isinstance(path, str):
        return ()
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _sha256(path: Path | str) -> str:
    digest = hashlib.sha256()
    with closing(open_source(path)) as source:
        for at in range(0, source.size_bytes, _PIECE_BYTES):
            digest.update(source.read_at(at, min(_PIECE_BYTES, source.size_bytes - at)))
    return digest.hexdigest()


def _write_stream(writer: McapWriter, log: Log, stream: Stream, name: str, window: Window, note: Note) -> int:
    encoder = RowEncoder(name, stream.schema)
    about = {"kind": stream.kind, **({"message_type": stream.message_type} if stream.message_type else {})}
    writer.begin_topic(stream.name, encoder.message_type, encoder.descriptors, about)
    rows = 0
    for batch in log.read(stream.name, None, window.start_ns, window.stop_ns):
        times = batch.column(0).to_numpy()
        if times.min(initial=0) < 0:
            what = f"stream '{stream.name}' has rows of before 1970, which MCAP has no time for"
            raise UnsupportedLog(what, where=log.path, remedy="export later rows with --start, or Parquet")
        at = 0
        for messages in encoder.encode(batch):
            writer.add(times[at : at + len(messages)], messages)
            at += len(messages)
        rows += at
        note(stream.name, batch.num_rows)
    return rows


def _write_attachments(writer: McapWriter, attachments: tuple[Attachment, ...]) -> tuple[str, ...]:
    left_out = []
    for item in attachments:
        if item.size_bytes > _MOST_ATTACHED_BYTES:  # the writer takes an attachment whole
            left_out.append(item.name)
            continue
        time_ns = max(0, item.time_ns or 0)
        writer.attach(time_ns, item.name, item.media_type, item.load())
    return tuple(left_out)


def _write_metadata(writer: McapWriter, log: Log, sha256: str) -> None:
    """Write the recorder's own words as record ``drive``, where they come from as ``origin``, and the events."""
    report = log.report
    origin: dict[str, Any] = {
        "path": str(log.path).encode(errors="backslashreplace").decode(),
        "sha256": sha256,
        "format": report.format,
        "reader_version": READER_VERSION,
        "recovered": json.dumps(report.recovered),
        "bytes_lost": str(report.bytes_lost),
        "problems": json.dumps(report.problems),
    }
    writer.tell("drive", dict(log.metadata))
    writer.tell("origin", origin)
    if log.events:
        writer.tell("events", {str(at): json.dumps(asdict(item)) for at, item in enumerate(log.events)})

"""ROS 1 bags (format 2.0): the index through rosbags, every chunk walked at open to prove the index whole.

The format has no checksum; bz2 chunks carry their own. An unindexed bag (the recorder died) is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rosbags.rosbag1 import Reader

from platform_lib.errors import CorruptLog
from platform_lib.logs.extents import ExtentStore, IndexedRows, Messages, TopicIndex, read_exactly
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.messages import Loaded, Topic, TopicSource, checked_times
from platform_lib.logs.model import Report

_LENGTH = struct.Struct("<I")
_MESSAGE_OP, _CONNECTION_OP = 0x02, 0x07


def open_bag1(path: Path, *, recover: bool) -> TopicSource:
    """Open a ROS 1 bag; see `platform_lib.logs.open_log`."""
    report = Report(format="rosbag1")
    report.unverified.append("ROS 1 bags have no checksum: flipped bits in payloads cannot be noticed")
    with translated(path, "opening the ROS 1 bag"):
        reader = Reader(path)
        reader.open()
        try:
            chunks = [reader.chunks[info.pos] for info in reader.chunk_infos]
            found = _walk(path, reader, chunks, report, recover=recover)
            topics, indexes = _topics(path, reader, found)
        finally:
            reader.close()
        store = ExtentStore(path, partial(_load, path, chunks))
        return TopicSource(path, Loaded(topics, IndexedRows(indexes, store), {}), report)


def _load(path: Path, chunks: list[Any], file: BinaryIO, number: int) -> bytes:
    chunk = chunks[number]
    data: bytes = chunk.decompressor(read_exactly(path, file, chunk.datapos, chunk.datasize))
    return data


def _walk(path: Path, reader: Reader, chunks: list[Any], report: Report, *, recover: bool) -> dict[int, Messages]:
    """Index every chunk's messages by connection, and compare with the bag's own counts."""
    found: dict[int, Messages] = {}
    with path.open("rb") as file:
        for number, (chunk, info) in enumerate(zip(chunks, reader.chunk_infos, strict=True)):
            try:
                with translated(path, f"reading the chunk at byte {info.pos}"):
                    parts = _messages(_load(path, chunks, file, number))
                    counts = {conn: len(part.size) for conn, part in parts.items()}
                    if counts != {conn: count for conn, count in info.connection_counts.items() if count}:
                        what = f"the chunk at byte {info.pos} does not hold the messages that its index counts"
                        raise CorruptLog(what, where=path, remedy=REMEDY)
            except CorruptLog as error:
                if not recover:
                    raise
                report.lose(chunk.datasize, error.what)
                continue
            for conn, part in parts.items():
                found.setdefault(conn, Messages()).extend(part, number)
    unknown = set(found) - {item.id for item in reader.connections}
    if unknown:
        raise CorruptLog(f"messages of connection {min(unknown)}, which is not defined", where=path, remedy=REMEDY)
    return found


def _messages(data: bytes) -> dict[int, Messages]:
    found: dict[int, Messages] = {}
    at = 0
    while at < len(data):
        head, body, size = _record(data, at)
        fields = dict(_fields(head))
        if fields.get(b"op") == bytes([_MESSAGE_OP]):
            seconds, nanoseconds = struct.unpack("<II", fields[b"time"])
            part = found.setdefault(_LENGTH.unpack(fields[b"conn"])[0], Messages())
            part.log_time.append(seconds * 1_000_000_000 + nanoseconds)
            part.publish_time.append(0)
            part.size.append(size)
            part.place.append(body)
        elif fields.get(b"op") != bytes([_CONNECTION_OP]):
            raise CorruptLog("a chunk holds a record that is neither message nor connection")
        at = body + size
    return found


def _record(data: bytes, at: int) -> tuple[bytes, int, int]:
    """Return a record's head, where its body starts, and the body's length."""
    head_bytes = _LENGTH.unpack_from(data, at)[0]
    body = at + 8 + head_bytes
    if body > len(data):
        raise CorruptLog("a record passes its chunk's end")
    size = _LENGTH.unpack_from(data, body - 4)[0]
    if body + size > len(data):
        raise CorruptLog("a record passes its chunk's end")
    return data[at + 4 : at + 4 + head_bytes], body, size


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(head):
        size = _LENGTH.unpack_from(head, at)[0]
        if size == 0 or at + 4 + size > len(head):
            raise CorruptLog("a record's head is torn")
        name, _, value = head[at + 4 : at + 4 + size].partition(b"=")
        yield name, value
        at += 4 + size


def _topics(path: Path, reader: Reader, found: dict[int, Messages]) -> tuple[list[Topic], list[TopicIndex]]:
    groups: dict[tuple[str, str, str], list[Messages]] = {}
    for item in reader.connections:
        groups.setdefault((item.topic, item.msgtype, item.msgdef.data), []).append(found.get(item.id, Messages()))
    topics, indexes = [], []
    for (name, kind, text), parts in groups.items():
        log = checked_times(path, name, np.concatenate([np.array(part.log_time, np.uint64) for part in parts]))
        place = np.concatenate([np.array(part.place, np.int64) for part in parts])
        order = np.lexsort((place, log))
        size = np.concatenate([np.array(part.size, np.int64) for part in parts])
        index = TopicIndex(log[order], None, size[order], place[order])
        indexes.append(index)
        topics.append(
            Topic(
                name=name,
                message_type=kind,
                message_encoding="ros1",
                schema_encoding="ros1msg",
                schema_text=text,
                schema_data=text.encode(),
                rows=log.size,
                start_ns=index.span_ns[0],
                stop_ns=index.span_ns[1],
            )
        )
    return topics, indexes

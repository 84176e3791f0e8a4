"""The index of a ROS 1 bag: connections and chunks at its end, and behind each chunk where its messages are.

Times and places go straight into columns of 16 bytes a message. All that is said twice must agree: the header's counts with the
records at the end, a chunk's counts with the entries behind it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rosbags.rosbag1.reader import normalize

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.mdf4.source import FileBytes
from platform_lib.logs.rosbag1_records import (
    BAG_HEADER_OP,
    CHUNK_INFO_OP,
    CHUNK_OP,
    COMPRESSIONS,
    CONNECTION_OP,
    INDEX_OP,
    MAGIC,
    MOST_CHUNK_MESSAGES,
    Connection,
    Head,
    Layout,
    StoredChunk,
    fields_of,
    file_head,
)
from platform_lib.logs.schemas.rosmsg import normal_name

ENTRY = np.dtype([("seconds", "<u4"), ("nanoseconds", "<u4"), ("offset", "<u4")])
MOST_MESSAGES = 10_000_000  # see docs/reference/logs.md for what was measured
_MOST_CHUNKS = 1_000_000
_MOST_DEFINITION_BYTES = 64 << 20
_COUNT = np.dtype([("connection", "<u4"), ("count", "<u4")])
_HEAD_BYTES = 32 << 10  # what one request brings; the next chunk's head lies right behind a chunk's index
_VERSION = 1


class _Heads(FileBytes):
    """A bag's heads, read forward: one request brings a chunk's index and the head of the chunk behind it."""

    def __init__(self, source: ByteSource) -> None:
        super().__init__(source)
        self._begin, self._near = 0, b""

    def peek(self, offset: int, count: int) -> bytes:
        """Return a few bytes at `offset`."""
        first = offset - self._begin
        if first < 0 or first + count > len(self._near):
            self._begin, first = offset, 0
            self._near = self.read(offset, min(max(count, _HEAD_BYTES), self.size - offset))
        return self._near[first : first + count]


@dataclass(frozen=True, slots=True)
class _ChunkInfo:
    position: int
    counts: npt.NDArray[np.void]


def read_index(source: ByteSource) -> Layout:
    """Return what a bag's index says is where.

    Raises:
        CorruptLog: There is none, or it contradicts itself or the bag's header.
        UnsupportedLog: The bag is encrypted, or has more messages, chunks or definitions than bounded memory allows.
        LookupError: A field is missing.
    """
    file = _Heads(source)
    connections, infos = _end(file)
    total = sum(int(info.counts["count"].sum(dtype=np.int64)) for info in infos)
    if total * ENTRY.itemsize > source.size_bytes:
        raise CorruptLog(f"an index of {total} messages does not fit into the file", where=source.name)
    check_count(source.name, total)
    first = np.zeros(len(infos) + 1, np.int64)
    offset, connection, time_ns = np.empty(total, np.uint32), np.empty(total, np.uint32), np.empty(total, np.int64)
    chunks: list[StoredChunk] = []
    end = len(MAGIC)
    known = np.array([item.id for item in connections], np.uint32)
    for number, info in enumerate(infos):
        chunk, after = _chunk(file, info.position, end)
        entries, whose, end = _entries(file, after, info, known)
        mine = slice(int(first[number]), int(first[number]) + entries.size)
        order = np.argsort(entries["offset"], kind="stable")
        offset[mine], connection[mine] = entries["offset"][order], whose[order]
        time_ns[mine] = times_of(entries)[order]
        first[number + 1] = mine.stop
        chunks.append(chunk)
    return Layout(tuple(connections), tuple(chunks), first, offset, connection, time_ns)


def check_count(name: str, messages: int) -> None:
    """Refuse a bag of whose messages more is kept than fits.

    Raises:
        UnsupportedLog: There are more than `MOST_MESSAGES`.
    """
    if messages > MOST_MESSAGES:
        raise _too_many(name, "messages", MOST_MESSAGES)


def _too_many(name: str, what: str, most: int) -> UnsupportedLog:
    return UnsupportedLog(
        f"more than {most} {what}: what is kept of each takes too much memory",
        where=name,
        remedy="convert the bag to MCAP, or split it (`rosbag record --split`, `rosbag filter`)",
    )


def times_of(entries: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return the (N,) times of index entries, in ns; they always fit."""
    seconds: npt.NDArray[np.int64] = entries["seconds"].astype(np.int64)
    return seconds * 1_000_000_000 + entries["nanoseconds"].astype(np.int64)


def connection_of(number: int, topic: bytes, body: bytes) -> Connection:
    """Return a connection of its record.

    Raises:
        LookupError: A field is missing.
        UnicodeDecodeError: One is no text.
    """
    about = dict(fields_of(body))
    kind, definition = about[b"type"].decode(), about[b"message_definition"].decode()
    return Connection(number, normalize(topic.decode()), normal_name(kind), definition)


def _end(file: FileBytes) -> tuple[list[Connection], list[_ChunkInfo]]:
    """Read the records at the bag's end; they and the header's counts must agree, so that nothing is passed over."""
    header = file_head(file, len(MAGIC))
    if header is None or header.op != BAG_HEADER_OP:
        raise CorruptLog("the ROS 1 bag's header is no header", where=file.path)
    if header.fields.get(b"encryptor"):
        what = f"a bag encrypted by {header.fields[b'encryptor']!r}"
        raise UnsupportedLog(what, where=file.path, remedy="decrypt it with `rosbag decrypt`")
    begin = header.number(b"index_pos")
    if begin == 0:
        raise CorruptLog("the bag was never closed: it has no index", where=file.path)
    connections: list[Connection] = []
    infos: list[_ChunkInfo] = []
    definition_bytes = 0
    for head in _records(file, begin):
        if head.op == CONNECTION_OP:
            definition_bytes += head.size
            if definition_bytes > _MOST_DEFINITION_BYTES:
                raise _too_many(file.path, "bytes of definitions", _MOST_DEFINITION_BYTES)
            number, topic = head.number(b"conn"), head.fields[b"topic"]
            connections.append(connection_of(number, topic, file.read(head.body, head.size)))
        else:
            infos.append(_info(file, head))
            if len(infos) > _MOST_CHUNKS:
                raise _too_many(file.path, "chunks", _MOST_CHUNKS)
    said = header.number(b"conn_count"), header.number(b"chunk_count")
    if said != (len(connections), len(infos)) or (not infos and begin > header.body + header.size):
        raise CorruptLog("the bag's header and its index do not say the same of it", where=file.path)
    if len({item.id for item in connections}) < len(connections):
        raise CorruptLog("two connections of the bag have the same number", where=file.path)
    return connections, sorted(infos, key=lambda info: info.position)


def _records(file: FileBytes, at: int) -> Iterator[Head]:
    while at < file.size:
        head = file_head(file, at)
        if head is None or head.op not in (CONNECTION_OP, CHUNK_INFO_OP) or head.body + head.size > file.size:
            raise CorruptLog(f"what stands at byte {at} is no part of an index", where=file.path)
        yield head
        at = head.body + head.size


def _info(file: FileBytes, head: Head) -> _ChunkInfo:
    _check_version(file, head, "chunk")
    counts = np.frombuffer(file.peek(head.body, head.size), _COUNT)
    if counts.size != head.number(b"count"):
        raise CorruptLog(f"a chunk of {head.number(b'count')} connections has {counts.size}", where=file.path)
    return _ChunkInfo(head.number(b"chunk_pos"), counts)


def _check_version(file: FileBytes, head: Head, what: str) -> None:
    if head.number(b"ver") != _VERSION:
        raise UnsupportedLog(f"version {head.number(b'ver')} of a {what}'s index; {_VERSION} is read", where=file.path)


def _chunk(file: FileBytes, at: int, end: int) -> tuple[StoredChunk, int]:
    """Return the chunk at `at`, and where it ends; those before it end at `end`."""
    head = file_head(file, at) if at >= end else None
    if head is None or head.op != CHUNK_OP or head.body + head.size > file.size:
        raise CorruptLog(f"the index names a chunk at byte {at}, and there is none", where=file.path)
    compression = head.fields[b"compression"].decode()
    if compression not in COMPRESSIONS:
        raise UnsupportedLog(f"a chunk is compressed as {compression!r}", where=file.path)
    return StoredChunk(at, head.body, head.size, compression, head.number(b"size")), head.body + head.size


def _entries(
    file: FileBytes, at: int, info: _ChunkInfo, known: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.uint32], int]:
    """Return what the records behind a chunk say of its messages, whose each is, and where they end."""
    counts: Counter[int] = Counter()
    tables, owners = [np.empty(0, ENTRY)], [np.empty(0, np.uint32)]
    while (head := file_head(file, at)) is not None and head.op == INDEX_OP:
        _check_version(file, head, "message")
        if head.size != head.number(b"count") * ENTRY.itemsize or head.body + head.size > file.size:
            raise CorruptLog(f"the index record at byte {at} has not the length that it says", where=file.path)
        number = head.number(b"conn")
        counts[number] += head.number(b"count")
        if counts.total() > MOST_CHUNK_MESSAGES:
            raise _too_many(file.path, "messages in one chunk", MOST_CHUNK_MESSAGES)
        tables.append(np.frombuffer(file.peek(head.body, head.size), ENTRY))
        owners.append(np.full(tables[-1].size, number, np.uint32))
        at = head.body + head.size
    said = Counter({int(item["connection"]): int(item["count"]) for item in info.counts})
    if +counts != +said or not np.isin(list((+counts).keys()), known).all():
        what = f"the index at the bag's end and that behind the chunk at byte {info.position} do not say the same"
        raise CorruptLog(what, where=file.path)
    return np.concatenate(tables), np.concatenate(owners), at

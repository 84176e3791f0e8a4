"""The index of a ROS 1 bag: connections and chunks at its end, and behind each chunk where its messages are.

Times and places go straight into columns of 16 bytes a message. All that is said twice must agree: the header's counts with the
records at the end, a chunk's counts with the entries behind it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
MOST_CHUNKS = 1_000_000
_MOST_CONNECTIONS = 65_535
_MOST_DEFINITION_BYTES = 16 << 20  # whose parser takes fourteen times as much
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


@dataclass(slots=True)
class _End:
    """The records at a bag's end.

    Attributes:
        connections: Of the bag.
        gap: Where its header ends, and where these records begin: what lies between has to be chunks.
        position: Of each chunk, in the order of these records.
        first: Which of `counts` are a chunk's first; its last are before the next chunk's first.
        counts: Connection and number of messages, in turn.
    """

    connections: Connections
    gap: tuple[int, int]
    position: array[int] = field(default_factory=lambda: array("Q"))
    first: array[int] = field(default_factory=lambda: array("q", [0]))
    counts: array[int] = field(default_factory=lambda: array("I"))

    def said(self, number: int) -> dict[int, int]:
        """Return how many messages of which connection a chunk has.

        Raises:
            CorruptLog: One of them is none, or is named twice.
        """
        pairs = self.counts[self.first[number] : self.first[number + 1]]
        found = dict(zip(pairs[::2], pairs[1::2], strict=True))
        if 2 * len(found) != len(pairs) or any(item not in self.connections for item in found):
            raise CorruptLog("the index has messages of a connection twice, or of one that there is not")
        return found


def read_index(source: ByteSource) -> Layout:
    """Return what a bag's index says is where.

    Raises:
        CorruptLog: There is none, or it contradicts itself or the bag's header.
        UnsupportedLog: The bag is encrypted, or has more messages, chunks or definitions than bounded memory allows.
        LookupError: A field is missing.
    """
    file = _Heads(source)
    end = _end(file)
    total = int(np.frombuffer(end.counts, np.uint32)[1::2].sum(dtype=np.int64)) if end.counts else 0
    if total * ENTRY.itemsize > source.size_bytes:
        raise CorruptLog(f"an index of {total} messages does not fit into the file", where=source.name)
    check_kept(source.name, messages=total)
    first = np.zeros(len(end.position) + 1, np.int64)
    offset, connection, time_ns = np.empty(total, np.uint32), np.empty(total, np.uint32), np.empty(total, np.int64)
    chunks: list[StoredChunk] = []
    at, stop = end.gap
    for row, number in enumerate(np.argsort(np.array(end.position, np.uint64), kind="stable").tolist()):
        chunk, after = _chunk(file, end.position[number], at)
        _check_gap(file, at, chunk.position)
        entries, whose, at = _entries(file, after, chunk, end.said(number))
        mine = slice(int(first[row]), int(first[row]) + entries.size)
        order = np.argsort(entries["offset"], kind="stable")
        offset[mine], connection[mine] = entries["offset"][order], whose[order]
        time_ns[mine] = times_of(entries)[order]
        first[row + 1] = mine.stop
        chunks.append(chunk)
    _check_gap(file, at, stop)
    return Layout(end.connections.found, tuple(chunks), first, offset, connection, time_ns)


def check_kept(name: str, *, messages: int = 0, chunks: int = 0) -> None:
    """Refuse a bag of which more is kept than fits.

    Raises:
        UnsupportedLog: There are more than `MOST_CHUNKS` chunks, or `MOST_MESSAGES` messages.
    """
    for count, what, most in ((chunks, "chunks", MOST_CHUNKS), (messages, "messages", MOST_MESSAGES)):
        if count > most:
            raise _too_many(name, what, most)


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
        CorruptLog: Zeros took the place of its text.
        LookupError: A field is missing.
        UnicodeDecodeError: One is no text.
    """
    about = dict(fields_of(body))
    if b"\0" in topic + about[b"type"] + about[b"message_definition"]:
        raise CorruptLog("a connection's record is partly zeros")
    kind, definition = about[b"type"].decode(), about[b"message_definition"].decode()
    return Connection(number, normalize(topic.decode()), normal_name(kind), definition)


class Connections:
    """A bag's connections, as many as bounded memory allows; a definition that several have is kept once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._by_number: dict[int, Connection] = {}
        self._texts: dict[str, str] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self._by_number)

    def __contains__(self, number: object) -> bool:
        return number in self._by_number

    @property
    def found(self) -> tuple[Connection, ...]:
        """All of them, in the order in which they were added."""
        return tuple(self._by_number.values())

    def check_size(self, head: Head) -> None:
        """Refuse a connection's record before it is read.

        Raises:
            UnsupportedLog: It is larger than all definitions may be.
        """
        if head.size > _MOST_DEFINITION_BYTES:
            raise _too_many(self._name, "bytes of definitions", _MOST_DEFINITION_BYTES)

    def add(self, item: Connection) -> bool:
        """Take one in; whether it is new, or what is known already.

        Raises:
            UnsupportedLog: There are too many, or too many bytes of definitions.
        """
        known = self._by_number.get(item.id)
        if known is not None:
            return known == item
        self._kept_bytes += len(item.topic) + len(item.message_type)
        if item.definition not in self._texts:
            self._kept_bytes += len(item.definition)
        text = self._texts.setdefault(item.definition, item.definition)
        self._by_number[item.id] = replace(item, definition=text)
        if self._kept_bytes > _MOST_DEFINITION_BYTES:
            raise _too_many(self._name, "bytes of definitions", _MOST_DEFINITION_BYTES)
        if len(self._by_number) > _MOST_CONNECTIONS:
            raise _too_many(self._name, "connections", _MOST_CONNECTIONS)
        return True


def _end(file: FileBytes) -> _End:
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
    if begin >= file.size:
        what = f"the file was cut: its index should begin at byte {begin}, and it ends at byte {file.size}"
        raise CorruptLog(what, where=file.path)
    end = _End(Connections(file.path), (header.body + header.size, begin))
    for head in _records(file, begin):
        if head.op == CONNECTION_OP:
            end.connections.check_size(head)
            number, before = head.number(b"conn"), len(end.connections)
            end.connections.add(connection_of(number, head.fields[b"topic"], file.read(head.body, head.size)))
            if len(end.connections) == before:
                raise CorruptLog("two connections of the bag have the same number", where=file.path)
        else:
            _take_info(file, head, end)
            check_kept(file.path, chunks=len(end.position))
    said = header.number(b"conn_count"), header.number(b"chunk_count")
    if said != (len(end.connections), len(end.position)) or (not end.position and begin > end.gap[0]):
        raise CorruptLog("the bag's header and its index do not say the same of it", where=file.path)
    return end


def _check_gap(file: FileBytes, at: int, stop: int) -> None:
    """Refuse a chunk that lies where the index names none: its messages would be missing without a word."""
    while at < min(stop, file.size):
        head = file_head(file, at)
        if head is None:
            return
        if head.op == CHUNK_OP:
            raise CorruptLog(f"the chunk at byte {at} is in no index", where=file.path)
        at = head.body + head.size


def _records(file: FileBytes, at: int) -> Iterator[Head]:
    while at < file.size:
        head = file_head(file, at)
        if head is None or head.op not in (CONNECTION_OP, CHUNK_INFO_OP) or head.body + head.size > file.size:
            raise CorruptLog(f"what stands at byte {at} is no part of an index", where=file.path)
        yield head
        at = head.body + head.size


def _take_info(file: FileBytes, head: Head, end: _End) -> None:
    """Take in what the index says of a chunk."""
    _check_version(file, head, "chunk")
    said, count = head.number(b"count"), head.size // _COUNT.itemsize
    if count != said or head.size % _COUNT.itemsize:
        raise CorruptLog(f"a chunk of {said} connections has {count}", where=file.path)
    if count > _MOST_CONNECTIONS:
        raise CorruptLog(f"a chunk of {count} connections", where=file.path)
    counts = np.frombuffer(file.peek(head.body, head.size), _COUNT)
    end.counts.frombytes(counts[counts["count"] > 0].tobytes())
    end.first.append(len(end.counts))
    end.position.append(head.number(b"chunk_pos"))
    check_kept(file.path, messages=len(end.counts) // 2)  # each of them names a message


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
    file: FileBytes, at: int, chunk: StoredChunk, said: dict[int, int]
) -> tuple[npt.NDArray[np.void], npt.NDArray[np.uint32], int]:
    """Return what the records behind a chunk say of its messages, whose each is, and where they end.

    Args:
        file: The bag.
        at: Where these records begin.
        chunk: The chunk.
        said: How many messages of which connection the bag's end says that it has.
    """
    left, total, done = dict(said), sum(said.values()), 0
    if total > MOST_CHUNK_MESSAGES:
        raise _too_many(file.path, "messages in one chunk", MOST_CHUNK_MESSAGES)
    entries, owners = np.empty(total, ENTRY), np.empty(total, np.uint32)
    what = f"the index at the bag's end and that behind the chunk at byte {chunk.position} do not say the same"
    while (head := file_head(file, at)) is not None and head.op == INDEX_OP:
        _check_version(file, head, "message")
        if head.size != head.number(b"count") * ENTRY.itemsize or head.body + head.size > file.size:
            raise CorruptLog(f"the index record at byte {at} has not the length that it says", where=file.path)
        number, count = head.number(b"conn"), head.number(b"count")
        at = head.body + head.size
        if not count:
            continue
        if count > left.get(number, 0):
            raise CorruptLog(what, where=file.path)
        mine = slice(done, done + count)
        entries[mine], owners[mine] = np.frombuffer(file.peek(head.body, head.size), ENTRY), number
        left[number] -= count
        done += count
    if done != total:
        raise CorruptLog(what, where=file.path)
    return entries, owners, at

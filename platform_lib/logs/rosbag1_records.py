"""ROS 1 bags: where their chunks and messages are, and what a chunk holds: records, each a head of fields and a body.

Source: wiki.ros.org/Bags/Format/2.0.
"""

from __future__ import annotations

import bz2
import struct
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import lz4.frame
import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.mcap.chunks import MOST_CHUNK_BYTES
from platform_lib.logs.mdf4.source import FileBytes
from platform_lib.logs.payloads import Buffer

Index = npt.NDArray[np.int64]
Offsets = npt.NDArray[np.uint32]
_LENGTH = struct.Struct("<I")
_TIME = struct.Struct("<II")
_RECORD_BYTES = 40
_PIECE_BYTES = 4 << 20
_ROWS = 1 << 16
MOST_CHUNK_MESSAGES = 1 << 20  # 40 bytes each; a recorder's chunk of 768 KiB has at most 17 thousand
COMPRESSIONS = frozenset({"none", "bz2", "lz4"})
MAGIC = b"#ROSBAG V2.0\n"
MESSAGE_OP, BAG_HEADER_OP, INDEX_OP, CHUNK_OP, CHUNK_INFO_OP, CONNECTION_OP = range(2, 8)
_MOST_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Connection:
    """A topic's connection: its number, topic, message type (``package/msg/Name``) and definition."""

    id: int
    topic: str
    message_type: str
    definition: str


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk: where its record and its stored bytes begin, how it is compressed, how long it is when it is not."""

    position: int
    data_start: int
    stored_bytes: int
    compression: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What is where in a bag; the messages chunk by chunk, in each as they lie: 16 bytes a message.

    Attributes:
        connections: Its connections.
        chunks: Its chunks, in the file's order.
        first: (C + 1,) int64: which message is each chunk's first; the last is how many there are.
        offset: (N,) uint32: where in its chunk a message's record begins, or the connection record before it.
        connection: (N,) uint32.
        time_ns: (N,) int64.
    """

    connections: tuple[Connection, ...]
    chunks: tuple[StoredChunk, ...]
    first: Index
    offset: Offsets
    connection: Offsets
    time_ns: Index

    def in_time_order(self, topics: list[list[int]], without: list[int]) -> list[Offsets]:
        """Return the numbers of each topic's messages by time, those of some chunks left out.

        Args:
            topics: The connections of each.
            without: The chunks.
        """
        owner = self._owners(topics)
        for number in without:
            owner[self.first[number] : self.first[number + 1]] = len(topics)
        by_topic = np.argsort(owner, kind="stable").astype(np.uint32)
        ends = np.cumsum(np.bincount(owner, minlength=len(topics) + 1))
        del owner
        return [self._sorted(found) for found in np.split(by_topic, ends[:-1])[:-1]]

    def _owners(self, topics: list[list[int]]) -> Offsets:
        """Return (N,) which topic each message is of, ``len(topics)`` of none."""
        topic_of = {number: topic for topic, numbers in enumerate(topics) for number in numbers}
        known = np.array(sorted(topic_of), np.uint32)
        topic = np.array([topic_of[number] for number in sorted(topic_of)], np.uint32)
        owner = np.full(self.connection.size, len(topics), np.uint32)
        for first in range(0, owner.size if known.size else 0, _ROWS):
            some = self.connection[first : first + _ROWS]
            at = np.minimum(np.searchsorted(known, some), known.size - 1)
            owner[first : first + _ROWS] = np.where(known[at] == some, topic[at], len(topics))
        return owner

    def _sorted(self, rows: Offsets) -> Offsets:
        times = self.time_ns[rows]
        return rows[np.argsort(times, kind="stable")] if (times[1:] < times[:-1]).any() else rows


@dataclass(frozen=True, slots=True)
class Records:
    """A chunk's messages: where each record starts, its connection, time (ns), and where its payload is and ends."""

    data: Buffer
    start: Index
    connection: Index
    time_ns: Index
    body: Index
    size: Index

    @property
    def held_bytes(self) -> int:
        """How much memory it takes."""
        return memoryview(self.data).nbytes + _RECORD_BYTES * self.start.size


def decompressed(pieces: Iterable[Buffer], compression: str, size_bytes: int) -> Buffer:
    """Return a chunk's records; what would be longer than the chunk says is not even decompressed.

    Args:
        pieces: The stored bytes, of which each piece may be let go before the next is read.
        compression: One of `COMPRESSIONS`.
        size_bytes: How long the chunk says its records are.

    Raises:
        CorruptLog: They are not as long as the chunk says.
        UnsupportedLog: A chunk too large for bounded memory.
    """
    if size_bytes > MOST_CHUNK_BYTES:
        raise UnsupportedLog(
            f"a chunk of {size_bytes} bytes; at most {MOST_CHUNK_BYTES} are read at once",
            remedy="write the bag with smaller chunks: `rosbag record --chunksize`, or convert it",
        )
    wrong = f"a chunk has other than the {size_bytes} bytes that it says"
    whole, done = np.empty(size_bytes, np.uint8), 0
    try:
        for data in pieces if compression == "none" else _inflated(_DECOMPRESSORS[compression](), pieces):
            if done + len(data) > size_bytes:
                raise CorruptLog(wrong)
            whole[done : done + len(data)] = np.frombuffer(data, np.uint8)
            done += len(data)
    except (OSError, EOFError, RuntimeError) as error:
        raise CorruptLog(f"a chunk does not decompress ({error})") from error
    if done != size_bytes:
        raise CorruptLog(wrong)
    return whole.data


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "bz2": bz2.BZ2Decompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
}


def pieces_of(source: ByteSource, start: int, size_bytes: int) -> Iterator[bytes]:
    """Yield some of a file's bytes, a few MiB at a time."""
    for at in range(start, start + size_bytes, _PIECE_BYTES):
        yield source.read_at(at, min(_PIECE_BYTES, start + size_bytes - at))


def _inflated(reader: Any, pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """Yield what pieces decompress to, in pieces again.

    Raises:
        EOFError: The stream ends elsewhere than the pieces.
    """
    for piece in pieces:
        yield reader.decompress(piece, max_length=_PIECE_BYTES)
        while not (reader.eof or reader.needs_input):
            yield reader.decompress(b"", max_length=_PIECE_BYTES)
    if not reader.eof or reader.unused_data:
        raise EOFError("its stream ends elsewhere than the chunk")


def records_of(data: Buffer) -> Records:
    """Return a chunk's messages, found by walking its records.

    Raises:
        CorruptLog: A record passes the chunk's end, or is none that a chunk has.
        UnsupportedLog: More messages than bounded memory allows.
        LookupError: A field is missing.
    """
    rows = array("q")
    at = 0
    while at < len(data):
        head, body, size = record(data, at)
        fields = dict(fields_of(head))
        if fields.get(b"op") == bytes([MESSAGE_OP]):
            seconds, nanoseconds = _TIME.unpack(fields[b"time"])
            rows.extend((at, _LENGTH.unpack(fields[b"conn"])[0], seconds * 1_000_000_000 + nanoseconds, body, size))
            if len(rows) > 5 * MOST_CHUNK_MESSAGES:
                raise UnsupportedLog(
                    f"a chunk of more than {MOST_CHUNK_MESSAGES} messages: what is kept of each takes too much memory",
                    remedy="write the bag with smaller chunks: `rosbag record --chunksize`, or convert it",
                )
        elif fields.get(b"op") != bytes([CONNECTION_OP]):
            raise CorruptLog("a chunk holds a record that is neither message nor connection")
        at = body + size
    return Records(data, *np.frombuffer(rows, np.int64).reshape(-1, 5).T)


def record(data: Buffer, at: int) -> tuple[bytes, int, int]:
    """Return a record's head, where its body starts, and the body's length."""
    head_bytes = _LENGTH.unpack_from(data, at)[0]
    body = at + 8 + head_bytes
    if body > len(data):
        raise CorruptLog("a record passes its chunk's end")
    size = _LENGTH.unpack_from(data, body - 4)[0]
    if body + size > len(data):
        raise CorruptLog("a record passes its chunk's end")
    return bytes(data[at + 4 : at + 4 + head_bytes]), body, size


def fields_of(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield a head's fields.

    Raises:
        CorruptLog: They do not fit in it.
    """
    at = 0
    while at < len(head):
        size = _LENGTH.unpack_from(head, at)[0]
        if size == 0 or at + 4 + size > len(head):
            raise CorruptLog("a record's head is torn")
        name, _, value = head[at + 4 : at + 4 + size].partition(b"=")
        yield name, value
        at += 4 + size


def agrees(records: Records, offset: Offsets, connection: Offsets, time_ns: Index) -> bool:
    """Whether a chunk holds the (N,) messages that its index says, as they lie, and no others.

    The index points at a message's record, or at the connection record before it.
    """
    named = np.searchsorted(records.start, offset)
    return bool(
        np.array_equal(named, np.arange(records.start.size))
        and np.array_equal(records.connection, connection)
        and np.array_equal(records.time_ns, time_ns)
    )


@dataclass(frozen=True, slots=True)
class Head:
    """A record of the file: its fields, where its body begins, and how long that is."""

    fields: dict[bytes, bytes]
    body: int
    size: int

    @property
    def op(self) -> int:
        """What kind of record it is."""
        return self.fields.get(b"op", b"\0")[0]

    def number(self, name: bytes) -> int:
        """Return a field that is a whole number.

        Raises:
            LookupError: There is none.
        """
        return int.from_bytes(self.fields[name], "little")


def file_head(file: FileBytes, at: int) -> Head | None:
    """Return the head of the record at `at`; ``None`` where the file ends inside it.

    Raises:
        CorruptLog: There is none.
    """
    left = file.size - at
    if left < _LENGTH.size:
        return None
    size = _LENGTH.unpack(file.peek(at, _LENGTH.size))[0]
    if not 0 < size <= _MOST_HEAD_BYTES:
        raise CorruptLog(f"a head of {size} bytes")
    if left < size + 2 * _LENGTH.size:
        return None
    data = file.peek(at + _LENGTH.size, size + _LENGTH.size)
    fields = dict(fields_of(data[:size]))
    return Head(fields, at + size + 2 * _LENGTH.size, _LENGTH.unpack_from(data, size)[0])

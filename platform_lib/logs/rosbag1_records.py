"""ROS 1 bags: where their chunks and messages are, and what a chunk holds: records, each a head of fields and a body.

Source: wiki.ros.org/Bags/Format/2.0.
"""

from __future__ import annotations

import bz2
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import lz4.frame
import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.mcap.chunks import MOST_CHUNK_BYTES
from platform_lib.logs.mdf4.source import FileBytes

Index = npt.NDArray[np.int64]
_LENGTH = struct.Struct("<I")
_PLACE_BITS = 33  # a chunk's number above, an offset in it below: chunks are shorter than 4 GiB
PLACE_MASK = (1 << _PLACE_BITS) - 1
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
    """A chunk: where its record and its stored bytes begin, how it is compressed, messages of each connection."""

    position: int
    data_start: int
    stored_bytes: int
    compression: str
    size_bytes: int
    counts: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Layout:
    """What is where in a bag.

    Attributes:
        connections: Its connections.
        chunks: Its chunks.
        messages: (N, 3) uint64: each message's place (`place`), connection and time in ns.
    """

    connections: tuple[Connection, ...]
    chunks: tuple[StoredChunk, ...]
    messages: npt.NDArray[np.uint64]


def place(chunk: int, offset: int) -> int:
    """Return one number for a message's chunk and its offset there; the numbers ascend as the messages lie."""
    return chunk << _PLACE_BITS | offset


def chunk_of(places: Index) -> Index:
    """Return the chunks' numbers of places."""
    return places >> _PLACE_BITS


@dataclass(frozen=True, slots=True)
class Records:
    """A chunk's messages: where each record starts, its connection, time (ns), and where its payload is and ends."""

    data: bytes
    start: Index
    connection: Index
    time_ns: Index
    body: Index
    size: Index


def decompressed(stored: bytes, compression: str, size_bytes: int) -> bytes:
    """Return a chunk's records; what would be longer than the chunk says is not even decompressed.

    Raises:
        CorruptLog: They are not as long as the chunk says.
        UnsupportedLog: A chunk too large for bounded memory.
    """
    if size_bytes > MOST_CHUNK_BYTES:
        raise UnsupportedLog(
            f"a chunk of {size_bytes} bytes; at most {MOST_CHUNK_BYTES} are read at once",
            remedy="write the bag with smaller chunks: `rosbag record --chunksize`, or convert it",
        )
    data, whole = stored, True
    if compression != "none":
        reader = bz2.BZ2Decompressor() if compression == "bz2" else lz4.frame.LZ4FrameDecompressor()
        try:
            data = reader.decompress(stored, max_length=size_bytes + 1)
        except OSError as error:
            raise CorruptLog(f"a chunk does not decompress ({error})") from error
        whole = reader.eof
    if len(data) != size_bytes or not whole:
        raise CorruptLog(f"a chunk has other than the {size_bytes} bytes that it says")
    return data


def records_of(data: bytes) -> Records:
    """Return a chunk's messages.

    Raises:
        CorruptLog: A record passes the chunk's end, or is none that a chunk has.
        LookupError: A field is missing.
    """
    rows: list[tuple[int, int, int, int, int]] = []
    at = 0
    while at < len(data):
        head, body, size = record(data, at)
        fields = dict(fields_of(head))
        if fields.get(b"op") == bytes([MESSAGE_OP]):
            seconds, nanoseconds = struct.unpack("<II", fields[b"time"])
            time_ns = seconds * 1_000_000_000 + nanoseconds
            rows.append((at, _LENGTH.unpack(fields[b"conn"])[0], time_ns, body, size))
        elif fields.get(b"op") != bytes([CONNECTION_OP]):
            raise CorruptLog("a chunk holds a record that is neither message nor connection")
        at = body + size
    table = np.array(rows, np.int64).reshape(-1, 5)
    return Records(data, *table.T)


def record(data: bytes, at: int) -> tuple[bytes, int, int]:
    """Return a record's head, where its body starts, and the body's length."""
    head_bytes = _LENGTH.unpack_from(data, at)[0]
    body = at + 8 + head_bytes
    if body > len(data):
        raise CorruptLog("a record passes its chunk's end")
    size = _LENGTH.unpack_from(data, body - 4)[0]
    if body + size > len(data):
        raise CorruptLog("a record passes its chunk's end")
    return data[at + 4 : at + 4 + head_bytes], body, size


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


def found(records: Records, places: Index) -> Index:
    """Return which records an index names: it points at a message, or at the connection record before it.

    Raises:
        CorruptLog: It points past the last one.
    """
    rows: Index = np.searchsorted(records.start, places & PLACE_MASK)
    if rows.size and int(rows.max()) >= records.start.size:
        raise CorruptLog("the index names a message past its chunk's end")
    return rows


def agrees(records: Records, places: Index, connection: Index, time_ns: npt.NDArray[np.uint64]) -> bool:
    """Whether a chunk holds the (N,) messages that its index says, and no others.

    Raises:
        CorruptLog: The index points past the last one.
    """
    named = found(records, places)
    return bool(
        np.unique(named).size == records.start.size == places.size
        and np.array_equal(records.connection[named], connection)
        and np.array_equal(records.time_ns[named].astype(np.uint64), time_ns)
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


def check_index(file: FileBytes) -> None:
    """Hold what a bag says it has against the index at its end, so that none of it is passed over.

    Raises:
        CorruptLog: They differ, or the index ends elsewhere than the file.
        LookupError: A field is missing.
    """
    first = file_head(file, len(MAGIC))
    if first is None or first.op != BAG_HEADER_OP:
        raise CorruptLog("the ROS 1 bag's header is no header", where=file.path)
    at = first.number(b"index_pos")
    if at == 0:
        raise CorruptLog("the bag was never closed: it has no index", where=file.path)
    met = {CONNECTION_OP: 0, CHUNK_INFO_OP: 0}
    while at < file.size:
        head = file_head(file, at)
        if head is None or head.op not in met or head.body + head.size > file.size:
            raise CorruptLog(f"what stands at byte {at} is no part of an index", where=file.path)
        met[head.op] += 1
        at = head.body + head.size
    said = {CONNECTION_OP: first.number(b"conn_count"), CHUNK_INFO_OP: first.number(b"chunk_count")}
    if met != said or (not met[CHUNK_INFO_OP] and first.number(b"index_pos") > first.body + first.size):
        raise CorruptLog("the bag's header and its index do not say the same of it", where=file.path)

"""ROS 1 bags (format 2.0): the index through rosbags; a chunk counts once its records are what the index says.

The format has no checksum; bz2 chunks carry their own. Of a file every chunk is proven at open, of an object in a store
when it is read, so that one topic costs its own chunks. An unindexed bag (the recorder died) is refused.
"""

from __future__ import annotations

import bz2
import io
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import lz4.frame
import numpy as np
import numpy.typing as npt
from rosbags.rosbag1 import Reader
from rosbags.rosbag1.reader import Chunk, Header

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource, SourceFile
from platform_lib.logs.extents import IndexedRows, TopicIndex
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.mcap.chunks import MOST_CHUNK_BYTES
from platform_lib.logs.mcap.fetching import fetched
from platform_lib.logs.messages import Loaded, Topic, TopicSource, checked_times
from platform_lib.logs.model import Report
from platform_lib.logs.payloads import Payloads

Index = npt.NDArray[np.int64]
_LENGTH = struct.Struct("<I")
_MESSAGE_OP, _CONNECTION_OP = 0x02, 0x07
_PLACE_BITS = 33  # a chunk's number above, an offset in it below: chunks are shorter than 4 GiB
_PLACE_MASK = (1 << _PLACE_BITS) - 1
_CACHE_BYTES = 256 << 20
_HEAD_BYTES = 32 << 10  # what one request for an index brings; the next chunk's head lies right behind it


def open_bag1(source: ByteSource, *, recover: bool) -> TopicSource:
    """Open a ROS 1 bag; see `platform_lib.logs.open_log`. It takes the source over, and closes it."""
    report = Report(format="rosbag1")
    report.unverified.append("ROS 1 bags have no checksum: flipped bits in payloads cannot be noticed")
    try:
        with translated(source.name, "opening the ROS 1 bag"):
            reader = _Reader(_Named(source))
            reader.open()
            try:
                store = _Chunks(source, reader)
                lost = _prove(store, report, recover=recover)
                topics, indexes = _topics(source.name, reader, store, lost)
            finally:
                reader.close()
            return TopicSource(source.name, Loaded(topics, IndexedRows(indexes, store), {}), report)
    except BaseException:
        source.close()
        raise


class _Named:
    """What rosbags wants of a path."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source

    def exists(self) -> bool:
        return True

    def open(self, mode: str) -> io.BufferedReader:
        del mode
        return io.BufferedReader(SourceFile(self._source), _HEAD_BYTES)


class _Reader(Reader):  # type: ignore[misc]  # rosbags has no types
    """Also keeps how each chunk is compressed and how long it is when it is not, by its position."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.stored_as: dict[int, tuple[str, int]] = {}

    def read_chunk(self) -> Chunk:
        file = cast("BinaryIO", self.bio)
        position = file.tell()
        header = Header.read(file)
        self.stored_as[position] = (header.get_string("compression"), header.get_uint32("size"))
        file.seek(position)
        return super().read_chunk()


@dataclass(frozen=True, slots=True)
class _Records:
    """A chunk's messages: where each record starts, its connection, time (ns), and where its payload is and ends."""

    data: bytes
    start: Index
    connection: Index
    time_ns: Index
    body: Index
    size: Index


class _Chunks:
    """Fetches payloads; keeps opened chunks up to a byte budget, least recently used out first.

    Attributes:
        place: (N,) of every message that the index knows: its chunk's number and its offset there, ascending.
        connection: (N,) its connection.
        time_ns: (N,) its time.
    """

    def __init__(self, source: ByteSource, reader: _Reader) -> None:
        self.source = source
        self.infos = list(reader.chunk_infos)
        self._chunks = [reader.chunks[info.pos] for info in self.infos]
        self._stored_as = [reader.stored_as[info.pos] for info in self.infos]
        numbers = {info.pos: number for number, info in enumerate(self.infos)}
        rows = [
            (numbers[entry.chunk_pos] << _PLACE_BITS | entry.offset, connection, entry.time)
            for connection, entries in reader.indexes.items()
            for entry in entries
        ]
        table = np.array(rows, np.uint64).reshape(-1, 3)
        table = table[np.argsort(table[:, 0], kind="stable")]
        self.place, self.connection = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
        self.time_ns = table[:, 2]
        self._cache: OrderedDict[int, _Records] = OrderedDict()
        self._cached_bytes = 0

    @property
    def room_bytes(self) -> Index:
        """(N,) how many bytes there are from a message to the next one or the end of its chunk: at least its own."""
        number, offset = self.place >> _PLACE_BITS, self.place & _PLACE_MASK
        end: Index = np.array([size for _, size in self._stored_as], np.int64)[number]
        same = np.flatnonzero(number[1:] == number[:-1])
        end[same] = offset[same + 1]
        return np.maximum(end - offset, 0)

    def stored_bytes(self, number: int) -> int:
        """Return how many bytes of the file a chunk takes."""
        return int(self._chunks[number].datasize)

    def opened(self, numbers: list[int]) -> Iterator[_Records]:
        """Yield chunks, opened and proven.

        Raises:
            CorruptLog: A chunk does not hold the messages that the index says.
        """
        held = {number: self._cache[number] for number in numbers if number in self._cache}
        chunks = [self._chunks[number] for number in numbers if number not in held]
        ranges = [(chunk.datapos, chunk.datasize) for chunk in chunks]
        stored = fetched(self.source, ranges) if self.source.remote else (self.source.read_at(*item) for item in ranges)
        for number in numbers:
            records = held.get(number)
            if records is None:
                records = self._proven(number, bytes(next(stored)))
            self._keep(number, records)
            yield records

    def _keep(self, number: int, records: _Records) -> None:
        if number not in self._cache:
            self._cache[number] = records
            self._cached_bytes += len(records.data)
        self._cache.move_to_end(number)
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= len(dropped.data)

    def _proven(self, number: int, stored: bytes) -> _Records:
        position = self.infos[number].pos
        with translated(self.source.name, f"reading the chunk at byte {position}"):
            records = _records(_decompressed(stored, *self._stored_as[number]))
            mine = self.of_chunk(number)
            places = np.unique(_found(records, self.place[mine]))
            counts = {conn: count for conn, count in self.infos[number].connection_counts.items() if count}
            met, times = np.unique(records.connection, return_counts=True)
            found = dict(zip(met.tolist(), times.tolist(), strict=True))
            if (
                found != counts
                or places.size != records.start.size
                or not np.array_equal(records.connection[places], self.connection[mine])
                or not np.array_equal(records.time_ns[places].astype(np.uint64), self.time_ns[mine])
            ):
                what = f"the chunk at byte {position} does not hold the messages that its index says"
                raise CorruptLog(what, where=self.source.name, remedy=REMEDY)
        return records

    def of_chunk(self, number: int) -> slice:
        """Return which messages lie in a chunk."""
        first, stop = np.searchsorted(self.place, [number << _PLACE_BITS, (number + 1) << _PLACE_BITS])
        return slice(int(first), int(stop))

    def fetch(self, places: Index, size_bytes: Index) -> Payloads:
        """Return the payloads at `places`; how long they are, the chunks say."""
        del size_bytes
        numbers, buffer = np.unique(places >> _PLACE_BITS, return_inverse=True)
        start, length = np.empty(places.size, np.int64), np.empty(places.size, np.int64)
        buffers = []
        for order, records in enumerate(self.opened(numbers.tolist())):
            mine = buffer == order
            rows = _found(records, places[mine])
            start[mine], length[mine] = records.body[rows], records.size[rows]
            buffers.append(records.data)
        return Payloads(buffers, buffer.astype(np.int32), start, length)

    def close(self) -> None:
        """Release the file."""
        self._cache.clear()
        self.source.close()


def _decompressed(stored: bytes, compression: str, size_bytes: int) -> bytes:
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


def _found(records: _Records, places: Index) -> Index:
    """Return which records an index names: it points at a message, or at the connection record before it."""
    rows: Index = np.searchsorted(records.start, places & _PLACE_MASK)
    if rows.size and int(rows.max()) >= records.start.size:
        raise CorruptLog("the index names a message past its chunk's end")
    return rows


def _prove(store: _Chunks, report: Report, *, recover: bool) -> list[int]:
    """Open every chunk of a file; return, with `recover`, the damaged ones."""
    if store.source.remote:
        report.unverified.append("chunks of an object are held against the index when they are read, not before")
        return []
    lost = []
    for number in range(len(store.infos)):
        try:
            next(store.opened([number]))
        except CorruptLog as error:
            if not recover:
                raise
            lost.append(number)
            report.lose(store.stored_bytes(number), error.what)
    return lost


def _records(data: bytes) -> _Records:
    rows: list[tuple[int, int, int, int, int]] = []
    at = 0
    while at < len(data):
        head, body, size = _record(data, at)
        fields = dict(_fields(head))
        if fields.get(b"op") == bytes([_MESSAGE_OP]):
            seconds, nanoseconds = struct.unpack("<II", fields[b"time"])
            time_ns = seconds * 1_000_000_000 + nanoseconds
            rows.append((at, _LENGTH.unpack(fields[b"conn"])[0], time_ns, body, size))
        elif fields.get(b"op") != bytes([_CONNECTION_OP]):
            raise CorruptLog("a chunk holds a record that is neither message nor connection")
        at = body + size
    table = np.array(rows, np.int64).reshape(-1, 5)
    return _Records(data, *table.T)


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


def _topics(path: str, reader: _Reader, store: _Chunks, lost: list[int]) -> tuple[list[Topic], list[TopicIndex]]:
    groups: dict[tuple[str, str, str], list[int]] = {}
    for item in reader.connections:
        groups.setdefault((item.topic, item.msgtype, item.msgdef.data), []).append(item.id)
    whole = ~np.isin(store.place >> _PLACE_BITS, lost)
    room = store.room_bytes  # near enough to its size to cut batches by
    topics, indexes = [], []
    for (name, kind, text), connections in groups.items():
        mine = np.flatnonzero(whole & np.isin(store.connection, connections))
        log = checked_times(path, name, store.time_ns[mine])
        order = np.argsort(log, kind="stable")
        index = TopicIndex(log[order], None, room[mine][order], store.place[mine][order])
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

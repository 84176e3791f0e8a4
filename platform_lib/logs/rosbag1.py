"""ROS 1 bags (format 2.0): the index through rosbags; a chunk counts once its records are what the index says.

The format has no checksum; bz2 chunks carry their own. Of a file every chunk is proven at open, of an object in a store
when it is read, so that one topic costs its own chunks. An unindexed bag (the recorder died) is damaged: with recovery
its chunks are walked, see `platform_lib.logs.rosbag1_scan`.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from rosbags.rosbag1 import Reader
from rosbags.rosbag1.reader import Chunk, Header

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource, SourceFile
from platform_lib.logs.extents import IndexedRows, TopicIndex
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.mcap.fetching import fetched
from platform_lib.logs.mdf4.source import FileBytes
from platform_lib.logs.messages import Loaded, Topic, TopicSource, checked_times
from platform_lib.logs.model import Report
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.rosbag1_records import (
    MAGIC,
    PLACE_MASK,
    Connection,
    Layout,
    Records,
    StoredChunk,
    agrees,
    check_index,
    chunk_of,
    decompressed,
    found,
    place,
    records_of,
)
from platform_lib.logs.rosbag1_scan import scan

Index = npt.NDArray[np.int64]
_CACHE_BYTES = 256 << 20
_HEAD_BYTES = 32 << 10  # what one request for an index brings; the next chunk's head lies right behind it


def open_bag1(source: ByteSource, *, recover: bool) -> TopicSource:
    """Open a ROS 1 bag; see `platform_lib.logs.open_log`. It takes the source over, and closes it."""
    report = Report(format="rosbag1")
    report.unverified.append("ROS 1 bags have no checksum: flipped bits in payloads cannot be noticed")
    try:
        _check_version(source)
        with translated(source.name, "opening the ROS 1 bag"):
            layout = _layout(source, report, recover=recover)
            store = _Chunks(source, layout)
            lost = _prove(store, report, recover=recover)
            topics, indexes = _topics(source.name, layout.connections, store, lost)
            return TopicSource(source.name, Loaded(topics, IndexedRows(indexes, store), {}), report)
    except BaseException:
        source.close()
        raise


def _check_version(source: ByteSource) -> None:
    line = bytes(source.read_at(0, min(source.size_bytes, len(MAGIC))))
    if line != MAGIC[: len(line)]:
        what = f"a ROS 1 bag of another version than 2.0: it starts with {line[:13]!r}"
        raise UnsupportedLog(
            what, where=source.name, remedy="`rosbag migrate` and `rosbag reindex` make it one of version 2.0"
        )


def _layout(source: ByteSource, report: Report, *, recover: bool) -> Layout:
    """Return what is where: as the index says, or with `recover` as a walk finds where there is no sound one."""
    try:
        with translated(source.name, "opening the ROS 1 bag"):
            check_index(FileBytes(source))
            return _indexed(source)
    except CorruptLog:
        if not recover:
            raise
    return scan(source, report)


def _indexed(source: ByteSource) -> Layout:
    reader = _Reader(_Named(source))
    reader.open()
    try:
        numbers = {info.pos: number for number, info in enumerate(reader.chunk_infos)}
        chunks = []
        for info in reader.chunk_infos:
            chunk, (compression, size_bytes) = reader.chunks[info.pos], reader.stored_as[info.pos]
            counts = {conn: count for conn, count in info.connection_counts.items() if count}
            chunks.append(StoredChunk(info.pos, chunk.datapos, chunk.datasize, compression, size_bytes, counts))
        rows = [
            (place(numbers[entry.chunk_pos], entry.offset), connection, entry.time)
            for connection, entries in reader.indexes.items()
            for entry in entries
        ]
        connections = [Connection(item.id, item.topic, item.msgtype, item.msgdef.data) for item in reader.connections]
        return Layout(tuple(connections), tuple(chunks), np.array(rows, np.uint64).reshape(-1, 3))
    finally:
        reader.close()


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


class _Chunks:
    """Fetches payloads; keeps opened chunks up to a byte budget, least recently used out first.

    Attributes:
        place: (N,) of every message that the index knows: its chunk's number and its offset there, ascending.
        connection: (N,) its connection.
        time_ns: (N,) its time.
    """

    def __init__(self, source: ByteSource, layout: Layout) -> None:
        self.source = source
        self.chunks = layout.chunks
        table = layout.messages
        table = table[np.argsort(table[:, 0], kind="stable")]
        self.place, self.connection = table[:, 0].astype(np.int64), table[:, 1].astype(np.int64)
        self.time_ns = table[:, 2]
        self._cache: OrderedDict[int, Records] = OrderedDict()
        self._cached_bytes = 0

    @property
    def room_bytes(self) -> Index:
        """(N,) how many bytes there are from a message to the next one or the end of its chunk: at least its own."""
        number, offset = chunk_of(self.place), self.place & PLACE_MASK
        end: Index = np.array([chunk.size_bytes for chunk in self.chunks], np.int64)[number]
        same = np.flatnonzero(number[1:] == number[:-1])
        end[same] = offset[same + 1]
        return np.maximum(end - offset, 0)

    def stored_bytes(self, number: int) -> int:
        """Return how many bytes of the file a chunk takes."""
        return self.chunks[number].stored_bytes

    def opened(self, numbers: list[int]) -> Iterator[Records]:
        """Yield chunks, opened and proven.

        Raises:
            CorruptLog: A chunk does not hold the messages that the index says.
        """
        held = {number: self._cache[number] for number in numbers if number in self._cache}
        chunks = [self.chunks[number] for number in numbers if number not in held]
        ranges = [(chunk.data_start, chunk.stored_bytes) for chunk in chunks]
        stored = fetched(self.source, ranges) if self.source.remote else (self.source.read_at(*item) for item in ranges)
        for number in numbers:
            records = held.get(number)
            if records is None:
                records = self._proven(number, bytes(next(stored)))
            self._keep(number, records)
            yield records

    def _keep(self, number: int, records: Records) -> None:
        if number not in self._cache:
            self._cache[number] = records
            self._cached_bytes += len(records.data)
        self._cache.move_to_end(number)
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= len(dropped.data)

    def _proven(self, number: int, stored: bytes) -> Records:
        chunk = self.chunks[number]
        with translated(self.source.name, f"reading the chunk at byte {chunk.position}"):
            records = records_of(decompressed(stored, chunk.compression, chunk.size_bytes))
            mine = self.of_chunk(number)
            met, times = np.unique(records.connection, return_counts=True)
            counts = dict(zip(met.tolist(), times.tolist(), strict=True))
            if counts != chunk.counts or not agrees(
                records, self.place[mine], self.connection[mine], self.time_ns[mine]
            ):
                what = f"the chunk at byte {chunk.position} does not hold the messages that its index says"
                raise CorruptLog(what, where=self.source.name, remedy=REMEDY)
        return records

    def of_chunk(self, number: int) -> slice:
        """Return which messages lie in a chunk."""
        first, stop = np.searchsorted(self.place, [place(number, 0), place(number + 1, 0)])
        return slice(int(first), int(stop))

    def fetch(self, places: Index, size_bytes: Index) -> Payloads:
        """Return the payloads at `places`; how long they are, the chunks say."""
        del size_bytes
        numbers, buffer = np.unique(chunk_of(places), return_inverse=True)
        start, length = np.empty(places.size, np.int64), np.empty(places.size, np.int64)
        buffers = []
        for order, records in enumerate(self.opened(numbers.tolist())):
            mine = buffer == order
            rows = found(records, places[mine])
            start[mine], length[mine] = records.body[rows], records.size[rows]
            buffers.append(records.data)
        return Payloads(buffers, buffer.astype(np.int32), start, length)

    def close(self) -> None:
        """Release the file."""
        self._cache.clear()
        self.source.close()


def _prove(store: _Chunks, report: Report, *, recover: bool) -> list[int]:
    """Open every chunk of a file; return, with `recover`, the damaged ones."""
    if store.source.remote:
        report.unverified.append("chunks of an object are held against the index when they are read, not before")
        return []
    lost = []
    for number in range(len(store.chunks)):
        try:
            next(store.opened([number]))
        except CorruptLog as error:
            if not recover:
                raise
            lost.append(number)
            report.lose(store.stored_bytes(number), error.what)
    return lost


def _topics(
    path: str, connections: Sequence[Connection], store: _Chunks, lost: list[int]
) -> tuple[list[Topic], list[TopicIndex]]:
    groups: dict[tuple[str, str, str], list[int]] = {}
    for item in connections:
        groups.setdefault((item.topic, item.message_type, item.definition), []).append(item.id)
    whole = ~np.isin(chunk_of(store.place), lost)
    room = store.room_bytes  # near enough to its size to cut batches by
    topics, indexes = [], []
    for (name, kind, text), numbers in groups.items():
        mine = np.flatnonzero(whole & np.isin(store.connection, numbers))
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

"""The rows of a ROS 1 bag: in time order by the index, out of chunks that are held against it when they are opened."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.mcap.chunks import MOST_CHUNK_BYTES
from platform_lib.logs.mcap.fetching import fetched
from platform_lib.logs.model import BATCH_BYTES, BATCH_ROWS, Window
from platform_lib.logs.payloads import Buffer, Payloads, Rows
from platform_lib.logs.rosbag1_heads import records_at
from platform_lib.logs.rosbag1_records import Index, Layout, Offsets, Records, agrees, decompressed, pieces_of

_CACHE_BYTES = 64 << 20
_AT_ONCE_BYTES = 8 << 20  # a chunk that is stored in more is fetched in parts, which are let go one after the other
_PART_BYTES = 4 << 20
_MOST_HELD_BYTES = 448 << 20
_INDEX_BYTES = 20  # a message
_CHUNK_BYTES = 256  # what is kept of a chunk


class Chunks:
    """Opens a bag's chunks, in any thread; keeps opened ones up to a byte budget, those opened first out first."""

    def __init__(self, source: ByteSource, layout: Layout) -> None:
        self.source = source
        self.layout = layout
        self._cache: OrderedDict[int, Records] = OrderedDict()
        # Larger ones are never opened.
        sizes = (chunk.size_bytes for chunk in layout.chunks if chunk.size_bytes <= MOST_CHUNK_BYTES)
        largest = max(sizes, default=0)
        kept_bytes = _INDEX_BYTES * layout.offset.size + _CHUNK_BYTES * len(layout.chunks)
        if kept_bytes + 2 * largest > _MOST_HELD_BYTES:
            counts = f"{layout.offset.size} messages in {len(layout.chunks)} chunks"
            what = f"{counts}, the largest of {largest} bytes: more than bounded memory holds"
            remedy = "convert the bag to MCAP, or split it (`rosbag record --split`, `rosbag filter`)"
            raise UnsupportedLog(what, where=source.name, remedy=remedy)
        self._cached_bytes = 0
        self._lock = threading.Lock()

    def prove(self, number: int) -> None:
        """Open a chunk.

        Raises:
            CorruptLog: It does not hold the messages that the index says.
        """
        next(self.opened([number]))

    def opened(self, numbers: list[int]) -> Iterator[Records]:
        """Yield chunks, opened and proven; message k of a chunk is its record k.

        Raises:
            CorruptLog: A chunk does not hold the messages that the index says.
        """
        with self._lock:
            held = {number: self._cache[number] for number in numbers if number in self._cache}
        missing = [self.layout.chunks[number] for number in numbers if number not in held]
        ranges = [(chunk.data_start, chunk.stored_bytes) for chunk in missing]
        stored = self._stored(ranges)
        for number in numbers:
            records = held.pop(number, None)
            if records is None:
                records = self._proven(number, next(stored))
            yield records
            del records

    def _stored(self, ranges: list[tuple[int, int]]) -> Iterator[Iterable[Buffer]]:
        if not self.source.remote:
            return (pieces_of(self.source, *place) for place in ranges)
        if max((size for _, size in ranges), default=0) > _AT_ONCE_BYTES:
            return (self._parts(*place) for place in ranges)
        return ([data] for data in fetched(self.source, ranges))

    def _parts(self, start: int, size_bytes: int) -> Iterator[Buffer]:
        stop = start + size_bytes
        return fetched(self.source, ((at, min(_PART_BYTES, stop - at)) for at in range(start, stop, _PART_BYTES)))

    def _proven(self, number: int, stored: Iterable[Buffer]) -> Records:
        chunk, layout = self.layout.chunks[number], self.layout
        with self._lock:
            self._make_room(chunk.size_bytes)
        with translated(self.source.name, f"reading the chunk at byte {chunk.position}"):
            mine = slice(int(layout.first[number]), int(layout.first[number + 1]))
            records = records_at(decompressed(stored, chunk.compression, chunk.size_bytes), layout.offset[mine])
            if not agrees(records, layout.offset[mine], layout.connection[mine], layout.time_ns[mine]):
                what = f"the chunk at byte {chunk.position} does not hold the messages that its index says"
                raise CorruptLog(what, where=self.source.name, remedy=REMEDY)
        with self._lock:
            if number not in self._cache:  # another thread may have opened it meanwhile
                self._cache[number] = records
                self._cached_bytes += records.held_bytes
        return records

    def _make_room(self, size_bytes: int) -> None:
        while self._cache and self._cached_bytes + size_bytes > _CACHE_BYTES:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= dropped.held_bytes

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._cache.clear()
            self._cached_bytes = 0
        self.source.close()


class Rows1:
    """The rows of a ROS 1 bag."""

    def __init__(self, layout: Layout, orders: list[Offsets], chunks: Chunks) -> None:
        """`orders`: of each topic, its messages' numbers in time order."""
        self._layout = layout
        self._orders = orders
        self._chunks = chunks
        self._size_bytes = np.array([chunk.size_bytes for chunk in layout.chunks], np.int64)

    def rows(self, topics: Sequence[int], window: Window) -> Iterator[tuple[int, Rows]]:
        """Yield the rows of the given topics, one topic after the other."""
        times = self._layout.time_ns
        for topic in topics:
            order = self._orders[topic]

            def rank(time_ns: int, order: Offsets = order) -> int:
                return bisect_left(order, time_ns, key=lambda row: int(times[row]))

            first = 0 if window.start_ns is None else rank(window.start_ns)
            stop = order.size if window.stop_ns is None else rank(window.stop_ns)
            while first < stop:
                some = order[first : min(stop, first + BATCH_ROWS)].astype(np.int64)
                ends = np.cumsum(self._room_bytes(some))
                some = some[: max(1, int(np.searchsorted(ends, BATCH_BYTES, "right")))]
                yield topic, Rows(times[some], None, self._payloads(some))
                first += some.size

    def _room_bytes(self, rows: Index) -> Index:
        """Return how many bytes there are from each message to the next or its chunk's end: at least its own."""
        chunk = self._chunk_of(rows)
        sizes = self._size_bytes[chunk]
        last = rows + 1 == self._layout.first[chunk + 1]
        following = self._layout.offset[np.minimum(rows + 1, self._layout.offset.size - 1)]
        return np.where(last, sizes, following.astype(np.int64)) - self._layout.offset[rows].astype(np.int64)

    def _chunk_of(self, rows: Index) -> Index:
        found: Index = np.searchsorted(self._layout.first, rows, "right") - 1
        return found

    def _payloads(self, rows: Index) -> Payloads:
        numbers, buffer = np.unique(self._chunk_of(rows), return_inverse=True)
        start, length = np.empty(rows.size, np.int64), np.empty(rows.size, np.int64)
        by_chunk = np.argsort(buffer, kind="stable")
        ends = np.searchsorted(buffer[by_chunk], np.arange(numbers.size), "right")
        buffers: list[Buffer] = []
        opened = self._chunks.opened(numbers.tolist())
        for order in range(numbers.size):
            records = next(opened)
            mine = by_chunk[ends[order - 1] if order else 0 : ends[order]]
            message = rows[mine] - self._layout.first[numbers[order]]
            start[mine], length[mine] = records.body[message], records.size[message]
            few = 2 * int(length[mine].sum()) < memoryview(records.data).nbytes  # they need not hold a whole chunk
            data, start[mine] = _copied(records.data, start[mine], length[mine]) if few else (records.data, start[mine])
            buffers.append(data)
            del records, data  # before the next chunk is opened; enumerate() would hold them until then
        return Payloads(buffers, buffer.astype(np.int32), start, length)

    def close(self) -> None:
        """Release the file."""
        self._chunks.close()


def _copied(data: Buffer, start: Index, length: Index) -> tuple[Buffer, Index]:
    return Payloads([data], np.zeros(start.size, np.int32), start, length).packed()

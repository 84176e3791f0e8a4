"""An MCAP file's rows in time order, in bounded memory, each chunk opened once.

Chunks are taken in the order of their earliest message, some MiB together (a slab). What is earlier than every chunk
still to come is sorted and given out, the rest waits for the next slab. Where so many chunks overlap in time that too
much would have to wait, the times of all messages are gathered first, and payloads fetched in their order.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

import numpy as np

from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.extents import TopicIndex
from platform_lib.logs.mcap.chunks import PAYLOAD_AT, Records
from platform_lib.logs.mcap.extent_reader import ExtentCache, ExtentReader, prove_messages
from platform_lib.logs.mcap.fetching import fetched
from platform_lib.logs.mcap.layout import Extent, Layout
from platform_lib.logs.mcap.table import Slab, Table, Topics, topic_lookup
from platform_lib.logs.model import BATCH_ROWS, Report, Window
from platform_lib.logs.payloads import Index, Payloads, Rows

SLAB_BYTES = 32 << 20
SLAB_EXTENTS = 2048  # of tiny chunks: each costs some 3 KB while it is in a slab
MOST_WAITING_BYTES = 96 << 20
CACHE_BYTES = 48 << 20
_UNCHECKED = "some of the chunks that were read have no checksum"
_FULL_BATCH_ROWS = 8192
_FULL_BATCH_BYTES = 4 << 20
# A topic with less than this share of its slab is copied out of it, so that holding its batches does not hold the slab.
_COPIED_SHARE = 1 / 64
_COPIED_SHARE_ALONE = 1 / 4


class McapRows:
    """The `RowStore` of one file."""

    def __init__(self, source: ByteSource, layout: Layout, channels: list[tuple[int, ...]], report: Report) -> None:
        """`channels`: for each topic, its channels' numbers."""
        self._source = source
        self._extents = layout.extents
        self._channels = channels
        self._report = report
        self._reader = ExtentReader(source, layout.definitions)
        whole = sum(extent.size_bytes for extent in layout.extents)
        self._cache = ExtentCache(self._reader, CACHE_BYTES) if whole <= CACHE_BYTES and not source.remote else None

    def rows(self, topics: Sequence[int], window: Window) -> Iterator[tuple[int, Rows]]:
        """Yield the rows of the given topics, each topic's in time order."""
        lookup = self._lookup(topics)
        wanted = {channel for topic in topics for channel in self._channels[topic]}
        chosen = [
            rank
            for rank, extent in enumerate(self._extents)
            if not wanted.isdisjoint(extent.channels) and _overlaps(extent, window)
        ]
        chosen.sort(key=lambda rank: (self._extents[rank].start_ns, rank))
        if waiting_bytes([self._extents[rank] for rank in chosen]) > MOST_WAITING_BYTES:
            return self._gathered(topics, chosen, lookup, window)
        return self._streamed(chosen, lookup, window)

    def _lookup(self, topics: Sequence[int]) -> Topics:
        return topic_lookup(self._reader.definitions.channels, {topic: self._channels[topic] for topic in topics})

    # -- the usual way: one pass ---------------------------------------------------------------------------------

    def _streamed(self, chosen: list[int], lookup: Topics, window: Window) -> Iterator[tuple[int, Rows]]:
        batches = _Batches()
        waiting: Table | None = None
        for ranks, slab in self._slabs(chosen):
            table = self._table(ranks, slab, lookup, window)
            following = chosen[len(ranks)] if len(ranks) < len(chosen) else None
            chosen = chosen[len(ranks) :]
            whole = table if waiting is None else Table.chain([waiting, table])
            ready, waiting = whole.split(None if following is None else self._extents[following].start_ns)
            del slab, table, whole  # memory that nobody holds is used for the next slab, while its pages are there
            yield from batches.add(ready)
            del ready
        yield from batches.rest()

    def _slabs(self, chosen: list[int]) -> Iterator[tuple[list[int], list[Records]]]:
        """Yield the records of the next few extents, `SLAB_BYTES` or `SLAB_EXTENTS` of them together."""
        ranks: list[int] = []
        parts: list[Records] = []
        size = 0
        stored = self._stored(chosen)
        for rank in chosen:
            extent = self._extents[rank]
            if ranks and (size + extent.size_bytes > SLAB_BYTES or len(ranks) == SLAB_EXTENTS):
                yield ranks, parts
                ranks, parts, size = [], [], 0
            ready = next(stored)
            parts.append(self._reader.read(extent, ready) if self._cache is None else self._cache.read(extent))
            ranks.append(rank)
            size += extent.size_bytes
        if ranks:
            yield ranks, parts

    def _table(self, ranks: list[int], parts: list[Records], lookup: Topics, window: Window) -> Table:
        if self._reader.found_unchecked and _UNCHECKED not in self._report.unverified:
            self._report.unverified.append(_UNCHECKED)
        slab = Slab.of(parts, ranks)
        prove_messages(self._source.name, [self._extents[rank] for rank in ranks], slab.joined, slab.counts)
        return Table.of(slab, lookup, window)

    def _stored(self, chosen: list[int]) -> Iterator[memoryview | None]:
        """Yield each extent's bytes where they are worth fetching ahead, else ``None``."""
        if not self._source.remote:
            return iter([None] * len(chosen))
        extents = [self._extents[rank] for rank in chosen]
        return fetched(self._source, [(extent.offset, extent.record_bytes) for extent in extents])

    # -- where chunks overlap too much: index first ---------------------------------------------------------------

    def _gathered(
        self, topics: Sequence[int], chosen: list[int], lookup: Topics, window: Window
    ) -> Iterator[tuple[int, Rows]]:
        pieces: dict[int, list[tuple[Index, Index, Index, Index]]] = {topic: [] for topic in topics}
        for ranks, slab in self._slabs(chosen):
            table = self._table(ranks, slab, lookup, window)
            rows = table.rows
            for topic in np.unique(table.topic).tolist():
                mine = table.topic == topic
                columns = (rows.log_time_ns, rows.publish_time_ns, rows.payloads.length, table.place)
                pieces[topic].append(tuple(column[mine] for column in columns if column is not None))
        cache = ExtentCache(self._reader, CACHE_BYTES)
        for topic, found in pieces.items():
            if not found:
                continue
            log, publish, length, place = (np.concatenate(column) for column in zip(*found, strict=True))
            order = np.lexsort((place, log))
            index = TopicIndex(log[order], publish[order], length[order], place[order])
            for first, last in index.batches(Window()):
                yield topic, self._fetch(cache, index, first, last)

    def _fetch(self, cache: ExtentCache, index: TopicIndex, first: int, last: int) -> Rows:
        """Copy some rows' payloads out of their extents, each of which is opened once."""
        place, length = index.places[first:last], index.size_bytes[first:last]
        rank = place >> 32
        order = np.argsort(rank, kind="stable")
        ends = np.cumsum(length)
        whole = np.empty(int(ends[-1]) if ends.size else 0, np.uint8)
        for number in np.unique(rank).tolist():
            mine = order[np.searchsorted(rank[order], number) : np.searchsorted(rank[order], number, "right")]
            raw = np.frombuffer(cache.read(self._extents[number]).data, np.uint8)
            for row in mine.tolist():
                begin = int(place[row] & 0xFFFFFFFF) + PAYLOAD_AT
                whole[ends[row] - length[row] : ends[row]] = raw[begin : begin + int(length[row])]
        payloads = Payloads([whole], np.zeros(length.size, np.int32), ends - length, length)
        publish = None if index.publish_time_ns is None else index.publish_time_ns[first:last]
        return Rows(index.log_time_ns[first:last], publish, payloads)

    def close(self) -> None:
        """Release the file."""
        self._cache = None
        self._source.close()


def _overlaps(extent: Extent, window: Window) -> bool:
    after = window.start_ns is None or extent.stop_ns >= window.start_ns
    return after and (window.stop_ns is None or extent.start_ns < window.stop_ns)


def waiting_bytes(extents: Sequence[Extent]) -> int:
    """Return how many bytes of extents overlap in time at most, if they are opened in the order of their starts."""
    most = size = 0
    opened: list[tuple[int, int]] = []
    for extent in extents:
        while opened and opened[0][0] < extent.start_ns:
            size -= heapq.heappop(opened)[1]
        most = max(most, size)
        heapq.heappush(opened, (extent.stop_ns, extent.size_bytes))
        size += extent.size_bytes
    return most


class _Batches:
    """Collects the rows of each topic until there are enough for a batch."""

    def __init__(self) -> None:
        self._held: dict[int, list[Rows]] = {}

    def add(self, table: Table) -> Iterator[tuple[int, Rows]]:
        """Take the next messages in; yield the batches that became full."""
        size = sum(memoryview(buffer).nbytes for buffer in table.rows.payloads.buffers)
        total = int(table.rows.payloads.length.sum())
        share = _COPIED_SHARE if total > _COPIED_SHARE_ALONE * size else _COPIED_SHARE_ALONE
        for topic, rows in table.by_topic():
            mine = int(rows.payloads.length.sum())
            held = self._held.setdefault(topic, [])
            held.append(_copied(rows) if mine < share * size else rows)
            count = sum(item.log_time_ns.size for item in held)
            if mine >= share * size or count >= _FULL_BATCH_ROWS or _held_bytes(held) >= _FULL_BATCH_BYTES:
                yield from self._full(topic)

    def rest(self) -> Iterator[tuple[int, Rows]]:
        """Yield what is left."""
        for topic in list(self._held):
            yield from self._full(topic)

    def _full(self, topic: int) -> Iterator[tuple[int, Rows]]:
        held = self._held.pop(topic)
        rows = Rows.chain(held)
        if rows.log_time_ns.size <= BATCH_ROWS:
            yield topic, rows
            return
        for first in range(0, rows.log_time_ns.size, BATCH_ROWS):
            yield topic, rows.take(slice(first, first + BATCH_ROWS))


def _held_bytes(held: list[Rows]) -> int:
    return sum(memoryview(buffer).nbytes for rows in held for buffer in rows.payloads.buffers)


def _copied(rows: Rows) -> Rows:
    payloads = rows.payloads
    whole, start = payloads.packed()
    return Rows(
        rows.log_time_ns,
        rows.publish_time_ns,
        Payloads([whole], np.zeros(start.size, np.int32), start, payloads.length, payloads.prefix),
    )

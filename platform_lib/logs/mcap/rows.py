"""An MCAP file's rows in time order, in bounded memory, each chunk opened once.

Chunks are taken in the order of their earliest message, some MiB together (a slab). What is earlier than every chunk
still to come is sorted and given out, the rest waits for the next slab. Where so many chunks overlap in time that too
much would have to wait, the times of the earliest millions of messages are gathered first, and payloads fetched in
their order; then those of the next millions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.extents import TopicIndex
from platform_lib.logs.mcap.chunks import PAYLOAD_AT, Records
from platform_lib.logs.mcap.extent_reader import ExtentCache, ExtentReader, prove_messages
from platform_lib.logs.mcap.extent_table import Numbers, Ranks
from platform_lib.logs.mcap.fetching import fetched
from platform_lib.logs.mcap.large_chunks import LARGE_BYTES
from platform_lib.logs.mcap.layout import Layout
from platform_lib.logs.mcap.table import Slab, Table, Topics, topic_lookup
from platform_lib.logs.model import BATCH_BYTES, BATCH_ROWS, Report, Window
from platform_lib.logs.payloads import Index, Payloads, Rows

SLAB_BYTES = 64 << 20  # fewer, larger batches: of large messages a batch has a few dozen rows, and costs a millisecond
SLAB_EXTENTS = 2048  # of tiny chunks: each costs some 3 KB while it is in a slab
MOST_WAITING_BYTES = 96 << 20
MOST_MEMORY_BYTES = 448 << 20
CACHE_BYTES = 48 << 20
MOST_GATHERED = 2 << 20  # messages, 32 bytes each and three times that while they are sorted
_UNCHECKED = "some of the chunks that were read have no checksum"
_FULL_BATCH_ROWS = 8192
_FULL_BATCH_BYTES = 4 << 20
# A topic with less than this share of its slab is copied out of it, so that holding its batches does not hold the slab.
_COPIED_SHARE = 1 / 64
_COPIED_SHARE_ALONE = 1 / 4
_MOST_TIME = (1 << 64) - 1
_Times = tuple[Topics, Index, Index, Index, Index]  # topic, log and publish time, length and place of messages


class McapRows:
    """The `RowStore` of one file."""

    def __init__(self, source: ByteSource, layout: Layout, channels: list[tuple[int, ...]], report: Report) -> None:
        """`channels`: for each topic, its channels' numbers."""
        self._source = source
        self._extents = layout.extents
        self._channels = channels
        self._report = report
        self._reader = ExtentReader(source, layout.definitions)
        whole = float(layout.extents.column("size_bytes").astype(np.float64).sum())  # sizes may lie up to 2^64
        self._cache = ExtentCache(self._reader, CACHE_BYTES) if whole <= CACHE_BYTES and not source.remote else None

    def rows(self, topics: Sequence[int], window: Window) -> Iterator[tuple[int, Rows]]:
        """Yield the rows of the given topics, each topic's in time order."""
        lookup = self._lookup(topics)
        chosen = self._chosen(topics, window)
        start, stop, size = (self._extents.column(name)[chosen] for name in ("start_ns", "stop_ns", "size_bytes"))
        waiting = waiting_bytes(start, stop, size)
        # Beside what waits there are the next chunk, and the one whose rows the reader holds.
        if waiting > MOST_WAITING_BYTES or (waiting and waiting + 2 * int(size.max()) > MOST_MEMORY_BYTES):
            return self._gathered(chosen, lookup, window)
        return self._streamed(chosen, lookup, window)

    def _chosen(self, topics: Sequence[int], window: Window) -> Ranks:
        """Return the extents with messages of some topics in a window, in the order of their earliest messages."""
        wanted = self._extents.holding([channel for topic in topics for channel in self._channels[topic]])
        start, stop = self._extents.column("start_ns"), self._extents.column("stop_ns")
        if window.start_ns is not None:
            wanted &= stop >= np.uint64(min(max(window.start_ns, 0), _MOST_TIME))
        if window.stop_ns is not None:
            wanted &= start < np.uint64(min(max(window.stop_ns, 0), _MOST_TIME))
        chosen = np.flatnonzero(wanted)
        return chosen[np.argsort(start[chosen], kind="stable")]

    def _lookup(self, topics: Sequence[int]) -> Topics:
        return topic_lookup(self._reader.definitions.channels, {topic: self._channels[topic] for topic in topics})

    # -- the usual way: one pass ---------------------------------------------------------------------------------

    def _streamed(self, chosen: Ranks, lookup: Topics, window: Window) -> Iterator[tuple[int, Rows]]:
        batches = _Batches()
        waiting: Table | None = None
        for ranks, slab in self._slabs(chosen):
            table = self._table(ranks, slab, lookup, window)
            following = int(chosen[len(ranks)]) if len(ranks) < len(chosen) else None
            chosen = chosen[len(ranks) :]
            whole = table if waiting is None else Table.chain([waiting, table])
            ready, waiting = whole.split(None if following is None else self._extents[following].start_ns)
            del slab, table, whole  # memory that nobody holds is used for the next slab, while its pages are there
            yield from batches.add(ready)
            del ready
        yield from batches.rest()

    def _slabs(self, chosen: Ranks) -> Iterator[tuple[list[int], list[Records]]]:
        """Yield the records of the next few extents, `SLAB_BYTES` or `SLAB_EXTENTS` of them together."""
        ranks: list[int] = []
        parts: list[Records] = []
        size = 0
        stored = self._stored(chosen)
        for rank in map(int, chosen):
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

    def _stored(self, chosen: Ranks) -> Iterator[memoryview | None]:
        """Yield each extent's bytes where they are worth fetching ahead, else ``None``."""
        length = self._extents.column("record_bytes")
        if not self._source.remote or int(length[chosen].max(initial=0)) > LARGE_BYTES:
            return repeat(None, len(chosen))
        offset = self._extents.column("offset")
        return fetched(self._source, ((int(offset[rank]), int(length[rank])) for rank in chosen))

    # -- where chunks overlap too much: index first ---------------------------------------------------------------

    def _gathered(self, chosen: Ranks, lookup: Topics, window: Window) -> Iterator[tuple[int, Rows]]:
        until: int | None = None
        while True:
            indexes, until = self._index(chosen, lookup, window)
            cache = ExtentCache(self._reader, CACHE_BYTES)
            for topic, index in indexes:
                for first, last in index.batches(Window()):
                    yield topic, self._fetch(cache, index, first, last)
            if until is None:
                return
            window = Window(until, window.stop_ns)
            chosen = chosen[self._extents.column("stop_ns")[chosen] >= np.uint64(max(until, 0))]
            del cache, indexes

    def _index(self, chosen: Ranks, lookup: Topics, window: Window) -> tuple[list[tuple[int, TopicIndex]], int | None]:
        """Return where each topic's earliest messages are, and up to which time; ``None``: all of them."""
        until: int | None = None
        pieces: list[_Times] = []
        count = 0
        for ranks, slab in self._slabs(chosen):
            table = self._table(ranks, slab, lookup, window)
            rows = table.rows
            publish = rows.log_time_ns if rows.publish_time_ns is None else rows.publish_time_ns
            pieces.append((table.topic, rows.log_time_ns, publish, rows.payloads.length, table.place))
            count += table.place.size
            del slab, table, rows, publish  # before the next ones come
            if count > MOST_GATHERED:
                whole, until = _earliest(_joined(pieces), MOST_GATHERED // 2)
                pieces, count = [whole], whole[0].size
                window = Window(window.start_ns, until)
                del whole
        if not pieces:
            return [], until
        topic, log, publish, length, place = _joined(pieces)
        del pieces
        order = np.lexsort((place, log, topic))
        topic, log, publish, length, place = _taken((topic, log, publish, length, place), order)
        del order
        numbers, first = np.unique(topic, return_index=True)
        cuts = zip(numbers.tolist(), first.tolist(), [*first[1:].tolist(), topic.size], strict=True)
        found = [(number, TopicIndex(log[a:b], publish[a:b], length[a:b], place[a:b])) for number, a, b in cuts]
        return found, until

    def _fetch(self, cache: ExtentCache, index: TopicIndex, first: int, last: int) -> Rows:
        """Copy some rows' payloads out of their extents, each of which is opened once."""
        place, length = index.places[first:last], index.size_bytes[first:last]
        publish = None if index.publish_time_ns is None else index.publish_time_ns[first:last]
        rank = place >> 32
        if (rank == rank[:1]).all() and (alone := self._alone(cache, int(rank[0]), place, length)) is not None:
            return Rows(index.log_time_ns[first:last], publish, alone)
        order = np.argsort(rank, kind="stable")
        ends = np.cumsum(length)
        whole = np.empty(int(ends[-1]) if ends.size else 0, np.uint8)
        for number in np.unique(rank).tolist():
            mine = order[np.searchsorted(rank[order], number) : np.searchsorted(rank[order], number, "right")]
            raw = np.frombuffer(cache.read(self._extents[number]).data, np.uint8)
            for row in mine.tolist():
                begin = int(place[row] & 0xFFFFFFFF) + PAYLOAD_AT
                whole[ends[row] - length[row] : ends[row]] = raw[begin : begin + int(length[row])]
            del raw  # before the next one comes
        payloads = Payloads([whole], np.zeros(length.size, np.int32), ends - length, length)
        return Rows(index.log_time_ns[first:last], publish, payloads)

    def _alone(self, cache: ExtentCache, rank: int, place: Index, length: Index) -> Payloads | None:
        """Return payloads where they lie in their extent, if they are most of it: there is not always room for a copy."""
        if int(length.sum()) < _COPIED_SHARE_ALONE * self._extents[rank].size_bytes:
            return None
        data = cache.read(self._extents[rank]).data
        return Payloads([data], np.zeros(length.size, np.int32), (place & 0xFFFFFFFF) + PAYLOAD_AT, length)

    def close(self) -> None:
        """Release the file."""
        self._cache = None
        self._source.close()


def _joined(pieces: list[_Times]) -> _Times:
    topic, log, publish, length, place = (np.concatenate(column) for column in zip(*pieces, strict=True))
    return topic, log, publish, length, place


def _taken(times: _Times, rows: Index) -> _Times:
    topic, log, publish, length, place = times
    return topic[rows], log[rows], publish[rows], length[rows], place[rows]


def _earliest(times: _Times, count: int) -> tuple[_Times, int]:
    """Return the earliest messages, about `count`, and a time that all of them and no others are before.

    Raises:
        UnsupportedLog: More than twice as many have the same time.
    """
    log = times[1]
    until = int(np.partition(log, count)[count])
    early = log < until
    if not early.any():
        until += 1
        early = log < until
        if int(early.sum()) > 2 * count:
            what = f"more than {2 * count} messages of the same time ({until - 1} ns) in chunks that overlap in time"
            raise UnsupportedLog(what, remedy="sort the file: `mcap sort`, or fewer topics at once")
    return _taken(times, np.flatnonzero(early)), until


def waiting_bytes(start: Numbers, stop: Numbers, size: Numbers) -> int:
    """Return how many bytes of extents overlap in time at most, if they are opened in the order of their starts.

    Args:
        start: (N,) their earliest times, ascending.
        stop: (N,) their latest.
        size: (N,) their lengths.
    """
    if not start.size:
        return 0
    length = np.minimum(size, np.uint64(1 << 32)).astype(np.int64)  # what is longer is refused anyway
    order = np.argsort(stop, kind="stable")
    gone = np.concatenate([[0], np.cumsum(length[order])])[np.searchsorted(stop[order], start, "left")]
    return int((np.cumsum(length) - length - gone).max())


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
        del held
        length = rows.payloads.length
        if length.size <= BATCH_ROWS and int(length.sum()) <= BATCH_BYTES:
            yield topic, rows
            return
        index = TopicIndex(rows.log_time_ns, rows.publish_time_ns, length, length)
        for first, last in index.batches(Window()):
            yield topic, rows.take(slice(first, last))


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

"""Messages of several topics as columns, and cutting them into each topic's rows in time order. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog
from platform_lib.logs.mcap.chunks import PAYLOAD_AT, Records
from platform_lib.logs.model import Window
from platform_lib.logs.payloads import Index, Payloads, Rows

Topics = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
_MARKS = 2  # numbers that name no topic: the last of the type is for channels to be left out, the one before for undefined ones
_MOST_NS = (1 << 63) - 1
_PLACE_BITS = 32


def topic_lookup(channels: Collection[int], topics: Mapping[int, Collection[int]]) -> Topics:
    """Return which topic each channel belongs to, (65536,), with marks for those to be left out and those not defined.

    Sixteen bits are sorted several times faster than more; a file of 65,534 topics or more needs more.

    Args:
        channels: The file's.
        topics: Number of a topic that is wanted -> its channels.
    """
    lookup: Topics = np.empty(1 << 16, np.uint16)
    if max(topics, default=0) > _last(lookup) - _MARKS:
        lookup = np.empty(1 << 16, np.uint32)
    lookup[:] = _last(lookup) - 1
    lookup[list(channels)] = _last(lookup)
    for topic, own in topics.items():
        lookup[list(own)] = topic
    return lookup


def _last(topic: Topics) -> int:
    return int(np.iinfo(topic.dtype).max)


@dataclass(frozen=True, slots=True)
class Slab:
    """The records of some extents.

    Attributes:
        parts: Each extent's.
        ranks: (len(parts),) int64, the extents' numbers in file order.
        counts: (len(parts),) int64, how many messages each has.
        joined: The messages of all of them.
    """

    parts: Sequence[Records]
    ranks: Index
    counts: Index
    joined: Records

    @classmethod
    def of(cls, parts: Sequence[Records], ranks: Sequence[int]) -> Slab:
        """Join the extents' messages."""
        counts = np.array([part.message_at.size for part in parts], np.int64)
        return cls(parts, np.array(ranks, np.int64), counts, Records.chain(parts))


def _within(log_time_ns: Index, window: Window) -> npt.NDArray[np.bool_]:
    inside = np.ones(log_time_ns.size, np.bool_)
    if window.start_ns is not None:
        inside &= log_time_ns >= window.start_ns
    if window.stop_ns is not None:
        inside &= log_time_ns < window.stop_ns
    return inside


@dataclass(frozen=True, slots=True)
class Table:
    """Messages of any topics, in any order.

    Attributes:
        topic: (N,) uint16, or uint32 where there are too many topics for it: which topic each belongs to.
        place: (N,) int64, ascending with the place in the file.
        rows: Their times and payloads; times in any order.
    """

    topic: Topics
    place: Index
    rows: Rows

    @classmethod
    def of(cls, slab: Slab, topic_of_channel: Topics, window: Window) -> Table:
        """Return the wanted messages of some extents.

        Args:
            slab: The extents' records.
            topic_of_channel: (65536,), as `topic_lookup` makes it.
            window: Which times are wanted.

        Raises:
            CorruptLog: A message's channel is not defined, or a time does not fit int64 nanoseconds.
        """
        records = slab.joined
        topic = topic_of_channel[records.heads["channel"]]
        if (topic == _last(topic) - 1).any():
            raise CorruptLog("a message of a channel that is not defined")
        log, publish = (np.ascontiguousarray(records.heads[name]) for name in ("log_time", "publish_time"))
        buffer = np.repeat(np.arange(len(slab.parts), dtype=np.int32), slab.counts)
        place = records.message_at + (slab.ranks << _PLACE_BITS)[buffer]
        prefix = np.ascontiguousarray(records.heads["prefix"]).view(np.int32).reshape(-1, 3)
        if log.size and max(int(log.max()), int(publish.max())) > _MOST_NS:
            raise CorruptLog("a message has a time past the year 2262")
        buffers = [part.data for part in slab.parts]
        payloads = Payloads(buffers, buffer, records.message_at + PAYLOAD_AT, records.payload_bytes, prefix)
        table = cls(topic, place, Rows(log.view(np.int64), publish.view(np.int64), payloads))
        wanted = (topic != _last(topic)) & _within(table.rows.log_time_ns, window)
        return table if wanted.all() else table.take(np.flatnonzero(wanted))

    @classmethod
    def chain(cls, pieces: Sequence[Table]) -> Table:
        """Return the messages of all pieces."""
        if len(pieces) == 1:
            return pieces[0]
        return cls(
            np.concatenate([piece.topic for piece in pieces]),
            np.concatenate([piece.place for piece in pieces]),
            Rows.chain([piece.rows for piece in pieces]),
        )

    def take(self, which: Index) -> Table:
        """Return some of the messages."""
        return Table(self.topic[which], self.place[which], self.rows.take(which))

    def split(self, before_ns: int | None) -> tuple[Table, Table | None]:
        """Return the messages before a time, and the rest; all of them before ``None``."""
        late = None if before_ns is None else self.rows.log_time_ns >= before_ns
        if late is None or not late.any():
            return self, None
        return self.take(np.flatnonzero(~late)), self.take(np.flatnonzero(late))

    def by_topic(self) -> Iterator[tuple[int, Rows]]:
        """Yield each topic's rows in time order; rows of equal time in the file's order."""
        order = np.argsort(self.topic, kind="stable")
        topic, log, place = self.topic[order], self.rows.log_time_ns[order], self.place[order]
        same = topic[1:] == topic[:-1]
        ascending = (log[1:] > log[:-1]) | ((log[1:] == log[:-1]) & (place[1:] > place[:-1]))
        if not (ascending | ~same).all():
            order = np.lexsort((self.place, self.rows.log_time_ns, self.topic))
        cuts = [0, *(np.flatnonzero(~same) + 1).tolist(), topic.size] if topic.size else []
        rows = self.rows.take(order)
        for first, last in pairwise(cuts):
            yield int(topic[first]), rows.take(slice(first, last))

"""Messages of several topics as columns, and cutting them into each topic's rows in time order. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog
from platform_lib.logs.mcap.chunks import PAYLOAD_AT, Records, message_bytes
from platform_lib.logs.model import Window
from platform_lib.logs.payloads import Index, Payloads, Rows

Topics = npt.NDArray[np.uint16]
NOT_WANTED = 0xFFFF
_PLACE_BITS = 32


@dataclass(frozen=True, slots=True)
class Table:
    """Messages of any topics, in any order.

    Attributes:
        topic: (N,) uint16, which topic each belongs to.
        place: (N,) int64, ascending with the place in the file.
        rows: Their times and payloads; times in any order.
    """

    topic: Topics
    place: Index
    rows: Rows

    @classmethod
    def of(cls, records: Records, rank: int, topic_of_channel: Topics, window: Window) -> Table:
        """Return the wanted messages of an extent.

        Args:
            records: The extent's.
            rank: Its number in file order.
            topic_of_channel: (65536,) uint16, `NOT_WANTED` for channels to be left out.
            window: Which times are wanted.

        Raises:
            CorruptLog: A time does not fit int64 nanoseconds.
        """
        heads, at = records.heads, records.message_at
        topic = topic_of_channel[heads["channel"]]
        wanted = topic != NOT_WANTED
        times = heads["log_time"]
        if not window.everything:
            wanted &= times >= np.uint64(max(0, window.start_ns or 0))
            if window.stop_ns is not None:
                wanted &= times < np.uint64(max(0, window.stop_ns))
        length = message_bytes(records)
        if not wanted.all():
            heads, at, topic, length = heads[wanted], at[wanted], topic[wanted], length[wanted]
        log, publish = (np.ascontiguousarray(heads[name]).view(np.int64) for name in ("log_time", "publish_time"))
        if log.size and (log.min() < 0 or publish.min() < 0):
            raise CorruptLog("a message has a time past the year 2262")
        prefix = np.ascontiguousarray(heads["prefix"]).view(np.int32).reshape(-1, 3)
        payloads = Payloads([records.data], np.zeros(at.size, np.int32), at + PAYLOAD_AT, length, prefix)
        return cls(topic, at + (rank << _PLACE_BITS), Rows(log, publish, payloads))

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
            topic = self.topic[order]
        cuts = [0, *(np.flatnonzero(topic[1:] != topic[:-1]) + 1).tolist(), topic.size]
        for first, last in pairwise(cuts):
            if last > first:
                yield int(topic[first]), self.rows.take(order[first:last])

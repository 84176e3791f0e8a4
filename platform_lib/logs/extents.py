"""Logs whose every message is indexed: rows in time order, payloads fetched again by place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from platform_lib.logs.model import BATCH_BYTES, BATCH_ROWS, Window
from platform_lib.logs.payloads import Payloads, Rows

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TopicIndex:
    """Where one topic's messages are, sorted by log time.

    Attributes:
        log_time_ns: (N,) int64, ascending.
        publish_time_ns: (N,) int64, or ``None`` where the format has no such time.
        size_bytes: (N,) int64, payload lengths.
        places: (N,) int64, what the store finds a payload by.
    """

    log_time_ns: Index
    publish_time_ns: Index | None
    size_bytes: Index
    places: Index

    @property
    def span_ns(self) -> tuple[int | None, int | None]:
        """The earliest time, and one past the latest."""
        if not self.log_time_ns.size:
            return None, None
        return int(self.log_time_ns[0]), int(self.log_time_ns[-1]) + 1

    def batches(self, window: Window) -> Iterator[tuple[int, int]]:
        """Yield row ranges of bounded rows and bytes that cover `window`."""
        times = self.log_time_ns
        first = 0 if window.start_ns is None else int(np.searchsorted(times, window.start_ns, "left"))
        stop = times.size if window.stop_ns is None else int(np.searchsorted(times, window.stop_ns, "left"))
        ends = np.cumsum(self.size_bytes)
        while first < stop:
            before = int(ends[first - 1]) if first else 0
            by_bytes = int(np.searchsorted(ends, before + BATCH_BYTES, "right"))
            last = min(stop, first + BATCH_ROWS, max(by_bytes, first + 1))
            yield first, last
            first = last


class PayloadStore(Protocol):
    """Where payloads are fetched from."""

    def fetch(self, places: Index, size_bytes: Index) -> Payloads:
        """Return the payloads at `places`, in that order; `size_bytes` are their lengths."""

    def close(self) -> None:
        """Release the file."""


class IndexedRows:
    """The rows of a log whose every message is indexed."""

    def __init__(self, indexes: list[TopicIndex], store: PayloadStore) -> None:
        self._indexes = indexes
        self._store = store

    def rows(self, topics: Sequence[int], window: Window) -> Iterator[tuple[int, Rows]]:
        """Yield the rows of the given topics, one topic after the other."""
        for number in topics:
            index = self._indexes[number]
            for first, last in index.batches(window):
                payloads = self._store.fetch(index.places[first:last], index.size_bytes[first:last])
                publish = None if index.publish_time_ns is None else index.publish_time_ns[first:last]
                yield number, Rows(index.log_time_ns[first:last], publish, payloads)

    def close(self) -> None:
        """Release the file."""
        self._store.close()

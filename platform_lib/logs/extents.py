"""Messages found inside stretches of a file (chunks), and fetching their payloads again by place."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.model import BATCH_BYTES, BATCH_ROWS, Window
from platform_lib.logs.payloads import Payloads, Rows

Index = npt.NDArray[np.int64]
_CACHE_BYTES = 256 << 20
_PLACE_BITS = 33  # offsets reach past 4 GiB, the most one extent may hold
_PLACE_MASK = (1 << _PLACE_BITS) - 1


@dataclass(slots=True)
class Messages:
    """The messages of one channel, in file order: times in ns, payload bytes, and where each payload is."""

    log_time: array[int] = field(default_factory=lambda: array("Q"))
    publish_time: array[int] = field(default_factory=lambda: array("Q"))
    size: array[int] = field(default_factory=lambda: array("q"))
    place: array[int] = field(default_factory=lambda: array("q"))

    def extend(self, other: Messages, extent: int) -> None:
        """Append messages whose places are offsets in extent number `extent`."""
        self.log_time.extend(other.log_time)
        self.publish_time.extend(other.publish_time)
        self.size.extend(other.size)
        self.place.extend(array("q", [place_of(extent, at) for at in other.place]))

    def without(self, extents: list[int]) -> Messages:
        """Return the messages outside the given extents."""
        keep = ~np.isin(np.array(self.place, np.int64) >> _PLACE_BITS, extents)
        columns = (self.log_time, self.publish_time, self.size, self.place)
        return Messages(*(array(column.typecode, np.array(column)[keep].tolist()) for column in columns))


def place_of(extent: int, offset: int) -> int:
    """Return the place of the payload at `offset` in an extent; places ascend through the file."""
    return extent << _PLACE_BITS | offset


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


class ExtentStore:
    """Fetches payloads; keeps loaded extents up to a byte budget, least recently used out first."""

    def __init__(self, path: Path, load: Callable[[BinaryIO, int], bytes]) -> None:
        """Open `path`; `load` returns an extent's bytes, decompressed and checked, given the file and its number."""
        self._file = path.open("rb")
        self._load = load
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._cached_bytes = 0

    def fetch(self, places: Index, size_bytes: Index) -> Payloads:
        """Return the payloads at `places`."""
        numbers, buffer = np.unique(places >> _PLACE_BITS, return_inverse=True)
        buffers = [self._extent(int(number)) for number in numbers]
        return Payloads(buffers, buffer.astype(np.int32), places & _PLACE_MASK, size_bytes)

    def _extent(self, number: int) -> bytes:
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        data = self._load(self._file, number)
        self._cache[number] = data
        self._cached_bytes += len(data)
        while self._cached_bytes > _CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached_bytes -= len(dropped)
        return data

    def close(self) -> None:
        """Release the file."""
        self._cache.clear()
        self._file.close()


def read_exactly(path: Path, file: BinaryIO, offset: int, count: int) -> bytes:
    """Read `count` bytes at `offset`, or refuse: the file was whole when it was opened."""
    file.seek(offset)
    data = file.read(count)
    if len(data) != count:
        raise CorruptLog("the file became shorter while it was read", where=path, remedy=REMEDY)
    return data

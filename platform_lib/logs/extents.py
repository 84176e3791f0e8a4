"""Messages found inside stretches of a file (chunks), and fetching their payloads again by place."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog
from platform_lib.logs.faults import REMEDY

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
class Payloads:
    """Payload k is ``buffers[buffer[k]][start[k] : start[k] + length[k]]``."""

    buffers: list[bytes]
    buffer: npt.NDArray[np.int32]
    start: Index
    length: Index

    @classmethod
    def of(cls, payloads: list[bytes]) -> Payloads:
        """Join separate payloads into one buffer."""
        length = np.array([len(item) for item in payloads], np.int64)
        return cls([b"".join(payloads)], np.zeros(length.size, np.int32), np.cumsum(length) - length, length)

    def joined(self) -> tuple[npt.NDArray[np.uint8], Index]:
        """Return one buffer that holds every payload, and where each starts; no copy if there is one already."""
        if len(self.buffers) == 1:
            return np.frombuffer(self.buffers[0], np.uint8), self.start
        stops = (self.start + self.length).tolist()
        whole = b"".join(
            memoryview(self.buffers[number])[start:stop]
            for number, start, stop in zip(self.buffer.tolist(), self.start.tolist(), stops, strict=True)
        )
        return np.frombuffer(whole, np.uint8), np.cumsum(self.length) - self.length


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

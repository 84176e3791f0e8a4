"""Payload bytes in one buffer or several, under one numbering of bytes, so that none need be copied together first."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.payloads import Payloads, anywhere

Index = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

# From this mean payload on, reading buffer by buffer costs less than copying the payloads together.
_LARGE_BYTES = 4096
# From this mean length on, copying row by row beats one gather with an 8-byte index for every byte.
_BLOB_BYTES = 64
# Room for what comes before the blob of an image or a point cloud.
_HEAD_BYTES = 512
_LIST_LIMIT = 2**31 - 1


def heads(payloads: Payloads) -> Payloads | None:
    """Return the first bytes of large payloads, copied together; ``None`` where the whole ones are no dearer."""
    if len(payloads.buffers) < 2 or int(payloads.length.sum()) < _LARGE_BYTES * payloads.length.size:
        return None
    found = np.zeros(payloads.length.size, np.dtype((np.void, _HEAD_BYTES)))
    for number, buffer in enumerate(payloads.buffers):
        rows = np.flatnonzero(payloads.buffer == number)
        places = payloads.start[rows]
        view = anywhere(buffer, found.dtype)
        inside = places < view.size
        found[rows[inside]] = view[places[inside]]
        for row, place in zip(rows[~inside].tolist(), places[~inside].tolist(), strict=True):
            found[row] = bytes(memoryview(buffer)[place : place + _HEAD_BYTES]).ljust(_HEAD_BYTES, b"\0")
    start = np.arange(found.size, dtype=np.int64) * _HEAD_BYTES
    length = np.minimum(payloads.length, _HEAD_BYTES)
    return Payloads([found.view(np.uint8)], np.zeros(found.size, np.int32), start, length)


class Memory:
    """Buffers laid end to end; positions count from the first one's first byte.

    Every read is of ranges that the caller has proven to lie inside one payload, thus inside one buffer.
    """

    def __init__(self, buffers: list[Bytes]) -> None:
        self._buffers = [_read_only(buffer) for buffer in buffers]
        self._ends = np.cumsum([buffer.size for buffer in buffers], dtype=np.int64)

    @classmethod
    def of(cls, payloads: Payloads) -> tuple[Memory, Index]:
        """Return the payloads' memory, and where each starts; small ones of several buffers are copied together."""
        if len(payloads.buffers) > 1 and int(payloads.length.sum()) < _LARGE_BYTES * payloads.length.size:
            whole, start = payloads.packed()
            return cls([whole]), start
        memory = cls([np.frombuffer(buffer, np.uint8) for buffer in payloads.buffers])
        if len(payloads.buffers) < 2:
            return memory, payloads.start
        return memory, payloads.start + memory._first(payloads.buffer)

    def _first(self, number: npt.NDArray[Any]) -> Index:
        sizes = np.array([buffer.size for buffer in self._buffers], np.int64)
        first: Index = (self._ends - sizes)[number]
        return first

    def split(self, start: Index) -> list[tuple[Bytes, Any, int]]:
        """Return each buffer that is read, which rows read it, and the position of its first byte."""
        if len(self._buffers) == 1:
            return [(self._buffers[0], slice(None), 0)]
        # Where a payload ends with its buffer, nothing is read any more; any buffer will do.
        owner = np.minimum(np.searchsorted(self._ends, start, "right"), len(self._buffers) - 1)
        return [
            (
                self._buffers[number],
                np.flatnonzero(owner == number),
                int(self._ends[number]) - self._buffers[number].size,
            )
            for number in np.unique(owner).tolist()
        ]

    def gather(self, start: Index, kind: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        """Return (M, count) values of type `kind`, those of row r from byte ``start[r]`` on."""
        whole = np.dtype((np.void, kind.itemsize * count))
        found = np.empty(start.size, whole)
        for source, rows, base in self.split(start) if start.size else ():
            found[rows] = anywhere(source, whole)[start[rows] - base]
        return found.view(kind).reshape(start.size, count)

    def stride(self, start: Index) -> int | None:
        """Return the distance between payloads that follow each other evenly in one buffer, else ``None``."""
        if len(self._buffers) != 1 or start.size < 2:
            return None
        step = int(start[1] - start[0])
        return step if step > 0 and bool((np.diff(start) == step).all()) else None

    def every(self, first: int, step: int, rows: int, kind: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        """Return (rows, count) values, those of row r from byte ``first + r * step`` on: `gather`, faster."""
        view = np.ndarray((rows, count), kind, self._buffers[0].data, first, (step, kind.itemsize))
        return np.ascontiguousarray(view)

    def pieces(self, start: Index, length: Index) -> Bytes:
        """Return the bytes ``start[r] .. start[r] + length[r]`` of every row, one row after the other."""
        total = int(length.sum())
        if total > _LIST_LIMIT:
            raise UnsupportedLog(
                "more than 2 GiB of variable-length values in one batch", remedy="read it with decode=False"
            )
        if not total:
            return np.zeros(0, np.uint8)
        if len(self._buffers) == 1 and total < _BLOB_BYTES * length.size:
            return self._buffers[0][_ranges(start, length, total)]
        filled = np.flatnonzero(length)
        begin: list[Any] = [None] * filled.size
        for source, rows, base in self.split(start[filled]):
            view = memoryview(source.data).cast("B")
            numbers = range(filled.size) if isinstance(rows, slice) else rows.tolist()
            places = start[filled][rows] - base
            stops = places + length[filled][rows]
            for number, first, stop in zip(numbers, places.tolist(), stops.tolist(), strict=True):
                begin[number] = view[first:stop]
        return np.frombuffer(b"".join(begin), np.uint8)


def _read_only(buffer: Bytes) -> Bytes:
    """Return a view that cannot be written to: compiled code has one version for those and one for others."""
    view = buffer.view()
    view.flags.writeable = False
    return view


def _ranges(start: Index, length: Index, total: int) -> Index:
    """Return ``concatenate([arange(s, s + n) for s, n in zip(start, length)])``."""
    ends = np.cumsum(length)
    steps: Index = np.arange(total, dtype=np.int64) + np.repeat(start - (ends - length), length)
    return steps

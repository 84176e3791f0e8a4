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
# A single value of this size is given where it lies: for a copy of the largest ones there is no room.
_VAST_BYTES = 16 << 20
# Room for what comes before the blob of an image or a point cloud.
_NEAR_BYTES = 512
_LIST_LIMIT = 2**31 - 1


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

    @property
    def scattered(self) -> bool:
        """Whether it is several buffers, so that every read has to visit each of them."""
        return len(self._buffers) > 1

    def near(self, start: Index) -> tuple[Memory, Index, int]:
        """Copy the next few bytes of every row together.

        Returns:
            The copies; (M,) where in them each row's start is; how many bytes follow it, fewer where its buffer ends.
        """
        width = min(_NEAR_BYTES, *(buffer.size for buffer in self._buffers))
        place = np.arange(start.size, dtype=np.int64) * width
        if not width:
            return Memory([np.zeros(0, np.uint8)]), place, width
        found = np.empty(start.size, np.dtype((np.void, width)))
        for source, rows, base in self.split(start):
            at = start[rows] - base
            before = np.maximum(at + width - source.size, 0)  # at a buffer's end the copy begins earlier
            found[rows] = anywhere(source, found.dtype)[at - before]
            place[rows] += before
        return Memory([found.view(np.uint8)]), place, width

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
        order = None if bool((owner[1:] >= owner[:-1]).all()) else np.argsort(owner, kind="stable")
        numbers, cuts = np.unique(owner if order is None else owner[order], return_index=True)
        found: list[tuple[Bytes, Any, int]] = []
        for number, first, last in zip(numbers.tolist(), cuts.tolist(), [*cuts[1:].tolist(), owner.size], strict=True):
            rows = slice(first, last) if order is None else order[first:last]
            buffer = self._buffers[number]
            found.append((buffer, rows, int(self._ends[number]) - buffer.size))
        return found

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
        """Return the bytes ``start[r] .. start[r] + length[r]`` of every row, one row after the other; any alignment."""
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
        if filled.size == 1 and total >= _VAST_BYTES:
            ((source, _, base),) = self.split(start[filled])
            first = int(start[filled[0]]) - base
            return source[first : first + total]
        begin: list[Any] = [None] * filled.size
        for source, rows, base in self.split(start[filled]):
            view = memoryview(source.data).cast("B")
            numbers = range(*rows.indices(filled.size)) if isinstance(rows, slice) else rows.tolist()
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

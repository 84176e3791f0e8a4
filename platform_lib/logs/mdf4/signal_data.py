"""Variable-length values (SD): each a 32-bit length and that many bytes, found by its offset in their stream."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.model import BATCH_BYTES

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
_LENGTH_BYTES = 4
_CACHE_BYTES = 32 << 20


class ByteStream(Protocol):
    """Pieces of a stream of bytes, by number."""

    @property
    def starts(self) -> list[int]:
        """Where each piece starts, and where the last one ends."""

    def piece(self, number: int) -> Bytes:
        """Return one piece."""


class SignalData:
    """A stream of variable-length values; looked at when first asked for one."""

    def __init__(self, path: str, stream: ByteStream) -> None:
        self._path = path
        self._stream = stream
        self._cache: OrderedDict[int, Bytes] = OrderedDict()
        self._known_starts: npt.NDArray[np.int64] | None = None

    @property
    def _starts(self) -> npt.NDArray[np.int64]:
        if self._known_starts is None:
            self._known_starts = np.array(self._stream.starts, np.int64)
        return self._known_starts

    @property
    def size_bytes(self) -> int:
        """How long the stream is."""
        return int(self._starts[-1])

    def _corrupt(self, what: str) -> CorruptLog:
        return CorruptLog(f"variable-length data: {what}", where=self._path, remedy=REMEDY)

    def check(self, offsets: Values) -> npt.NDArray[np.int64]:
        """Return offsets as int64.

        Raises:
            CorruptLog: One lies past the end of the data.
        """
        if offsets.size and int(offsets.max()) + _LENGTH_BYTES > self.size_bytes:
            raise self._corrupt(f"a value at {int(offsets.max())} of {self.size_bytes} bytes")
        return offsets.astype(np.int64)

    def spread_bytes(self, offsets: Values) -> int:
        """Return how far apart the values lie: what reading them at once takes."""
        return int(offsets.max()) - int(offsets.min()) if offsets.size else 0

    def values(self, offsets: Values) -> tuple[Bytes, npt.NDArray[np.int64]]:
        """Return the values at (N,) offsets, one after the other, and their lengths.

        Raises:
            CorruptLog: An offset or a length leads past the end of the data.
        """
        at = self.check(offsets)
        if not at.size:
            return np.empty(0, np.uint8), at
        if at.size > 1 and self.spread_bytes(at) > BATCH_BYTES:
            half = at.size // 2
            parts = [self.values(at[:half]), self.values(at[half:])]
            return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        start, last = int(at.min()), int(at.max())
        length = int(self._bytes(last, last + _LENGTH_BYTES).view("<u4")[0])
        if last + _LENGTH_BYTES + length > self.size_bytes:
            raise self._corrupt(f"a value of {length} bytes at {last} of {self.size_bytes}")
        data = self._bytes(start, last + _LENGTH_BYTES + length)
        return self._gathered(data, at - start)

    def _gathered(self, data: Bytes, at: Values) -> tuple[Bytes, npt.NDArray[np.int64]]:
        from platform_lib.logs.mdf4.kernels import gather

        heads = data[at[:, None] + np.arange(_LENGTH_BYTES)]
        lengths = heads.view("<u4").reshape(-1).astype(np.int64)
        starts = at + _LENGTH_BYTES
        if bool(np.any(starts + lengths > data.size)) or _overlap(at, lengths):
            raise self._corrupt("values overlap")
        if int(lengths.sum()) > max(BATCH_BYTES, data.size):
            raise self._corrupt("values are told several times, and take more than there is")
        return gather(data, starts, lengths), lengths

    def _bytes(self, start: int, stop: int) -> Bytes:
        first = int(np.searchsorted(self._starts, start, "right")) - 1
        parts = []
        while start < stop:
            begin, end = int(self._starts[first]), int(self._starts[first + 1])
            parts.append(self._piece(first)[start - begin : min(stop, end) - begin])
            start, first = end, first + 1
        return parts[0].copy() if len(parts) == 1 else np.concatenate(parts)

    def _piece(self, number: int) -> Bytes:
        piece = self._cache.get(number)
        if piece is not None:
            self._cache.move_to_end(number)
            return piece
        piece = self._cache[number] = self._stream.piece(number)
        while len(self._cache) > 1 and sum(item.size for item in self._cache.values()) > _CACHE_BYTES:
            self._cache.popitem(last=False)
        return piece


def _overlap(at: Values, lengths: Values) -> bool:
    """Whether a value begins inside another; several records may have the same one."""
    if bool(np.any(at[1:] <= at[:-1])):
        at, first = np.unique(at, return_index=True)
        lengths = lengths[first]
    return bool(np.any(at[1:] < at[:-1] + _LENGTH_BYTES + lengths[:-1]))

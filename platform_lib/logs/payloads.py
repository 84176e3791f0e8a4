"""Message payloads as they lie in decompressed chunks, and as Arrow views over them without a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Index = npt.NDArray[np.int64]
Words = npt.NDArray[np.int32]
Buffer = Any  # whatever has the buffer protocol: bytes, a pyarrow buffer, an array
INLINE_BYTES = 12  # Source: Arrow columnar format 1.4, variable-size binary view layout
_NO_ROWS = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Payloads:
    """Payload k is ``buffers[buffer[k]][start[k] : start[k] + length[k]]``.

    Attributes:
        buffers: Where the bytes are.
        buffer: (N,) int32, each below ``len(buffers)``.
        start: (N,) int64, below 2^31.
        length: (N,) int64, below 2^31.
        prefix: (N, 3) int32: each payload's first 12 bytes, whatever follows a shorter one; ``None``: not at hand.
    """

    buffers: list[Buffer]
    buffer: npt.NDArray[np.int32]
    start: Index
    length: Index
    prefix: Words | None = None

    @classmethod
    def of(cls, payloads: Sequence[bytes | bytearray]) -> Payloads:
        """Join separate payloads into one buffer; a single one is not copied."""
        length = np.array([len(item) for item in payloads], np.int64)
        return cls(
            [payloads[0] if len(payloads) == 1 else b"".join(payloads)],
            np.zeros(length.size, np.int32),
            np.cumsum(length) - length,
            length,
        )

    @classmethod
    def chain(cls, pieces: Sequence[Payloads]) -> Payloads:
        """Return the payloads of all pieces, one piece after the other."""
        if len(pieces) == 1:
            return pieces[0]
        base = np.cumsum([0, *(len(piece.buffers) for piece in pieces)])
        prefixes = [piece.prefix for piece in pieces if piece.prefix is not None]
        return cls(
            [buffer for piece in pieces for buffer in piece.buffers],
            np.concatenate([piece.buffer + np.int32(first) for piece, first in zip(pieces, base, strict=False)]),
            np.concatenate([_NO_ROWS, *(piece.start for piece in pieces)]),
            np.concatenate([_NO_ROWS, *(piece.length for piece in pieces)]),
            np.concatenate(prefixes) if len(prefixes) == len(pieces) > 0 else None,
        )

    def each(self) -> Iterator[bytes]:
        """Yield every payload, copied."""
        sources = [memoryview(buffer) for buffer in self.buffers]
        stops = (self.start + self.length).tolist()
        for number, start, stop in zip(self.buffer.tolist(), self.start.tolist(), stops, strict=True):
            yield bytes(sources[number][start:stop])

    def take(self, rows: slice | Index) -> Payloads:
        """Return some of the payloads; buffers that none of them needs are let go."""
        prefix = None if self.prefix is None else self.prefix[rows]
        buffer = self.buffer[rows]
        used = np.bincount(buffer, minlength=len(self.buffers)) > 0
        if used.all():
            return Payloads(self.buffers, buffer, self.start[rows], self.length[rows], prefix)
        renumbered = (np.cumsum(used) - 1).astype(np.int32)
        buffers = [self.buffers[number] for number in np.flatnonzero(used).tolist()]
        return Payloads(buffers, renumbered[buffer], self.start[rows], self.length[rows], prefix)

    def joined(self) -> tuple[npt.NDArray[np.uint8], Index]:
        """Return one buffer that holds every payload, and where each starts; no copy if there is one already."""
        if len(self.buffers) == 1:
            return np.frombuffer(self.buffers[0], np.uint8), self.start
        return self.packed()

    def packed(self) -> tuple[npt.NDArray[np.uint8], Index]:
        """Copy the payloads, one directly after the other; return the copy and where each starts."""
        ends = np.cumsum(self.length)
        if not ends.size or not ends[-1]:
            return np.zeros(0, np.uint8), ends - self.length
        if int(self.length[0]) * self.length.size == ends[-1] and (self.length == self.length[0]).all():
            return self._packed_equal(int(self.length[0])), ends - self.length
        sources = [memoryview(buffer) for buffer in self.buffers]
        stops = (self.start + self.length).tolist()
        rows = zip(self.buffer.tolist(), self.start.tolist(), stops, strict=True)
        whole = b"".join([sources[number][start:stop] for number, start, stop in rows])
        return np.frombuffer(whole, np.uint8), ends - self.length

    def _packed_equal(self, width: int) -> npt.NDArray[np.uint8]:
        whole = np.empty(self.length.size, f"V{width}")
        for number, source in enumerate(self.buffers):
            rows = np.flatnonzero(self.buffer == number) if len(self.buffers) > 1 else slice(None)
            starts = self.start[rows]
            whole[rows] = anywhere(source, whole.dtype)[starts]
        return whole.view(np.uint8)

    def views(self) -> pa.Array:
        """Return the payloads as binary_view over their buffers, without copying them."""
        table = np.empty((self.length.size, 4), np.int32)
        table[:, 0] = self.length
        table[:, 1:] = self._prefix() if self.prefix is None else self.prefix
        short = self.length <= INLINE_BYTES
        if short.any():
            long = np.flatnonzero(~short)
            table[long, 2], table[long, 3] = self.buffer[long], self.start[long]
            _clear_after(table, np.flatnonzero(short))
        else:
            table[:, 2], table[:, 3] = self.buffer, self.start
        parts = [None, pa.py_buffer(table), *(pa.py_buffer(buffer) for buffer in self.buffers)]
        return pa.Array.from_buffers(pa.binary_view(), self.length.size, parts)

    def _prefix(self) -> Words:
        result = np.zeros((self.length.size, 3), np.int32)
        for number, source in enumerate(self.buffers):
            rows = np.flatnonzero(self.buffer == number)
            result[rows] = prefixes(source, self.start[rows])
        return result


def anywhere(source: Buffer, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return an array whose element k is the value of type `kind` that begins at byte k of `source`."""
    size = memoryview(source).nbytes
    return np.ndarray((max(0, size - kind.itemsize + 1),), kind, buffer=source if size else b"\0", strides=(1,))


_PREFIX = np.dtype("V12")


def prefixes(source: Buffer, start: Index) -> Words:
    """Return (N, 3) int32: the 12 bytes from each start, with zeros past the source's end."""
    view = anywhere(source, _PREFIX)
    result = np.zeros(start.size, _PREFIX)
    inside = start < view.size
    result[inside] = view[start[inside]]
    for row in np.flatnonzero(~inside).tolist():
        result[row] = bytes(memoryview(source)[int(start[row]) :]).ljust(INLINE_BYTES, b"\0")
    return result.view(np.int32).reshape(-1, 3)


def _clear_after(table: npt.NDArray[np.int32], rows: Index) -> None:
    """Zero the inline bytes after each short payload, as the layout asks for."""
    inline = table[rows].view(np.uint8).reshape(-1, 16)
    inline[:, 4:][np.arange(INLINE_BYTES) >= table[rows, :1]] = 0
    table[rows] = inline.view(np.int32)


@dataclass(frozen=True, slots=True)
class Rows:
    """Some messages of one topic, in time order.

    Attributes:
        log_time_ns: (N,) int64, ascending.
        publish_time_ns: (N,) int64, or ``None`` where the format has no such time.
        payloads: Their N payloads.
    """

    log_time_ns: Index
    publish_time_ns: Index | None
    payloads: Payloads

    @classmethod
    def chain(cls, pieces: Sequence[Rows]) -> Rows:
        """Return the rows of all pieces, one piece after the other."""
        if len(pieces) == 1:
            return pieces[0]
        publish = [piece.publish_time_ns for piece in pieces if piece.publish_time_ns is not None]
        return cls(
            np.concatenate([piece.log_time_ns for piece in pieces]),
            np.concatenate(publish) if len(publish) == len(pieces) else None,
            Payloads.chain([piece.payloads for piece in pieces]),
        )

    def take(self, rows: slice | Index) -> Rows:
        """Return some of the rows."""
        publish = None if self.publish_time_ns is None else self.publish_time_ns[rows]
        return Rows(self.log_time_ns[rows], publish, self.payloads.take(rows))

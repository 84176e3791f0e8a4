"""Records in memory, and a data stream cut into them: whichever way the file stores them, columns read the same."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from platform_lib.errors import CorruptLog
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.mdf4.inflate import SLICE_BYTES, in_order, inflate, inflate_in_parts, is_large, slices
from platform_lib.logs.mdf4.model import Codec, Fragment
from platform_lib.logs.mdf4.pipeline import Pipeline
from platform_lib.logs.mdf4.source import FileBytes
from platform_lib.logs.model import BATCH_ROWS

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
_AHEAD_BYTES = 48 << 20
_PREPARED_BYTES = 8 << 20
_LEAST_PLANES_BYTES = 256 << 10  # smaller transposed pieces are joined with their neighbours
_LEAST_JOINED_BYTES = 1 << 20  # so are other pieces smaller than this


class Records(Protocol):
    """Consecutive records of one group."""

    @property
    def rows(self) -> int:
        """How many."""

    def matrix(self, offset: int, count: int) -> Bytes:
        """Return (rows, count) bytes of every record."""

    def unpack(self, fields: Values, at: Values, out: Bytes) -> None:
        """Unpack numbers into `out`, see `platform_lib.logs.mdf4.unpack`."""

    def slice(self, start: int, stop: int) -> Records:
        """Return some of them."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Records one after the other: `data` is (rows, record bytes), contiguous."""

    data: Bytes

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.data.shape[0])

    def matrix(self, offset: int, count: int) -> Bytes:
        """Return (rows, count) bytes of every record."""
        return self.data[:, offset : offset + count]

    def unpack(self, fields: Values, at: Values, out: Bytes) -> None:
        """Unpack numbers into `out`."""
        from platform_lib.logs.mdf4.unpack import unpack

        unpack(self.data, fields, at, out, planes=False, first=0, rows=self.rows)

    def slice(self, start: int, stop: int) -> Records:
        """Return some of them."""
        return Rows(self.data[start:stop])


@dataclass(frozen=True, slots=True)
class Planes:
    """Records stored transposed: `data` is (record bytes, all rows), contiguous, byte k of every record in row k.

    Attributes:
        data: The bytes.
        start: The first record of these.
        stop: One past the last.
    """

    data: Bytes
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many."""
        return self.stop - self.start

    def matrix(self, offset: int, count: int) -> Bytes:
        """Return (rows, count) bytes of every record."""
        return np.ascontiguousarray(self.data[offset : offset + count, self.start : self.stop].T)

    def unpack(self, fields: Values, at: Values, out: Bytes) -> None:
        """Unpack numbers into `out`."""
        from platform_lib.logs.mdf4.unpack import unpack

        unpack(self.data, fields, at, out, planes=True, first=self.start, rows=self.rows)

    def slice(self, start: int, stop: int) -> Records:
        """Return some of them."""
        return Planes(self.data, self.start + start, min(self.start + stop, self.stop))


@dataclass(frozen=True, slots=True)
class _Piece:
    """A fragment and which of its bytes are wanted."""

    fragment: Fragment
    start: int
    stop: int


class RecordStream:
    """The records of a stream of fragments, by number.

    Attributes:
        record_bytes: Bytes of one.
        rows: How many whole records there are.
        starts: Where each fragment starts in the stream, and where the last one ends.
    """

    def __init__(self, source: FileBytes, pipeline: Pipeline, fragments: Sequence[Fragment], record_bytes: int) -> None:
        """Lay out the stream.

        Raises:
            UnsupportedLog: A fragment is too large and cannot be read in parts.
        """
        self._source = source
        self._pipeline = pipeline
        self._prepared: dict[int, Future[Bytes]] = {}
        self.record_bytes = record_bytes
        unit = max(record_bytes, SLICE_BYTES // record_bytes * record_bytes)
        self._fragments = [part for item in fragments for part in slices(source, item, unit) if part.size_bytes]
        self.starts = [0]
        for part in self._fragments:
            self.starts.append(self.starts[-1] + part.size_bytes)
        self.rows = self.starts[-1] // record_bytes

    def read(self, start: int, stop: int) -> Iterator[Records]:
        """Yield records `start` to `stop`, in order, a few MiB at a time.

        Raises:
            CorruptLog: A fragment does not inflate, or the stream is shorter than it promised.
        """
        size = self.record_bytes
        target = max(size, min(BATCH_ROWS * size, _LEAST_JOINED_BYTES))
        held: list[Bytes] = []
        held_bytes, left = 0, (stop - start) * size
        for data, columns in self._pieces(start * size, stop * size):
            left -= data.size
            whole = columns == size and not held and data.size % size == 0
            if whole and (data.size >= _LEAST_PLANES_BYTES or not left):
                yield Planes(data.reshape(size, -1), 0, data.size // size)
                continue
            held.append(in_order(data, columns))
            held_bytes += data.size
            if held_bytes >= target or not left:
                joined = held[0] if len(held) == 1 else np.concatenate(held)
                count = joined.size // size
                if count:
                    yield Rows(joined[: count * size].reshape(count, size))
                held = [joined[count * size :]] if joined.size > count * size else []
                held_bytes = joined.size - count * size
        if held or left:
            raise CorruptLog("a group's data ends inside a record", where=self._source.path, remedy=REMEDY)

    def prepare(self) -> None:
        """Have the first fragments inflated by another thread, for a read that is likely to come."""
        size = 0
        for fragment in () if self._source.remote else self._fragments:
            size += fragment.size_bytes
            if fragment.codec in (Codec.NONE, Codec.ZERO) or size > _PREPARED_BYTES:
                break
            begun = None if fragment.offset in self._prepared else self._pipeline.begin(inflate, self._source, fragment)
            if begun is not None:
                self._prepared[fragment.offset] = begun

    def piece(self, number: int) -> Bytes:
        """Return one fragment's data, in order."""
        return self._inflate(_Piece(self._fragments[number], 0, self._fragments[number].size_bytes), ordered=True)[0]

    def pieces(self) -> Iterator[Bytes]:
        """Yield the whole stream in order, piece by piece, whatever the records."""
        for data, columns in self._pieces(0, self.starts[-1]):
            yield in_order(data, columns)

    def _pieces(self, start: int, stop: int) -> Iterator[tuple[Bytes, int]]:
        """Yield data and, where it is still transposed, its row's bytes."""
        tasks: list[_Piece] = []
        if start < stop:
            for at in range(bisect_right(self.starts, start) - 1, len(self._fragments)):
                begin, fragment = self.starts[at], self._fragments[at]
                if begin >= stop:
                    break
                tasks.append(_Piece(fragment, max(0, start - begin), min(fragment.size_bytes, stop - begin)))
        for piece in self._split(tasks):
            if isinstance(piece, _Piece):
                yield from self._in_parts(piece)
            else:
                yield piece

    def _split(self, tasks: list[_Piece]) -> Iterator[_Piece | tuple[Bytes, int]]:
        """Inflate ahead what is small enough to be held; hand back what is not."""
        if not any(is_large(task.fragment) for task in tasks):
            yield from self._pipeline.run(tasks, self._inflate, lambda task: task.fragment.size_bytes, _AHEAD_BYTES)
            return
        for task in tasks:
            yield task if is_large(task.fragment) else self._inflate(task)

    def _inflate(self, piece: _Piece, *, ordered: bool = False) -> tuple[Bytes, int]:
        fragment = piece.fragment
        if fragment.codec is Codec.NONE:
            size = piece.stop - piece.start
            return inflate(self._source, Fragment(fragment.offset + piece.start, size, size, Codec.NONE)), 0
        begun = self._prepared.pop(fragment.offset, None)
        data = inflate(self._source, fragment) if begun is None or begun.cancel() else begun.result()
        if (piece.start, piece.stop) == (0, fragment.size_bytes) and not ordered:
            return data, fragment.columns
        return in_order(data, fragment.columns)[piece.start : piece.stop], 0

    def _in_parts(self, piece: _Piece) -> Iterator[tuple[Bytes, int]]:
        at = 0
        for data in inflate_in_parts(self._source, piece.fragment):
            wanted = data[max(0, piece.start - at) : max(0, piece.stop - at)]
            at += data.size
            if wanted.size:
                yield wanted, 0

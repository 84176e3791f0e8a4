"""One channel group as a stream of record batches: time, window, columns, and where in the file which times are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.errors import CorruptLog, PlatformError
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.instant_kernels import descends
from platform_lib.logs.mdf4.columns import Batch, Column, vector
from platform_lib.logs.mdf4.frames import TIME, FrameChunk, FrameKind
from platform_lib.logs.mdf4.numbers import Number, Numbers
from platform_lib.logs.mdf4.pipeline import Pipeline
from platform_lib.logs.mdf4.rows import Follower, RowSource
from platform_lib.logs.model import BATCH_BYTES, BATCH_ROWS, TIMESTAMP, Window

Index = npt.NDArray[np.int64]
Values = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
_PIECES_AHEAD = 2
TIME_FIELD = pa.field(TIMESTAMP, pa.int64(), nullable=False)


@dataclass(frozen=True, slots=True)
class Span:
    """The times of some consecutive rows: earliest and latest."""

    first_row: int
    stop_row: int
    least_ns: int
    most_ns: int

    def meets(self, window: Window) -> bool:
        """Whether one of the rows may lie in a window."""
        after = window.start_ns is None or self.most_ns >= window.start_ns
        return after and (window.stop_ns is None or self.least_ns < window.stop_ns)


@dataclass(slots=True)
class Pass:
    """What one pass over a group's rows has found out about its times."""

    spans: list[Span] = field(default_factory=list)
    backwards: bool = False
    last_ns: int | None = None

    def note(self, first_row: int, times: Index) -> Span:
        """Add the next rows' times."""
        first = int(times[0])
        self.backwards |= self.last_ns is not None and first < self.last_ns
        if not descends(times):
            span = Span(first_row, first_row + times.size, first, int(times[-1]))
        else:
            self.backwards = True
            span = Span(first_row, first_row + times.size, int(times.min()), int(times.max()))
        self.last_ns = int(times[-1])
        self.spans.append(span)
        return span


class MasterTimes:
    """Reads the times of a group from its own master channel.

    Attributes:
        number: What a time is made of, where that is one number a record, which is read together with others.
    """

    def __init__(self, master: Column, to_ns: Callable[[Values], Index]) -> None:
        self._master = master
        self._to_ns = to_ns
        self.number = None if master.finish is None else master.number

    def __call__(self, batch: Batch) -> Index:
        """Return a batch's times.

        Raises:
            CorruptLog: One is no time.
        """
        return self._to_ns(self._master.read_valid(batch).to_numpy())

    def of(self, values: Values) -> Index:
        """Return the times of values of `number`; errors as above."""
        finish = self._master.finish
        return self._to_ns(values if finish is None or finish is vector else finish(values, None).to_numpy())


class GroupReader:
    """A readable channel group.

    Attributes:
        name: Its stream's name.
        rows: How many rows it has.
        columns: Its columns, without the time.
        schema: Of its batches.
        time_source: Reads the times of a batch, or the group that has them.
    """

    def __init__(
        self,
        path: str,
        name: str,
        rows: int,
        columns: Sequence[Column],
        source: RowSource,
        times: MasterTimes | GroupReader,
        note: Callable[[str], None],
        pipeline: Pipeline,
    ) -> None:
        self._path = path
        self.name = name
        self.rows = rows
        self.columns = tuple(columns)
        self.schema = pa.schema([TIME_FIELD, *(column.field() for column in columns)])
        self._source = source
        self.time_source = times
        self._note = note
        self._pipeline = pipeline
        self._spans: tuple[Span, ...] | None = None

    def read(self, window: Window, wanted: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
        """Yield rows in recorded order.

        Raises:
            CorruptLog: The bytes contradict the format.
        """
        chosen = [column for column in self.columns if wanted is None or column.name in wanted]
        schema = self.schema if wanted is None else pa.schema([TIME_FIELD, *(column.field() for column in chosen)])
        alone = any(column.signal_data is not None for column in chosen)  # one cache for all of their values
        if window.everything and not alone and isinstance(self.time_source, MasterTimes) and self.time_source.number:
            with translated(self._path, f"reading group '{self.name}'"):
                yield from self._read_whole(chosen, schema, self.time_source, self.time_source.number)
            return
        numbers = Numbers([column.number for column in chosen if column.number is not None])

        def decode(piece: tuple[Batch, Index]) -> pa.RecordBatch:
            batch, times = piece
            out, bounds = numbers.bytes(batch.records)
            arrays = [vector(times, None), *self._arrays(chosen, batch, out, bounds)]
            whole = pa.RecordBatch.from_arrays(arrays, schema=schema)
            return whole if window.everything else inside(whole, times, window)

        with translated(self._path, f"reading group '{self.name}'"):
            pieces = self._pieces(window, chosen)
            found = map(decode, pieces) if alone else self._pipeline.run(pieces, decode, _one, _PIECES_AHEAD)
            yield from (batch for batch in found if batch.num_rows)

    def follow(self) -> None:
        """Have the first records fetched as soon as the group of the same file that is read next leaves threads idle."""
        self._pipeline.afterwards(self._source.prepare)

    def _read_whole(
        self, chosen: Sequence[Column], schema: pa.Schema, times_of: MasterTimes, time: Number
    ) -> Iterator[pa.RecordBatch]:
        """Yield every row; the time is read in the same walk over the records as the other numbers."""
        numbers = Numbers([time, *(column.number for column in chosen if column.number is not None)])

        def decode(batch: Batch) -> tuple[pa.RecordBatch, int, Index]:
            out, bounds = numbers.bytes(batch.records)
            start, stop = bounds.pop(0)
            times = times_of.of(out[start:stop].view(time.dtype))
            arrays = [vector(times, None), *self._arrays(chosen, batch, out, bounds)]
            return pa.RecordBatch.from_arrays(arrays, schema=schema), batch.first_row, times

        found, known = Pass(), self._spans is not None
        for whole, first_row, times in self._pipeline.run(self._bounded(), decode, _one, _PIECES_AHEAD):
            if not known:
                found.note(first_row, times)
            yield whole
        if not known:
            self._finish(found)

    def _bounded(self) -> Iterator[Batch]:
        """Yield all batches, none of more than `BATCH_ROWS` rows."""
        for batch in self._source.batches(0, self.rows):
            rows = batch.records.rows
            if rows <= BATCH_ROWS:
                yield batch
                continue
            for start in range(0, rows, BATCH_ROWS):
                yield _slice(batch, start, min(rows, start + BATCH_ROWS))

    def _arrays(
        self, columns: Sequence[Column], batch: Batch, out: Bytes, bounds: Sequence[tuple[int, int]]
    ) -> Iterator[pa.Array]:
        """Yield columns of a batch whose numbers lie in `out`, most of them as they are there."""
        memory, places = pa.py_buffer(out), iter(bounds)
        for column in columns:
            if column.number is None:
                yield self._column(column, batch)
                continue
            start, stop = next(places)
            array = column.read_plain(batch, memory.slice(start, stop - start))
            yield self._column(column, batch, out[start:stop].view(column.number.dtype)) if array is None else array

    def _column(self, column: Column, batch: Batch, values: Values | None = None) -> pa.Array:
        try:
            return column.read(batch, values)
        except PlatformError:
            raise
        except (ValueError, ArithmeticError, LookupError, pa.ArrowException) as error:
            what = f"channel '{column.name}' cannot be read ({error})"
            raise CorruptLog(what, where=self._path, remedy=REMEDY) from error

    def span(self) -> tuple[int, int] | None:
        """Return the earliest time and one past the latest; ``None`` without rows. Reads the time channel once."""
        if not self.rows:
            return None
        if self._spans is None:
            with translated(self._path, f"reading the times of group '{self.name}'"):
                for _ in self._pieces(Window(), ()):
                    pass
        spans = self._spans or ()
        return min(item.least_ns for item in spans), max(item.most_ns for item in spans) + 1

    def times(self, start: int, stop: int) -> Iterator[Index]:
        """Yield the times of rows `start` to `stop`."""
        for _, times in self._timed(start, stop):
            yield times

    def _pieces(self, window: Window, columns: Sequence[Column]) -> Iterator[tuple[Batch, Index]]:
        """Yield batches of at most `BATCH_ROWS` rows, those that a window may concern."""
        if self._spans is not None:
            for start, stop in _ranges(self._spans, window):
                for batch, times in self._timed(start, stop):
                    yield from _split(batch, times, columns)
            return
        found = Pass()
        for batch, times in self._timed(0, self.rows):
            for piece, piece_times in _split(batch, times, ()):
                if found.note(piece.first_row, piece_times).meets(window):
                    yield from _split(piece, piece_times, columns)
        self._finish(found)

    def _finish(self, found: Pass) -> None:
        """Keep what a whole pass found; another may have finished before."""
        if self._spans is None:
            self._spans = tuple(found.spans)
            if found.backwards:
                self._note(f"group '{self.name}': its time channel runs backwards in places")

    def _timed(self, start: int, stop: int) -> Iterator[tuple[Batch, Index]]:
        if isinstance(self.time_source, GroupReader):
            follower = Follower(iter(self.time_source.times(start, stop)))
            for batch in self._source.batches(start, stop):
                yield batch, follower.take(batch.records.rows)
            return
        for batch in self._source.batches(start, stop):
            yield batch, self.time_source(batch)

    def cut_to_whole_rows(self) -> CorruptLog | None:
        """Read everything, and keep the rows before the first that cannot be read; return why it cannot."""
        batches = iter(self._source.batches(0, self.rows))
        try:
            for batch in batches:
                for start in range(0, batch.records.rows, BATCH_ROWS):
                    piece = _slice(batch, start, min(batch.records.rows, start + BATCH_ROWS))
                    error = self._error(piece)
                    if error is not None:
                        self.rows = piece.first_row + self._whole(piece)
                        return error
        except CorruptLog as error:
            self.rows = 0
            return error
        return None

    def _error(self, batch: Batch) -> CorruptLog | None:
        try:
            if not isinstance(self.time_source, GroupReader):
                self.time_source(batch)
            for piece, _ in _split(batch, np.empty(batch.records.rows, np.int64), self.columns):
                for column in self.columns:
                    self._column(column, piece)
        except CorruptLog as error:
            return error
        return None

    def _whole(self, batch: Batch) -> int:
        """Return how many rows of a batch come before the first that cannot be read."""
        good, bad = 0, batch.records.rows
        while bad - good > 1:
            middle = (good + bad) // 2
            if self._error(_slice(batch, 0, middle)) is None:
                good = middle
            else:
                bad = middle
        return good

    # -- bus frames ----------------------------------------------------------------------------------------------

    def chunks(self, kind: FrameKind, fields: Sequence[str]) -> Iterator[FrameChunk]:
        """Yield raw frames, see `platform_lib.logs.mdf4.frames.FrameGroup`."""
        wanted = {name: column for name in fields for column in self.columns if column.name == f"{kind}.{name}"}
        with translated(self._path, f"reading the bus frames of group '{self.name}'"):
            for batch, times in self._pieces(Window(), tuple(wanted.values())):
                yield _frames(batch, times, wanted)


def _one(_: object) -> int:
    return 1


def _frames(batch: Batch, times: Index, wanted: dict[str, Column]) -> FrameChunk:
    from platform_lib.logs.mdf4.columns import invalid

    columns: dict[str, Values] = {TIME: times}
    valid: dict[str, npt.NDArray[np.bool_]] = {}
    sizes: dict[str, Index] = {}
    for name, column in wanted.items():
        if column.sized is not None:
            columns[name], sizes[name] = column.sized(batch)
        elif column.raw is not None:
            values = column.raw(batch)
            columns[name] = values if column.channel.array is None else values.reshape(times.size, -1)
        else:
            continue
        mask = invalid(column.channel, batch)
        if mask is not None:
            valid[name] = ~mask
    return FrameChunk(times.size, columns, batch.first_row, valid, sizes)


def _ranges(spans: Sequence[Span], window: Window) -> list[tuple[int, int]]:
    """Return the ranges of rows that a window may concern, neighbours joined."""
    found: list[tuple[int, int]] = []
    for span in spans:
        if span.meets(window):
            joins = found and found[-1][1] == span.first_row
            first = found.pop()[0] if joins else span.first_row
            found.append((first, span.stop_row))
    return found


def _split(batch: Batch, times: Index, columns: Sequence[Column]) -> Iterator[tuple[Batch, Index]]:
    """Cut a batch into ones of bounded rows, and bounded bytes of variable-length values."""
    rows, most = batch.records.rows, BATCH_ROWS
    variable = [column for column in columns if column.signal_data is not None]
    for column in variable if rows > 1 else ():
        most = min(most, max(1, rows * BATCH_BYTES // max(1, column.spread_bytes(batch.records))))
    if rows <= most:
        yield batch, times
        return
    for start in range(0, rows, most):
        stop = min(rows, start + most)
        # Values of uneven length may need another cut.
        yield from _split(_slice(batch, start, stop), times[start:stop], variable)


def _slice(batch: Batch, start: int, stop: int) -> Batch:
    flags = None if batch.flags is None else batch.flags[start:stop]
    return Batch(batch.records.slice(start, stop), batch.first_row + start, flags)


def inside(batch: pa.RecordBatch, times: Index, window: Window) -> pa.RecordBatch:
    """Return the rows of a batch that lie in a window."""
    keep = np.ones(times.size, bool)
    if window.start_ns is not None:
        keep &= times >= window.start_ns
    if window.stop_ns is not None:
        keep &= times < window.stop_ns
    if keep.all():
        return batch
    chosen = np.flatnonzero(keep)
    if not chosen.size:
        return batch.slice(0, 0)
    if chosen[-1] - chosen[0] + 1 == chosen.size:
        return batch.slice(int(chosen[0]), chosen.size)
    return batch.filter(pa.array(keep))

"""MDF 3, and what of MDF 4 the fast reader leaves: one stream a channel group, through asammdf.

The file's structure has been proven before.

At open every group's time channel is read, so that `Stream.rows` is a fact; of an object in a store only when it is asked
for, since that fetches the group's records. A group is read whole up to 256 MiB of records, in row ranges beyond that.
"""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from asammdf import MDF
from asammdf.blocks.mdf_v4 import MDF4

from platform_lib.errors import CorruptLog
from platform_lib.logs import mdf3_blocks, mdf_clock
from platform_lib.logs.bus.database import Databases
from platform_lib.logs.bus.streams import BusStreams
from platform_lib.logs.bytes_source import ByteSource, SourceFile
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.mdf4.formula import is_formula
from platform_lib.logs.mdf4.frames import FRAME_KINDS, TIME, FrameChunk, FrameKind
from platform_lib.logs.mdf4.source import FileBytes
from platform_lib.logs.mdf_columns import Column, arrow_type_of, gives_text, physical
from platform_lib.logs.model import BATCH_ROWS, TIMESTAMP, Attachment, Kind, Report, Span, Stream, Window, unique

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Index = npt.NDArray[np.int64]
_READ_BYTES = 256 << 20
_SYNC_TIME = 1  # cn_sync_type. Source: ASAM MDF 4.2
_BUS_EVENT_FLAG = 0x2  # cg_flags
_BYTE_TYPES_V4 = frozenset({10, 11, 12})
_TEXT_TYPES = {6: "latin-1", 7: "utf-8", 8: "utf-16-le", 9: "utf-16-be"}
_VLSD = 1
_TIME_FIELD = pa.field(TIMESTAMP, pa.int64(), nullable=False)

# asammdf prints its own complaints on standard error; what matters of them is raised or reported here.
logging.getLogger("asammdf").setLevel(logging.CRITICAL)


def _finalise(mdf: MDF4) -> None:
    # asammdf's own finaliser fails, loudly, on an object whose constructor had failed on a damaged file.
    if getattr(mdf, "_file", None) is not None and hasattr(mdf, "header"):
        mdf.close()
    elif hasattr(mdf, "_tempfile"):
        mdf._tempfile.close()  # noqa: SLF001 - it would be left to the collector, which complains


MDF4.__del__ = _finalise


@dataclass(slots=True)
class Group:
    """A readable channel group.

    Attributes:
        index: Its index in the file.
        columns: Its channels but the time channel.
        record_bytes: Bytes of one record.
        declared: How many whole records it should have.
        load: Reads its time channel: (N,) int64, UTC.
    """

    index: int
    columns: tuple[Column, ...]
    record_bytes: int
    declared: int
    load: Callable[[], Index]
    _time_ns: Index | None = None

    @property
    def time_ns(self) -> Index:
        """(N,) int64, UTC; read when first asked for."""
        if self._time_ns is None:
            self._time_ns = self.load()
        return self._time_ns

    @property
    def rows(self) -> int:
        """How many records can be read."""
        return self.declared if self._time_ns is None else int(self._time_ns.size)

    @property
    def ascending(self) -> bool:
        """Whether its time never runs backwards."""
        return bool(np.all(self.time_ns[1:] >= self.time_ns[:-1]))

    def span(self) -> Span | None:
        """Return the earliest time and one past the latest."""
        times = self.time_ns
        return (int(times.min()), int(times.max()) + 1) if times.size else None


class MdfSource:
    """The `Source` of one MDF file."""

    attachments: tuple[Attachment, ...] = ()

    def __init__(self, source: ByteSource, mdf: MDF, databases: Databases, report: Report, start_ns: int) -> None:
        self._path = source.name
        self._source = source
        self._mdf = mdf
        self._version = int(mdf.version[0])
        self.report = report
        self.metadata = _header_fields(mdf.header)
        self._start_ns = start_ns
        self._groups: dict[str, Group] = {}
        self._bus = BusStreams(databases, report)
        self._cut: set[int] = set()
        self._lock = threading.Lock()  # asammdf moves one position in one file: any thread may read, one at a time
        self.streams: tuple[Stream, ...] = ()

    def prepare(self, limits: list[int | None]) -> None:
        """Read every group's channels and time channel. `limits`: whole rows of each group, where known."""
        streams: list[Stream] = []
        names = [f"{index}:{self._acquisition(index)}" for index in range(len(self._mdf.groups))]
        for index, name in enumerate(names):
            with translated(self._path, f"opening group '{name}'"):
                reason = self._not_time(index)
                if reason is not None:
                    self.report.unsupported[name] = reason
                    self.report.problems.append(f"group '{name}' is not read: {reason}")
                    continue
                limit = limits[index] if index < len(limits) else None
                if limit == 0 and self._mdf.groups[index].channel_group.cycles_nr:
                    self.report.unsupported[name] = "none of its records is whole"
                    continue
                group = self._group(index, limit, name)
                self._groups[name] = group
                streams.append(self._stream(name, self._kind(index), group))
        self.streams = (*streams, *self._bus_streams())
        self.report.readers.update({stream.name: "reference" for stream in streams})

    def add_group(self, index: int, name: str, rows: int) -> Stream:
        """Read the channels and time channel of one group of a file that is otherwise read by others.

        Raises:
            CorruptLog: asammdf does not read it.
        """
        with translated(self._path, f"opening group '{name}'"):
            group = self._group(index, rows, name)
            self._groups[name] = group
            return self._stream(name, self._kind(index), group)

    # -- opening -------------------------------------------------------------------------------------------------

    def _acquisition(self, index: int) -> str:
        """Return a group's acquisition name; MDF 3 has none, its comment's first line stands for it."""
        group = self._mdf.groups[index].channel_group
        if self._version >= 4:
            return str(group.acq_name or "")
        return next(iter(str(group.comment or "").splitlines()), "")

    def _kind(self, index: int) -> Kind:
        group = self._mdf.groups[index]
        if self._version >= 4 and group.channel_group.flags & _BUS_EVENT_FLAG:
            if any(channel.name.startswith("CAN_") for channel in group.channels):
                return "can"
        return "signal"

    def _not_time(self, index: int) -> str | None:
        master = self._mdf.masters_db.get(index)
        if master is None:
            return "it has no time channel"
        channel = self._mdf.groups[index].channels[master]
        if not _harmless(channel.conversion):
            return f"its time channel has a formula that is not understood: '{channel.conversion.formula[:60]}'"
        if self._version >= 4 and channel.sync_type != _SYNC_TIME:
            kinds = {2: "angle", 3: "distance", 4: "index"}
            return f"its master channel '{channel.name}' is {kinds.get(channel.sync_type, 'not time')}"
        return None

    def _group(self, index: int, limit: int | None, name: str) -> Group:
        block = self._mdf.groups[index].channel_group
        declared = int(block.cycles_nr)
        record_bytes = int(block.samples_byte_nr) + int(getattr(block, "invalidation_bytes_nr", 0))
        rows = declared if limit is None else min(limit, declared)
        if rows < declared:
            self._cut.add(index)
        group = Group(
            index, self._columns(index, name), max(1, record_bytes), rows, partial(self._times, index, rows, name)
        )
        if not self._source.remote or limit is None or self.report.recovered:
            _ = group.time_ns  # so that its rows are a fact; of an object, the bytes there are have proven them
        return group

    def _times(self, index: int, rows: int, name: str) -> Index:
        with translated(self._path, f"reading the time channel of group '{name}'"), self._lock:
            master = np.asarray(self._mdf.get_master(index, record_count=rows)) if rows else np.empty(0)
        if master.size != rows:
            if not self.report.recovered:
                what = f"group '{name}' declares {rows} records, {master.size} can be read"
                raise CorruptLog(what, where=self._path, remedy=REMEDY)
            self.report.problems.append(f"group '{name}': {master.size} of {rows} records are whole")
        time_ns = mdf_clock.to_ns(self._path, name, master, self._start_ns)
        if np.any(time_ns[1:] < time_ns[:-1]):
            self.report.problems.append(f"group '{name}': its time channel runs backwards in places")
        return time_ns

    def _columns(self, index: int, stream: str) -> tuple[Column, ...]:
        group = self._mdf.groups[index]
        master = self._mdf.masters_db[index]
        chosen = [at for at in range(len(group.channels)) if at != master and not self._is_structure(index, at)]
        names = unique([group.channels[at].name for at in chosen], taken=(TIMESTAMP,))
        columns = []
        for at, name in zip(chosen, names, strict=True):
            column = self._column(index, at, name)
            if column is None:
                self.report.problems.append(
                    f"group '{stream}': channel '{name}' has a type or formula that is not read; left out"
                )
            else:
                columns.append(column)
        return tuple(columns)

    def _is_structure(self, index: int, at: int) -> bool:
        """Whether a channel only holds other channels, which are columns themselves."""
        if self._version < 4:
            return False
        parts = self._mdf.groups[index].channel_dependencies[at]
        return bool(parts) and all(isinstance(part, tuple) for part in parts)

    def _column(self, index: int, at: int, name: str) -> Column | None:
        channel = self._mdf.groups[index].channels[at]
        conversion = channel.conversion
        if not _harmless(conversion):
            return None
        as_text = gives_text(conversion, self._version)
        unit = (conversion and conversion.unit) or channel.unit or None
        encoding = _TEXT_TYPES.get(channel.data_type, "utf-8") if self._version >= 4 else "latin-1"
        probe = self._raw(index, [at], 0, 1)[0]
        encoding = probe.encoding or encoding
        if self._version >= 4 and channel.data_type in _BYTE_TYPES_V4:
            if channel.channel_type == _VLSD:
                self.report.problems.append(f"channel '{name}': byte strings are padded with zeros to the longest")
            arrow: pa.DataType | None = pa.binary()
        elif as_text:
            arrow = pa.string()
        else:
            sample = probe.samples
            arrow = arrow_type_of(sample if sample.dtype.names else physical(sample, conversion))
        if arrow is None:
            return None
        return Column(name, at, arrow, unit, conversion, as_text, encoding)

    def _raw(self, index: int, channels: list[int], offset: int, count: int) -> list[Any]:
        """Read raw samples of a group's channels; array channels come converted, since asammdf does both at once."""
        with self._lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if index in self._cut:  # `select` reads past `count`, into the damage; `get` does not
                return [
                    self._mdf.get(group=index, index=at, raw=True, record_offset=offset, record_count=count)
                    for at in channels
                ]
            wanted = [(None, index, at) for at in channels]
            return list(self._mdf.select(wanted, record_offset=offset, record_count=count, raw=True, copy_master=False))

    def _stream(self, name: str, kind: Kind, group: Group) -> Stream:
        schema = pa.schema([_TIME_FIELD, *(column.field() for column in group.columns)])
        return Stream(name=name, kind=kind, schema=schema, rows=group.rows, find_span=group.span)

    # -- CAN -----------------------------------------------------------------------------------------------------

    def _bus_streams(self) -> list[Stream]:
        streams: list[Stream] = []
        for group in self.frame_groups():
            with translated(self._path, f"decoding the bus frames of group '{group.name}'"):
                streams += self._bus.add(group)
        return streams

    def frame_groups(self) -> list[ReferenceFrames]:
        """Return the bus-logging groups, for `platform_lib.logs.mdf4.frames.iter_frames`."""
        found = []
        for name, group in self._groups.items():
            for kind in FRAME_KINDS:
                fields = tuple(c.name.removeprefix(f"{kind}.") for c in group.columns if c.name.startswith(f"{kind}."))
                if "ID" in fields:
                    found.append(ReferenceFrames(name, kind, fields, group.rows, group, self))
        return found

    def raw_fields(self, group: Group, names: Sequence[str], rows: slice) -> dict[str, npt.NDArray[Any]]:
        """Return raw samples of some of a group's columns."""
        by_name = {column.name: column.index for column in group.columns}
        with translated(self._path, "reading bus frames"):
            signals = self._raw(group.index, [by_name[name] for name in names], rows.start, rows.stop - rows.start)
        return {name: np.asarray(signal.samples) for name, signal in zip(names, signals, strict=True)}

    # -- reading -------------------------------------------------------------------------------------------------

    def read(
        self, stream: Stream, window: Window, *, decode: bool, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the group's rows in recorded order."""
        del decode
        if stream.name in self._bus:
            with translated(self._path, f"decoding '{stream.name}'"):
                yield from self._bus.read(stream.name, window, columns)
            return
        group = self._groups[stream.name]
        for rows in _row_ranges(group, window):
            with translated(self._path, f"reading group '{stream.name}'"):
                batch = self._rows(stream, group, rows)
            for start in range(0, batch.num_rows, BATCH_ROWS):
                piece = batch.slice(start, BATCH_ROWS)
                kept = piece if group.ascending else _inside(piece, window)
                if kept.num_rows:
                    yield kept

    def _rows(self, stream: Stream, group: Group, rows: slice) -> pa.RecordBatch:
        count = rows.stop - rows.start
        arrays = [pa.array(group.time_ns[rows])]
        if group.columns:
            signals = self._raw(group.index, [column.index for column in group.columns], rows.start, count)
            for column, signal in zip(group.columns, signals, strict=True):
                if len(signal.samples) != count:
                    what = f"channel '{column.name}' has {len(signal.samples)} of {count} rows"
                    raise CorruptLog(what, where=self._path, remedy=REMEDY)
                arrays.append(column.array(signal.samples, signal.invalidation_bits))
        return pa.RecordBatch.from_arrays(arrays, schema=stream.schema)

    def close(self) -> None:
        """Release the file and asammdf's temporary files."""
        self._bus.close()
        self._mdf.close()
        self._source.close()


def _harmless(conversion: Any) -> bool:
    """Whether a conversion has no formula but of our own grammar: where numexpr fails, asammdf runs others as Python."""
    text = str(getattr(conversion, "formula", "") or "")
    parts = getattr(conversion, "referenced_blocks", None) or {}
    return (not text or is_formula(text)) and all(_harmless(part) for part in parts.values())


@dataclass(frozen=True, slots=True)
class ReferenceFrames:
    """A bus-logging group read by asammdf; see `platform_lib.logs.mdf4.frames.FrameGroup`."""

    name: str
    kind: FrameKind
    fields: tuple[str, ...]
    rows: int
    group: Group
    source: MdfSource

    def chunks(self, fields: Sequence[str]) -> Iterator[FrameChunk]:
        """Yield all frames with these fields and ``time_ns``."""
        for rows in _row_ranges(self.group, Window()):
            count = rows.stop - rows.start
            samples = self.source.raw_fields(self.group, [f"{self.kind}.{name}" for name in fields], rows)
            columns: dict[str, npt.NDArray[Any]] = {TIME: self.group.time_ns[rows]}
            for name, values in samples.items():
                if name.endswith(".DataBytes"):
                    values = np.ascontiguousarray(values).view(np.uint8).reshape(count, -1)
                columns[name.removeprefix(f"{self.kind}.")] = values
            yield FrameChunk(count, columns, rows.start)


def _row_ranges(group: Group, window: Window) -> Iterator[slice]:
    first, stop = 0, int(group.time_ns.size)
    if group.ascending:
        if window.start_ns is not None:
            first = int(np.searchsorted(group.time_ns, window.start_ns, "left"))
        if window.stop_ns is not None:
            stop = int(np.searchsorted(group.time_ns, window.stop_ns, "left"))
    step = max(BATCH_ROWS, _READ_BYTES // group.record_bytes // BATCH_ROWS * BATCH_ROWS)
    for start in range(first, stop, step):
        yield slice(start, min(start + step, stop))


def _inside(batch: pa.RecordBatch, window: Window) -> pa.RecordBatch:
    if window.everything:
        return batch
    times = batch.column(0).to_numpy()
    keep = np.ones(times.size, bool)
    if window.start_ns is not None:
        keep &= times >= window.start_ns
    if window.stop_ns is not None:
        keep &= times < window.stop_ns
    return batch.filter(pa.array(keep))


def open_mdf3(
    source: ByteSource, databases: Databases, report: Report, *, finished: bool, recover: bool, timezone: str | None
) -> MdfSource:
    """Open an MDF 3 file; see `platform_lib.logs.open_log`. It takes the source over."""
    limits: list[int | None] = []
    if finished:
        with translated(source.name, "checking the MDF structure"):
            report.unverified.append("MDF 3 has no checksum: flipped bits in sample data cannot be noticed")
            limits = mdf3_blocks.check_structure(source, report, recover=recover)
    mdf = _open(source)
    try:
        with translated(source.name, "reading the MDF header"):
            start_ns = mdf_clock.start3_ns(source.name, mdf.header, timezone)
            opened = MdfSource(source, mdf, databases, report, start_ns)
        opened.prepare(limits)
    except BaseException:
        mdf.close()
        raise
    return opened


def open_reference(source: ByteSource, report: Report, start_ns: int) -> MdfSource:
    """Open an MDF 4 file whose structure has been proven, to read some of its groups."""
    return MdfSource(source, _open(source), Databases(), report, start_ns)


def _open(source: ByteSource) -> MDF:
    with translated(source.name, "opening the MDF file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = io.BufferedReader(_PagedFile(source)) if source.remote else Path(source.name)
        return MDF(file, process_bus_logging=False)


class _PagedFile(SourceFile):
    """An object as a file whose small reads, of blocks that lie near each other, share requests."""

    def __init__(self, source: ByteSource) -> None:
        super().__init__(source)
        self._pages = FileBytes(source)

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read up to the buffer's length, less at the end."""
        target = memoryview(buffer).cast("B")
        count = max(0, min(len(target), self._pages.size - self.tell()))
        target[:count] = self._pages.peek(self.tell(), count)
        self.seek(count, io.SEEK_CUR)
        return count


def _header_fields(header: Any) -> Mapping[str, str]:
    fields = {name: getattr(header, name, "") for name in ("author", "department", "project", "subject")}
    return {name: str(value) for name, value in fields.items() if value}

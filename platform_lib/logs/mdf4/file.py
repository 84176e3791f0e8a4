"""Opens an MDF 4 file: its structure is proven, each group gets a reader, and nothing is inflated before it is asked for.

What a file says about a group's rows is held against the bytes that it has; checksums of compressed blocks are verified
when they are read. With recovery every block is verified at open, so that the report is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import mdf_clock
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.mdf4.blocks import Blocks
from platform_lib.logs.mdf4.chains import check_overlaps, read_chain
from platform_lib.logs.mdf4.columns import Column, Surroundings, plan
from platform_lib.logs.mdf4.conversions import ConversionError, formulas
from platform_lib.logs.mdf4.formula import is_formula
from platform_lib.logs.mdf4.frames import FRAME_KINDS, FrameKind
from platform_lib.logs.mdf4.inflate import check, inflate, keep_freed_memory, too_large
from platform_lib.logs.mdf4.mixed import MixedData, MixedRows
from platform_lib.logs.mdf4.model import (
    MASTERS,
    Chain,
    Channel,
    ChannelGroup,
    Codec,
    DataGroup,
    Fragment,
    GroupFlag,
)
from platform_lib.logs.mdf4.numbers import Unreadable
from platform_lib.logs.mdf4.pipeline import Pipeline, default_threads
from platform_lib.logs.mdf4.reader import GroupReader, MasterTimes
from platform_lib.logs.mdf4.records import RecordStream
from platform_lib.logs.mdf4.rows import ColumnarRows, RowSource, StreamRows, VirtualRows
from platform_lib.logs.mdf4.signal_data import SignalData
from platform_lib.logs.mdf4.source import FileBytes
from platform_lib.logs.mdf4.structure import read_structure
from platform_lib.logs.mdf4.unfinished import Missing, completed
from platform_lib.logs.model import TIMESTAMP, Kind, Report, unique

Index = npt.NDArray[np.int64]
_MOST_ELSEWHERE_BYTES = 128 << 20  # of a block that asammdf inflates, at once and with copies
_SYNC_TIME = 1  # cn_sync_type. Source: ASAM MDF 4.2
_SYNC_NAMES = {2: "angle", 3: "distance", 4: "index"}
_MOST_VIRTUAL_ROWS = 1 << 28  # of a group without bytes nothing proves the count


@dataclass(frozen=True, slots=True)
class Opened:
    """A group of an open file.

    Attributes:
        group: What the file says about it.
        name: Its stream's name.
        kind: Its stream's kind.
        rows: How many whole records it has.
        reader: ``None`` where asammdf is to read it.
        reason: Why, or ``""``.
    """

    group: ChannelGroup
    name: str
    kind: Kind
    rows: int
    reader: GroupReader | None
    reason: str = ""


@dataclass(slots=True)
class _Open:
    """A group while the file is being opened."""

    data_group: DataGroup
    group: ChannelGroup
    name: str
    rows: int
    master: Channel | None
    mixed: MixedData | None
    reader: GroupReader | None = None


class Mdf4File:
    """An open MDF 4 file.

    Attributes:
        header: Start time and comment.
        groups: Its readable groups, in file order.
    """

    def __init__(
        self,
        source: ByteSource,
        report: Report,
        *,
        recover: bool,
        start_ns: Callable[[int, int], int],
        unfinished: int | None = None,
        threads: int = 0,
    ) -> None:
        """Open and check the file.

        Args:
            source: Its bytes.
            report: Takes what is found.
            recover: Read what is whole of a damaged file.
            start_ns: Returns the start of the time axis, UTC, from the header's time and flags.
            unfinished: What the recorder left undone (id_unfin_flags); ``None`` for a finished file.
            threads: How many inflate; two by default.

        Raises:
            CorruptLog: The structure contradicts itself.
        """
        keep_freed_memory()
        self._source = FileBytes(source)
        self._report = report
        self._recover = recover
        self._unfinished = unfinished
        self._pipeline = Pipeline(threads or default_threads())
        self.blocks = Blocks(self._source)
        structure = read_structure(self.blocks, recover=recover)
        for lost_bytes, error in structure.damage:
            report.lose(lost_bytes, error.what)
        if structure.reductions:
            report.notes.append(
                f"sample reductions (groups: {len(structure.reductions)}, the first at byte {structure.reductions[0]}) "
                "are left alone: the full data is read"
            )
        self.header = structure.header
        self._start_ns = start_ns(self.header.start_ns, self.header.time_flags)
        self._signal_chains: dict[int, Chain] = {}
        self._data_groups = [self._sound(item) for item in structure.groups]
        self._mixed: dict[int, MixedData] = {}
        check_overlaps(self.blocks, [item.data for item in self._data_groups])
        self.groups = self._open_groups()
        if self.blocks.not_utf8:
            report.problems.append(f"{self.blocks.not_utf8} texts are not UTF-8; they are taken as Latin-1")
        self._count_unverified()

    # -- soundness -----------------------------------------------------------------------------------------------

    def _sound(self, data_group: DataGroup) -> DataGroup:
        if self._unfinished is not None:
            data_group = completed(self.blocks, data_group, self._unfinished)
        return replace(data_group, data=self._sound_chain(data_group.data)) if self._recover else data_group

    def _uncounted(self, group: ChannelGroup) -> bool:
        """Whether the recorder had not yet written down how many records a group has."""
        return self._unfinished is not None and bool(self._unfinished & Missing.CYCLES or not group.cycles)

    def _sound_chain(self, chain: Chain) -> Chain:
        """Return a stream up to its first fragment that does not inflate."""
        for at, fragment in enumerate(chain.fragments):
            try:
                check(self._source, fragment)
            except CorruptLog as error:
                kept = chain.fragments[:at]
                return Chain(kept, sum(item.size_bytes for item in kept), error)
        return chain

    def _count_unverified(self) -> None:
        chains = [*(item.data for item in self._data_groups), *self._signal_chains.values()]
        plain = sum(item.stored_bytes for chain in chains for item in chain.fragments if item.codec is Codec.NONE)
        if plain:
            self._report.unverified.append(f"{plain} bytes of uncompressed sample data have no checksum")

    # -- groups --------------------------------------------------------------------------------------------------

    def _open_groups(self) -> tuple[Opened, ...]:
        found: dict[int, _Open] = {}
        for data_group in self._data_groups:
            for group in data_group.groups:
                if not group.variable:
                    found[group.offset] = self._begin(data_group, group)
        opened = []
        for item in found.values():
            reason = self._not_time(item, found)
            if reason is None and not item.rows and item.group.cycles:
                self._report.unsupported[item.name] = "none of its records is whole"
                continue
            found_reader = None if reason is not None else self._finish(item, found)
            if isinstance(found_reader, Opened):
                opened.append(found_reader)
                continue
            reason = reason or found_reader
            self._report.unsupported[item.name] = str(reason)
            self._report.problems.append(f"group '{item.name}' is not read: {reason}")
        return tuple(opened)

    def _begin(self, data_group: DataGroup, group: ChannelGroup) -> _Open:
        name = f"{group.index}:{group.name}"
        masters = [channel for channel in group.channels if channel.kind in MASTERS]
        mixed = self._mixed_data(data_group) if len(data_group.groups) > 1 else None
        count = self._mixed_rows if mixed is not None else self._rows
        return _Open(data_group, group, name, count(data_group, group, name), masters[-1] if masters else None, mixed)

    def _mixed_data(self, data_group: DataGroup) -> MixedData | None:
        if not data_group.data.fragments:
            return None
        mixed = self._mixed.get(data_group.offset)
        if mixed is None:
            stream = RecordStream(self._source, self._pipeline, data_group.data.fragments, 1)
            mixed = MixedData(self._source.path, data_group.id_bytes, data_group.groups, stream, recover=self._recover)
            self._mixed[data_group.offset] = mixed
            if self._recover and (lost := mixed.stretches).problem is not None:
                self._report.lose(lost.lost_bytes, f"mixed data ends early: {lost.problem}")
        return mixed

    def _mixed_rows(self, data_group: DataGroup, group: ChannelGroup, name: str) -> int:
        """Return a group's declared records; how many there are is found out when they are first read."""
        fixed = [item for item in data_group.groups if not item.variable]
        needed = sum(item.cycles * (item.record_bytes + data_group.id_bytes) for item in fixed)
        if self._recover:
            whole = self._mixed[data_group.offset].rows(group)
            if self._uncounted(group):
                return whole
            if whole > group.cycles and not group.variable:
                self._lose_undeclared(name, group.cycles, whole, group.record_bytes + data_group.id_bytes)
            whole = min(group.cycles, whole)
            if whole < group.cycles:
                self._report.lose(0, f"group '{name}': {whole} of {group.cycles} records are whole")
            return whole
        if needed > data_group.data.size_bytes:
            what = f"mixed groups declare {needed} bytes of records, but have {data_group.data.size_bytes}"
            raise self.blocks.corrupt(data_group.offset, what)
        return group.cycles

    def _rows(self, data_group: DataGroup, group: ChannelGroup, name: str) -> int:
        """Hold declared records against the bytes there are; return how many are whole."""
        columnar = data_group.columnar
        size = data_group.id_bytes + (group.data_bytes if columnar else group.record_bytes)
        total, cycles = data_group.data.size_bytes, group.cycles
        if not size:
            if cycles > _MOST_VIRTUAL_ROWS:
                raise self.blocks.corrupt(group.offset, f"a group without data declares {cycles} records")
            return cycles
        if self._uncounted(group):
            if total % size:
                self._report.lose(total % size, f"group '{name}': its last record is cut")
            return total // size
        whole = min(cycles, total // size)
        exact = total >= cycles * size and total - cycles * size < size
        if exact:
            return cycles
        if not self._recover:
            what = f"a group declares {cycles} records of {size} bytes, but has {total} bytes of data"
            raise self.blocks.corrupt(group.offset, what)
        if whole < cycles:
            broken = data_group.data.broken
            self._report.lose(
                (cycles - whole) * size,
                f"group '{name}': {whole} of {cycles} records are whole{f' ({broken.what})' if broken else ''}",
            )
        else:
            self._lose_undeclared(name, cycles, total // size, size)
        return whole

    def _lose_undeclared(self, name: str, declared: int, found: int, size_bytes: int) -> None:
        what = f"group '{name}': {declared} records are declared, of {found} that there are"
        self._report.lose((found - declared) * size_bytes, f"{what}; those beyond are left out")

    def _not_time(self, item: _Open, found: dict[int, _Open]) -> str | None:
        if item.group.master_link:
            other = found.get(item.group.master_link)
            if other is None or other.group.master_link or other.master is None:
                return "the group that holds its times is not there"
            if other.rows < item.rows and not self._recover:
                return f"the group that holds its times has {other.rows} rows, it has {item.rows}"
            item = other
        if item.master is None:
            return "it has no time channel"
        if item.master.sync != _SYNC_TIME:
            return f"its master channel '{item.master.name}' is {_SYNC_NAMES.get(item.master.sync, 'not time')}"
        return None

    def _finish(self, item: _Open, found: dict[int, _Open]) -> Opened | str:
        """Return the open group, or why it is not read."""
        kind = _kind(item.group)
        try:
            reader = self._reader(item, found)
        except (ConversionError, Unreadable) as error:
            return str(error)
        except UnsupportedLog as error:
            # Where numexpr fails, asammdf evaluates a formula's text as Python: only our own grammar may reach it.
            conversions = [channel.conversion for channel in item.group.channels if channel.conversion is not None]
            if not all(is_formula(text) for conversion in conversions for text in formulas(conversion)):
                return f"{error.what}, and a formula is not understood"
            return Opened(item.group, item.name, kind, item.rows, None, error.what)
        return Opened(item.group, item.name, kind, item.rows, reader)

    def _reader(self, item: _Open, found: dict[int, _Open]) -> GroupReader:
        if item.reader is not None:
            return item.reader
        source = self._row_source(item)
        around = self._surroundings(item)
        times: MasterTimes | GroupReader
        if item.group.master_link:
            times = self._reader(found[item.group.master_link], found)
        elif item.master is None:
            raise Unreadable("it has no time channel")
        else:
            times = self._times(item, item.master, around)
        columns = self._columns(item, around)
        note = self._report.problems.append
        item.reader = GroupReader(self._source.path, item.name, item.rows, columns, source, times, note, self._pipeline)
        if self._recover:
            self._cut(item, item.reader)
        return item.reader

    def _cut(self, item: _Open, reader: GroupReader) -> None:
        """End a recovered group before the first row that cannot be read."""
        rows = min(item.rows, times.rows) if isinstance(times := reader.time_source, GroupReader) else item.rows
        reader.rows = rows
        error = reader.cut_to_whole_rows()
        if error is not None:
            lost_bytes = (item.rows - reader.rows) * item.group.record_bytes
            self._report.lose(
                lost_bytes, f"group '{item.name}': {reader.rows} of {item.rows} records are whole ({error.what})"
            )

    def _row_source(self, item: _Open) -> RowSource:
        data_group, group = item.data_group, item.group
        size = data_group.id_bytes + (group.data_bytes if data_group.columnar else group.record_bytes)
        if not size:
            return VirtualRows()
        if item.mixed is not None:
            return MixedRows(item.mixed, group)
        stream = RecordStream(self._source, self._pipeline, data_group.data.fragments, size)
        if not data_group.columnar:
            return StreamRows(self._source.path, group, data_group.id_bytes, stream)
        return ColumnarRows(stream, self._invalidation(data_group, group))

    def _invalidation(self, data_group: DataGroup, group: ChannelGroup) -> RecordStream | None:
        """Return the stream of invalidation bytes; where a piece has none, all its values are valid."""
        if not group.invalid_bytes or not any(data_group.invalidation):
            return None
        fragments = []
        for data, flags in zip(data_group.data.fragments, data_group.invalidation, strict=False):
            rows, rest = divmod(data.size_bytes, group.data_bytes)
            size = rows * group.invalid_bytes
            if rest or (flags is not None and flags.size_bytes != size):
                raise self.blocks.corrupt(data.offset, "values and their invalidation bytes differ in number")
            fragments.append(flags or Fragment(0, 0, size, Codec.ZERO))
        return RecordStream(self._source, self._pipeline, fragments, group.invalid_bytes)

    def _surroundings(self, item: _Open) -> Surroundings:
        channels = {channel.offset: channel for channel in item.group.channels}
        before = 0 if item.mixed is not None else item.data_group.id_bytes
        return Surroundings(before, item.group.cycles, channels, lambda channel: self._signal_data(item, channel))

    def _signal_data(self, item: _Open, channel: Channel) -> SignalData:
        for group in item.data_group.groups:
            if group.variable and group.offset == channel.data_link and item.mixed is not None:
                if self._unfinished is not None and self._unfinished & Missing.VARIABLE_OFFSETS:
                    raise Unreadable("the recorder never wrote where its values are; its own tool may finish the file")
                return SignalData(self._source.path, item.mixed.variable(group))
        chain = self._signal_chains.get(channel.data_link)
        if chain is None:
            chain = read_chain(self.blocks, channel.data_link, recover=self._recover)
            chain = self._sound_chain(chain) if self._recover else chain
            self._signal_chains[channel.data_link] = chain
        return SignalData(self._source.path, RecordStream(self._source, self._pipeline, chain.fragments, 1))

    def _times(self, item: _Open, master: Channel, around: Surroundings) -> MasterTimes:
        column = plan(master, master.name, around)
        if column.raw is None or str(column.arrow) not in _NUMBER_TYPES:
            raise Unreadable(f"its master channel '{master.name}' holds no numbers")

        return MasterTimes(
            column, lambda seconds: mdf_clock.to_ns(self._source.path, item.name, seconds, self._start_ns)
        )

    def _columns(self, item: _Open, around: Surroundings) -> list[Column]:
        chosen = [channel for channel in item.group.channels if channel is not item.master and not channel.structure]
        names = unique([channel.name for channel in chosen], taken=(TIMESTAMP,))
        columns = []
        for channel, name in zip(chosen, names, strict=True):
            try:
                columns.append(plan(channel, name, around))
            except (ConversionError, Unreadable) as reason:
                place = f"block at byte {channel.offset}"
                self._report.problems.append(f"group '{item.name}': channel '{name}' is left out: {reason} ({place})")
        return columns

    def prove(self, group: ChannelGroup) -> None:
        """Inflate all of a group's data, for a reader that would not notice damage.

        Raises:
            CorruptLog: It does not inflate.
            UnsupportedLog: A block is larger than bounded memory allows, which other readers inflate at once.
        """
        for data_group in self._data_groups:
            if group in data_group.groups:
                for fragment in data_group.data.fragments:
                    if fragment.codec is Codec.NONE:
                        continue
                    if fragment.size_bytes > _MOST_ELSEWHERE_BYTES:
                        raise too_large(self._source, fragment)
                    if not self._recover:
                        inflate(self._source, fragment)

    def close(self) -> None:
        """Release the file and the threads."""
        self._pipeline.close()
        self._source.close()


_NUMBER_TYPES = frozenset(
    {"halffloat", "float", "double", "bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))}
)


def _kind(group: ChannelGroup) -> Kind:
    named = any(channel.name.startswith("CAN_") for channel in group.channels)
    return "can" if group.flags & GroupFlag.BUS_EVENT and named else "signal"


def frame_kinds(columns: Sequence[Column]) -> dict[FrameKind, tuple[str, ...]]:
    """Return the kinds of bus frames that a group's columns hold, with the fields of each."""
    found: dict[FrameKind, tuple[str, ...]] = {}
    for kind in FRAME_KINDS:
        fields = tuple(
            column.name.removeprefix(f"{kind}.")
            for column in columns
            if column.raw is not None and column.name.startswith(f"{kind}.") and _usable(column, f"{kind}.DataBytes")
        )
        if "ID" in fields:
            found[kind] = fields
    return found


def _usable(column: Column, data_name: str) -> bool:
    """Whether a column is what frames need: a payload is bytes (or an array of them), not one number."""
    array = column.channel.array
    in_array = array is not None and column.channel.bit_count == 8
    in_bytes = array is None and (pa.types.is_binary(column.arrow) or pa.types.is_fixed_size_list(column.arrow))
    return column.name != data_name or in_array or in_bytes

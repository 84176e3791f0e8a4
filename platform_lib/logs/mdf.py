"""MDF logs as a source: MDF 4 by this package's own reader, group by group; MDF 3, and what is left, by asammdf.

One stream a channel group. asammdf is imported only where it is needed.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import mdf_clock
from platform_lib.logs.bytes_source import ByteSource
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.mdf4.extras import read_attachments, read_events
from platform_lib.logs.mdf4.file import Mdf4File, Opened, frame_kinds
from platform_lib.logs.mdf4.frames import FrameChunk, FrameGroup, FrameKind
from platform_lib.logs.mdf4.reader import GroupReader
from platform_lib.logs.mdf4.unfinished import KNOWN
from platform_lib.logs.model import Attachment, Event, Report, Source, Stream, Window, add_metadata

if TYPE_CHECKING:
    from platform_lib.logs.bus.database import Databases
    from platform_lib.logs.bus.streams import BusStreams
    from platform_lib.logs.mdf_reference import MdfSource

_UNFINISHED = b"UnFinMF "
_IDENTIFICATION_BYTES = 64


class Mdf4Source:
    """The `Source` of one MDF 4 file."""

    def __init__(
        self,
        file: Mdf4File,
        source: ByteSource,
        bus: BusStreams | None,
        report: Report,
        start_ns: int,
        *,
        recover: bool,
    ) -> None:
        self._file = file
        self._source = source
        self._path = path = source.name
        self._start_ns = start_ns
        self.report = report
        self.metadata = header_metadata(path, file.header.comment, report, recover=recover)
        self.attachments: tuple[Attachment, ...] = read_attachments(file.blocks, file.header, report)
        self.events: tuple[Event, ...] = read_events(file.blocks, file.header, start_ns)
        self._readers: dict[str, GroupReader] = {}
        self._reference: MdfSource | None = None
        self._bus = bus
        streams = [self._stream(item) for item in file.groups]
        self._in_order = tuple(self._readers.values())
        self._order = {name: number for number, name in enumerate(self._readers)}
        self._last_read = -2  # reading the first one alone does not say that the second will be read
        self.streams: tuple[Stream, ...] = (*filter(None, streams), *self._bus_streams())

    def _stream(self, item: Opened) -> Stream | None:
        if item.reader is None:
            return self._reference_stream(item)
        reader = self._readers[item.name] = item.reader
        self.report.readers[item.name] = "fast"
        return Stream(item.name, item.kind, reader.schema, reader.rows, find_span=reader.span)

    def _reference_stream(self, item: Opened) -> Stream | None:
        """Open a group with asammdf, after all its blocks were proven to inflate."""
        from platform_lib.logs.mdf_reference import open_reference

        try:
            self._file.prove(item.group)
        except UnsupportedLog as error:
            self.report.unsupported[item.name] = error.what
            self.report.problems.append(f"group '{item.name}' is not read: {error.what}")
            return None
        try:
            if self._reference is None:
                self._reference = open_reference(self._source, self.report, self._start_ns)
            stream = self._reference.add_group(item.group.index, item.name, item.rows)
        except CorruptLog as error:  # its blocks are proven, so this is something that asammdf does not read either
            reason = f"{item.reason}; asammdf does not read it either ({error.what})"
            self.report.unsupported[item.name] = reason
            self.report.problems.append(f"group '{item.name}' is not read: {reason}")
            return None
        self.report.reasons[item.name] = item.reason
        self.report.readers[item.name] = "reference"
        return stream

    def _bus_streams(self) -> list[Stream]:
        streams: list[Stream] = []
        if self._bus is not None:
            for group in self.frame_groups():
                with translated(self._path, f"decoding the bus frames of group '{group.name}'"):
                    streams += self._bus.add(group)
        return streams

    def frame_groups(self) -> list[FrameGroup]:
        """Return the bus-logging groups, for `platform_lib.logs.mdf4.frames.iter_frames`."""
        found: list[FrameGroup] = []
        for name, reader in self._readers.items():
            for kind, fields in frame_kinds(reader.columns).items():
                found.append(GroupFrames(name, kind, fields, reader.rows, reader))
        return found

    def read(
        self, stream: Stream, window: Window, *, decode: bool, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the group's rows in recorded order."""
        if self._bus is not None and stream.name in self._bus:
            with translated(self._path, f"decoding '{stream.name}'"):
                yield from self._bus.read(stream.name, window, columns)
        elif stream.name in self._readers:
            self._read_ahead(stream.name)
            yield from self._readers[stream.name].read(window, columns)
        elif self._reference is not None:
            yield from self._reference.read(stream, window, decode=decode, columns=columns)

    def _read_ahead(self, name: str) -> None:
        """Where streams are read one after the other, in order, fetch what comes first in the next one."""
        position = self._order[name]
        if position == self._last_read + 1 and position + 1 < len(self._order):
            self._in_order[position + 1].follow()
        self._last_read = position

    def close(self) -> None:
        """Release the file, its threads, and asammdf's temporary files."""
        if self._bus is not None:
            self._bus.close()
        self._file.close()
        if self._reference is not None:
            self._reference.close()


@dataclass(frozen=True, slots=True)
class GroupFrames:
    """A bus-logging group; see `platform_lib.logs.mdf4.frames.FrameGroup`."""

    name: str
    kind: FrameKind
    fields: tuple[str, ...]
    rows: int
    reader: GroupReader

    def chunks(self, fields: Sequence[str]) -> Iterator[FrameChunk]:
        """Yield all frames with these fields and ``time_ns``."""
        return self.reader.chunks(self.kind, fields)


def open_mdf(
    source: ByteSource, *, dbc: tuple[str, ...], arxml: tuple[str, ...], recover: bool, timezone: str | None
) -> Source:
    """Open an MDF file; see `platform_lib.logs.open_log`. It takes the source over, and closes it."""
    path = source.name
    try:
        databases = _databases(dbc, arxml)
        if source.size_bytes < _IDENTIFICATION_BYTES:
            raise CorruptLog("shorter than MDF's 64-byte identification", where=path, remedy=REMEDY)
        identification = source.read_at(0, _IDENTIFICATION_BYTES)
        unfinished, custom = None, 0
        if identification.startswith(_UNFINISHED):
            unfinished = int.from_bytes(identification[60:62], "little")
            custom = int.from_bytes(identification[62:64], "little")
        if unfinished is not None and not recover:
            raise CorruptLog("the recorder never finished this file", where=path, remedy=REMEDY)
        version = _version(path, identification)
        report = Report(format=f"mdf{version}", recovered=unfinished is not None)
        if unfinished is not None:
            report.problems.append("the recorder never finished this file; its records are read as far as they go")
            if custom or unfinished & ~KNOWN:
                report.problems.append(
                    f"what else it left undone is not known (flags 0x{unfinished:x} and its own 0x{custom:x})"
                )
        if version >= 4:
            return _open_mdf4(source, _bus(databases, report), report, unfinished, recover=recover, timezone=timezone)
        from platform_lib.logs.bus.database import Databases
        from platform_lib.logs.mdf_reference import open_mdf3

        databases = databases or Databases()
        finished = unfinished is None
        return open_mdf3(source, databases, report, finished=finished, recover=recover, timezone=timezone)
    except BaseException:
        source.close()
        raise


def _databases(dbc: tuple[str, ...], arxml: tuple[str, ...]) -> Databases | None:
    """Load CAN databases; without any, what decodes frames is not even imported."""
    if not dbc and not arxml:
        return None
    from platform_lib.logs.bus.database import Databases

    return Databases.load(dbc, arxml)


def _bus(databases: Databases | None, report: Report) -> BusStreams | None:
    if databases is None:
        return None
    from platform_lib.logs.bus.streams import BusStreams

    return BusStreams(databases, report)


def _open_mdf4(
    source: ByteSource,
    bus: BusStreams | None,
    report: Report,
    unfinished: int | None,
    *,
    recover: bool,
    timezone: str | None,
) -> Mdf4Source:
    path = source.name
    start: list[int] = []

    def start_ns(time_ns: int, time_flags: int) -> int:
        start.append(mdf_clock.start4_ns(time_ns, time_flags, timezone, report))
        return start[0]

    with translated(path, "checking the MDF structure"):
        file = Mdf4File(source, report, recover=recover, start_ns=start_ns, unfinished=unfinished)
    try:
        with translated(path, "opening the MDF file"):
            return Mdf4Source(file, source, bus, report, start[0], recover=recover)
    except BaseException:
        file.close()
        raise


def _version(path: str, identification: bytes) -> int:
    number = int.from_bytes(identification[28:30], "little" if identification[24:26] == b"\0\0" else "big")
    if identification[28:30] != b"\0\0" and not 300 <= number < 500:
        raise UnsupportedLog(f"MDF version {number / 100:.2f}; 3.x and 4.x are read", where=path)
    return 4 if number >= 400 else 3


def header_metadata(path: str, comment: str, report: Report, *, recover: bool = False) -> Mapping[str, str]:
    """Return the header comment's properties, by name.

    Raises:
        CorruptLog: The comment is broken XML, so who drove what is unknown (unless the log is to be recovered).
    """
    if not comment.lstrip().startswith("<"):
        return {"comment": comment} if comment else {}
    try:
        root = ET.fromstring(comment)  # noqa: S314 - expat expands no external entity and limits amplification itself
    except ET.ParseError as error:
        if not recover:
            raise CorruptLog(f"the header comment is broken XML ({error})", where=path, remedy=REMEDY) from error
        report.lose(len(comment.encode()), "the header comment is broken XML: no metadata")
        return {}
    result: dict[str, str] = {}
    for element in root.iter():
        if element.tag.rpartition("}")[2] == "e" and element.get("name") and element.text:
            add_metadata(result, {str(element.get("name")): element.text})
        elif element.tag.rpartition("}")[2] == "TX" and element.text:
            result["comment"] = element.text
    return result

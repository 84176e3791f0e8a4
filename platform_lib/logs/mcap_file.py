"""MCAP files: one pass over the whole file at open proves it whole and indexes every message.

Nothing the file says of itself is believed unchecked: chunk, data section, summary and attachment checksums are
verified, and the summary's counts, chunk list, channels and schemas must match what the data section holds. So a
flipped bit, a lost chunk or a cut end is found at open. What has no checksum is named in `Report.unverified`.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import mcap_records as rec
from platform_lib.logs.extents import ExtentStore, IndexedRows, Messages, TopicIndex, place_of, read_exactly
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.mcap_records import Op
from platform_lib.logs.messages import Loaded, Topic, TopicSource, checked_times
from platform_lib.logs.model import Report

_RUN_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of the file that holds messages: a chunk's records, or a run of records outside chunks.

    Attributes:
        offset: Where its stored bytes begin in the file.
        head: The chunk's head; ``None`` for a run outside chunks.
        stored_bytes: Its stored length.
    """

    offset: int
    stored_bytes: int
    head: rec.ChunkHead | None


@dataclass(slots=True)
class Content:
    """What the data section and the summary hold."""

    schemas: dict[int, rec.Schema] = field(default_factory=dict)
    channels: dict[int, rec.Channel] = field(default_factory=dict)
    messages: dict[int, Messages] = field(default_factory=dict)
    extents: list[Extent] = field(default_factory=list)
    chunk_offsets: dict[int, tuple[rec.ChunkHead, int]] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    attachments: int = 0
    metadata_records: int = 0
    unknown_ops: int = 0
    unchecked_chunks: int = 0


@dataclass(slots=True)
class Summary:
    """What the summary section says; `start` is where it begins in the file."""

    start: int
    end: int
    checked: bool
    statistics: rec.Statistics | None = None
    schemas: dict[int, rec.Schema] = field(default_factory=dict)
    channels: dict[int, rec.Channel] = field(default_factory=dict)
    chunks: dict[int, rec.ChunkIndex] = field(default_factory=dict)


def open_mcap(path: Path, *, recover: bool) -> TopicSource:
    """Open an MCAP file; see `platform_lib.logs.open_log`."""
    report = Report(format="mcap")
    return TopicSource(path, load_mcap(path, report, recover=recover), report)


def load_mcap(path: Path, report: Report, *, recover: bool) -> Loaded:
    """Scan an MCAP file; damage and what is unverified goes into `report`."""
    with translated(path, "opening the MCAP file"):
        scan = _Scan(path, report, recover=recover)
        try:
            content = scan.run()
        finally:
            scan.close()
        store = ExtentStore(path, partial(_load, path, content.extents))
        topics, indexes = _topics(path, content, report)
        return Loaded(topics, IndexedRows(indexes, store), _metadata(content))


def _load(path: Path, extents: list[Extent], file: BinaryIO, number: int) -> bytes:
    extent = extents[number]
    stored = read_exactly(path, file, extent.offset, extent.stored_bytes)
    return stored if extent.head is None else rec.unpack_chunk(extent.head, stored)


def _metadata(content: Content) -> Mapping[str, str]:
    """Flatten metadata records: those of "drive" by their own keys, others as ``<record>.<key>``."""
    result: dict[str, str] = {}
    for name, values in content.metadata.items():
        if name != "drive":
            result.update({f"{name}.{key}": value for key, value in values.items()})
    return result | content.metadata.get("drive", {})


def _topics(path: Path, content: Content, report: Report) -> tuple[list[Topic], list[TopicIndex]]:
    """Group channels into topics: channels of one topic, encoding and schema are one stream."""
    groups: dict[tuple[str, str, rec.Schema | None], list[Messages]] = {}
    for channel in content.channels.values():
        schema = content.schemas.get(channel.schema_id)
        key = (
            channel.topic,
            channel.message_encoding,
            schema and rec.Schema(0, schema.name, schema.encoding, schema.data),
        )
        groups.setdefault(key, []).append(content.messages.get(channel.id, Messages()))
    topics, indexes = [], []
    for (name, encoding, schema), parts in groups.items():
        log = checked_times(path, name, np.concatenate([np.array(part.log_time, np.uint64) for part in parts]))
        publish = checked_times(path, name, np.concatenate([np.array(part.publish_time, np.uint64) for part in parts]))
        size = np.concatenate([np.array(part.size, np.int64) for part in parts])
        place = np.concatenate([np.array(part.place, np.int64) for part in parts])
        order = np.lexsort((place, log))  # places ascend through the file, so equal times keep file order
        text = None if schema is None else _text(schema, report)
        index = TopicIndex(log[order], publish[order], size[order], place[order])
        indexes.append(index)
        topics.append(
            Topic(
                name=name,
                message_type=schema.name if schema else None,
                message_encoding=encoding,
                schema_encoding=schema.encoding if schema else "",
                schema_text=text,
                schema_data=schema.data if schema else None,
                rows=log.size,
                start_ns=index.span_ns[0],
                stop_ns=index.span_ns[1],
            )
        )
    return topics, indexes


def _text(schema: rec.Schema, report: Report) -> str | None:
    if schema.encoding not in ("ros2msg", "ros1msg", "ros2idl", "jsonschema", "omgidl"):
        return None
    try:
        return schema.data.decode()
    except UnicodeDecodeError:
        report.problems.append(f"the definition of '{schema.name}' is not UTF-8 and was not used")
        return None


class _Scan:
    """One pass over the file. Damage raises, or with `recover` is skipped and noted."""

    def __init__(self, path: Path, report: Report, *, recover: bool) -> None:
        self._path = path
        self._report = report
        self._recover = recover
        self._file = path.open("rb", buffering=1 << 20)
        self._size = self._file.seek(0, io.SEEK_END)
        self._content = Content()
        self._run_start: int | None = None
        self._data_crc_ok: bool | None = None
        self._suspect = False

    def close(self) -> None:
        self._file.close()

    def run(self) -> Content:
        head = self._bytes_at(0, min(self._size, len(rec.MAGIC)))
        if head != rec.MAGIC:
            raise self._corrupt(0, f"the first bytes are {head!r}, not MCAP's")
        summary = self._summary()
        data_end = self._data_section(summary)
        if data_end is not None and summary is not None:
            self._compare(summary, data_end)
        if self._content.unknown_ops and (summary is None or summary.statistics is None):
            self._damage(0, 0, "records of an unknown kind, and no statistics that say what should be there")
        self._drop_unproven()
        self._note_unverified(summary)
        return self._content

    # -- reading -------------------------------------------------------------------------------------------------

    def _bytes_at(self, offset: int, count: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(count)
        if len(data) != count:
            raise self._corrupt(offset, f"the file ends {count - len(data)} bytes early")
        return data

    def _record_head(self, offset: int, limit: int) -> tuple[int, int]:
        """Return opcode and content length of the record at `offset`, which must end by `limit`."""
        if offset + rec.RECORD_HEADER.size > limit:
            raise self._corrupt(offset, "the file ends inside a record's head")
        op, length = rec.RECORD_HEADER.unpack(self._bytes_at(offset, rec.RECORD_HEADER.size))
        if op == 0 or length > limit - offset - rec.RECORD_HEADER.size:
            raise self._corrupt(offset, f"a record (kind 0x{op:02x}) claims {length} bytes, more than are left")
        return int(op), int(length)

    def _records(self, start: int, limit: int) -> Iterator[tuple[int, int, int]]:
        """Yield opcode, content offset and content length of the records from `start` until `limit`."""
        at = start
        while at < limit:
            op, length = self._record_head(at, limit)
            yield op, at + rec.RECORD_HEADER.size, length
            at += rec.RECORD_HEADER.size + length

    # -- damage --------------------------------------------------------------------------------------------------

    def _corrupt(self, offset: int, what: str) -> CorruptLog:
        return CorruptLog(f"damaged at byte {offset}: {what}", where=self._path, remedy=REMEDY)

    def _damage(self, offset: int, lost_bytes: int, what: str) -> None:
        error = self._corrupt(offset, what)
        if not self._recover:
            raise error
        self._report.lose(lost_bytes, error.what)

    # -- the end of the file -------------------------------------------------------------------------------------

    def _summary(self) -> Summary | None:
        """Read the summary from the file's end; ``None`` (with `recover`) where it is damaged or missing."""
        try:
            return self._read_summary()
        except CorruptLog as error:
            if not self._recover:
                raise
            self._report.lose(0, error.what)
            return None

    def _read_summary(self) -> Summary:
        footer_at = self._size - len(rec.MAGIC) - rec.FOOTER_BYTES
        if footer_at < len(rec.MAGIC):
            raise self._corrupt(self._size, "the file ends before its footer")
        if self._bytes_at(self._size - len(rec.MAGIC), len(rec.MAGIC)) != rec.MAGIC:
            raise self._corrupt(self._size, "the closing magic is missing: the file was cut or never finished")
        op, length = self._record_head(footer_at, self._size - len(rec.MAGIC))
        if op != Op.FOOTER or length != rec.FOOTER_BYTES - rec.RECORD_HEADER.size:
            raise self._corrupt(footer_at, "the footer is missing")
        fields = rec.Fields(self._bytes_at(footer_at + rec.RECORD_HEADER.size, length))
        start, _, crc = fields.number(8), fields.number(8), fields.number(4)
        if start > footer_at or 0 < start < len(rec.MAGIC):
            raise self._corrupt(footer_at, "the footer points outside the file")
        if start and crc:
            covered = self._bytes_at(start, self._size - len(rec.MAGIC) - 4 - start)
            if zlib.crc32(covered) != crc:
                raise self._corrupt(start, "the summary's checksum does not match its bytes")
        summary = Summary(start=start or footer_at, end=footer_at, checked=bool(start and crc))
        if start:
            self._fill(summary)
        return summary

    def _fill(self, summary: Summary) -> None:
        for op, at, length in self._records(summary.start, summary.end):
            data = self._bytes_at(at, length)
            if op == Op.STATISTICS:
                summary.statistics = rec.parse_statistics(data)
            elif op == Op.SCHEMA:
                schema = rec.parse_schema(data)
                summary.schemas[schema.id] = schema
            elif op == Op.CHANNEL:
                channel = rec.parse_channel(data)
                summary.channels[channel.id] = channel
            elif op == Op.CHUNK_INDEX:
                index = rec.parse_chunk_index(data)
                summary.chunks[index.offset] = index

    # -- the data section ----------------------------------------------------------------------------------------

    def _data_section(self, summary: Summary | None) -> int | None:
        """Walk the data section; return where it ends, ``None`` if that was not reached."""
        if summary is not None and self._recover:
            # A damaged first record of a topic may have held its definition; the summary repeats them.
            self._content.schemas.update(summary.schemas)
            self._content.channels.update(summary.channels)
        limit = self._size if summary is None else summary.start
        at: int | None = len(rec.MAGIC)
        first = True
        while at is not None:
            try:
                op, length = self._record_head(at, limit)
                if first and op != Op.HEADER:
                    raise self._corrupt(at, "the header record is missing")
                first = False
                following = at + rec.RECORD_HEADER.size + length
                if op == Op.DATA_END:
                    self._end_run(at)
                    self._check_data_end(at, length, following, limit)
                    return following
                self._data_record(op, at, length)
                at = following
            except CorruptLog as error:
                if not self._recover:
                    raise
                at = self._resume(at, limit, summary, error)
        return None

    def _resume(self, at: int, limit: int, summary: Summary | None, error: CorruptLog) -> int | None:
        """After damage at `at` find where to go on: the next chunk that a sound summary names, else nowhere.

        A file that was merely cut is right up to the cut. In one whose end is still there, bytes were changed, and
        no message without a checksum of its own can be vouched for. Where zeros follow (space that a crash left
        allocated), they may begin inside the last message before them.
        """
        self._end_run(at)
        if summary is not None:
            self._suspect = True
        elif self._byte_at(at) == 0:
            self._drop_last(at)
        known = sorted(offset for offset in summary.chunks if offset > at) if summary and summary.checked else []
        following = known[0] if known else None
        self._report.lose((following or limit) - at, error.what)
        return following

    def _byte_at(self, offset: int) -> int | None:
        self._file.seek(offset)
        data = self._file.read(1)
        return data[0] if data else None

    def _drop_last(self, at: int) -> None:
        """Forget the message outside chunks that ends at `at`, if one does."""
        number = len(self._content.extents) - 1
        if number < 0 or self._content.extents[number].head is not None:
            return
        last = max(self._content.messages.values(), key=lambda item: item.place[-1] if item.place else -1)
        self._report.lose(last.size[-1] + rec.MESSAGE.size, f"the message before byte {at} may be torn; dropped")
        for column in (last.log_time, last.publish_time, last.size, last.place):
            column.pop()

    def _data_record(self, op: int, at: int, length: int) -> None:
        body = at + rec.RECORD_HEADER.size
        if op == Op.MESSAGE:
            if self._run_start is None or body + length - self._run_start > _RUN_BYTES:
                self._end_run(at)
                self._run_start = at
            self._message(self._bytes_at(at, min(rec.MESSAGE.size, rec.RECORD_HEADER.size + length)), at, length)
            return
        self._end_run(at)
        if op == Op.CHUNK:
            self._chunk(at, body, length)
        elif op == Op.SCHEMA:
            self._add_schema(rec.parse_schema(self._bytes_at(body, length)))
        elif op == Op.CHANNEL:
            self._add_channel(rec.parse_channel(self._bytes_at(body, length)))
        elif op == Op.METADATA:
            name, values = rec.parse_metadata(self._bytes_at(body, length))
            self._content.metadata.setdefault(name, {}).update(values)
            self._content.metadata_records += 1
        elif op == Op.ATTACHMENT:
            rec.check_attachment(self._bytes_at(body, length))
            self._content.attachments += 1
        elif op not in rec.KNOWN_OPS and op < rec.FIRST_PRIVATE_OP:
            self._content.unknown_ops += 1

    def _end_run(self, at: int) -> None:
        """Close the run of messages outside chunks that ends at `at`."""
        if self._run_start is not None:
            self._content.extents.append(Extent(self._run_start, at - self._run_start, None))
            self._run_start = None

    def _message(self, head: bytes, at: int, length: int) -> None:
        """Index a message outside chunks."""
        if length < rec.MESSAGE_FIXED_BYTES:
            raise self._corrupt(at, "a message record is too short")
        _, _, channel, _, log_time, publish_time = rec.MESSAGE.unpack(head)
        self._known_channel(channel, at)
        messages = self._content.messages.setdefault(channel, Messages())
        messages.log_time.append(log_time)
        messages.publish_time.append(publish_time)
        messages.size.append(length - rec.MESSAGE_FIXED_BYTES)
        start = at - (self._run_start or 0) + rec.MESSAGE.size
        messages.place.append(place_of(len(self._content.extents), start))

    def _known_channel(self, channel: int, at: int) -> None:
        if channel not in self._content.channels:
            raise self._corrupt(at, f"a message of channel {channel}, which is not defined before it")

    def _add_schema(self, schema: rec.Schema) -> None:
        if schema.id == 0 or self._content.schemas.setdefault(schema.id, schema) != schema:
            raise CorruptLog(f"schema {schema.id} is defined twice, differently", where=self._path, remedy=REMEDY)

    def _add_channel(self, channel: rec.Channel) -> None:
        if self._content.channels.setdefault(channel.id, channel) != channel:
            raise CorruptLog(f"channel {channel.id} is defined twice, differently", where=self._path, remedy=REMEDY)
        if channel.schema_id and channel.schema_id not in self._content.schemas:
            raise CorruptLog(
                f"topic '{channel.topic}' names schema {channel.schema_id}, which is not defined before it",
                where=self._path,
                remedy=REMEDY,
            )

    # -- chunks --------------------------------------------------------------------------------------------------

    def _chunk(self, at: int, body: int, length: int) -> None:
        try:
            with translated(self._path, f"decompressing the chunk at byte {at}"):
                head, stored = rec.parse_chunk(self._bytes_at(body, length))
                data = rec.unpack_chunk(head, stored)
                found = self._walk_chunk(data, head)
        except (CorruptLog, UnsupportedLog) as error:
            if isinstance(error, UnsupportedLog) and not self._recover:
                raise UnsupportedLog(error.what, where=self._path, remedy="re-encode it with zstd chunks") from error
            self._damage(at, rec.RECORD_HEADER.size + length, f"the chunk there is not usable: {error.what}")
            return
        content = self._content
        content.chunk_offsets[at] = (head, rec.RECORD_HEADER.size + length)
        content.unchecked_chunks += head.crc == 0
        number = len(content.extents)
        content.extents.append(Extent(body + length - len(stored), len(stored), head))
        for channel, part in found.items():
            content.messages.setdefault(channel, Messages()).extend(part, number)

    def _walk_chunk(self, data: bytes, head: rec.ChunkHead) -> dict[int, Messages]:
        """Index a chunk's messages; everything in it is believed only once all of it was walked."""
        found: dict[int, Messages] = {}
        at, end = 0, len(data)
        unpack, fixed = rec.MESSAGE.unpack_from, rec.MESSAGE.size
        header = rec.RECORD_HEADER.size
        while at < end:
            if end - at < header:
                raise CorruptLog("a chunk ends inside a record's head")
            op, length = rec.RECORD_HEADER.unpack_from(data, at)
            following = at + header + length
            if following > end:
                raise CorruptLog("a record passes its chunk's end")
            if op == Op.MESSAGE:
                if length < rec.MESSAGE_FIXED_BYTES:
                    raise CorruptLog("a message record is too short")
                _, _, channel, _, log_time, publish_time = unpack(data, at)
                part = found.get(channel)
                if part is None:
                    self._known_channel(channel, at)
                    part = found[channel] = Messages()
                part.log_time.append(log_time)
                part.publish_time.append(publish_time)
                part.size.append(length - rec.MESSAGE_FIXED_BYTES)
                part.place.append(at + fixed)
            elif op == Op.SCHEMA:
                self._add_schema(rec.parse_schema(data[at + header : following]))
            elif op == Op.CHANNEL:
                self._add_channel(rec.parse_channel(data[at + header : following]))
            at = following
        if found:
            earliest = min(min(part.log_time) for part in found.values())
            latest = max(max(part.log_time) for part in found.values())
            if (earliest, latest) != (head.start_ns, head.stop_ns):
                raise CorruptLog("a chunk's time range is not that of its messages")
        return found

    # -- comparing what the file says of itself with what it holds ------------------------------------------------

    def _check_data_end(self, at: int, length: int, following: int, limit: int) -> None:
        if length < 4:
            raise self._corrupt(at, "the end-of-data record is too short")
        crc = int.from_bytes(self._bytes_at(at + rec.RECORD_HEADER.size, 4), "little")
        if crc:
            self._data_crc_ok = self._crc_until(at) == crc
            if not self._data_crc_ok:
                self._damage(at, 0, "the data section's checksum does not match its bytes")
        if following != limit:
            self._damage(following, 0, f"{limit - following} bytes lie between the data and the summary")

    def _crc_until(self, stop: int) -> int:
        crc, at = 0, 0
        while at < stop:
            piece = self._bytes_at(at, min(1 << 20, stop - at))
            crc, at = zlib.crc32(piece, crc), at + len(piece)
        return crc

    def _compare(self, summary: Summary, data_end: int) -> None:
        content = self._content
        for number, schema in summary.schemas.items():
            if content.schemas.get(number, schema) != schema:
                self._damage(data_end, 0, f"schema {number} differs between data and summary")
        for number, channel in summary.channels.items():
            if content.channels.setdefault(number, channel) != channel:
                self._damage(data_end, 0, f"channel {number} differs between data and summary")
            content.schemas.update({key: value for key, value in summary.schemas.items() if key not in content.schemas})
        for offset, index in summary.chunks.items():
            if not _same_chunk(index, content.chunk_offsets.get(offset)):
                self._damage(offset, 0, "a chunk that the summary lists is not there, or differs")
        if summary.statistics is not None:
            self._compare_counts(summary.statistics, data_end)

    def _compare_counts(self, said: rec.Statistics, data_end: int) -> None:
        content = self._content
        counts = {number: len(part.size) for number, part in content.messages.items() if part.size}
        wrong = {
            "messages": (said.messages, sum(counts.values())),
            "chunks": (said.chunks, len(content.chunk_offsets)),
            "attachments": (said.attachments, content.attachments),
            "metadata records": (said.metadata, content.metadata_records),
        }
        for what, (expected, found) in wrong.items():
            if expected != found:
                self._damage(data_end, 0, f"the recorder counted {expected} {what}, the file holds {found}")
        by_channel = {number: count for number, count in said.by_channel.items() if count}
        if by_channel and by_channel != counts:
            self._damage(data_end, 0, "the recorder's count of messages per topic is not what the file holds")

    def _drop_unproven(self) -> None:
        """With `recover`, where bytes are known to be wrong: keep only chunks whose own checksum holds."""
        if self._data_crc_ok is not False and not self._suspect:
            return
        content = self._content
        bad = [number for number, item in enumerate(content.extents) if item.head is None or item.head.crc == 0]
        if not bad:
            return
        lost = sum(content.extents[number].stored_bytes for number in bad)
        self._report.lose(lost, "messages that no checksum of their own vouches for were dropped")
        content.messages = {channel: messages.without(bad) for channel, messages in content.messages.items()}

    def _note_unverified(self, summary: Summary | None) -> None:
        notes = self._report.unverified
        if self._data_crc_ok:
            return
        if self._content.unchecked_chunks:
            notes.append(f"{self._content.unchecked_chunks} chunks have no checksum")
        if any(extent.head is None for extent in self._content.extents):
            notes.append("messages outside chunks have no checksum")
        if self._content.metadata:
            notes.append("metadata records have no checksum")
        if summary is not None and not summary.checked and summary.chunks:
            notes.append("the summary has no checksum")


def _same_chunk(index: rec.ChunkIndex, found: tuple[rec.ChunkHead, int] | None) -> bool:
    if found is None:
        return False
    head, record_bytes = found
    said = (
        index.start_ns,
        index.stop_ns,
        index.size_bytes,
        index.compression,
        index.compressed_bytes,
        index.record_bytes,
    )
    return said == (
        head.start_ns, head.stop_ns, head.size_bytes, head.compression, head.compressed_bytes, record_bytes
    )  # fmt: skip

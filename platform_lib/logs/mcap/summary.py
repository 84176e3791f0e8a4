"""The summary at an MCAP file's end: what the recorder says the file holds."""

from __future__ import annotations

from dataclasses import dataclass, field

from isal import isal_zlib

from platform_lib.errors import CorruptLog
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.mcap import records as rec
from platform_lib.logs.mcap.lookahead import Lookahead
from platform_lib.logs.mcap.records import Op

_TAIL_BYTES = 16 << 10
_MOST_SUMMARY_BYTES = 256 << 20


@dataclass(slots=True)
class Summary:
    """What the summary section says.

    Attributes:
        start: Where it begins in the file; where the footer begins, if the file has no summary.
        end: Where the footer begins.
        checked: Whether a checksum covers it, and holds.
        statistics: The recorder's counts, ``None`` without any.
        schemas: Repeated definitions by number.
        channels: The same.
        chunks: Chunk indexes by the chunk's offset.
    """

    start: int
    end: int
    checked: bool
    statistics: rec.Statistics | None = None
    schemas: dict[int, rec.Schema] = field(default_factory=dict)
    channels: dict[int, rec.Channel] = field(default_factory=dict)
    chunks: dict[int, rec.ChunkIndex] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether it alone says what the file holds and where: then chunks need not be opened to know their content.

        It must be covered by its checksum, and agree with itself.
        """
        said = self.statistics
        if said is None or not self.checked or not self.chunks:
            return False
        used = {channel for index in self.chunks.values() for channel in index.message_index}
        counted = {channel for channel, count in said.by_channel.items() if count}
        schemas = {channel.schema_id for channel in self.channels.values()} - {0}
        return (
            (said.chunks, said.channels, said.schemas) == (len(self.chunks), len(self.channels), len(self.schemas))
            and used == counted <= self.channels.keys()
            and schemas <= self.schemas.keys()
            and sum(said.by_channel.values()) == said.messages
            and all(self._plausible(index) for index in self.chunks.values())
        )

    def _plausible(self, index: rec.ChunkIndex) -> bool:
        chunk = index.chunk
        first, last = chunk.offset + chunk.record_bytes, chunk.offset + chunk.record_bytes + index.message_index_bytes
        inside = all(first <= at < last for at in index.message_index.values())
        empty = (chunk.start_ns, chunk.stop_ns) == (0, 0)
        return (
            inside and last <= self.start and chunk.start_ns <= chunk.stop_ns and (bool(index.message_index) or empty)
        )


def read_summary(view: Lookahead) -> Summary:
    """Read the footer and the summary.

    Raises:
        CorruptLog: The file's end is missing or contradicts itself.
    """
    source = view.source
    footer_at = source.size_bytes - len(rec.MAGIC) - rec.FOOTER_BYTES
    if footer_at < len(rec.MAGIC):
        raise damaged(source.name, source.size_bytes, "the file ends before its footer")
    view.fetch(max(0, source.size_bytes - _TAIL_BYTES), min(source.size_bytes, _TAIL_BYTES))
    if view.read(source.size_bytes - len(rec.MAGIC), len(rec.MAGIC)) != rec.MAGIC:
        raise damaged(
            source.name, source.size_bytes, "the closing magic is missing: the file was cut or never finished"
        )
    footer = view.read(footer_at, rec.FOOTER_BYTES)
    op, length = rec.RECORD_HEADER.unpack_from(footer)
    if op != Op.FOOTER or length != rec.FOOTER_BYTES - rec.RECORD_HEADER.size:
        raise damaged(source.name, footer_at, "the footer is missing")
    fields = rec.Fields(footer[rec.RECORD_HEADER.size :])
    start, _, crc = fields.number(8), fields.number(8), fields.number(4)
    if start > footer_at or 0 < start < len(rec.MAGIC) or footer_at - start > _MOST_SUMMARY_BYTES > 0 < start:
        raise damaged(source.name, footer_at, "the footer points outside the file")
    if not start:
        return Summary(start=footer_at, end=footer_at, checked=False)
    data = view.read(start, footer_at - start)
    if crc and isal_zlib.crc32(footer[:-4], isal_zlib.crc32(data)) != crc:
        raise damaged(source.name, start, "the summary's checksum does not match its bytes")
    summary = Summary(start=start, end=footer_at, checked=bool(crc))
    _fill(summary, data, source.name)
    return summary


def _fill(summary: Summary, data: bytes, name: str) -> None:
    at = 0
    while at < len(data):
        if at + rec.RECORD_HEADER.size > len(data):
            raise damaged(name, summary.start + at, "the summary ends inside a record's head")
        op, length = rec.RECORD_HEADER.unpack_from(data, at)
        begin, at = at + rec.RECORD_HEADER.size, at + rec.RECORD_HEADER.size + length
        if at > len(data):
            raise damaged(name, summary.start + begin, "a record passes the summary's end")
        _add(summary, op, data[begin:at])


def _add(summary: Summary, op: int, content: bytes) -> None:
    if op == Op.STATISTICS:
        summary.statistics = rec.parse_statistics(content)
    elif op == Op.SCHEMA:
        schema = rec.parse_schema(content)
        summary.schemas[schema.id] = schema
    elif op == Op.CHANNEL:
        channel = rec.parse_channel(content)
        summary.channels[channel.id] = channel
    elif op == Op.CHUNK_INDEX:
        index = rec.parse_chunk_index(content)
        summary.chunks[index.chunk.offset] = index


def damaged(name: str, offset: int, what: str) -> CorruptLog:
    """Return the error for damage at a byte of the file."""
    return CorruptLog(f"damaged at byte {offset}: {what}", where=name, remedy=REMEDY)

"""The summary at an MCAP file's end: what the recorder says the file holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from isal import isal_zlib

from platform_lib.errors import CorruptLog
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.mcap import records as rec
from platform_lib.logs.mcap.extent_table import ExtentTable
from platform_lib.logs.mcap.lookahead import Lookahead
from platform_lib.logs.mcap.records import Op

_TAIL_BYTES = 16 << 10
_MOST_SUMMARY_BYTES = 1 << 30
_MOST_RECORD_BYTES = 64 << 20
_PIECE_BYTES = 8 << 20  # of a summary that is longer no more than this is in memory at once


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
        chunks: Chunk indexes, ordered by their chunks' places in the file.
    """

    start: int
    end: int
    checked: bool
    statistics: rec.Statistics | None = None
    schemas: dict[int, rec.Schema] = field(default_factory=dict)
    channels: dict[int, rec.Channel] = field(default_factory=dict)
    chunks: ExtentTable = field(default_factory=ExtentTable)

    @property
    def complete(self) -> bool:
        """Whether it alone says what the file holds and where: then chunks need not be opened to know their content.

        It must be covered by its checksum, and agree with itself.
        """
        said = self.statistics
        if said is None or not self.checked or not len(self.chunks):
            return False
        used = set(np.flatnonzero(self.chunks.used()).tolist())
        counted = {channel for channel, count in said.by_channel.items() if count}
        schemas = {channel.schema_id for channel in self.channels.values()} - {0}
        return (
            (said.chunks, said.channels, said.schemas) == (len(self.chunks), len(self.channels), len(self.schemas))
            and used == counted <= self.channels.keys()
            and schemas <= self.schemas.keys()
            and sum(said.by_channel.values()) == said.messages
            and self.chunks.plausible(self.start)
        )

    def chunk_after(self, at: int) -> int | None:
        """Return where the first chunk after `at` begins, as the summary says."""
        offset = self.chunks.column("offset")
        rank = int(np.searchsorted(offset, np.uint64(at), "right"))
        return int(offset[rank]) if rank < offset.size else None


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
    if crc and isal_zlib.crc32(footer[:-4], _crc(view, start, footer_at)) != crc:
        raise damaged(source.name, start, "the summary's checksum does not match its bytes")
    summary = Summary(start=start, end=footer_at, checked=bool(crc))
    for op, content in _records(view, start, footer_at):
        _add(summary, op, content)
    summary.chunks.sort()
    return summary


def _piece(view: Lookahead, at: int, end: int) -> bytes:
    """Return a summary's next bytes: all of a short one, which is fetched once."""
    return view.read(at, min(_PIECE_BYTES, end - at), alone=end - at > _PIECE_BYTES)


def _crc(view: Lookahead, start: int, end: int) -> int:
    crc = 0
    for at in range(start, end, _PIECE_BYTES):
        crc = isal_zlib.crc32(_piece(view, at, end), crc)
    return crc


def _records(view: Lookahead, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the summary's records, opcode and content."""
    name, header = view.source.name, rec.RECORD_HEADER
    piece, first, at = b"", start, start
    while at < end:
        if at + header.size > end:
            raise damaged(name, at, "the summary ends inside a record's head")
        if at + header.size > first + len(piece):
            piece, first = _piece(view, at, end), at
        op, length = header.unpack_from(piece, at - first)
        begin = at + header.size
        if begin + length > end:
            raise damaged(name, begin, "a record passes the summary's end")
        if begin + length > first + len(piece):
            if length > _MOST_RECORD_BYTES:
                raise damaged(name, at, f"a record of {length} bytes in the summary")
            if header.size + length > _PIECE_BYTES:
                yield op, view.source.read_at(begin, length)
                at = begin + length
                continue
            piece, first = _piece(view, at, end), at
        yield op, piece[begin - first : begin - first + length]
        at = begin + length


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
        summary.chunks.add_index(rec.parse_chunk_index(content))


def damaged(name: str, offset: int, what: str) -> CorruptLog:
    """Return the error for damage at a byte of the file."""
    return CorruptLog(f"damaged at byte {offset}: {what}", where=name, remedy=REMEDY)

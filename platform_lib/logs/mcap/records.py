"""MCAP records: bytes -> values, with every length checked before it is believed.

Source: MCAP specification, https://mcap.dev/spec (2026-11-20).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from platform_lib.errors import CorruptLog

MAGIC = b"\x89MCAP0\r\n"
RECORD_HEADER = struct.Struct("<BQ")
MESSAGE = struct.Struct("<BQHIQQ")  # record header, channel id, sequence, log time, publish time
MESSAGE_FIXED_BYTES = MESSAGE.size - RECORD_HEADER.size
FOOTER_BYTES = RECORD_HEADER.size + 20
_CHANNEL_PLACE = struct.Struct("<HQ")
_CHUNK = struct.Struct(
    "<BQQQQII"
)  # record header, first and last time, size, checksum, length of the compression's name
_CHUNK_INDEX = struct.Struct("<QQQQ")  # first and last time, offset, length
_COMPRESSION_NAME_MOST = 64
CHUNK_HEAD_MOST = _CHUNK.size + _COMPRESSION_NAME_MOST + 8


class Op(IntEnum):
    """Record opcodes."""

    HEADER = 0x01
    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    MESSAGE_INDEX = 0x07
    CHUNK_INDEX = 0x08
    ATTACHMENT = 0x09
    ATTACHMENT_INDEX = 0x0A
    STATISTICS = 0x0B
    METADATA = 0x0C
    METADATA_INDEX = 0x0D
    SUMMARY_OFFSET = 0x0E
    DATA_END = 0x0F


KNOWN_OPS = frozenset(int(op) for op in Op)
FIRST_PRIVATE_OP = 0x80


class Fields:
    """Reads a record's fields in order and refuses to pass its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        stop = self._at + count
        if stop > len(self._data):
            raise CorruptLog("a record is shorter than its fields")
        piece = self._data[self._at : stop]
        self._at = stop
        return piece

    def number(self, size: int) -> int:
        """Return the next unsigned little-endian number."""
        return int.from_bytes(self.take(size), "little")

    def text(self) -> str:
        """Return the next length-prefixed string."""
        try:
            return self.take(self.number(4)).decode()
        except UnicodeDecodeError as error:
            raise CorruptLog("a record's text is not UTF-8") from error

    def text_map(self) -> dict[str, str]:
        """Return the next map of strings."""
        inner = Fields(self.take(self.number(4)))
        result: dict[str, str] = {}
        while not inner.ended:
            key = inner.text()
            result[key] = inner.text()
        return result

    def places_by_channel(self) -> dict[int, int]:
        """Return the next map from channel numbers to 64-bit numbers."""
        entries = self.take(self.number(4))
        if len(entries) % _CHANNEL_PLACE.size:
            raise CorruptLog("a record's map is torn")
        return dict(_CHANNEL_PLACE.iter_unpack(entries))

    @property
    def ended(self) -> bool:
        """Whether everything was read."""
        return self._at >= len(self._data)

    @property
    def at(self) -> int:
        """How many bytes were read."""
        return self._at


@dataclass(frozen=True, slots=True)
class Schema:
    """A message definition."""

    id: int
    name: str
    encoding: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Channel:
    """A topic of one publisher; `schema_id` 0 means none."""

    id: int
    schema_id: int
    topic: str
    message_encoding: str
    metadata: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a chunk, or the summary's index of it, says.

    Attributes:
        offset: Where its record begins in the file.
        record_bytes: Length of the whole record.
        start_ns: Its earliest log time, 0 without messages.
        stop_ns: Its latest log time, inclusive.
        compression: ``zstd``, ``lz4`` or empty.
        stored_bytes: Length of its records as stored, at the record's end.
        size_bytes: Length of its records.
    """

    offset: int
    record_bytes: int
    start_ns: int
    stop_ns: int
    compression: str
    stored_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """The summary's entry of a chunk: the chunk, channel -> where its message index is, and their length together."""

    chunk: Chunk
    message_index: dict[int, int]
    message_index_bytes: int


@dataclass(frozen=True, slots=True)
class AttachmentHead:
    """An attachment without its content, which begins `data_at` bytes into the record's content."""

    time_ns: int
    name: str
    media_type: str
    size_bytes: int
    data_at: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the recorder counted."""

    messages: int
    schemas: int
    channels: int
    attachments: int
    metadata: int
    chunks: int
    start_ns: int
    stop_ns: int
    by_channel: dict[int, int]


def parse_schema(data: bytes) -> Schema:
    """Parse a schema record's content."""
    fields = Fields(data)
    return Schema(fields.number(2), fields.text(), fields.text(), fields.take(fields.number(4)))


def parse_channel(data: bytes) -> Channel:
    """Parse a channel record's content."""
    fields = Fields(data)
    number, schema = fields.number(2), fields.number(2)
    return Channel(number, schema, fields.text(), fields.text(), tuple(sorted(fields.text_map().items())))


def parse_chunk_head(data: bytes | memoryview, offset: int) -> tuple[Chunk, int]:
    """Parse the first bytes of a chunk's record, at `offset` in the file; return the chunk and its checksum (0: none).

    Args:
        data: At least `CHUNK_HEAD_MOST` bytes, or the whole record.
        offset: Where the record begins in the file.
    """
    if len(data) < _CHUNK.size:
        raise CorruptLog("a chunk is shorter than its fields")
    _, length, start, stop, size, crc, name_bytes = _CHUNK.unpack_from(data)
    name_end = _CHUNK.size + name_bytes
    if name_bytes > _COMPRESSION_NAME_MOST or len(data) < name_end + 8:
        raise CorruptLog("a chunk is shorter than its fields")
    try:
        compression = bytes(data[_CHUNK.size : name_end]).decode()
    except UnicodeDecodeError as error:
        raise CorruptLog("a chunk's compression is not UTF-8") from error
    stored = int.from_bytes(data[name_end : name_end + 8], "little")
    if stored != length + RECORD_HEADER.size - name_end - 8:
        raise CorruptLog("a chunk's records are not as long as its record")
    return Chunk(offset, length + RECORD_HEADER.size, start, stop, compression, stored, size), crc


def parse_chunk_index(data: bytes) -> ChunkIndex:
    """Parse a chunk index record's content."""
    if len(data) < _CHUNK_INDEX.size:
        raise CorruptLog("a record is shorter than its fields")
    start, stop, offset, length = _CHUNK_INDEX.unpack_from(data)
    fields = Fields(data[_CHUNK_INDEX.size :])
    message_index, index_bytes = fields.places_by_channel(), fields.number(8)
    compression, stored, size = fields.text(), fields.number(8), fields.number(8)
    return ChunkIndex(Chunk(offset, length, start, stop, compression, stored, size), message_index, index_bytes)


def parse_message_index(data: bytes, channel: int) -> list[int]:
    """Parse a message index record, header included; return the channel's log times in a chunk, ns.

    Raises:
        CorruptLog: It is no message index, or another channel's.
    """
    op, length = RECORD_HEADER.unpack_from(data)
    fields = Fields(data[RECORD_HEADER.size : RECORD_HEADER.size + length])
    if op != Op.MESSAGE_INDEX or fields.number(2) != channel:
        raise CorruptLog(f"the message index of channel {channel} is not where the summary says")
    entries = fields.take(fields.number(4))
    return [time_ns for time_ns, _ in struct.iter_unpack("<QQ", entries)]


def parse_statistics(data: bytes) -> Statistics:
    """Parse a statistics record's content."""
    fields = Fields(data)
    messages, schemas = fields.number(8), fields.number(2)
    channels, attachments, metadata, chunks = (fields.number(4) for _ in range(4))
    start, stop = fields.number(8), fields.number(8)
    counts = fields.places_by_channel()
    return Statistics(messages, schemas, channels, attachments, metadata, chunks, start, stop, counts)


def parse_metadata(data: bytes) -> tuple[str, dict[str, str]]:
    """Parse a metadata record's content: its name and its map."""
    fields = Fields(data)
    return fields.text(), fields.text_map()


def parse_attachment_head(data: bytes) -> AttachmentHead:
    """Parse the beginning of an attachment record's content."""
    fields = Fields(data)
    time_ns, _ = fields.number(8), fields.number(8)
    name, media_type, size = fields.text(), fields.text(), fields.number(8)
    return AttachmentHead(time_ns, name, media_type, size, fields.at)

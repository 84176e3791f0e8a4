"""MCAP records: bytes -> values, with every length checked before it is believed.

Source: MCAP specification, https://mcap.dev/spec (2026-11-20).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

import lz4.frame
import zstandard

from platform_lib.errors import CorruptLog, UnsupportedLog

MAGIC = b"\x89MCAP0\r\n"
RECORD_HEADER = struct.Struct("<BQ")
MESSAGE = struct.Struct("<BQHIQQ")  # record header, channel id, sequence, log time, publish time
MESSAGE_FIXED_BYTES = MESSAGE.size - RECORD_HEADER.size
FOOTER_BYTES = RECORD_HEADER.size + 20
# A chunk that claims more than this once decompressed is damage, not data: recorders write a few MiB.
MOST_CHUNK_BYTES = 4 << 30


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

    def number_map(self, key: int, value: int) -> dict[int, int]:
        """Return the next map of numbers of the given widths."""
        inner = Fields(self.take(self.number(4)))
        result: dict[int, int] = {}
        while not inner.ended:
            name = inner.number(key)
            result[name] = inner.number(value)
        return result

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
class ChunkHead:
    """What a chunk says of itself; `compressed_bytes` is the length of its records as stored."""

    start_ns: int
    stop_ns: int
    size_bytes: int
    crc: int
    compression: str
    compressed_bytes: int


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """What the summary says of a chunk."""

    start_ns: int
    stop_ns: int
    offset: int
    record_bytes: int
    compression: str
    compressed_bytes: int
    size_bytes: int


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


def parse_chunk(data: bytes) -> tuple[ChunkHead, bytes]:
    """Split a chunk record's content into its head and its records, still compressed."""
    fields = Fields(data)
    start, stop, size, crc = (fields.number(width) for width in (8, 8, 8, 4))
    compression, length = fields.text(), fields.number(8)
    return ChunkHead(start, stop, size, crc, compression, length), fields.take(length)


def parse_chunk_index(data: bytes) -> ChunkIndex:
    """Parse a chunk index record's content."""
    fields = Fields(data)
    start, stop, offset, length = (fields.number(8) for _ in range(4))
    fields.number_map(2, 8)
    fields.number(8)
    compression, compressed, size = fields.text(), fields.number(8), fields.number(8)
    return ChunkIndex(start, stop, offset, length, compression, compressed, size)


def parse_statistics(data: bytes) -> Statistics:
    """Parse a statistics record's content."""
    fields = Fields(data)
    messages, schemas = fields.number(8), fields.number(2)
    channels, attachments, metadata, chunks = (fields.number(4) for _ in range(4))
    start, stop = fields.number(8), fields.number(8)
    counts = fields.number_map(2, 8)
    return Statistics(messages, schemas, channels, attachments, metadata, chunks, start, stop, counts)


def parse_metadata(data: bytes) -> tuple[str, dict[str, str]]:
    """Parse a metadata record's content: its name and its map."""
    fields = Fields(data)
    return fields.text(), fields.text_map()


def check_attachment(data: bytes) -> None:
    """Check an attachment's own checksum (0: it has none)."""
    fields = Fields(data)
    fields.take(16)
    fields.text()
    fields.text()
    fields.take(fields.number(8))
    covered = fields.at
    crc = fields.number(4)
    if crc not in (0, zlib.crc32(data[:covered])):
        raise CorruptLog("an attachment's checksum does not match its bytes")


def unpack_chunk(head: ChunkHead, stored: bytes) -> bytes:
    """Decompress a chunk's records and check their length and checksum.

    Raises:
        CorruptLog: They do not decompress, or not to what the chunk says.
        UnsupportedLog: A compression other than zstd, lz4 or none.
    """
    if head.size_bytes > MOST_CHUNK_BYTES:
        raise CorruptLog(f"a chunk claims {head.size_bytes} bytes uncompressed")
    match head.compression:
        case "":
            data = stored
        case "zstd":
            declared = zstandard.get_frame_parameters(stored).content_size
            if declared not in (zstandard.CONTENTSIZE_UNKNOWN, head.size_bytes) and head.size_bytes:
                raise CorruptLog("a chunk and its zstd frame disagree on the size")
            data = zstandard.ZstdDecompressor().decompress(stored, max_output_size=head.size_bytes)
        case "lz4":
            data = lz4.frame.LZ4FrameDecompressor().decompress(stored, max_length=head.size_bytes + 1)
        case other:
            raise UnsupportedLog(f"a chunk compressed with {other!r}; zstd, lz4 and none are read")
    if len(data) != head.size_bytes:
        raise CorruptLog(f"a chunk decompresses to {len(data)} bytes, not the {head.size_bytes} that it says")
    if head.crc not in (0, zlib.crc32(data)):
        raise CorruptLog("a chunk's checksum does not match its bytes")
    return data

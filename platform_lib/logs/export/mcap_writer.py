"""Writes an MCAP file topic by topic, a batch of messages at a time. Source: https://mcap.dev/spec (2026-11-20).

The library's writer takes one message a call; here the records of a whole batch are laid out at once. All else is written
by the library's own records. Chunks are zstd, with the checksums of chunks, data section and summary.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

Index = npt.NDArray[np.int64]
MOST_TOPICS = 65_535  # channel ids have 16 bits
_MAGIC = b"\x89MCAP0\r\n"
_CODEC = "zstd"
_FOOTER_BYTES = 20
_HEAD = np.dtype(
    [("op", "u1"), ("length", "<u8"), ("channel", "<u2"), ("sequence", "<u4"), ("log", "<u8"), ("publish", "<u8")]
)
_AFTER_LENGTH = _HEAD.itemsize - 9
_ENTRY = np.dtype([("time", "<u8"), ("offset", "<u8")])


class McapWriter:
    """One file being written.

    Args:
        stream: Where to; it is only appended to.
        chunk_bytes: How long a chunk's records become before it is closed.
        library: What the file says wrote it.
    """

    def __init__(self, stream: BinaryIO, chunk_bytes: int, library: str) -> None:
        self._stream = stream
        self._chunk_bytes = chunk_bytes
        self._compressor = zstandard.ZstdCompressor()
        self._offset, self._crc = 0, 0
        self._schemas: list[McapRecord] = []
        self._channels: list[McapRecord] = []
        self._chunks: list[McapRecord] = []
        self._attachments: list[McapRecord] = []
        self._metadata: list[McapRecord] = []
        self._counts: dict[int, int] = {}
        self._span: tuple[int, int] | None = None
        self._pieces: list[memoryview | bytes] = []
        self._entries: list[npt.NDArray[np.void]] = []
        self._open_bytes = 0
        self._append(_MAGIC)
        self._record(Header("", library))

    def begin_topic(self, name: str, message_type: str, descriptors: bytes, about: Mapping[str, str]) -> None:
        """Begin a topic of protobuf messages; what is added from now on is its."""
        self.end_topic()
        number = len(self._channels) + 1
        schema = Schema(id=number, data=descriptors, encoding="protobuf", name=message_type)
        channel = Channel(id=number, topic=name, message_encoding="protobuf", metadata=dict(about), schema_id=schema.id)
        self._schemas.append(schema)
        self._channels.append(channel)
        self._counts[number] = 0
        for record in (schema, channel):
            self._hold(_bytes_of(record))

    def add(self, times: Index, messages: pa.Array) -> None:
        """Add (N,) messages with their times, which are both the log's and the publisher's, ns since 1970."""
        number, first, at = len(self._channels), self._counts[len(self._channels)], 0
        records, offsets = _message_records(number, first, times, messages)
        self._counts[number] += times.size
        while at < times.size:
            room = self._chunk_bytes - self._open_bytes
            stop = max(at + 1, int(np.searchsorted(offsets, offsets[at] + room, "left")))
            stop = min(stop, times.size)
            entries = np.empty(stop - at, _ENTRY)
            entries["time"], entries["offset"] = times[at:stop], offsets[at:stop] - offsets[at] + self._open_bytes
            self._entries.append(entries)
            self._hold(records[int(offsets[at]) : int(offsets[stop])])
            at = stop
            if self._open_bytes >= self._chunk_bytes:
                self._end_chunk()

    def end_topic(self) -> None:
        """Close the chunk in progress; a topic without messages leaves its definition."""
        if self._entries:
            self._end_chunk()
        elif self._pieces:
            self._append(b"".join(self._pieces))
            self._pieces, self._open_bytes = [], 0

    def attach(self, time_ns: int, name: str, media_type: str, data: bytes) -> None:
        """Add a file."""
        offset = self._offset
        self._record(Attachment(create_time=0, log_time=time_ns, name=name, media_type=media_type, data=data))
        self._attachments.append(
            AttachmentIndex(
                offset=offset,
                length=self._offset - offset,
                create_time=0,
                log_time=time_ns,
                data_size=len(data),
                name=name,
                media_type=media_type,
            )
        )

    def tell(self, name: str, words: Mapping[str, str]) -> None:
        """Add a metadata record."""
        offset = self._offset
        self._record(Metadata(name=name, metadata=dict(words)))
        self._metadata.append(MetadataIndex(offset=offset, length=self._offset - offset, name=name))

    def finish(self) -> None:
        """Write what a reader finds its way by. Nothing may be added after it."""
        self.end_topic()
        self._record(DataEnd(self._crc))
        start = self._offset
        summary, offsets = RecordBuilder(), []
        for opcode, group in self._groups():
            before = summary.count
            for record in group:
                record.write(summary)
            if group:
                offsets.append(SummaryOffset(opcode, start + before, summary.count - before))
        offsets_start = start + summary.count
        for offset in offsets:
            offset.write(summary)
        data: bytes = summary.end()
        footer = struct.pack("<BQQQ", Opcode.FOOTER, _FOOTER_BYTES, start, offsets_start)
        self._append(data)
        self._record(Footer(start, offsets_start, zlib.crc32(footer, zlib.crc32(data))))
        self._append(_MAGIC)

    def _groups(self) -> Sequence[tuple[int, list[McapRecord]]]:
        first, last = self._span or (0, 0)
        statistics = Statistics(
            attachment_count=len(self._attachments),
            channel_count=len(self._channels),
            channel_message_counts={number: count for number, count in self._counts.items() if count},
            chunk_count=len(self._chunks),
            message_count=sum(self._counts.values()),
            message_end_time=last,
            message_start_time=first,
            metadata_count=len(self._metadata),
            schema_count=len(self._schemas),
        )
        return (
            (Opcode.SCHEMA, self._schemas),
            (Opcode.CHANNEL, self._channels),
            (Opcode.STATISTICS, [statistics]),
            (Opcode.CHUNK_INDEX, self._chunks),
            (Opcode.ATTACHMENT_INDEX, self._attachments),
            (Opcode.METADATA_INDEX, self._metadata),
        )

    def _hold(self, data: memoryview | bytes) -> None:
        self._pieces.append(data)
        self._open_bytes += len(data)

    def _end_chunk(self) -> None:
        data, entries = b"".join(self._pieces), np.concatenate(self._entries)
        self._pieces, self._entries, self._open_bytes = [], [], 0
        first, last = int(entries["time"].min()), int(entries["time"].max())
        known = self._span or (first, last)
        self._span = min(known[0], first), max(known[1], last)
        stored = self._compressor.compress(data)
        start = self._offset
        self._record(Chunk(_CODEC, stored, last, first, zlib.crc32(data), len(data)))
        index = self._offset
        number, size = len(self._channels), entries.nbytes
        self._append(struct.pack("<BQHI", Opcode.MESSAGE_INDEX, 6 + size, number, size) + entries.tobytes())
        self._chunks.append(
            ChunkIndex(
                chunk_length=index - start,
                chunk_start_offset=start,
                compression=_CODEC,
                compressed_size=len(stored),
                message_end_time=last,
                message_index_length=self._offset - index,
                message_index_offsets={number: index},
                message_start_time=first,
                uncompressed_size=len(data),
            )
        )

    def _record(self, record: McapRecord) -> None:
        self._append(_bytes_of(record))

    def _append(self, data: bytes) -> None:
        self._stream.write(data)
        self._crc = zlib.crc32(data, self._crc)
        self._offset += len(data)


def _bytes_of(record: McapRecord) -> bytes:
    builder = RecordBuilder()
    record.write(builder)
    data: bytes = builder.end()
    return data


def _message_records(channel: int, first: int, times: Index, messages: pa.Array) -> tuple[memoryview, Index]:
    """Return message records one after the other, and where each begins and the last one ends."""
    lengths = np.asarray(pc.binary_length(messages)).astype(np.int64)
    heads = np.empty(times.size, _HEAD)
    heads["op"], heads["channel"] = Opcode.MESSAGE, channel
    heads["length"] = lengths + _AFTER_LENGTH
    heads["sequence"] = np.arange(first, first + times.size) & 0xFFFFFFFF
    heads["log"] = heads["publish"] = times
    places = np.arange(times.size + 1, dtype=np.int32) * _HEAD.itemsize
    head = pa.Array.from_buffers(pa.binary(), times.size, [None, pa.py_buffer(places), pa.py_buffer(heads)])
    whole = pc.binary_join_element_wise(head, messages, b"")
    offsets = np.zeros(times.size + 1, np.int64)
    np.cumsum(lengths + _HEAD.itemsize, out=offsets[1:])
    return memoryview(whole.buffers()[2]), offsets

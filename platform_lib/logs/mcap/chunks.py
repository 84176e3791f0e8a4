"""A chunk's bytes -> its records, each length checked before it is believed.

The chain of records is followed in plain Python (a record's place depends on the one before it; 0.2 us each); everything
else about a message is gathered and checked by numpy for many messages at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lz4.frame
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import zstandard
from isal import isal_zlib

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.mcap.records import MESSAGE_FIXED_BYTES, RECORD_HEADER, Chunk, Op
from platform_lib.logs.payloads import INLINE_BYTES, Buffer, Index, anywhere

MOST_CHUNK_BYTES = 208 << 20
"""More is not read: while its reader holds a row of one chunk, the next comes, and both have to be in memory whole.

Recorders write a few MiB."""

_HEAD = np.dtype(
    [
        ("op", "u1"),
        ("length", "<u8"),
        ("channel", "<u2"),
        ("sequence", "<u4"),
        ("log_time", "<u8"),
        ("publish_time", "<u8"),
        ("prefix", f"V{INLINE_BYTES}"),
    ]
)
# The same bytes without names: numpy copies records with fields one field at a time.
_HEAD_BYTES = np.dtype((np.void, _HEAD.itemsize))
_LINK_BYTES = 4 << 20
_MOST_OTHERS = 1 << 20  # schemas and channels are 65,535 each at most
# What reading takes a message at its peak, besides its bytes. Measured: 8.5 million empty messages, 216 bytes each.
_MESSAGE_MEMORY_BYTES = 216
_MOST_MEMORY_BYTES = 480 << 20
_FAR = 1 << 62  # past every end, and still an int64
PAYLOAD_AT = _HEAD.itemsize - INLINE_BYTES
Heads = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a chunk or of a run outside chunks.

    Attributes:
        data: Their bytes.
        message_at: (N,) int64, where each message record begins in `data`.
        heads: (N,) the messages' fixed fields and the first bytes of their payloads, whatever follows shorter ones.
        others: Opcode, start and stop of the content of every other record.
        whole_bytes: Where the last whole record ends.
    """

    data: Buffer
    message_at: Index
    heads: Heads
    others: tuple[tuple[int, int, int], ...]
    whole_bytes: int

    def leading_messages(self) -> Records:
        """Return the records before the first that is no message."""
        if not self.others:
            return self
        stop = self.others[0][1] - RECORD_HEADER.size
        count = int(np.searchsorted(self.message_at, stop))
        return Records(self.data, self.message_at[:count], self.heads[:count], (), stop)

    @property
    def span_ns(self) -> tuple[int, int]:
        """The earliest and the latest log time; (0, 0) without messages."""
        times = self.heads["log_time"]
        return (int(times.min()), int(times.max())) if times.size else (0, 0)

    @property
    def payload_bytes(self) -> Index:
        """(N,) int64, the payloads' lengths; negative for a message that is shorter than its fields."""
        length: Index = self.heads["length"].astype(np.int64)
        return length - MESSAGE_FIXED_BYTES

    @classmethod
    def chain(cls, parts: Sequence[Records]) -> Records:
        """Return the messages of several parts as if they were one; places stay relative to each part's data."""
        if len(parts) == 1:
            return parts[0]
        at = np.concatenate([part.message_at for part in parts])
        heads = np.concatenate([part.heads.view(_HEAD_BYTES) for part in parts]).view(_HEAD)
        return cls(b"", at, heads, (), 0)


def read_records(data: Buffer, *, cut: bool = False) -> Records:
    """Follow the chain of records through `data`.

    Args:
        data: Records, one directly after the other.
        cut: Whether the data may end anywhere, or in zeros; a record that is not surely whole is then left out.

    Raises:
        CorruptLog: A record passes the end, or is of no kind.
        UnsupportedLog: There are too many for bounded memory.
    """
    starts = _chain(data)
    raw = np.frombuffer(data, np.uint8)
    if 2 * raw.size + starts.size * _MESSAGE_MEMORY_BYTES > _MOST_MEMORY_BYTES:
        raise UnsupportedLog(
            f"a chunk with {starts.size - 1} records in {raw.size} bytes: reading it takes too much memory"
        )
    if cut:
        starts = _surely_whole(raw, starts)
    ops = raw[starts[:-1]]
    if starts[-1] != raw.size and not cut and ops.all():
        raise CorruptLog("a record passes its chunk's end")
    if (ops == Op.MESSAGE).all():
        return Records(data, starts[:-1], _heads(data, starts[:-1]), (), int(starts[-1]))
    if not ops.all():
        raise CorruptLog("a record of kind 0, which is none")
    return _mixed(data, starts, ops)


def _surely_whole(raw: npt.NDArray[np.uint8], starts: Index) -> Index:
    """Shorten a chain that passes the end, or runs into zeros.

    Zeros are space that was allocated and never written. They may begin inside the record before them, which is then
    left out too; not if it ends in another byte.
    """
    starts = starts[: 1 + int(np.searchsorted(starts[1:], raw.size, "right"))]
    ops = raw[starts[:-1]]
    count = int(np.argmin(ops)) if not ops.all() else ops.size
    end = int(starts[count])
    if count and end < raw.size and not raw[end - 1] and not raw[end:].any():
        count -= 1
    return starts[: count + 1]


def _mixed(data: Buffer, starts: Index, ops: npt.NDArray[np.uint8]) -> Records:
    message_at = starts[:-1][ops == Op.MESSAGE]
    rest = np.flatnonzero(ops != Op.MESSAGE)
    if rest.size > _MOST_OTHERS:
        raise UnsupportedLog(f"a chunk with {rest.size} records beside its messages; at most {_MOST_OTHERS} are read")
    header = RECORD_HEADER.size
    others = tuple((int(ops[row]), int(starts[row]) + header, int(starts[row + 1])) for row in rest.tolist())
    return Records(data, message_at, _heads(data, message_at), others, int(starts[-1]))


def _chain(data: Buffer) -> Index:
    """Return where records begin, and last where the chain leaves `data`, a head no longer fits, or zeros have begun.

    A number takes five times the memory in Python's form: of no more than some MiB of records they are held in it.
    """
    view = memoryview(data)
    last = len(view) - RECORD_HEADER.size
    unpack = RECORD_HEADER.unpack_from
    header = RECORD_HEADER.size
    parts: list[Index] = []
    starts = [0]
    at = 0
    while at <= last:
        bound = min(last, at + _LINK_BYTES)
        append = starts.append
        while at <= bound:
            at += unpack(view, at)[1] + header
            append(at)
        if at > last or not view[starts[-2]]:
            break
        parts.append(np.array(starts[:-1], np.int64))
        starts = [at]
    starts[-1] = min(starts[-1], _FAR)
    return np.concatenate([*parts, np.array(starts, np.int64)])


def _heads(data: Buffer, message_at: Index) -> Heads:
    """Gather the messages' fixed fields; of payloads at the very end, fewer bytes than `INLINE_BYTES` may be there."""
    table = anywhere(data, _HEAD_BYTES)
    inside = int(np.searchsorted(message_at, table.size, "left"))
    if inside == message_at.size:
        whole: Heads = table[message_at].view(_HEAD)
        return whole
    heads = np.zeros(message_at.size, _HEAD_BYTES)
    heads[:inside] = table[message_at[:inside]]
    for row in range(inside, message_at.size):
        tail = bytes(memoryview(data)[int(message_at[row]) :])[: _HEAD.itemsize].ljust(_HEAD.itemsize, b"\0")
        heads[row] = np.void(tail)
    return heads.view(_HEAD)


def unpack_chunk(chunk: Chunk, crc: int, stored: memoryview) -> Buffer:
    """Decompress a chunk's records and check their length and checksum.

    Args:
        chunk: What the chunk says of itself.
        crc: Its checksum, 0 if it has none.
        stored: Its records as stored; without compression they are returned themselves.

    Raises:
        CorruptLog: They do not decompress, or not to what the chunk says.
        UnsupportedLog: A compression other than zstd, lz4 or none, or a chunk too large for bounded memory.
    """
    refuse_larger(chunk)
    data = _decompressed(chunk, stored, checked=crc != 0)
    if memoryview(data).nbytes != chunk.size_bytes:
        raise CorruptLog(f"a chunk decompresses to other than the {chunk.size_bytes} bytes that it says")
    check_crc(data, crc)
    return data


def refuse_larger(chunk: Chunk) -> None:
    """Refuse a chunk that is too large for bounded memory (`UnsupportedLog`)."""
    if chunk.size_bytes > MOST_CHUNK_BYTES:
        raise UnsupportedLog(f"a chunk of {chunk.size_bytes} bytes; at most {MOST_CHUNK_BYTES} are read at once")


def check_crc(data: Buffer, crc: int) -> None:
    """Check a chunk's records against their checksum, 0 for none; raises `CorruptLog`."""
    if crc not in (0, isal_zlib.crc32(data)):
        raise CorruptLog("a chunk's checksum does not match its bytes")


def _decompressed(chunk: Chunk, stored: memoryview, *, checked: bool) -> Buffer:
    match chunk.compression:
        case "":
            return stored
        case "zstd":
            declared = zstandard.get_frame_parameters(stored).content_size if stored.nbytes else 0
            if declared not in (zstandard.CONTENTSIZE_UNKNOWN, chunk.size_bytes) and not declared < chunk.size_bytes:
                raise CorruptLog("a chunk and its zstd frame disagree on the size")
        case "lz4" if not checked:
            # Arrow takes a frame that is shorter than announced for whole; only the checksum would tell.
            return lz4.frame.LZ4FrameDecompressor().decompress(stored, max_length=chunk.size_bytes + 1)
        case "lz4":
            pass
        case other:
            raise UnsupportedLog(f"a chunk compressed with {other!r}; zstd, lz4 and none are read")
    try:
        # Arrow's pool gives the pages of released chunks out again: fresh ones cost more than decompressing.
        return pa.Codec(chunk.compression).decompress(stored, decompressed_size=chunk.size_bytes)
    except OSError as error:
        raise CorruptLog(f"a chunk does not decompress ({error})") from error

"""MCAP files whose chunks are what matters: very many of them, or few that hold one large message each."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from mcap.writer import CompressionType, Writer

PAYLOAD = b"abcd"
_MESSAGE_BYTES = 31 + len(PAYLOAD)
DEFINITION = b"string text\nuint8[] data\n"
HEAD = b"\0\1\0\0" + struct.pack("<I4s", 4, b"abc\0")


def write_many_chunks(path: Path, count: int, channels: int = 1) -> Path:
    """Write `count` chunks of one small message a channel; chunk n's messages are of time 1000 + n."""
    definitions = _record(3, struct.pack("<H", 1) + _text("s") + _text("raw") + _text(""))
    for channel in range(channels):
        definitions += _record(4, struct.pack("<HH", channel, 1) + _text(f"/t{channel}") + _text("raw") + _text(""))
    with path.open("wb") as stream:
        stream.write(b"\x89MCAP0\r\n" + _record(1, _text("") + _text("test")) + definitions)
        at = stream.tell()
        index = bytearray()
        for number in range(count):
            whole, entry = _chunk(at, 1000 + number, channels)
            index += entry
            stream.write(whole)
            at += len(whole)
        stream.write(_record(15, bytes(4)))
        counts = b"".join(struct.pack("<HQ", channel, count) for channel in range(channels))
        said = struct.pack("<QHIIIIQQI", count * channels, 1, channels, 0, 0, count, 1000, 999 + count, len(counts))
        summary = definitions + index + _record(11, said + counts)
        start = stream.tell()
        footer = struct.pack("<BQQQ", 2, 20, start, 0)
        stream.write(summary + footer + struct.pack("<I", zlib.crc32(footer, zlib.crc32(summary))) + b"\x89MCAP0\r\n")
    return path


def _chunk(at: int, time_ns: int, channels: int) -> tuple[bytes, bytes]:
    """Return a chunk at `at` with its message indexes, and its entry in the summary."""
    records = b"".join(
        struct.pack("<BQHIQQ", 5, 22 + len(PAYLOAD), channel, 0, time_ns, time_ns) + PAYLOAD
        for channel in range(channels)
    )
    head = struct.pack("<QQQIIQ", time_ns, time_ns, len(records), zlib.crc32(records), 0, len(records))
    chunk = _record(6, head + records)
    places, indexes = b"", b""
    for channel in range(channels):
        places += struct.pack("<HQ", channel, at + len(chunk) + len(indexes))
        indexes += _record(7, struct.pack("<HIQQ", channel, 16, time_ns, _MESSAGE_BYTES * channel))
    entry = struct.pack("<QQQQI", time_ns, time_ns, at, len(chunk), len(places)) + places
    entry += struct.pack("<QIQQ", len(indexes), 0, len(records), len(records))
    return chunk + indexes, _record(8, entry)


def _record(op: int, content: bytes) -> bytes:
    return struct.pack("<BQ", op, len(content)) + content


def _text(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode()


def write_large_messages(
    path: Path, compression: CompressionType, message: bytes, *, count: int = 4, overlap: bool
) -> Path:
    """Write messages that fill a chunk each; `overlap`: beside each of them, one of the far past and of the future."""
    with path.open("wb") as stream:
        writer = Writer(stream, compression=compression, chunk_size=1 << 20)
        writer.start(profile="ros2")
        schema = writer.register_schema("a/msg/Image", "ros2msg", DEFINITION)
        image, small = (writer.register_channel(name, "cdr", schema) for name in ("/image", "/small"))
        payload = HEAD + struct.pack("<I", len(message)) + message
        for number in range(count):
            if overlap:
                for time_ns in (0, 10**9):
                    writer.add_message(small, time_ns, HEAD + bytes(4), time_ns)
            writer.add_message(image, 1000 * number, payload, 1000 * number)
        writer.finish()
    return path

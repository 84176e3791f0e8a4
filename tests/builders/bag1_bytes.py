"""ROS 1 bags put together byte by byte: heads in any order of fields, millions of messages in seconds."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

DEFINITION = b"type=std_msgs/UInt32", b"md5sum=304a39449588c7f8ce2df6e8001c5fce", b"message_definition=uint32 data\n"
ENTRY = np.dtype([("seconds", "<u4"), ("nanoseconds", "<u4"), ("offset", "<u4")])


def u32(number: int) -> bytes:
    return struct.pack("<I", number)


def fields(items: Iterable[bytes]) -> bytes:
    return b"".join(u32(len(item)) + item for item in items)


def record(head: Iterable[bytes], body: bytes) -> bytes:
    packed = fields(head)
    return u32(len(packed)) + packed + u32(len(body)) + body


def time_of(time_ns: int) -> bytes:
    return struct.pack("<II", *divmod(time_ns, 1_000_000_000))


def message(
    connection: int, time_ns: int, body: bytes, order: tuple[int, ...] = (0, 1, 2), extra: bytes = b""
) -> bytes:
    """One message's record; `order`: of its fields, `extra`: one more of them."""
    head = (b"op=\x02", b"conn=" + u32(connection), b"time=" + time_of(time_ns))
    return record([head[at] for at in order] + ([extra] if extra else []), body)


def connection(number: int, topic: bytes) -> bytes:
    return record([b"op=\x07", b"conn=" + u32(number), b"topic=" + topic], fields([b"topic=" + topic, *DEFINITION]))


class Bag:
    """A bag that is written chunk after chunk."""

    def __init__(self, path: Path, topics: Mapping[int, bytes]) -> None:
        self._stream = path.open("wb")
        self._topics = topics
        self._infos: list[bytes] = []
        self._stream.write(b"#ROSBAG V2.0\n" + self._header(0))

    def _header(self, index_at: int) -> bytes:
        head = fields(
            [
                b"op=\x03",
                b"index_pos=" + struct.pack("<Q", index_at),
                b"conn_count=" + u32(len(self._topics)),
                b"chunk_count=" + u32(len(self._infos)),
            ]
        )
        room = 4096 - len(head) - 8
        return u32(len(head)) + head + u32(room) + b" " * room

    def chunk(
        self, data: bytes, index: Mapping[int, np.ndarray], stored: bytes = b"", compression: bytes = b"none"
    ) -> None:
        """Write a chunk, and of each connection where its messages are (`ENTRY`)."""
        at = self._stream.tell()
        head = [b"op=\x05", b"compression=" + compression, b"size=" + u32(len(data))]
        self._stream.write(record(head, stored or data))
        for number, entries in index.items():
            head = [b"op=\x04", b"ver=" + u32(1), b"conn=" + u32(number), b"count=" + u32(len(entries))]
            self._stream.write(record(head, entries.tobytes()))
        counts = b"".join(u32(number) + u32(len(entries)) for number, entries in index.items())
        head = [b"op=\x06", b"ver=" + u32(1), b"chunk_pos=" + struct.pack("<Q", at)]
        head += [b"start_time=" + time_of(0), b"end_time=" + time_of(1 << 60), b"count=" + u32(len(index))]
        self._infos.append(record(head, counts))

    def close(self) -> None:
        """Write the index and the header."""
        at = self._stream.tell()
        self._stream.write(b"".join(connection(number, topic) for number, topic in self._topics.items()))
        self._stream.write(b"".join(self._infos))
        self._stream.seek(13)
        self._stream.write(self._header(at))
        self._stream.close()


def write_many(path: Path, chunks: int, messages: int, *, sorted_times: bool = True, sparse: int = 0) -> Path:
    """Write a bag of chunks that each have so many messages of ``/many``, and one of ``/few`` with `sparse` bytes more."""
    bag = Bag(path, {0: b"/many", 1: b"/few"})
    one = np.frombuffer(message(0, 0, b"1234"), np.uint8)
    at = bytes(one).index(b"time=") + 5
    rows = np.tile(one, (messages, 1))
    last = message(1, 0, u32(7)) + (message(0, 5, bytes(sparse)) if sparse else b"")
    for number in range(chunks):
        times = np.arange(messages, dtype="<u4") + number * messages
        entries = np.zeros(messages, ENTRY)
        entries["seconds"] = times if sorted_times else times[::-1]
        entries["offset"] = np.arange(messages) * one.size
        rows[:, at : at + 4] = entries["seconds"].astype("<u4").view(np.uint8).reshape(-1, 4)
        few = np.array([(0, 0, messages * one.size)], ENTRY)
        if sparse:
            big = np.array([(0, 5, messages * one.size + len(message(1, 0, u32(7))))], ENTRY)
            entries = np.concatenate([entries, big])
        bag.chunk(rows.tobytes() + last, {0: entries, 1: few})
    bag.close()
    return path

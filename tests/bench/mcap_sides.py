"""MCAP -> Arrow: ours, mcap, small-mcap, mcap-ros2-support, and the floor under all."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from isal import isal_zlib
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from platform_lib.logs import open_log
from tests.bench.digests import NamedDigests
from tests.bench.side import Digests, Parts, Side, Task


class _Ours:
    """Every message of every topic, as payloads, in one pass."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def run(self) -> None:
        with open_log(self._task.log) as log:
            for _ in log.read_all(decode=False):
                pass

    def check(self) -> Digests:
        found = NamedDigests()
        with open_log(self._task.log) as log:
            for name, batch in log.read_all(decode=False):
                found[f"{name} time"].times(batch.column("timestamp_ns").to_numpy())
                found[f"{name} payload"].numbers([zlib.crc32(item.as_py()) for item in batch.column("data")])
        return found.texts()


class _Peer:
    """A library's own messages, one by one; nothing is made of them, which is less than what we do."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def _messages(self) -> Iterator[tuple[Any, Any, Any]]:
        raise NotImplementedError

    def run(self) -> None:
        for _ in self._messages():
            pass

    def check(self) -> Digests:
        found = NamedDigests()
        for _, channel, message in self._messages():
            found[f"{channel.topic} time"].times([message.log_time])
            found[f"{channel.topic} payload"].numbers([zlib.crc32(message.data)])
        return found.texts()


class _Mcap(_Peer):
    def _messages(self) -> Iterator[tuple[Any, Any, Any]]:
        with self._task.log.open("rb") as stream:
            yield from make_reader(stream, validate_crcs=True).iter_messages(log_time_order=True)


class _SmallMcap(_Peer):
    def _messages(self) -> Iterator[tuple[Any, Any, Any]]:
        from small_mcap import read_message

        with self._task.log.open("rb") as stream:
            yield from read_message(stream)


class _Floor:
    """Reads and inflates the chunks, and checks their CRC. Nothing is copied: payloads can stay where they are.

    Arrow's own codecs are the fastest way from Python: their pool gives the pages of released chunks out again.
    """

    def __init__(self, task: Task) -> None:
        self._log = task.log
        with task.log.open("rb") as stream:
            summary = make_reader(stream).get_summary()
        assert summary is not None
        wanted = {number for number, channel in summary.channels.items() if channel.topic in task.topics}
        self._chunks = [
            (index.chunk_start_offset, index.chunk_length, index.compressed_size, index.uncompressed_size)
            for index in summary.chunk_indexes
            if not wanted or not wanted.isdisjoint(index.message_index_offsets)
        ]
        self._codec = pa.Codec(summary.chunk_indexes[0].compression)

    def run(self) -> Parts:
        parts = {"read": 0.0, "inflate": 0.0, "crc": 0.0}
        now = time.thread_time
        with self._log.open("rb", buffering=0) as stream:
            for offset, length, stored, size in self._chunks:
                begin = now()
                stream.seek(offset)
                data = memoryview(stream.read(length))[length - stored :]
                read = now()
                raw = self._codec.decompress(data, decompressed_size=size)
                inflated = now()
                isal_zlib.crc32(raw)
                parts["read"] += read - begin
                parts["inflate"] += inflated - read
                parts["crc"] += now() - inflated
        return parts

    def check(self) -> Digests:
        return {}


class _OursColumns:
    """The decoded columns of some topics, in one pass; all but the bytes of images and clouds."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def _batches(self) -> Iterator[tuple[str, pa.RecordBatch]]:
        with open_log(self._task.log) as log:
            names = {
                topic: [name for name in log.stream(topic).schema.names if name != "data"]
                for topic in self._task.topics
            }
            yield from log.read_all(self._task.topics, columns=names)

    def run(self) -> None:
        for _ in self._batches():
            pass

    def check(self) -> Digests:
        found = NamedDigests()
        for topic, batch in self._batches():
            found[f"{topic} time"].times(batch.column("timestamp_ns").to_numpy())
            for name, column in zip(batch.schema.names[2:], batch.columns[2:], strict=True):
                for leaf, values in _leaves(name, column):
                    found[f"{topic} {leaf}"].arrow(values)
        return found.texts()


def _leaves(name: str, column: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    if pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type):
        yield from _leaves(name, column.flatten())
    elif pa.types.is_struct(column.type):
        for member, values in zip(column.type, column.flatten(), strict=True):
            yield from _leaves(f"{name}.{member.name}", values)
    else:
        yield name, column


class _Ros2Support:
    """Messages decoded one by one, their fields collected in lists, and each list made an Arrow column.

    The bytes of images and clouds are decoded, which it cannot be kept from, and dropped.
    """

    def __init__(self, task: Task) -> None:
        self._task = task

    def _columns(self) -> dict[str, dict[str, list[Any]]]:
        topics: dict[str, dict[str, list[Any]]] = {topic: {"": []} for topic in self._task.topics}
        with self._task.log.open("rb") as stream:
            reader = make_reader(stream, decoder_factories=[DecoderFactory()])
            for _, channel, message, decoded in reader.iter_decoded_messages(topics=list(self._task.topics)):
                columns = topics[channel.topic]
                columns[""].append(message.log_time)
                _collect(columns, "", decoded)
        return topics

    def run(self) -> None:
        for columns in self._columns().values():
            for values in columns.values():
                pa.array(values)

    def check(self) -> Digests:
        found = NamedDigests()
        for topic, columns in self._columns().items():
            found[f"{topic} time"].times(columns.pop(""))
            for name, values in columns.items():
                found[f"{topic} {name}"].arrow(pa.array(values))
        return found.texts()


def _collect(columns: dict[str, list[Any]], prefix: str, message: Any) -> None:
    for name in message.__slots__:
        value = getattr(message, name)
        if hasattr(value, "__slots__"):
            _collect(columns, f"{prefix}{name}.", value)
        elif isinstance(value, list) and value and hasattr(value[0], "__slots__"):
            for item in value:
                _collect(columns, f"{prefix}{name}.", item)
        elif name != "data":
            columns.setdefault(prefix + name, []).append(value)


def ours(task: Task) -> Side:
    """Read every payload through `open_log`."""
    return _Ours(task)


def mcap(task: Task) -> Side:
    """Read every message through mcap, its CRC checked."""
    return _Mcap(task)


def small_mcap(task: Task) -> Side:
    """Read every message through small-mcap, which checks no CRC unless asked to."""
    return _SmallMcap(task)


def floor(task: Task) -> Side:
    """Read, inflate and check the chunks."""
    return _Floor(task)


def ours_columns(task: Task) -> Side:
    """Decode topics through `open_log`."""
    return _OursColumns(task)


def ros2_support(task: Task) -> Side:
    """Decode topics through mcap-ros2-support."""
    return _Ros2Support(task)

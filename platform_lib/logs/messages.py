"""Topics -> Arrow batches: what MCAP files and bags have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.cdr import message_decoder
from platform_lib.logs.extents import Payloads
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.json_fields import json_decoder
from platform_lib.logs.model import (
    BATCH_BYTES,
    BATCH_ROWS,
    DATA,
    PUBLISH,
    TIMESTAMP,
    Attachment,
    Reader,
    Report,
    Stream,
    Window,
    unique,
)

Index = npt.NDArray[np.int64]
RAW_SCHEMA = pa.schema(
    [pa.field(TIMESTAMP, pa.int64(), nullable=False), pa.field(PUBLISH, pa.int64()), pa.field(DATA, pa.binary_view())]
)
_INLINE_BYTES = 12  # Source: Arrow columnar format 1.4, variable-size binary view layout


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic's index, sorted by log time.

    Attributes:
        log_time_ns: (N,) int64, ascending.
        publish_time_ns: (N,) int64, or ``None`` where the format has no such time.
        size_bytes: (N,) int64, payload lengths.
        places: (N,) int64, what the store finds a payload by.
    """

    name: str
    message_type: str | None
    message_encoding: str
    schema_encoding: str
    schema_text: str | None
    log_time_ns: Index
    publish_time_ns: Index | None
    size_bytes: Index
    places: Index


def views(payloads: Payloads) -> pa.Array:
    """Return payloads as binary_view over their buffers, without copying them."""
    layout = np.dtype([("n", "<i4"), ("head", "S4"), ("buffer", "<i4"), ("start", "<i4")])
    table = np.zeros(payloads.length.size, layout)
    table["n"], table["buffer"], table["start"] = payloads.length, payloads.buffer, payloads.start
    flat = table.view(np.uint8).reshape(-1, 16)
    for number, buffer in enumerate(payloads.buffers):
        raw = np.frombuffer(buffer, np.uint8)
        mine = payloads.buffer == number
        long = np.flatnonzero(mine & (payloads.length > _INLINE_BYTES))
        flat[long, 4:8] = raw[payloads.start[long][:, None] + np.arange(4)]
        for row in np.flatnonzero(mine & (payloads.length <= _INLINE_BYTES)):
            size, at = int(payloads.length[row]), int(payloads.start[row])
            flat[row, 4:] = 0
            flat[row, 4 : 4 + size] = raw[at : at + size]
    parts = [None, pa.py_buffer(flat), *(pa.py_buffer(buffer) for buffer in payloads.buffers)]
    return pa.Array.from_buffers(pa.binary_view(), payloads.length.size, parts)


class PayloadStore(Protocol):
    """Where payloads are fetched from."""

    def fetch(self, places: Index, size_bytes: Index) -> Payloads:
        """Return the payloads at `places`, in that order; `size_bytes` are their lengths."""

    def close(self) -> None:
        """Release the file."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A log's topics, where their payloads come from, and what the recorder wrote about the drive."""

    topics: list[Topic]
    store: PayloadStore
    metadata: Mapping[str, str]


class TopicDecoder(Protocol):
    """Decodes payloads into columns."""

    def fields(self) -> list[pa.Field]:
        """Return the Arrow fields, in order."""

    def decode(self, raw: npt.NDArray[np.uint8], start: Index, length: Index) -> list[pa.Array]:
        """Return one array a field."""


def topic_decoder(topic: Topic) -> TopicDecoder | str:
    """Return the decoder of a topic, or why there is none."""
    pair = (topic.message_encoding, topic.schema_encoding)
    try:
        match pair:
            case ("cdr", "ros2msg") | ("ros1", "ros1msg"):
                if topic.message_type is None or topic.schema_text is None:
                    return "the log has no message definition for it"
                return message_decoder(topic.message_type, topic.schema_text, ros1=pair[0] == "ros1")
            case ("json", "jsonschema" | ""):
                return json_decoder(topic.schema_text)
            case _:
                return f"messages are encoded as {pair[0]!r} with a schema in {pair[1]!r}"
    except UnsupportedLog as error:
        return error.what


class TopicSource:
    """The `Source` of a log made of topics."""

    attachments: tuple[Attachment, ...] = ()

    def __init__(
        self,
        path: Path,
        loaded: Loaded,
        report: Report,
        reader: Reader = "fast",
    ) -> None:
        self._path = path
        self._store = loaded.store
        self.report = report
        self.metadata = loaded.metadata
        topics = loaded.topics
        self._topics: dict[str, Topic] = {}
        self._decoders: dict[str, TopicDecoder] = {}
        streams = []
        for topic, name in zip(topics, unique([topic.name for topic in topics]), strict=True):
            self._topics[name] = topic
            decoder = topic_decoder(topic)
            if isinstance(decoder, str):
                report.problems.append(f"topic '{name}' is given as raw payloads: {decoder}")
            else:
                self._decoders[name] = decoder
            report.readers[name] = reader
            streams.append(_stream(name, topic, self._schema(name)))
        self.streams = tuple(streams)

    def _schema(self, name: str) -> pa.Schema:
        decoder = self._decoders.get(name)
        if decoder is None:
            return RAW_SCHEMA
        fields = decoder.fields()
        names = unique([field.name for field in fields], taken=(TIMESTAMP, PUBLISH))
        named = [field.with_name(new) for field, new in zip(fields, names, strict=True)]
        return pa.schema([RAW_SCHEMA.field(0), RAW_SCHEMA.field(1), *named])

    def read(
        self, stream: Stream, window: Window, *, decode: bool, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the topic's messages in log-time order."""
        topic = self._topics[stream.name]
        decoder = self._decoders.get(stream.name) if decode else None
        schema = stream.schema if decoder is not None else RAW_SCHEMA
        for first, last in _batches(topic, window):
            with translated(self._path, f"reading topic '{stream.name}'"):
                payloads = self._store.fetch(topic.places[first:last], topic.size_bytes[first:last])
                times = _times(topic, first, last)
                if decoder is None:
                    batch = pa.RecordBatch.from_arrays([*times, views(payloads)], schema=schema)
                else:
                    batch = pa.RecordBatch.from_arrays(
                        [*times, *self._decode(stream.name, decoder, payloads)], schema=schema
                    )
            yield batch

    def _decode(self, name: str, decoder: TopicDecoder, payloads: Payloads) -> list[pa.Array]:
        raw, start = payloads.joined()
        try:
            return decoder.decode(raw, start, payloads.length)
        except (CorruptLog, UnsupportedLog) as error:
            raise type(error)(
                f"topic '{name}': {error.what}",
                where=self._path,
                remedy=error.remedy or "read the payload with decode=False",
            ) from error

    def close(self) -> None:
        """Release the file."""
        self._store.close()


def _stream(name: str, topic: Topic, schema: pa.Schema) -> Stream:
    times = topic.log_time_ns
    return Stream(
        name=name,
        kind="message",
        schema=schema,
        rows=int(times.size),
        message_type=topic.message_type,
        schema_text=topic.schema_text,
        start_ns=int(times[0]) if times.size else None,
        stop_ns=int(times[-1]) + 1 if times.size else None,
    )


def _batches(topic: Topic, window: Window) -> Iterator[tuple[int, int]]:
    times = topic.log_time_ns
    first = 0 if window.start_ns is None else int(np.searchsorted(times, window.start_ns, "left"))
    stop = times.size if window.stop_ns is None else int(np.searchsorted(times, window.stop_ns, "left"))
    ends = np.cumsum(topic.size_bytes)
    while first < stop:
        before = int(ends[first - 1]) if first else 0
        by_bytes = int(np.searchsorted(ends, before + BATCH_BYTES, "right"))
        last = min(stop, first + BATCH_ROWS, max(by_bytes, first + 1))
        yield first, last
        first = last


def _times(topic: Topic, first: int, last: int) -> list[pa.Array]:
    log = pa.array(topic.log_time_ns[first:last], type=pa.int64())
    if topic.publish_time_ns is None:
        return [log, pa.nulls(last - first, pa.int64())]
    return [log, pa.array(topic.publish_time_ns[first:last], type=pa.int64())]


def checked_times(path: Path, name: str, values: npt.NDArray[np.uint64]) -> Index:
    """Return unsigned recorder times as int64 nanoseconds; refuse what does not fit (after the year 2262)."""
    if values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise CorruptLog(f"topic '{name}' has a time past the year 2262", where=path, remedy=REMEDY)
    return values.astype(np.int64)

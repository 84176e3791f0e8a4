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
from platform_lib.logs.faults import REMEDY, translated
from platform_lib.logs.model import (
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
from platform_lib.logs.payloads import Rows
from platform_lib.logs.schemas.decoders import TopicDecoder, topic_decoder
from platform_lib.logs.schemas.faulty import FaultyPayload

Index = npt.NDArray[np.int64]
RAW_SCHEMA = pa.schema(
    [pa.field(TIMESTAMP, pa.int64(), nullable=False), pa.field(PUBLISH, pa.int64()), pa.field(DATA, pa.binary_view())]
)
_TIMES_SCHEMA = pa.schema([RAW_SCHEMA.field(0), RAW_SCHEMA.field(1)])


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a log.

    Attributes:
        name: As recorded.
        message_type: As the log names it, ``None`` where it does not.
        message_encoding: How payloads are serialised: ``cdr``, ``json``, ``protobuf``, ...
        schema_encoding: How the definition is written: ``ros2msg``, ``jsonschema``, ...; empty without one.
        schema_text: The definition, where it is text.
        schema_data: The definition as stored, ``None`` without one.
        rows: How many messages there are.
        start_ns: The earliest log time, ``None`` without rows.
        stop_ns: One past the latest, ``None`` without rows.
        raw_frames: Whether the recorder says that these are frames of a bus, of unrelated periods.
    """

    name: str
    message_type: str | None
    message_encoding: str
    schema_encoding: str
    schema_text: str | None
    schema_data: bytes | None
    rows: int
    start_ns: int | None
    stop_ns: int | None
    raw_frames: bool = False


class RowStore(Protocol):
    """Where a log's rows come from; topics go by their number in the log."""

    def rows(self, topics: Sequence[int], window: Window) -> Iterator[tuple[int, Rows]]:
        """Yield the rows of the given topics, each topic's in time order, at most `BATCH_ROWS` at a time."""

    def close(self) -> None:
        """Release the file."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A log's topics, where their rows come from, and what else the recorder wrote."""

    topics: list[Topic]
    store: RowStore
    metadata: Mapping[str, str]
    attachments: tuple[Attachment, ...] = ()


class TopicSource:
    """The `Source` of a log made of topics."""

    def __init__(
        self,
        path: Path | str,
        loaded: Loaded,
        report: Report,
        reader: Reader = "fast",
    ) -> None:
        self._path = path
        self._store = loaded.store
        self.report = report
        self.metadata = loaded.metadata
        self.attachments = loaded.attachments
        self._numbers: dict[str, int] = {}
        self._decoders: dict[str, TopicDecoder] = {}
        streams = []
        for number, name in enumerate(unique([topic.name for topic in loaded.topics])):
            topic = loaded.topics[number]
            self._numbers[name] = number
            decoder = topic_decoder(
                topic.message_encoding, topic.schema_encoding, topic.message_type, topic.schema_text, topic.schema_data
            )
            if isinstance(decoder, str):
                report.unsupported[name] = decoder
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
        """Yield the topic's messages in log-time order; without payloads where `columns` asks for times alone."""
        chosen = {} if columns is None else {stream.name: columns}
        return (batch for _, batch in self.read_all([stream], window, decode=decode, columns=chosen))

    def read_all(
        self, streams: Sequence[Stream], window: Window, *, decode: bool, columns: Mapping[str, Sequence[str]]
    ) -> Iterator[tuple[Stream, pa.RecordBatch]]:
        """Yield several topics' messages in one pass over the log, each topic's in log-time order."""
        by_number = {self._numbers[stream.name]: stream for stream in streams}
        counts = dict.fromkeys(by_number, 0)
        what = f"reading topic '{streams[0].name}'" if len(streams) == 1 else "reading topics"
        rows = self._store.rows(list(by_number), window)
        while True:
            with translated(self._path, what):
                found = next(rows, None)
                if found is None:
                    break
                number, stream = found[0], by_number[found[0]]
                batch = self._batch(stream, found[1], columns.get(stream.name), decode=decode)
                del found  # what nobody holds is used again for what comes next
            counts[number] += batch.num_rows
            yield stream, batch
            del batch
        for number, stream in by_number.items():
            if window.everything and counts[number] != stream.rows:
                what = f"topic '{stream.name}' has {counts[number]} messages, its index counts {stream.rows}"
                raise CorruptLog(what, where=self._path, remedy=REMEDY)

    def _batch(self, stream: Stream, rows: Rows, columns: Sequence[str] | None, *, decode: bool) -> pa.RecordBatch:
        if columns is not None and set(columns) <= {TIMESTAMP, PUBLISH}:
            return _times(rows)
        times = _times(rows).columns
        decoder = self._decoders.get(stream.name) if decode else None
        if decoder is None:
            return pa.RecordBatch.from_arrays([*times, rows.payloads.views()], schema=RAW_SCHEMA)
        names = stream.schema.names[len(times) :]
        wanted = [number for number, name in enumerate(names) if columns is None or name in columns]
        fields = [*range(len(times)), *(number + len(times) for number in wanted)]
        return pa.RecordBatch.from_arrays(
            [*times, *self._decode(stream.name, decoder, rows, wanted)],
            schema=pa.schema([stream.schema.field(number) for number in fields]),
        )

    def _decode(self, name: str, decoder: TopicDecoder, rows: Rows, wanted: list[int]) -> list[pa.Array]:
        try:
            return decoder.decode(rows.payloads, wanted)
        except FaultyPayload as error:
            what = f"topic '{name}', the message at {int(rows.log_time_ns[error.row])} ns: {error.what}"
            remedy = error.remedy or "read the payload with decode=False"
            raise CorruptLog(what, where=self._path, remedy=remedy) from error
        except UnsupportedLog as error:
            remedy = error.remedy or "read the payload with decode=False"
            raise UnsupportedLog(f"topic '{name}': {error.what}", where=self._path, remedy=remedy) from error

    def close(self) -> None:
        """Release the file."""
        self._store.close()


def _times(rows: Rows) -> pa.RecordBatch:
    publish = rows.publish_time_ns
    columns = [
        pa.array(rows.log_time_ns, type=pa.int64()),
        pa.nulls(rows.log_time_ns.size, pa.int64()) if publish is None else pa.array(publish, type=pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_TIMES_SCHEMA)


def _stream(name: str, topic: Topic, schema: pa.Schema) -> Stream:
    return Stream(
        name=name,
        kind="message",
        schema=schema,
        rows=topic.rows,
        message_type=topic.message_type,
        schema_text=topic.schema_text,
        start_ns=topic.start_ns,
        stop_ns=topic.stop_ns,
        raw_frames=topic.raw_frames,
    )


def checked_times(path: Path | str, name: str, values: npt.NDArray[np.uint64]) -> Index:
    """Return unsigned recorder times as int64 nanoseconds; refuse what does not fit (after the year 2262)."""
    if values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise CorruptLog(f"topic '{name}' has a time past the year 2262", where=path, remedy=REMEDY)
    return values.astype(np.int64)

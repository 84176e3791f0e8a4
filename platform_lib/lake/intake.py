"""Takes one log in: what becomes signals, what becomes samples, what stays behind, with every row accounted for.

| stream | kept as |
|---|---|
| MDF channel group, decoded bus message | signals |
| topic whose messages hold only scalars, strings and fixed-size arrays | signals |
| topic with blobs or sequences, or with nothing in it | samples: the payload, for `platform_lib.logs.decode_cdr` |
| topic of compressed images | samples: the image's own bytes |
| topic of images whose `pii_state` is unknown or present | raw frames: a store of their own |
| topic that no reader decodes | samples: the payload, encoding ``raw`` |
| raw CAN frames | nothing: they stay in the log; what a database decodes from them is kept as signals, the rest is counted |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

from platform_lib.catalog.model import (
    PII_STATES,
    DriveIdentity,
    FileKey,
    IngestRecord,
    KeptAs,
    PiiState,
    Refusal,
    StreamRecord,
)
from platform_lib.catalog.schema_model import StreamSchema
from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.lake.flatten import is_signal_schema, unkept
from platform_lib.lake.log_schemas import known_names, schema_of
from platform_lib.lake.partitions import vehicle_key
from platform_lib.lake.place import LakePath
from platform_lib.lake.sensor_classes import SensorClass, sensor_class
from platform_lib.lake.tables import RAW_NAME
from platform_lib.lake.writer import SignalWriter, Tag, WrittenFiles, sample_rows, write_samples
from platform_lib.logs import READER_VERSION, Log, Stream, open_log
from platform_lib.logs.door import advised
from platform_lib.logs.model import DATA, PUBLISH, TIMESTAMP, unique
from platform_lib.privacy.frames import is_raw_frame

CHANGED = "ChangedLog"
_IMAGE_TYPES = frozenset({"sensor_msgs/msg/CompressedImage", "sensor_msgs/CompressedImage"})
# First bytes of image files. Source: ITU-T T.81 B.1.1.3 (SOI and the next marker), ISO/IEC 15948 5.2.
_IMAGE_MAGICS = ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"))


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How logs are read.

    Attributes:
        dbc: CAN databases, each perhaps tied to a bus (``CAN2=body.dbc``).
        recover: Take what is whole of a damaged log.
        timezone: For headers that carry local time only.
    """

    dbc: tuple[str, ...] = ()
    recover: bool = False
    timezone: str | None = None


@dataclass(frozen=True, slots=True)
class FileStamp:
    """Size and modification time of a log, by which a change under the reader's hands shows."""

    bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """Look at a file, or at every file of a bag folder."""
        items = [path] if path.is_file() else [item for item in path.rglob("*") if item.is_file()]
        stats = [item.stat() for item in items]
        return cls(sum(item.st_size for item in stats), max((item.st_mtime_ns for item in stats), default=0))


@dataclass(frozen=True, slots=True)
class LogJob:
    """One log to take in, its ingest already begun."""

    ingest_id: int
    path: Path
    key: FileKey
    stamp: FileStamp


@dataclass(frozen=True, slots=True)
class Place:
    """Where files are written."""

    signals_data: LakePath
    samples_uri: LakePath

    @property
    def raw_uri(self) -> LakePath:
        """The store of raw frames."""
        return self.samples_uri.with_name(RAW_NAME)


@dataclass(frozen=True, slots=True)
class Taken:
    """A log that was read in full: what to commit."""

    record: IngestRecord
    written: WrittenFiles


def take_in(job: LogJob, options: ReadOptions, place: Place) -> Taken | Refusal:
    """Read one log and write its rows as uncommitted files of both stores.

    Returns:
        What to commit, or why the log is refused: damage, an unknown format, a change while it was read. Whatever was
        written for a refused log is never committed.

    Raises:
        ConfigError: The options are wrong (a database that cannot be parsed, an unknown zone), whatever the log.
    """
    try:
        with open_log(job.path, dbc=options.dbc, recover=options.recover, timezone=options.timezone) as log:
            taken = _take_in(log, job, place)
    except (CorruptLog, UnsupportedLog) as error:
        told = error
        if isinstance(error, CorruptLog) and not options.recover:
            told = advised(error, job.path, timezone=options.timezone)
        remedy = None if told.remedy is None else storable(told.remedy)
        refusal = Refusal(job.key, options.recover, type(error).__name__, storable(error.what), remedy)
        return refusal if _unchanged(job) else _changed(job, options)
    return taken if _unchanged(job) else _changed(job, options)


def _unchanged(job: LogJob) -> bool:
    try:
        return FileStamp.of(job.path) == job.stamp
    except OSError:
        return False


def _changed(job: LogJob, options: ReadOptions) -> Refusal:
    """Refuse a log whose content is no longer what its digest says; not for good, since that content is sound."""
    return Refusal(job.key, options.recover, CHANGED, "it changed while it was read", "ingest it when it is complete")


def identify(metadata: Mapping[str, str], path: Path) -> DriveIdentity:
    """Say which drive a log belongs to: the recorder's vehicle and session, else the folder.

    The folder of a file is the one it lies in; a bag folder is its own. A folder named ``<vehicle>_<session>`` is
    the same drive as logs that carry that vehicle and session.
    """
    vehicle, session = metadata.get("vehicle", "").strip(), metadata.get("session", "").strip()
    if vehicle and session:
        # Only the first underscore separates, so the vehicle's own are escaped: no two drives share an id.
        drive_id = f"{_safe(vehicle).replace('_', '%5F')}_{_safe(session)}"
        return DriveIdentity(drive_id, vehicle, session)
    resolved = path.resolve()
    folder = storable(resolved.name if path.is_dir() else resolved.parent.name) or "root"
    return DriveIdentity(_safe(folder), None, folder)


def storable(text: str) -> str:
    """Return text that a database and Arrow can hold: no NUL, no lone surrogate (from names that are not UTF-8)."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\0")


def _safe(text: str) -> str:
    """Escape what does not belong in a file name."""
    escaped = quote(storable(text), safe=" -_.+@,=~")
    return escaped.replace(".", "%2E") if set(escaped) == {"."} else escaped


def _take_in(log: Log, job: LogJob, place: Place) -> Taken:
    metadata = {storable(name): storable(value) for name, value in sorted(log.metadata.items())}
    problems = [storable(item) for item in log.report.problems]
    state = metadata.get("pii_state", "unknown")
    if state not in PII_STATES:
        problems.append(f"pii_state '{state}' is none of {', '.join(PII_STATES)}; taken as unknown")
        state = "unknown"
    drive = identify(metadata, job.path)
    tag = Tag(job.ingest_id, drive.drive_id, job.key.file_sha256, state, vehicle_key(drive.vehicle))
    records: list[StreamRecord] = []
    streams = list(zip(log.streams, unique([storable(stream.name) for stream in log.streams]), strict=True))
    with SignalWriter(place.signals_data, tag) as writer:
        records += _take_signals(log, [item for item in streams if _kept_as(item[0]) == "signals"], writer)
        records += [_leave(stream, name) for stream, name in streams if _kept_as(stream) == "nothing"]
        raw = [item for item in streams if is_raw_frame(item[0].message_type, state)]
        fragments = write_samples(
            place.samples_uri, _samples(log, [item for item in streams if item not in raw], tag, records.append)
        )
        raw_fragments = write_samples(place.raw_uri, _samples(log, raw, tag, records.append))
        signals = writer.finish()
    starts = [item.start_ns for item in records if item.start_ns is not None]
    stops = [item.stop_ns for item in records if item.stop_ns is not None]
    known = {stream.name for stream in log.streams}
    problems += [storable(f"{name}: {why}") for name, why in log.report.unsupported.items() if name not in known]
    kept = {item.stream for item in records if item.kept_as != "nothing" and item.messages}
    record = IngestRecord(
        ingest_id=job.ingest_id,
        drive=drive,
        streams=tuple(records),
        unexplained_frames=sum(
            log.report.undecoded.get(item.name, item.rows) for item in log.streams if item.kind == "can"
        ),
        signal_rows=writer.rows,
        sample_rows=sum(item.rows for item in records if item.kept_as == "samples"),
        start_ns=min(starts, default=None),
        stop_ns=max(stops, default=None),
        pii_state=cast("PiiState", state),
        metadata=metadata,
        problems=tuple(dict.fromkeys(problems)),
        recovered=log.report.recovered,
        bytes_lost=log.report.bytes_lost if log.report.recovered else None,
        schemas=tuple(_schemas(log, streams, kept)),
    )
    return Taken(record, WrittenFiles(signals, fragments, raw_fragments))


def _schemas(log: Log, streams: Sequence[tuple[Stream, str]], kept: Container[str]) -> Iterator[StreamSchema]:
    names = known_names(streams)
    for stream, name in streams:
        if name in kept and name in names:
            reader = f"{READER_VERSION} {log.report.readers.get(stream.name, 'fast')}"
            yield schema_of(stream, name, names[name], _kept_as(stream), reader, decoded=not _is_raw(stream))


def _kept_as(stream: Stream) -> KeptAs:
    if stream.kind == "can":
        return "nothing"
    if stream.kind == "signal":
        return "signals"
    return "signals" if not _is_raw(stream) and is_signal_schema(stream.schema) else "samples"


def _is_raw(stream: Stream) -> bool:
    """Whether a topic is given as payloads only: its schema is then that of ``decode=False``."""
    return list(stream.schema.names) == [TIMESTAMP, PUBLISH, DATA] and pa.types.is_binary_view(
        stream.schema.field(DATA).type
    )


def _take_signals(log: Log, streams: Sequence[tuple[Stream, str]], writer: SignalWriter) -> Iterator[StreamRecord]:
    """Write the signals of all streams in one pass over the log."""
    named = {stream.name: (stream, name) for stream, name in streams}
    messages, rows = Counter[str](), Counter[str]()
    for read, batch in log.read_all(list(named)) if named else ():
        stream, name = named[read]
        skip = (TIMESTAMP, PUBLISH) if stream.kind == "message" else (TIMESTAMP,)
        messages[read] += batch.num_rows
        rows[read] += writer.add(name, batch, sensor=_sensor(stream), skip=skip)
    for stream, name in streams:
        _account(log, stream, messages[stream.name])
        yield _signals_record(stream, name, messages[stream.name], rows[stream.name])


def _sensor(stream: Stream) -> SensorClass:
    return sensor_class(stream.kind, stream.message_type)


def _signals_record(stream: Stream, name: str, messages: int, rows: int) -> StreamRecord:
    lost = unkept(stream.schema)
    problem = f"not kept, read them from the log: {', '.join(lost)}" if lost else None
    if messages and not rows and not lost:
        problem = "it holds nothing but times, which are not kept"
    return _record(stream, name, "signals", rows, problem)


def _leave(stream: Stream, name: str) -> StreamRecord:
    return _record(
        stream, name, "nothing", 0, "raw CAN frames stay in the log; decoded messages are streams of their own"
    )


def _samples(
    log: Log, streams: list[tuple[Stream, str]], tag: Tag, done: Callable[[StreamRecord], None]
) -> Iterator[pa.RecordBatch]:
    for stream, name in streams:
        if _kept_as(stream) != "samples":
            continue
        messages = 0
        image = stream.message_type in _IMAGE_TYPES and not _is_raw(stream)
        columns = [PUBLISH, DATA] if image else None
        for batch in log.read(stream.name, columns=columns, decode=image):
            messages += batch.num_rows
            data = batch.column(DATA)
            encoding = _image_encodings(data) if image else pa.repeat(_payload_encoding(stream), batch.num_rows)
            yield sample_rows(
                tag,
                name,
                {TIMESTAMP: batch.column(TIMESTAMP), PUBLISH: batch.column(PUBLISH), "encoding": encoding, DATA: data},
                sensor=_sensor(stream),
            )
        _account(log, stream, messages)
        done(_record(stream, name, "samples", messages, None))


def _image_encodings(data: pa.Array) -> pa.Array:
    """Tell each image's format by its first bytes, whatever the message's `format` text says."""
    data = data.cast(pa.large_binary())
    result = pa.repeat("unknown", len(data))
    for magic, name in _IMAGE_MAGICS:
        head = pc.binary_slice(data, 0, len(magic))
        result = pc.if_else(pc.equal(head, pa.scalar(magic, head.type)), name, result)
    return result


def _payload_encoding(stream: Stream) -> str:
    if _is_raw(stream):
        return "raw"
    # ROS 2 names its types package/msg/Type; ROS 1 package/Type, in a serialisation of its own; JSON topics have none.
    if stream.message_type is not None and "/msg/" in stream.message_type:
        return "cdr"
    return "raw"


def _account(log: Log, stream: Stream, messages: int) -> None:
    if messages != stream.rows:
        raise CorruptLog(
            f"stream '{stream.name}' promises {stream.rows} rows and gives {messages}",
            where=log.path,
            remedy="fetch the file again from its source",
        )


def _record(stream: Stream, name: str, kept_as: KeptAs, rows: int, problem: str | None) -> StreamRecord:
    return StreamRecord(
        stream=name,
        kind=stream.kind,
        kept_as=kept_as,
        messages=stream.rows,
        rows=rows,
        start_ns=stream.start_ns,
        stop_ns=stream.stop_ns,
        message_type=None if stream.message_type is None else storable(stream.message_type),
        schema_text=None if stream.schema_text is None else storable(stream.schema_text),
        problem=None if problem is None else storable(problem),
    )

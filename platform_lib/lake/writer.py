"""Writes the rows of one log as files of both stores; nothing of it is visible until the files are committed.

One log gives one Parquet file a UTC day and one Lance fragment, so that a drive is read by opening its own files, and
taking a log back drops files instead of rewriting them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import lance
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from platform_lib.errors import CorruptLog
from platform_lib.lake.durable import fsync_files, make_folder
from platform_lib.lake.flatten import Leaf, leaves
from platform_lib.lake.tables import SAMPLE_SCHEMA, SIGNAL_SCHEMA

_DAY_NS = 86_400_000_000_000
_ROW_GROUP_ROWS = 256 * 1024
_MOST_DAYS = 64
"""A recorder whose clock jumped gives two or three days; a log of more is noise, and would give a file for each."""

_CONSTANTS = ("drive_id", "file_sha256", "stream", "signal", "unit")
_FILE_SCHEMA = pa.schema(
    [
        pa.field(field.name, pa.dictionary(pa.int32(), pa.string()) if field.name in _CONSTANTS else field.type)
        for field in SIGNAL_SCHEMA
    ]
)


@dataclass(frozen=True, slots=True)
class Tag:
    """What every row of one log carries."""

    ingest_id: int
    drive_id: str
    file_sha256: str
    pii_state: str


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """Files of one log, whole on disk and not yet committed.

    Attributes:
        signals: Absolute paths of Parquet files.
        fragments: Lance fragments' metadata, each as JSON.
    """

    signals: tuple[str, ...]
    fragments: tuple[str, ...]


class SignalWriter:
    """Collects signal rows and writes them in row groups. A block that fails deletes what it wrote.

    Args:
        folder: The signal table's data folder.
        tag: What every row carries.
    """

    def __init__(self, folder: Path, tag: Tag) -> None:
        self.rows = 0
        self._folder = folder
        self._tag = tag
        self._writers: dict[int, tuple[Path, pq.ParquetWriter]] = {}
        self._pending: dict[int, list[pa.RecordBatch]] = {}
        self._pending_rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for path, writer in self._writers.values():
                writer.close()
                path.unlink(missing_ok=True)

    def add(self, stream: str, batch: pa.RecordBatch, *, skip: tuple[str, ...] = ("timestamp_ns",)) -> int:
        """Take every signal of a batch of one stream; return how many rows that gave."""
        before = self.rows
        for leaf in leaves(batch, skip=skip):
            for day, rows in self._by_day(stream, leaf, batch.column("timestamp_ns")):
                self._pending.setdefault(day, []).append(rows)
                self._pending_rows += rows.num_rows
                self.rows += rows.num_rows
            if self._pending_rows >= _ROW_GROUP_ROWS:
                self._flush()
        return self.rows - before

    def finish(self) -> tuple[str, ...]:
        """Write what is left, close and fsync the files; return their paths."""
        self._flush()
        for _, writer in self._writers.values():
            writer.close()
        fsync_files(path for path, _ in self._writers.values())
        return tuple(str(path) for path, _ in self._writers.values())

    def _by_day(self, stream: str, leaf: Leaf, times: pa.Array) -> Iterator[tuple[int, pa.RecordBatch]]:
        if len(times) == 0:
            return
        edges = pc.min_max(times).as_py()
        first, last = edges["min"] // _DAY_NS, edges["max"] // _DAY_NS
        if first == last:
            yield first, self._rows(stream, leaf, times, first)
            return
        # Floor division for times before 1970 too.
        days = pa.array([moment // _DAY_NS for moment in times.to_pylist()], pa.int64())
        for day in pc.unique(days).to_pylist():
            mask = pc.equal(days, day)
            part = Leaf(
                leaf.name,
                leaf.unit,
                None if leaf.value is None else leaf.value.filter(mask),
                None if leaf.text is None else leaf.text.filter(mask),
            )
            yield day, self._rows(stream, part, times.filter(mask), day)

    def _rows(self, stream: str, leaf: Leaf, times: pa.Array, day: int) -> pa.RecordBatch:
        count = len(times)
        columns = {
            "ingest_id": pa.repeat(pa.scalar(self._tag.ingest_id, pa.int64()), count),
            "drive_id": _constant(self._tag.drive_id, count),
            "file_sha256": _constant(self._tag.file_sha256, count),
            "stream": _constant(stream, count),
            "signal": _constant(leaf.name, count),
            "unit": _constant(leaf.unit, count),
            "timestamp_ns": times,
            "value": pa.nulls(count, pa.float64()) if leaf.value is None else leaf.value,
            "text": pa.nulls(count, pa.string()) if leaf.text is None else leaf.text,
            "day": pa.repeat(pa.scalar(day, pa.int32()), count).cast(pa.date32()),
        }
        return pa.record_batch([columns[name] for name in _FILE_SCHEMA.names], schema=_FILE_SCHEMA)

    def _flush(self) -> None:
        for day, batches in self._pending.items():
            table = pa.Table.from_batches(batches, _FILE_SCHEMA).unify_dictionaries()
            self._writer(day).write_table(table, row_group_size=_ROW_GROUP_ROWS)
        self._pending = {}
        self._pending_rows = 0

    def _writer(self, day: int) -> pq.ParquetWriter:
        if day not in self._writers:
            if len(self._writers) >= _MOST_DAYS:
                raise CorruptLog(
                    f"its timestamps spread over more than {_MOST_DAYS} days",
                    remedy="look at them with `drivetrain log head`; the recorder's clock is not to be trusted",
                )
            name = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()
            path = self._folder / f"day={name}" / f"{self._tag.ingest_id}-{uuid.uuid4().hex[:12]}.parquet"
            make_folder(path.parent)
            self._writers[day] = (path, _open_parquet(path))
        return self._writers[day][1]


def write_samples(uri: Path, batches: Iterator[pa.RecordBatch]) -> tuple[str, ...]:
    """Write sample rows as Lance fragments, reading `batches` once and keeping one at a time.

    Args:
        uri: The sample store.
        batches: Rows of `SAMPLE_SCHEMA`. What it raises reaches the caller as it was raised.
    """
    first = next(batches, None)
    if first is None:
        return ()
    guard = _Guard(first, batches)
    try:
        reader = pa.RecordBatchReader.from_batches(SAMPLE_SCHEMA, guard)
        fragments = lance.fragment.write_fragments(reader, str(uri), schema=SAMPLE_SCHEMA, mode="append")
    except (OSError, ValueError, RuntimeError):
        if guard.error is not None:
            raise guard.error from None  # Lance reports what its input raised as a text of its own
        raise
    fsync_files(uri / "data" / file.path for fragment in fragments for file in fragment.files)
    return tuple(_fragment_json(fragment) for fragment in fragments)


def sample_rows(tag: Tag, stream: str, columns: dict[str, pa.Array]) -> pa.RecordBatch:
    """Complete a batch of samples: `columns` holds timestamp_ns, publish_ns, encoding and data."""
    count = len(columns["timestamp_ns"])
    constants = {
        "ingest_id": pa.repeat(pa.scalar(tag.ingest_id, pa.int64()), count),
        "drive_id": pa.repeat(tag.drive_id, count),
        "file_sha256": pa.repeat(tag.file_sha256, count),
        "stream": pa.repeat(stream, count),
        "pii_state": pa.repeat(tag.pii_state, count),
    }
    both = {**constants, **columns}
    return pa.record_batch(
        [both[name].cast(SAMPLE_SCHEMA.field(name).type) for name in SAMPLE_SCHEMA.names], SAMPLE_SCHEMA
    )


class _Guard:
    """Iterates over batches and remembers what stopped it."""

    def __init__(self, first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> None:
        self.error: Exception | None = None
        self._first: pa.RecordBatch | None = first
        self._rest = rest

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        first, self._first = self._first, None
        if first is not None:
            return first
        try:
            return next(self._rest)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


def _fragment_json(fragment: lance.fragment.FragmentMetadata) -> str:
    import json

    return json.dumps(fragment.to_json())


def _constant(value: str | None, count: int) -> pa.DictionaryArray:
    if value is None:
        return pa.nulls(count, pa.dictionary(pa.int32(), pa.string()))
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), count), pa.array([value], pa.string()))


def _open_parquet(path: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(
        path,
        _FILE_SCHEMA,
        compression="zstd",
        compression_level=1,
        use_dictionary=[*_CONSTANTS, "ingest_id", "day", "text"],
        column_encoding={"timestamp_ns": "DELTA_BINARY_PACKED"},
        store_schema=False,  # readers shall see plain strings
    )

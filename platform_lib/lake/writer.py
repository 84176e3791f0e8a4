"""Writes the rows of one log as files of both stores; nothing of it is visible until the files are committed.

One log gives one Parquet file a partition (UTC day, vehicle, class of sensor), two where it is long, and one Lance fragment,
so that a drive is read by opening its own files, and taking a log back drops files instead of rewriting them.
"""

from __future__ import annotations

import json
import os
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from platform_lib.catalog.model import StoredFile
from platform_lib.errors import CorruptLog, PlatformError
from platform_lib.lake.flatten import leaves
from platform_lib.lake.packing import Piece, pack, pieces
from platform_lib.lake.partitions import Partition
from platform_lib.lake.place import (
    LakePath,
    arrow_path,
    below,
    delete,
    fsync_files,
    lance_options,
    located,
    make_folder,
    sha256_of,
    size_of,
)
from platform_lib.lake.sensor_classes import OTHER, SensorClass
from platform_lib.lake.tables import PACKED_SCHEMA, RAW_NAME, SAMPLE_SCHEMA, TIMES

_DAY_NS = 86_400_000_000_000
_CHUNK_ROWS = 1 << 16
"""Most rows that share one row of times; smaller batches are put together."""
_HELD_BYTES = 32 << 20
"""Rows that wait for a whole chunk of their streams, which may come in turns."""
_SORTED_BYTES = 32 << 20
"""Values that are held to be sorted by stream and signal, so that a row group is of few signals."""
ROW_GROUP_BYTES = 8 << 20
"""Values of a row group in memory: what a reader of one signal decodes at least."""
_MOST_WAITING = 4
"""Row groups that wait for the encoder; what comes beyond is encoded by the reading thread, into a file of its own."""
_FLUSHED_BYTES = 8 << 20
"""Bytes of a file that are handed to the disk at once while the next are encoded, so that the last sync finds little."""
_MOST_DAYS = 64
"""A recorder whose clock jumped gives two or three days; a log of more is noise, and would give a file for each."""

_SCALARS = [item.name for item in PACKED_SCHEMA if not pa.types.is_list(item.type)]


@dataclass(frozen=True, slots=True)
class Tag:
    """What every row of one log carries; `vehicle` is None where the log names none."""

    ingest_id: int
    drive_id: str
    file_sha256: str
    pii_state: str
    vehicle: str | None = None


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """Files of one log, whole on disk and not yet committed.

    Attributes:
        signals: Absolute paths of Parquet files, or their addresses in a bucket.
        fragments: Lance fragments' metadata, each as JSON.
        raw_fragments: The same of frames that have to be blurred first, for the store of raw frames.
    """

    signals: tuple[str, ...]
    fragments: tuple[str, ...]
    raw_fragments: tuple[str, ...] = ()


@dataclass(slots=True)
class _File:
    """A Parquet file that is being written; `flushed_bytes` of it are on their way to the disk."""

    path: LakePath
    parquet: pq.ParquetWriter
    flushed_bytes: int = 0

    def write(self, table: pa.Table) -> None:
        """Write one row group."""
        self.parquet.write_table(table, row_group_size=len(table))
        if isinstance(self.path, Path) and self.path.stat().st_size - self.flushed_bytes >= _FLUSHED_BYTES:
            self._flush(self.path)

    def _flush(self, path: Path) -> None:
        """Start writing to the disk what the file has, without waiting; errors stay for the fsync that follows.

        Source: Linux, mm/fadvise.c: POSIX_FADV_DONTNEED starts writeback of the range, and drops only clean pages of it.
        """
        file = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(file).st_size
            os.posix_fadvise(file, self.flushed_bytes, size - self.flushed_bytes, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
        self.flushed_bytes = size


def data_files(written: WrittenFiles, samples_uri: LakePath) -> list[LakePath]:
    """Return every data file that was written."""
    both = ((samples_uri, written.fragments), (samples_uri.with_name(RAW_NAME), written.raw_fragments))
    return [
        *map(located, written.signals),
        *(path for uri, texts in both for text in texts for path in files_of(text, uri)),
    ]


def stored_files(written: WrittenFiles, samples_uri: LakePath) -> tuple[StoredFile, ...]:
    """Describe every data file that was written, with its digest."""
    return describe(data_files(written, samples_uri), samples_uri.parent)


def describe(paths: Iterable[LakePath], root: LakePath) -> tuple[StoredFile, ...]:
    """Describe files below the lake's folder, each with its digest, from the bytes that a reader will get."""
    return tuple(StoredFile(str(below(path, root)), size_of(path) or 0, sha256_of(path)) for path in paths)


def files_of(fragment: str, uri: LakePath) -> list[LakePath]:
    """Return the data files of a fragment of the Lance table at `uri`, from its metadata as JSON."""
    return [uri / "data" / item["path"] for item in json.loads(fragment)["files"]]


@dataclass(slots=True)
class _Held:
    """Rows of one stream that wait for a whole chunk.

    Attributes:
        skip: Columns that are no signals.
        signals: How many values a row gives.
        sensor: Its class.
    """

    skip: tuple[str, ...]
    signals: int
    sensor: SensorClass
    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0


class SignalWriter:
    """Packs signals and writes them while the next are read. A block that fails deletes what it wrote.

    Streams may come in turns: their rows are put together.

    Args:
        folder: The signal table's data folder.
        tag: What every row carries.
    """

    def __init__(self, folder: LakePath, tag: Tag) -> None:
        self.rows = 0
        self._folder = folder
        self._tag = tag
        self._held: dict[str, _Held] = {}
        self._held_bytes = 0
        self._chunks = 0
        self._days: set[int] = set()
        self._unsorted: list[Piece] = []
        self._unsorted_bytes = 0
        self._ready: dict[Partition, list[Piece]] = {}
        self._ready_bytes = 0
        self._files: dict[tuple[str, Partition], _File] = {}
        self._encoder = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._waiting: deque[tuple[Future[None], Partition, list[Piece]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._encoder.shutdown(cancel_futures=True)
        if kind is not None:
            for file in self._files.values():
                with suppress(OSError):  # a full disk; an object is there, cut short, once it is closed
                    file.parquet.close()
            with suppress(OSError, PlatformError):  # what stopped it is told; what is left here is nobody's, and swept
                delete([file.path for file in self._files.values()])

    def add(
        self,
        stream: str,
        batch: pa.RecordBatch,
        *,
        sensor: SensorClass = OTHER,
        skip: tuple[str, ...] = ("timestamp_ns",),
    ) -> int:
        """Take every signal of a batch; return how many values that gave. `sensor` and `skip` stay the same for a stream."""
        held = self._held.get(stream)
        if held is None:
            held = self._held[stream] = _Held(skip, sum(1 for _ in leaves(batch.slice(0, 0), skip=skip)), sensor)
        if held.rows + batch.num_rows > _CHUNK_ROWS:
            self._end_chunk(stream, held)
        if held.signals:
            held.batches.append(batch)
            held.rows += batch.num_rows
            held.bytes += batch.nbytes
            self._held_bytes += batch.nbytes
        if self._held_bytes >= _HELD_BYTES:
            self._end_chunks()
        added = int(batch.num_rows) * held.signals
        self.rows += added
        return added

    def finish(self) -> tuple[str, ...]:
        """Write what is left, close and fsync the files; return their paths."""
        self._end_chunks()
        self._end_sorting()
        self._end_row_groups()
        while self._waiting:
            future, part, rows = self._waiting.pop()
            if ("reader", part) in self._files and future.cancel():  # the other thread has not begun it
                self._encode("reader", part, rows)
            else:
                future.result()
        for file in self._files.values():
            file.parquet.close()
        fsync_files(file.path for file in self._files.values())
        return tuple(str(file.path) for file in self._files.values())

    def _end_chunks(self) -> None:
        for stream, held in self._held.items():
            self._end_chunk(stream, held)

    def _end_chunk(self, stream: str, held: _Held) -> None:
        if not held.batches:
            return
        whole = held.batches[0] if len(held.batches) == 1 else pa.concat_batches(held.batches)  # it copies even one
        self._held_bytes -= held.bytes
        held.batches, held.rows, held.bytes = [], 0, 0
        for day, batch in _by_day(whole):
            shared = {
                "ingest_id": self._tag.ingest_id,
                "drive_id": self._tag.drive_id,
                "file_sha256": self._tag.file_sha256,
                "stream": stream,
                "vehicle": self._tag.vehicle,
                "sensor_class": held.sensor,
            }
            times = batch.column("timestamp_ns")
            self._days.add(day)
            self._unsorted += pieces(self._chunks, day, shared, times, leaves(batch, skip=held.skip))
            self._chunks += 1
        if len(self._days) > _MOST_DAYS:
            raise CorruptLog(
                f"its timestamps spread over more than {_MOST_DAYS} days",
                remedy="look at them with `drivetrain log head`; the recorder's clock is not to be trusted",
            )
        self._unsorted_bytes += whole.nbytes
        if self._unsorted_bytes >= _SORTED_BYTES:
            self._end_sorting()

    def _end_sorting(self) -> None:
        for piece in sorted(self._unsorted, key=_place_in_file):
            part = Partition(piece.day, self._tag.vehicle, str(piece.scalars["sensor_class"]))
            self._ready.setdefault(part, []).append(piece)
            self._ready_bytes += piece.nbytes
            if self._ready_bytes >= ROW_GROUP_BYTES:
                self._end_row_groups()
        self._unsorted = []
        self._unsorted_bytes = 0

    def _end_row_groups(self) -> None:
        for part, rows in self._ready.items():
            while self._waiting and self._waiting[0][0].done():
                self._waiting.popleft()[0].result()
            if len(self._waiting) < _MOST_WAITING:
                self._waiting.append((self._encoder.submit(self._encode, "encoder", part, rows), part, rows))
            else:
                self._encode("reader", part, rows)
        self._ready = {}
        self._ready_bytes = 0

    def _encode(self, thread: str, part: Partition, rows: list[Piece]) -> None:
        self._file(thread, part).write(pack(rows))

    def _file(self, thread: str, part: Partition) -> _File:
        if (thread, part) not in self._files:
            path = new_file(self._folder, part, self._tag.ingest_id)
            self._files[thread, part] = _File(path, open_parquet(path))
        return self._files[thread, part]


def _place_in_file(piece: Piece) -> tuple[str, str, str, int]:
    scalars = piece.scalars
    return str(scalars["sensor_class"]), str(scalars["stream"]), piece.signal or "", piece.chunk


def new_file(folder: LakePath, part: Partition, ingest_id: int) -> LakePath:
    """Return a path for a new file of one ingest and partition below the table's data; its folder is there."""
    path = folder / part.folder / f"{ingest_id}-{uuid.uuid4().hex[:12]}.parquet"
    make_folder(path.parent)
    return path


def _by_day(batch: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Split a batch by the UTC day of its times, days since 1970 (negative before)."""
    if batch.num_rows == 0:
        return
    days = batch.column("timestamp_ns").to_numpy() // _DAY_NS
    first = int(days[0])
    if np.all(days == first):
        yield first, batch
        return
    for day in np.unique(days):
        yield int(day), batch.filter(pa.array(days == day))


def write_samples(uri: LakePath, batches: Iterator[pa.RecordBatch]) -> tuple[str, ...]:
    """Write sample rows as Lance fragments, reading `batches` once and keeping one at a time.

    Args:
        uri: The sample store.
        batches: Rows of `SAMPLE_SCHEMA`. What it raises reaches the caller as it was raised.
    """
    return write_rows(uri, batches, SAMPLE_SCHEMA)


def write_rows(uri: LakePath, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> tuple[str, ...]:
    """Write rows of any schema as Lance fragments; see `write_samples`."""
    first = next(batches, None)
    if first is None:
        return ()
    guard = _Guard(first, batches)
    try:
        reader = pa.RecordBatchReader.from_batches(schema, guard)
        fragments = lance.fragment.write_fragments(
            reader, str(uri), schema=schema, mode="append", storage_options=lance_options(uri)
        )
    except (OSError, ValueError, RuntimeError):
        if guard.error is not None:
            raise guard.error from None  # Lance reports what its input raised as a text of its own
        raise
    fsync_files(uri / "data" / file.path for fragment in fragments for file in fragment.files)
    return tuple(_fragment_json(fragment) for fragment in fragments)


def sample_rows(tag: Tag, stream: str, columns: dict[str, pa.Array], *, sensor: SensorClass = OTHER) -> pa.RecordBatch:
    """Complete a batch of samples: `columns` holds timestamp_ns, publish_ns, encoding and data."""
    count = len(columns["timestamp_ns"])
    constants = {
        "ingest_id": pa.repeat(pa.scalar(tag.ingest_id, pa.int64()), count),
        "drive_id": pa.repeat(tag.drive_id, count),
        "file_sha256": pa.repeat(tag.file_sha256, count),
        "stream": pa.repeat(stream, count),
        "pii_state": pa.repeat(tag.pii_state, count),
        "vehicle": pa.repeat(pa.scalar(tag.vehicle, pa.string()), count),
        "sensor_class": pa.repeat(sensor, count),
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
    return json.dumps(fragment.to_json())


def open_parquet(path: LakePath) -> pq.ParquetWriter:
    """Open a file of the signal table for writing."""
    # Measured, ADR 0010: numbers gain nothing by dictionaries here, statistics of lists tell nothing, and lz4 is
    # written a third faster than zstd-1.
    name, system = arrow_path(path)
    return pq.ParquetWriter(
        name,
        PACKED_SCHEMA,
        filesystem=system,
        compression="lz4",
        use_dictionary=[*_SCALARS, "texts.list.element"],
        write_statistics=_SCALARS,
        column_encoding={f"{TIMES}.list.element": "DELTA_BINARY_PACKED"},
        store_schema=False,  # readers shall see plain strings
    )

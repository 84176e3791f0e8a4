"""The signal table as Iceberg has it: its columns, its partitions, and which of its files a reader has to open."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BooleanType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    PrimitiveType,
    StringType,
)

from platform_lib.errors import HomeError
from platform_lib.lake.partitions import Partition
from platform_lib.lake.place import arrow_paths
from platform_lib.lake.tables import PACKED_SCHEMA

_INGEST_ID, _STREAM = 1, 4  # the fields of those ids, below


def _list_of(element_id: int, element: PrimitiveType) -> ListType:
    return ListType(element_id, element, element_required=False)


SIGNALS = Schema(
    NestedField(1, "ingest_id", LongType(), required=False, doc="rows of committed ingests alone are visible"),
    NestedField(2, "drive_id", StringType(), required=False),
    NestedField(3, "file_sha256", StringType(), required=False),
    NestedField(4, "stream", StringType(), required=False),
    NestedField(
        5,
        "signal",
        StringType(),
        required=False,
        doc="channel or field; members are dotted, elements a[i]; null for the times that a chunk's signals share",
    ),
    NestedField(6, "unit", StringType(), required=False, doc="null where the log names none"),
    NestedField(7, "type", StringType(), required=False, doc="the Arrow type in the log"),
    NestedField(8, "chunk", IntegerType(), required=False, doc="joins a signal to its times, within an ingest_id"),
    NestedField(9, "rows", IntegerType(), required=False, doc="length of the lists"),
    NestedField(10, "start_ns", LongType(), required=False, doc="earliest time"),
    NestedField(11, "last_ns", LongType(), required=False, doc="latest time"),
    NestedField(12, "inexact", BooleanType(), required=False, doc="some of longs lie beyond 2^53, where doubles round"),
    NestedField(13, "times", _list_of(19, LongType()), required=False, doc="UTC, nanoseconds since 1970"),
    NestedField(14, "doubles", _list_of(20, DoubleType()), required=False),
    NestedField(15, "floats", _list_of(21, FloatType()), required=False),
    NestedField(16, "longs", _list_of(22, LongType()), required=False),
    NestedField(17, "ints", _list_of(23, IntegerType()), required=False, doc="booleans are 0 and 1"),
    NestedField(
        18,
        "texts",
        _list_of(24, StringType()),
        required=False,
        doc="texts, long arrays as JSON; beside doubles the exact integers beyond 2^53",
    ),
    NestedField(25, "day", DateType(), required=False, doc="UTC day of the times"),
    NestedField(26, "vehicle", StringType(), required=False, doc="null where the log names none"),
    NestedField(27, "sensor_class", StringType(), required=False, doc="see platform_lib.lake.sensor_classes"),
)
SIGNAL_PARTITIONS = PartitionSpec(
    PartitionField(25, 1000, IdentityTransform(), "day"),
    PartitionField(26, 1001, IdentityTransform(), "vehicle"),
    PartitionField(27, 1002, IdentityTransform(), "sensor_class"),
)


@dataclass(frozen=True, slots=True)
class SignalFile:
    """One file of the signal table, and what all of its rows have.

    Attributes:
        ingest_ids: The first and the last ingest whose rows it may hold; None where its statistics do not tell.
        streams: The first and the last stream likewise, as UTF-8: the ends may be cut short, the last one rounded up.
    """

    path: str
    part: Partition
    ingest_ids: tuple[int, int] | None
    streams: tuple[bytes, bytes] | None

    @property
    def ingest_id(self) -> int | None:
        """Whose rows it holds; None where it holds rows of several, after compaction."""
        return self.ingest_ids[0] if self.ingest_ids and self.ingest_ids[0] == self.ingest_ids[1] else None

    def may_hold(self, stream: str) -> bool:
        """Whether rows of a stream can be in it."""
        return self.streams is None or self.streams[0] <= stream.encode() <= self.streams[1]


class SignalPlan:
    """Which files a version of the table has: read once from all of its manifests, then asked without reading any.

    Iceberg's manifests are pruned by partition alone, so a scan for one ingest reads every entry of every manifest: what
    derives something for each drive of a lake would read them once a drive.

    Args:
        table: The signal table.
        snapshot_id: Its version.

    Raises:
        HomeError: Another program deleted single rows.
    """

    def __init__(self, table: Table, snapshot_id: int) -> None:
        self.snapshot_id = snapshot_id
        self._own: dict[int, list[SignalFile]] = defaultdict(list)
        self._shared: list[SignalFile] = []
        for task in table.scan(snapshot_id=snapshot_id).plan_files():
            if task.delete_files:
                raise HomeError(
                    "the signal table has row-level deletes, written by another program",
                    where=table.location(),
                    remedy="rewrite the table copy-on-write with that program",
                )
            file = _described(task.file)
            (self._shared if file.ingest_id is None else self._own[file.ingest_id]).append(file)

    def files(self, ingest_ids: Collection[int] | None = None, *, stream: str | None = None) -> list[SignalFile]:
        """Return the files that may hold rows of these ingests and this stream (all by default), in order of their paths."""
        if ingest_ids is None:
            found = [*chain.from_iterable(self._own.values()), *self._shared]
        else:
            wanted = set(ingest_ids)
            found = [file for ingest_id in wanted for file in self._own.get(ingest_id, ())]
            found += [file for file in self._shared if _may_hold_any(file, wanted)]
        if stream is not None:
            found = [file for file in found if file.may_hold(stream)]
        return sorted(found, key=lambda file: file.path)


def _described(file: DataFile) -> SignalFile:
    at = file.partition  # in the order of `SIGNAL_PARTITIONS`
    ends = [bounds or {} for bounds in (file.lower_bounds, file.upper_bounds)]
    streams = [item[_STREAM] for item in ends if _STREAM in item]
    return SignalFile(
        path=file.file_path,
        part=Partition(at[0], at[1], at[2]),
        ingest_ids=_ingests(file),
        streams=(streams[0], streams[1]) if len(streams) == 2 else None,
    )


def _ingests(file: DataFile) -> tuple[int, int] | None:
    ends = [(bounds or {}).get(_INGEST_ID) for bounds in (file.lower_bounds, file.upper_bounds)]
    known = [int(from_bytes(LongType(), end)) for end in ends if end is not None]
    return (known[0], known[1]) if len(known) == 2 else None


def _may_hold_any(file: SignalFile, ingest_ids: Collection[int]) -> bool:
    if file.ingest_ids is None:
        return True
    first, last = file.ingest_ids
    return any(first <= ingest_id <= last for ingest_id in ingest_ids)


def signal_dataset(files: Sequence[SignalFile], drives: Mapping[int, str]) -> ds.FileSystemDataset:
    """Return files of the signal table as one dataset whose scans open no file that its partition or drive rules out.

    Args:
        files: At least one.
        drives: Ingest -> its drive.
    """
    paths, system = arrow_paths([item.path for item in files])
    return ds.FileSystemDataset.from_paths(
        paths,
        schema=PACKED_SCHEMA,
        format=ds.ParquetFileFormat(),
        filesystem=system,
        partitions=[_holds(item, drives) for item in files],
    )


def parquet_dataset(files: Sequence[str]) -> ds.Dataset:
    """Return files of the signal table, as `Store.signal_files` names them, as one dataset."""
    if not files:
        return ds.dataset([], schema=PACKED_SCHEMA, format="parquet")
    paths, system = arrow_paths(files)
    return ds.dataset(paths, schema=PACKED_SCHEMA, format="parquet", filesystem=system)


def file_schema(file: str) -> pa.Schema:
    """Return the schema that a file of the signal table itself has."""
    paths, system = arrow_paths([file])
    return pq.read_schema(paths[0], filesystem=system)


def _holds(file: SignalFile, drives: Mapping[int, str]) -> ds.Expression:
    part = file.part
    vehicle, day = ds.field("vehicle"), pa.scalar(part.day, pa.int32()).cast(pa.date32())
    known = vehicle.is_null() if part.vehicle is None else vehicle == part.vehicle
    found = known & (ds.field("day") == day) & (ds.field("sensor_class") == part.sensor)
    drive_id = None if file.ingest_id is None else drives.get(file.ingest_id)
    if drive_id is not None:
        found &= (ds.field("ingest_id") == file.ingest_id) & (ds.field("drive_id") == drive_id)
    return found


def among(ingest_ids: Sequence[int]) -> str:
    """Return the condition on rows of these ingests, for Iceberg and Lance alike."""
    return f"ingest_id IN ({', '.join(map(str, ingest_ids))})"


def only_ingest(file: DataFile) -> int | None:
    """Return whose rows a file holds, by its statistics; None for those of several."""
    return _described(file).ingest_id

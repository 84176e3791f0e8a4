"""The lake's views, as a query sees them: each reads the drives that the query names, and a page of drives at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.finding import Finder
from platform_lib.catalog.model import Drive, LakeHead, StreamRecord, VisibleIngest
from platform_lib.catalog.reading import KEYS, Moment
from platform_lib.catalog.stream_schemas import StreamSchemas
from platform_lib.errors import ConfigError, PlatformError
from platform_lib.lake.packing import KNOWN, UNKNOWN, long_sql, packed_sql
from platform_lib.lake.pushdown import Keys, View, proven
from platform_lib.lake.sample_reading import visible_samples
from platform_lib.lake.sensor_classes import sensor_class
from platform_lib.lake.signal_table import signal_dataset
from platform_lib.lake.store import Store
from platform_lib.lake.tables import PACKED_SCHEMA, SAMPLE_SCHEMA

VIEWS = {
    "signals": "one row a value: drive, stream, signal, time, value, unit, day, vehicle, class of sensor",
    "packed_signals": "the same as it lies on disk: one row a signal and chunk, its values in a list",
    "samples": "one row a sample (picture, point cloud, message), without its bytes",
    "drives": "one row a drive: vehicle, session, first and last time, labels, counts",
    "files": "one row a log that is in the lake: drive, digest, where it was found",
    "streams": "one row a stream of a log: what became of it, its rows, its version",
    "schemas": "one row a field of each known version of a stream",
    "clips": "one row for each 20 s of a drive: where, ODD cell, state of personal data",
    "quarantine": "one row a log that was not taken in, with the reason",
}
"""What a query can ask -> what it holds."""
_SAMPLE_COLUMNS = [name for name in SAMPLE_SCHEMA.names if name != "data"]
_SAMPLE_CONDITIONS = ("stream", "sensor_class", "vehicle", "encoding", "pii_state")
_DRIVES_A_PAGE, _DRIVES_OF_SAMPLES = 500, 16
_MOST_CLIPS = 2_000_000


class Views:
    """What one query reads.

    Args:
        catalog: The lake's catalogue.
        store: Its stores.
        moment: When: all views show the same.
    """

    def __init__(self, catalog: Catalog, store: Store, moment: Moment) -> None:
        self._catalog, self._store, self._moment = catalog, store, moment
        self.failed: list[PlatformError] = []

    def register(self, connection: duckdb.DuckDBPyConnection, wanted: set[str]) -> None:
        """Make these views of `VIEWS`."""
        head = self._moment.view([]).head
        made: dict[str, Callable[[], object]] = {
            "samples": lambda: self._view(SAMPLE_SCHEMA.remove(SAMPLE_SCHEMA.get_field_index("data")), self._samples),
            "drives": lambda: self._view(_drives([]).schema, self._drives),
            "files": lambda: self._view(_files([], []).schema, self._files),
            "streams": lambda: self._view(_streams([], {}).schema, self._streams),
            "clips": lambda: self._view(_clips({}).schema, self._clips),
            "schemas": lambda: _schemas(self._catalog),
            "quarantine": lambda: _quarantine(self._catalog),
        }
        for name in made.keys() & wanted:
            connection.register(name, made[name]())
        if "packed_signals" in wanted:
            for name in (KNOWN, UNKNOWN):
                connection.register(
                    name, SignalView(self._moment, self._store, head, known=name == KNOWN, failed=self.failed)
                )
            connection.execute(f"CREATE VIEW packed_signals AS {packed_sql([KNOWN, UNKNOWN])}")
            connection.execute(f"CREATE VIEW signals AS {long_sql([KNOWN, UNKNOWN])}")

    def _view(self, schema: pa.Schema, read: Callable[[Keys, Sequence[str]], Iterable[pa.Table]]) -> View:
        names = dict.fromkeys((*KEYS, *_SAMPLE_CONDITIONS))
        return View(schema, [name for name in names if name in schema.names], read, self.failed)

    def _drives(self, keys: Keys, _: Sequence[str]) -> Iterator[pa.Table]:
        for page in self._pages(keys):
            yield _drives(self._moment.drives(page))

    def _files(self, keys: Keys, _: Sequence[str]) -> Iterator[pa.Table]:
        for page in self._pages(keys):
            yield _files(self._moment.drives(page), self._moment.view(page).ingests)

    def _streams(self, keys: Keys, _: Sequence[str]) -> Iterator[pa.Table]:
        for page in self._pages(keys):
            of = {item.ingest_id: item.drive_id for item in self._moment.view(page).ingests}
            yield _streams([(key, item) for key, items in self._moment.streams(of).items() for item in items], of)

    def _samples(self, keys: Keys, names: Sequence[str]) -> Iterator[pa.Table]:
        condition = " AND ".join(_among(name, keys[name]) for name in _SAMPLE_CONDITIONS if name in keys) or None
        for page in self._pages(keys, _DRIVES_OF_SAMPLES):
            view = self._moment.view(page)
            ids = [
                item.ingest_id for item in view.ingests if item.ingest_id in keys.get("ingest_id", (item.ingest_id,))
            ]
            if view.head is not None:
                yield from visible_samples(
                    self._catalog, self._store, view.head, ids, names or ["ingest_id"], condition
                )

    def _clips(self, keys: Keys, _: Sequence[str]) -> Iterator[pa.Table]:
        drives = [str(item) for item in keys["drive_id"]] if "drive_id" in keys else None
        found = Finder(self._catalog.engine).every_clip(_MOST_CLIPS + 1, drives)
        if len(found["drive_id"]) > _MOST_CLIPS:
            raise ConfigError(
                f"there are more than {_MOST_CLIPS:,} clips, and a query holds all of them at once",
                where="clips",
                remedy="name drives (`WHERE drive_id = '...'`), or use `drivetrain clips`, which answers a page at a time",
            )
        yield _clips(found)

    def _pages(self, keys: Keys, size: int = _DRIVES_A_PAGE) -> Iterator[list[str]]:
        return self._moment.pages({name: keys[name] for name in KEYS if name in keys}, size)


class SignalView(ds.Dataset):  # type: ignore[misc] # pyarrow has no types
    """The packed rows of known or of unknown vehicles. Files whose partition or drive a condition rules out are not opened.

    Args:
        moment: Says which rows are visible.
        store: Where they lie.
        head: In which versions.
        known: Of vehicles that are known.
        failed: Where an error of reading is put.
    """

    def __init__(
        self, moment: Moment, store: Store, head: LakeHead | None, *, known: bool, failed: list[PlatformError]
    ) -> None:
        self._moment, self._store, self._head, self._known, self._failed = moment, store, head, known, failed

    @property
    def schema(self) -> pa.Schema:
        """Its columns."""
        return PACKED_SCHEMA

    def scanner(
        self,
        columns: Sequence[str] | None = None,
        filter: ds.Expression | None = None,  # noqa: A002 - what DuckDB calls it
        **_: object,
    ) -> ds.Scanner:
        """Read what a query asks for; DuckDB calls it once for each place where the view is named."""
        names = ("drive_id", "ingest_id", "file_sha256", *(("vehicle",) if self._known else ()))
        try:
            source = self._chosen(proven(filter, PACKED_SCHEMA, names))
        except PlatformError as error:
            self._failed.append(error)
            raise
        return source.scanner(columns=columns and list(columns), filter=filter)

    def _chosen(self, keys: Keys) -> ds.Dataset:
        drives = None if not keys else [item for page in self._moment.pages(keys, _DRIVES_A_PAGE) for item in page]
        of = {item.ingest_id: item.drive_id for item in self._moment.view(drives).ingests}
        ids = None if drives is None else list(of)
        files = [] if self._head is None or not of else self._store.partitioned_files(self._head, ids)
        files = [item for item in files if (item.part.vehicle is not None) == self._known]
        source = signal_dataset(files, of) if files else ds.dataset(PACKED_SCHEMA.empty_table())
        return source.filter(ds.field("ingest_id").isin(list(of)))


def _among(name: str, values: Sequence[Any]) -> str:
    told = ", ".join("'" + str(value).replace("'", "''") + "'" for value in values)
    return f"{name} IN ({told})"


def _drives(drives: Sequence[Drive]) -> pa.Table:
    return pa.table(
        {
            "drive_id": pa.array([item.drive_id for item in drives], pa.string()),
            "vehicle": pa.array([item.vehicle for item in drives], pa.string()),
            "session": pa.array([item.session for item in drives], pa.string()),
            "start_ns": pa.array([item.start_ns for item in drives], pa.int64()),
            "stop_ns": pa.array([item.stop_ns for item in drives], pa.int64()),
            "labels": pa.array([json.dumps(dict(item.labels)) for item in drives], pa.string()),
            "files": pa.array([len(item.files) for item in drives], pa.int64()),
            "streams": pa.array([item.streams for item in drives], pa.int64()),
            "signal_rows": pa.array([item.signal_rows for item in drives], pa.int64()),
            "sample_rows": pa.array([item.sample_rows for item in drives], pa.int64()),
            "pii_state": pa.array([item.pii_state for item in drives], pa.string()),
        }
    )


def _files(drives: Sequence[Drive], visible: Sequence[VisibleIngest]) -> pa.Table:
    ingests = {item.key.file_sha256: item for item in visible}
    rows = [
        (drive, file, ingests[file.file_sha256])
        for drive in drives
        for file in drive.files
        if file.file_sha256 in ingests
    ]
    return pa.table(
        {
            "file_sha256": pa.array([file.file_sha256 for _, file, _ in rows], pa.string()),
            "drive_id": pa.array([drive.drive_id for drive, _, _ in rows], pa.string()),
            "ingest_id": pa.array([ingest.ingest_id for _, _, ingest in rows], pa.int64()),
            "bytes": pa.array([file.bytes for _, file, _ in rows], pa.int64()),
            "paths": pa.array([list(file.paths) for _, file, _ in rows], pa.list_(pa.string())),
            "recovered": pa.array([file.recovered for _, file, _ in rows], pa.bool_()),
            "start_ns": pa.array([file.start_ns for _, file, _ in rows], pa.int64()),
            "stop_ns": pa.array([file.stop_ns for _, file, _ in rows], pa.int64()),
            "reader_version": pa.array([ingest.key.reader_version for _, _, ingest in rows], pa.string()),
        }
    )


def _streams(rows: Sequence[tuple[int, StreamRecord]], drives: Mapping[int, str]) -> pa.Table:
    return pa.table(
        {
            "drive_id": pa.array([drives[key] for key, _ in rows], pa.string()),
            "ingest_id": pa.array([key for key, _ in rows], pa.int64()),
            "stream": pa.array([item.stream for _, item in rows], pa.string()),
            "kind": pa.array([item.kind for _, item in rows], pa.string()),
            "kept_as": pa.array([item.kept_as for _, item in rows], pa.string()),
            "messages": pa.array([item.messages for _, item in rows], pa.int64()),
            "rows": pa.array([item.rows for _, item in rows], pa.int64()),
            "message_type": pa.array([item.message_type for _, item in rows], pa.string()),
            "problem": pa.array([item.problem for _, item in rows], pa.string()),
            "sensor_class": pa.array([sensor_class(item.kind, item.message_type) for _, item in rows], pa.string()),
            "schema_scope": pa.array([item.schema_scope for _, item in rows], pa.string()),
            "schema_version": pa.array([item.schema_version for _, item in rows], pa.int32()),
        }
    )


def _schemas(catalog: Catalog) -> pa.Table:
    """Return a row for each field of each known version; a version without fields has one of nulls."""
    rows = [
        (version, field)
        for version in StreamSchemas(catalog.engine).all()
        for field in version.schema.fields or (None,)
    ]
    return pa.table(
        {
            "schema_scope": pa.array([version.scope for version, _ in rows], pa.string()),
            "stream": pa.array([version.schema.name for version, _ in rows], pa.string()),
            "schema_version": pa.array([version.version for version, _ in rows], pa.int32()),
            "message_type": pa.array([version.schema.message_type for version, _ in rows], pa.string()),
            "kept_as": pa.array([version.schema.kept_as for version, _ in rows], pa.string()),
            "field": pa.array([field and field.name for _, field in rows], pa.string()),
            "type": pa.array([field and field.type for _, field in rows], pa.string()),
            "unit": pa.array([field and field.unit for _, field in rows], pa.string()),
            "cause": pa.array([version.cause for version, _ in rows], pa.string()),
            "changes": pa.array([list(version.changes) for version, _ in rows], pa.list_(pa.string())),
        }
    )


def _clips(found: Mapping[str, Sequence[Any]]) -> pa.Table:
    kinds = {"start_ns": pa.int64(), "latitude_deg": pa.float64(), "longitude_deg": pa.float64()}
    names = ("drive_id", "start_ns", "odd_cell", "pii_state", "latitude_deg", "longitude_deg")
    return pa.table({name: pa.array(found.get(name, ()), kinds.get(name, pa.string())) for name in names})


def _quarantine(catalog: Catalog) -> pa.Table:
    rows: list[tuple[str | None, list[str], str, str, str | None]] = [
        (one.key.file_sha256, list(item.paths), one.kind, one.reason, one.remedy)
        for item in catalog.quarantined()
        for one in [item.refusal]
    ]
    rows += [(None, [item.uri], item.kind, item.reason, item.remedy) for item in catalog.unfetched()]
    digests, paths, kinds, reasons, remedies = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    return pa.table(
        {
            "file_sha256": pa.array(digests, pa.string()),
            "paths": pa.array(paths, pa.list_(pa.string())),
            "kind": pa.array(kinds, pa.string()),
            "reason": pa.array(reasons, pa.string()),
            "remedy": pa.array(remedies, pa.string()),
        }
    )

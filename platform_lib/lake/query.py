"""SQL over what is visible: DuckDB on Arrow scans of the stores, with nothing else in reach."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from platform_lib.catalog.blurs import Blurs
from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.finding import Finder
from platform_lib.catalog.model import LakeHead, LakeView
from platform_lib.catalog.stream_schemas import StreamSchemas
from platform_lib.errors import ConfigError
from platform_lib.lake.packing import KNOWN, UNKNOWN, long_sql, packed_sql
from platform_lib.lake.sensor_classes import sensor_class
from platform_lib.lake.signal_table import signal_dataset
from platform_lib.lake.store import Store
from platform_lib.lake.tables import PACKED_SCHEMA, SAMPLE_SCHEMA

VIEWS = ("signals", "packed_signals", "samples", "drives", "files", "streams", "schemas", "clips", "quarantine")
_MEMORY_LIMIT = "2GB"
_MOST_CLIPS = 2_000_000
_UNKNOWN_TABLE = re.compile(r"(?P<said>Table with name (?P<name>\w+) does not exist!)(\nDid you mean \"[^\"]*\"\?)?")
_FRAME_KEY = ["ingest_id", "stream", "timestamp_ns"]
_SAMPLE_COLUMNS = [name for name in SAMPLE_SCHEMA.names if name != "data"]


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer of one query.

    Attributes:
        table: The rows.
        truncated: Whether there were more than the limit.
    """

    table: pa.Table
    truncated: bool


def run_query(catalog: Catalog, store: Store, sql: str, *, limit: int | None) -> QueryResult:
    """Run one SELECT over the views named in `VIEWS`; see `Lake.query`."""
    with duckdb.connect(":memory:") as connection:
        lock_down(connection)
        statement = _single_select(connection, sql)
        wanted = _views_in(connection, sql)
        view = catalog.view()
        makers = _makers(catalog, store, view)
        for name in makers:
            if name in wanted:
                connection.register(name, makers[name]())
        if "packed_signals" in wanted:
            _register_signals(connection, store, view)
        try:
            relation = connection.sql(statement)
            if limit is None:
                return QueryResult(relation.to_arrow_table(), truncated=False)
            table = _first_rows(relation.to_arrow_reader(max(1, limit + 1)), limit + 1)
        except duckdb.Error as error:
            raise _wrong(sql, error) from error
    return QueryResult(table.slice(0, limit), truncated=table.num_rows > limit)


def lock_down(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave a connection nothing but what is registered with it: no file, no network, no Python variable."""
    for setting in (
        f"SET memory_limit = '{_MEMORY_LIMIT}'",
        "SET python_enable_replacements = false",  # a table name never means a Python variable
        "SET enable_external_access = false",  # no file, no network, no extension
        "SET lock_configuration = true",
    ):
        connection.execute(setting)


def _single_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise _wrong(sql, error) from error
    if len(statements) != 1 or statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise ConfigError(
            "the lake answers one SELECT at a time and changes nothing",
            where=_short(sql),
            remedy=f"write a single SELECT over {', '.join(VIEWS)}",
        )
    return statements[0]


def _views_in(connection: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    """Name the views a statement reads; where the parser names none (EXPLAIN, SHOW TABLES), all of them."""
    try:
        names = {name.lower() for name in connection.get_table_names(sql)} or set(VIEWS)
    except duckdb.Error:
        names = set(VIEWS)
    return names | {"packed_signals"} if names & {"signals", KNOWN, UNKNOWN} else names


def _makers(catalog: Catalog, store: Store, view: LakeView) -> dict[str, Callable[[], object]]:
    return {
        "samples": lambda: _samples(catalog, store, view),
        "drives": lambda: _drives(catalog),
        "files": lambda: _files(catalog, view),
        "streams": lambda: _streams(catalog, view),
        "schemas": lambda: _schemas(catalog),
        "clips": lambda: _clips(catalog),
        "quarantine": lambda: _quarantine(catalog),
    }


def _register_signals(connection: duckdb.DuckDBPyConnection, store: Store, view: LakeView) -> None:
    """Make the views of the signal table. Files whose partition or drive a condition rules out are not opened."""
    drives = {item.ingest_id: item.drive_id for item in view.ingests}
    files = [] if view.head is None else store.partitioned_files(view.head)
    own = {
        KNOWN: [item for item in files if item.part.vehicle is not None],
        UNKNOWN: [item for item in files if item.part.vehicle is None],
    }
    tables = [name for name, found in own.items() if found] or [KNOWN]
    for name in tables:
        source = signal_dataset(own[name], drives) if own[name] else ds.dataset(PACKED_SCHEMA.empty_table())
        connection.register(name, source.filter(ds.field("ingest_id").isin(list(drives))))
    connection.execute(f"CREATE VIEW packed_signals AS {packed_sql(tables)}")
    connection.execute(f"CREATE VIEW signals AS {long_sql(tables)}")


def _samples(catalog: Catalog, store: Store, view: LakeView) -> pa.Table:
    if view.head is None:
        return SAMPLE_SCHEMA.empty_table().select(_SAMPLE_COLUMNS)
    return visible_samples(catalog, store, view.head, [item.ingest_id for item in view.ingests], _SAMPLE_COLUMNS)


def visible_samples(
    catalog: Catalog, store: Store, head: LakeHead, ingest_ids: Sequence[int], columns: Sequence[str]
) -> pa.Table:
    """Return each sample once: a raw frame that was blurred is there as what became of it."""
    chosen = list(columns)
    read = list(dict.fromkeys([*chosen, *_FRAME_KEY]))
    condition = f"ingest_id IN ({', '.join(map(str, ingest_ids))})" if ingest_ids else "false"
    open_samples = store.samples(head).to_table(columns=chosen, filter=condition)
    raw = store.raw.rows(ingest_ids, columns=read)
    ours = set(ingest_ids)
    blurs = [item.blur_id for item in Blurs(catalog.engine).visible() if item.ingest_id in ours]
    blurred = store.blurred.rows(blurs, columns=read)
    done = raw.join(blurred, _FRAME_KEY, join_type="left anti") if len(blurred) else raw
    return pa.concat_tables([table.select(chosen).cast(open_samples.schema) for table in (open_samples, done, blurred)])


def _drives(catalog: Catalog) -> pa.Table:
    drives = catalog.drives()
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


def _files(catalog: Catalog, view: LakeView) -> pa.Table:
    ingests = {item.key.file_sha256: item for item in view.ingests}
    rows = [
        (drive, file, ingests[file.file_sha256])
        for drive in catalog.drives()
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


def _streams(catalog: Catalog, view: LakeView) -> pa.Table:
    drives = {item.ingest_id: item.drive_id for item in view.ingests}
    rows = [(key, item) for key, items in catalog.streams(drives).items() for item in items]
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


def _clips(catalog: Catalog) -> pa.Table:
    found = Finder(catalog.engine).every_clip(_MOST_CLIPS + 1)
    if len(found["drive_id"]) > _MOST_CLIPS:
        raise ConfigError(
            f"there are more than {_MOST_CLIPS:,} clips, and a query holds all of them at once",
            where="clips",
            remedy="`drivetrain clips` finds them by drive, tag, ODD cell, place or dataset, a page at a time",
        )
    kinds = {"start_ns": pa.int64(), "latitude_deg": pa.float64(), "longitude_deg": pa.float64()}
    return pa.table({name: pa.array(values, kinds.get(name, pa.string())) for name, values in found.items()})


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


def _first_rows(reader: pa.RecordBatchReader, count: int) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        if rows >= count:
            break
    return pa.Table.from_batches(batches, reader.schema).slice(0, count)


def _wrong(sql: str, error: duckdb.Error) -> ConfigError:
    return ConfigError(
        f"the query was refused: {_UNKNOWN_TABLE.sub(_suggest, str(error)).strip()}",
        where=_short(sql),
        remedy=f"the tables are {', '.join(VIEWS)}; `DESCRIBE signals` names a table's columns",
    )


def _suggest(found: re.Match[str]) -> str:
    """Suggest one of the lake's own tables; DuckDB would name any of its catalogue's."""
    close = get_close_matches(found["name"].lower(), VIEWS, n=1)
    return found["said"] + (f'\nDid you mean "{close[0]}"?' if close else "")


def _short(sql: str) -> str:
    flat = " ".join(sql.split())
    return flat if len(flat) <= 120 else flat[:117] + "..."

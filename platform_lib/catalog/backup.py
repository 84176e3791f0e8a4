"""A backup of the metadata: both databases, dumped in one moment each, with what proves a restored one equal.

Counts and digests are taken in the very snapshot that is dumped, so that a backup made while others write is whole and can
be held against what it becomes. A digest is the sum of its rows' hashes: rows have no order of their own.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy.engine import make_url

from platform_lib.catalog.account import programs_folder
from platform_lib.catalog.addresses import (
    CATALOGUE_DATABASE,
    TRACKING_DATABASE,
    database_uri,
    ensure_database,
    libpq_uri,
)
from platform_lib.errors import HomeError, IntegrityError, PlatformError
from platform_lib.storage import publish_folder, sha256_file

_MANIFEST = "backup.json"
_DATABASES = (CATALOGUE_DATABASE, TRACKING_DATABASE)
_TIME_LIMIT_S = 4 * 3600.0


class BackupError(PlatformError):
    """A backup or a restore that was not done; what was there before is there still."""

    usual_remedy = "mend what the message names, and run the command again"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TableState(_Strict):
    """What a table holds.

    Attributes:
        rows: How many rows.
        digest: Sum of its rows' hashes, 128 bits.
    """

    rows: int
    digest: str


class DatabaseState(_Strict):
    """What a database holds.

    Attributes:
        tables: By schema and name.
        sequences: Last values, by schema and name; None for one that was never asked.
    """

    tables: dict[str, TableState]
    sequences: dict[str, int | None]

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(item.rows for item in self.tables.values())


class DumpedDatabase(_Strict):
    """One database in a backup.

    Attributes:
        file: The dump's name.
        sha256: Of that file.
        size_bytes: Of that file.
        state: What was dumped.
    """

    file: str
    sha256: str
    size_bytes: int
    state: DatabaseState


class Backup(_Strict):
    """A backup, as `backup.json` beside the dumps says.

    Attributes:
        format: Of this file.
        created_utc: When.
        server_version: PostgreSQL's, of the server that was backed up.
        seconds: How long it took.
        databases: By name.
    """

    format: Literal["drivetrain-metadata-backup/1"] = "drivetrain-metadata-backup/1"
    created_utc: datetime
    server_version: str
    seconds: float
    databases: dict[str, DumpedDatabase]

    @property
    def rows(self) -> int:
        """Rows of all databases."""
        return sum(item.state.rows for item in self.databases.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of all dumps."""
        return sum(item.size_bytes for item in self.databases.values())


def back_up(uri: str, folder: Path) -> Backup:
    """Back up the metadata databases of a server into a new folder, which is there whole or not at all.

    Args:
        uri: SQLAlchemy's address of the catalogue database.
        folder: Where it is to lie; must not exist.

    Raises:
        BackupError: The folder exists, or the server refuses.
    """
    if folder.exists():
        raise BackupError("is there already", where=folder, remedy="name a new folder")
    started = time.monotonic()
    with publish_folder(folder) as staging:
        found, version = {}, ""
        for name in _DATABASES:
            found[name], version = _dump(database_uri(uri, name), staging / f"{name}.dump")
        backup = Backup(
            created_utc=datetime.now(UTC),
            server_version=version,
            seconds=round(time.monotonic() - started, 3),
            databases=found,
        )
        (staging / _MANIFEST).write_text(backup.model_dump_json(indent=2))
    return backup


def read_backup(folder: Path) -> Backup:
    """Read a backup and hold its files against their digests.

    Raises:
        BackupError: It is none.
        IntegrityError: A file is not the one that was written.
    """
    try:
        backup = Backup.model_validate_json((folder / _MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise BackupError(
            "is no backup of the metadata", where=folder, remedy="name a folder that one wrote"
        ) from error
    for item in backup.databases.values():
        path = folder / item.file
        if not path.is_file() or sha256_file(path) != item.sha256:
            raise IntegrityError(
                "is not the file that was backed up",
                where=path,
                remedy="take another backup, or another copy of this one",
            )
    return backup


def restore(folder: Path, uri: str) -> list[str]:
    """Restore a backup into a server whose databases are empty; return how what is there differs from it.

    Args:
        folder: The backup.
        uri: SQLAlchemy's address of the catalogue database.

    Returns:
        Differences, in words; empty where all rows and digests are equal.

    Raises:
        BackupError: A database there holds something already, or the server refuses; that database is as it was.
        IntegrityError: The backup's files are not those that were written.
    """
    backup = read_backup(folder)
    for name in backup.databases:
        ensure_database(database_uri(uri, name))
        there = state_of(database_uri(uri, name)).tables
        if there:
            raise BackupError(
                f"database '{name}' holds {len(there)} tables already",
                where=make_url(uri).render_as_string(),
                remedy="restore into an empty server: nothing is ever restored over what is there",
            )
    differences = []
    for name, item in backup.databases.items():
        target = database_uri(uri, name)
        _run(
            "pg_restore",
            target,
            ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction", str(folder / item.file)],
        )
        differences += [f"{name}: {line}" for line in compare(item.state, state_of(target))]
    return differences


def compare(before: DatabaseState, after: DatabaseState) -> list[str]:
    """Say how two states differ, in words."""
    found = []
    for name in sorted({*before.tables, *after.tables}):
        one, other = before.tables.get(name), after.tables.get(name)
        if one is None or other is None:
            found.append(f"table {name} is {'new' if one is None else 'missing'}")
        elif one.rows != other.rows:
            found.append(f"table {name} has {other.rows} rows, not {one.rows}")
        elif one.digest != other.digest:
            found.append(f"table {name} has as many rows, and other values")
    for name in sorted({*before.sequences, *after.sequences}):
        if before.sequences.get(name) != after.sequences.get(name):
            found.append(f"sequence {name} is at {after.sequences.get(name)}, not {before.sequences.get(name)}")
    return found


def state_of(uri: str) -> DatabaseState:
    """Return what a database holds now.

    Raises:
        BackupError: The server refuses.
    """
    try:
        with psycopg.connect(libpq_uri(uri)) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return _state(connection)
    except psycopg.Error as error:
        raise _refused(uri, error) from error


def _dump(uri: str, path: Path) -> tuple[DumpedDatabase, str]:
    try:
        with psycopg.connect(libpq_uri(uri)) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = _one(connection, "SELECT pg_export_snapshot()")
            _run("pg_dump", uri, ["--format=custom", f"--snapshot={snapshot}", f"--file={path}"])
            state = _state(connection)
            version = _one(connection, "SHOW server_version")
    except psycopg.Error as error:
        raise _refused(uri, error) from error
    return DumpedDatabase(
        file=path.name, sha256=sha256_file(path), size_bytes=path.stat().st_size, state=state
    ), version


def _state(connection: psycopg.Connection[tuple[object, ...]]) -> DatabaseState:
    named = connection.execute(
        "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    ).fetchall()
    tables = {}
    for schema, table in named:
        # Two halves of each row's md5, summed: constant memory, whatever the table's size and the rows' order.
        question = sql.SQL(
            "SELECT count(*), coalesce(sum(('x' || left(h, 16))::bit(64)::bigint::numeric), 0), "
            "coalesce(sum(('x' || right(h, 16))::bit(64)::bigint::numeric), 0) "
            "FROM (SELECT md5((r.*)::text) AS h FROM {} AS r) AS hashes"
        ).format(sql.Identifier(str(schema), str(table)))
        row = connection.execute(question).fetchone()
        if row is not None:
            rows, left, right = (int(str(value)) for value in row)
            tables[f"{schema}.{table}"] = TableState(rows=rows, digest=f"{left % 2**64:016x}{right % 2**64:016x}")
    sequences = connection.execute("SELECT schemaname, sequencename, last_value FROM pg_sequences").fetchall()
    return DatabaseState(
        tables=tables,
        sequences={f"{schema}.{name}": None if value is None else int(str(value)) for schema, name, value in sequences},
    )


def _one(connection: psycopg.Connection[tuple[object, ...]], question: str) -> str:
    row = connection.execute(question.encode()).fetchone()
    if row is None:
        raise HomeError(f"the server does not answer: {question}", where="metadata database")
    return str(row[0])


def _run(program: str, uri: str, arguments: Sequence[str]) -> None:
    """Run one of PostgreSQL's client programs; a password goes by the environment, where other users do not see it."""
    url = make_url(uri)
    environment: dict[str, str] = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "PGCONNECT_TIMEOUT": "30"}
    environment |= _secret(url.password)
    address = (
        libpq_uri(url.set(password=None).render_as_string(hide_password=False)) if url.password else libpq_uri(uri)
    )
    try:
        done = subprocess.run(  # noqa: S603 - the wheel's own program, arguments from here
            [str(programs_folder() / program), f"--dbname={address}", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=_TIME_LIMIT_S,
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise BackupError(f"{program} does not end: {error}", where=url.database) from error
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[:400]
        raise BackupError(f"{program} ended with status {done.returncode}: {said}", where=url.render_as_string())


def _secret(password: object) -> Mapping[str, str]:
    return {"PGPASSWORD": str(password)} if password else {}


def _refused(uri: str, error: Exception) -> BackupError:
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return BackupError(f"the database refuses: {first}", where=make_url(uri).render_as_string())

"""What one transaction of the catalogue writes: a file made visible, a refusal, a version of the stores."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Text, cast, delete, func, insert, literal, select, update
from sqlalchemy.dialects import postgresql

from platform_lib.catalog.any_of import any_of
from platform_lib.catalog.clip_schema import CLIPS_DUE, PII_STATE
from platform_lib.catalog.model import DriveIdentity, FileKey, IngestRecord, LakeHead, Refusal, StreamRecord
from platform_lib.catalog.schema import (
    COMMITS,
    DRIVES,
    INGESTS,
    LAKE_FILES,
    QUARANTINE,
    STREAMS,
    TABLE_VERSIONS,
    VEHICLES,
)
from platform_lib.catalog.stream_schemas import write_versions
from platform_lib.errors import HomeError


def key_columns(key: FileKey) -> dict[str, str | int]:
    """Return a key as columns."""
    return {
        "file_sha256": key.file_sha256,
        "reader_version": key.reader_version,
        "schema_version": key.schema_version,
        "options_sha256": key.options_sha256,
    }


def note_commit(connection: Connection, head: LakeHead) -> int:
    """Let readers take these versions of the stores from now on; return the commit's id."""
    commit_id: int = connection.execute(
        insert(COMMITS)
        .values(iceberg_snapshot_id=head.iceberg_snapshot_id, lance_version=head.lance_version)
        .returning(COMMITS.c.commit_id)
    ).scalar_one()
    versions = {"signals": head.iceberg_snapshot_id, "samples": head.lance_version}
    rows = [
        {"name": name, "version": version, "commit_id": commit_id}
        for name, version in versions.items()
        if version is not None
    ]
    connection.execute(postgresql.insert(TABLE_VERSIONS).on_conflict_do_nothing(), rows)
    return commit_id


def list_drives(connection: Connection, drive_ids: Collection[str]) -> None:
    """Bring the keys that drives are listed by up to what of them is visible now, and note their clips as due."""
    if not drive_ids:
        return
    named = sorted(set(drive_ids))
    seen = (
        select(
            INGESTS.c.drive_id,
            func.coalesce(func.min(INGESTS.c.start_ns), literal(0)).label("listed_ns"),
            func.max(INGESTS.c.stop_ns).label("stop_ns"),
            cast(func.min(cast(INGESTS.c.pii_state, PII_STATE)), Text).label("pii_state"),
        )
        .where(INGESTS.c.state == "committed", INGESTS.c.drive_id == any_of(named, Text()))
        .group_by(INGESTS.c.drive_id)
        .subquery()
    )
    both = (
        select(DRIVES.c.drive_id, seen.c.listed_ns, seen.c.stop_ns, seen.c.pii_state)
        .outerjoin(seen, seen.c.drive_id == DRIVES.c.drive_id)
        .where(DRIVES.c.drive_id == any_of(named, Text()))
        .subquery()
    )
    connection.execute(
        update(DRIVES)
        .where(DRIVES.c.drive_id == both.c.drive_id)
        .values(listed_ns=both.c.listed_ns, stop_ns=both.c.stop_ns, pii_state=both.c.pii_state)
    )
    note_due(connection, named)


def note_due(connection: Connection, drive_ids: Collection[str]) -> None:
    """Note that the clips of these drives are to be derived anew: what is visible of them changes in this transaction."""
    if drive_ids:
        statement = postgresql.insert(CLIPS_DUE)
        statement = statement.on_conflict_do_update(index_elements=["drive_id"], set_={"mark": statement.excluded.mark})
        connection.execute(statement, [{"drive_id": item} for item in sorted(set(drive_ids))])


def complete_drive(connection: Connection, identity: DriveIdentity) -> None:
    """Note a drive; a log that knows its vehicle completes one that was known by its folder's name alone."""
    if identity.vehicle is not None:
        connection.execute(postgresql.insert(VEHICLES).on_conflict_do_nothing(), {"vehicle": identity.vehicle})
    drive = postgresql.insert(DRIVES).values(
        drive_id=identity.drive_id, vehicle=identity.vehicle, session=identity.session
    )
    completed = connection.execute(
        drive.on_conflict_do_update(
            index_elements=["drive_id"],
            set_={"vehicle": drive.excluded.vehicle, "session": drive.excluded.session},
            where=DRIVES.c.vehicle.is_(None) & drive.excluded.vehicle.is_not(None),
        )
    )
    if completed.rowcount:  # contracts on that vehicle bind its other logs from now on
        ours = INGESTS.c.drive_id == identity.drive_id
        connection.execute(update(INGESTS).where(ours, INGESTS.c.checked_with.is_not(None)).values(checked_with=None))


def commit_one(connection: Connection, record: IngestRecord, commit_id: int) -> None:
    """Make one record visible; its file's older ingest is superseded."""
    complete_drive(connection, record.drive)
    file_sha256 = select(INGESTS.c.file_sha256).where(INGESTS.c.ingest_id == record.ingest_id).scalar_subquery()
    before = connection.execute(
        update(INGESTS)
        .where(INGESTS.c.file_sha256 == file_sha256, INGESTS.c.state == "committed")
        .values(state="superseded")
        .returning(INGESTS.c.drive_id)
    ).scalars()
    drives = {record.drive.drive_id, *before}
    connection.execute(delete(QUARANTINE).where(QUARANTINE.c.file_sha256 == file_sha256))
    committed = connection.execute(
        update(INGESTS)
        .where(INGESTS.c.ingest_id == record.ingest_id, INGESTS.c.state == "started")
        .values(
            state="committed",
            commit_id=commit_id,
            drive_id=record.drive.drive_id,
            recovered=record.recovered,
            bytes_lost=record.bytes_lost,
            signal_rows=record.signal_rows,
            sample_rows=record.sample_rows,
            start_ns=record.start_ns,
            stop_ns=record.stop_ns,
            pii_state=record.pii_state,
            metadata=dict(record.metadata),
            problems=list(record.problems),
        )
    )
    if committed.rowcount != 1:
        raise HomeError(
            f"ingest {record.ingest_id} was taken back by another command while this one read its log",
            remedy="run the command again; nothing of it was made visible",
        )
    files = [
        {"path": item.path, "bytes": item.bytes, "sha256": item.sha256, "ingest_id": record.ingest_id}
        for item in record.files
    ]
    if files:
        connection.execute(insert(LAKE_FILES), files)
    write_versions(connection, record.versions)
    rows = [{"ingest_id": record.ingest_id, **_stream_columns(item)} for item in record.streams]
    if rows:
        connection.execute(insert(STREAMS), rows)
    list_drives(connection, drives)


def _stream_columns(item: StreamRecord) -> dict[str, str | int | None]:
    return {name: getattr(item, name) for name in StreamRecord.__slots__}


def refuse_one(connection: Connection, refusal: Refusal) -> None:
    """Note a refusal; the newest of a content stands."""
    values = {
        **key_columns(refusal.key),
        "recover": refusal.recover,
        "kind": refusal.kind,
        "reason": refusal.reason,
        "remedy": refusal.remedy,
    }
    statement = postgresql.insert(QUARANTINE).values(**values)
    connection.execute(
        statement.on_conflict_do_update(index_elements=["file_sha256"], set_={**values, "quarantined_utc": func.now()})
    )

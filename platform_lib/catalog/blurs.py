"""The catalogue's side of blurring: which raw frames were blurred, how, and which result counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import Connection, Engine, insert, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects import postgresql

from platform_lib.catalog.committing import note_due
from platform_lib.catalog.model import StoredFile
from platform_lib.catalog.schema import BLURS, CONTRACT_RUNS, INGESTS, LAKE_FILES


@dataclass(frozen=True, slots=True)
class VisibleBlur:
    """A committed blur of a committed ingest: its rows stand for the raw frames of that ingest."""

    blur_id: int
    ingest_id: int
    drive_id: str
    file_sha256: str
    config_sha256: str
    frames: int
    regions: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class BlurRecord:
    """What one blur gave: counts, and the data files that were written."""

    blur_id: int
    frames: int
    regions: int
    unreadable: int
    files: tuple[StoredFile, ...]


class Blurs:
    """Attempts to blur the raw frames of ingests. Changed under the home's lock ``blur``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def visible(self) -> list[VisibleBlur]:
        """Return the blurs that count, in order of their ids."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(BLURS, INGESTS.c.drive_id, INGESTS.c.file_sha256)
                .join(INGESTS, INGESTS.c.ingest_id == BLURS.c.ingest_id)
                .where(BLURS.c.state == "committed", INGESTS.c.state == "committed")
                .order_by(BLURS.c.blur_id)
            ).all()
        return [
            VisibleBlur(
                row.blur_id,
                row.ingest_id,
                row.drive_id,
                row.file_sha256,
                row.config_sha256,
                row.frames,
                row.regions,
                row.unreadable,
            )
            for row in rows
        ]

    def begin(self, ingest_ids: Sequence[int], config_sha256: str, config: Mapping[str, JsonValue]) -> list[int]:
        """Open one blur for each ingest, before a byte is written; return the ids in the same order."""
        if not ingest_ids:
            return []
        rows = [
            {"ingest_id": item, "config_sha256": config_sha256, "config": dict(config), "state": "started"}
            for item in ingest_ids
        ]
        statement = insert(BLURS).returning(BLURS.c.blur_id, sort_by_parameter_order=True)
        with self._engine.begin() as connection:
            return list(connection.execute(statement, rows).scalars())

    def copy(self, ingest_id: int, to_ingest_id: int) -> tuple[int, int] | None:
        """Open the same blur for another ingest of the same content; return the old and the new id, or None without one."""
        with self._engine.begin() as connection:
            old = connection.execute(
                select(BLURS).where(BLURS.c.ingest_id == ingest_id, BLURS.c.state == "committed")
            ).first()
            if old is None:
                return None
            new: int = connection.execute(
                insert(BLURS)
                .values(ingest_id=to_ingest_id, config_sha256=old.config_sha256, config=old.config, state="started")
                .returning(BLURS.c.blur_id)
            ).scalar_one()
        return old.blur_id, new

    def commit(self, done: BlurRecord) -> bool:
        """Let a blur count in the place of the one before; False if its ingest is no longer visible."""
        with self._engine.begin() as connection:
            return commit_blur(connection, done)

    def note_files(self, *, gone: Collection[str], added: Sequence[StoredFile]) -> None:
        """Note that data files of blurred frames are no more, and that others came in their place."""
        with self._engine.begin() as connection:
            connection.execute(delete_from(LAKE_FILES).where(LAKE_FILES.c.path.in_(sorted(gone))))
            _insert_files(connection, added, None)

    def leftovers(self) -> list[int]:
        """Return the blurs whose rows nobody may see: begun and never committed, superseded, or of a gone ingest."""
        with self._engine.connect() as connection:
            found = connection.execute(
                select(BLURS.c.blur_id)
                .join(INGESTS, INGESTS.c.ingest_id == BLURS.c.ingest_id)
                .where((BLURS.c.state != "committed") | (INGESTS.c.state != "committed"))
            ).scalars()
            return sorted(found)

    def forget(self, blur_ids: Sequence[int]) -> None:
        """Note that no row of these blurs is left."""
        with self._engine.begin() as connection:
            counted = (BLURS.c.blur_id.in_(blur_ids)) & (BLURS.c.state == "committed")
            _check_anew(connection, connection.execute(select(BLURS.c.ingest_id).where(counted)).scalars().all())
            connection.execute(delete_from(BLURS).where(BLURS.c.blur_id.in_(blur_ids)))


def commit_blur(connection: Connection, done: BlurRecord) -> bool:
    """Do what `Blurs.commit` does, within a transaction that does more."""
    found = connection.execute(
        select(BLURS.c.ingest_id, INGESTS.c.drive_id)
        .join(INGESTS, INGESTS.c.ingest_id == BLURS.c.ingest_id)
        .where(BLURS.c.blur_id == done.blur_id, BLURS.c.state == "started", INGESTS.c.state == "committed")
        .with_for_update()
    ).one_or_none()
    if found is None:
        return False
    ingest_id = found.ingest_id
    note_due(connection, [found.drive_id])
    connection.execute(
        update(BLURS).where(BLURS.c.ingest_id == ingest_id, BLURS.c.state == "committed").values(state="superseded")
    )
    connection.execute(
        update(BLURS)
        .where(BLURS.c.blur_id == done.blur_id)
        .values(state="committed", frames=done.frames, regions=done.regions, unreadable=done.unreadable)
    )
    _insert_files(connection, done.files, ingest_id)
    _check_anew(connection, [ingest_id])
    return True


def _check_anew(connection: Connection, ingest_ids: Sequence[int]) -> None:
    """Forget what contracts found of these ingests: their frames are no longer what they were."""
    if ingest_ids:
        connection.execute(delete_from(CONTRACT_RUNS).where(CONTRACT_RUNS.c.ingest_id.in_(ingest_ids)))
        connection.execute(update(INGESTS).where(INGESTS.c.ingest_id.in_(ingest_ids)).values(checked_with=None))


def _insert_files(connection: Connection, files: Sequence[StoredFile], ingest_id: int | None) -> None:
    rows = [{"path": item.path, "bytes": item.bytes, "sha256": item.sha256, "ingest_id": ingest_id} for item in files]
    if rows:
        connection.execute(postgresql.insert(LAKE_FILES).on_conflict_do_nothing(), rows)

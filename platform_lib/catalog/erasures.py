"""The catalogue's side of erasing: tombstones, what they block, and what they touched.

An erasure is ``begun`` (its plan says what is to go, and readers see none of it any more), ``removed`` (nothing is left to
delete; the plan is gone, digests of pieces stay to look for) and ``done`` (nothing was found). Each step can be made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Connection, Engine, Row, Text, cast, delete, func, insert, select, text, update
from sqlalchemy.dialects import postgresql

from platform_lib.catalog.clip_schema import BUNDLES, DATASETS, RUNS
from platform_lib.catalog.clips import forget_datasets, forget_unused, hide_clips
from platform_lib.catalog.committing import note_commit
from platform_lib.catalog.model import DriveIdentity, FileKey, IngestRecord, LakeHead, Refusal
from platform_lib.catalog.schema import (
    ARTEFACTS,
    BLURS,
    DRIVES,
    EDGES,
    ERASED_FILES,
    ERASURE_MARKS,
    ERASURES,
    INGESTS,
    METADATA,
    STREAM_SCHEMAS,
)
from platform_lib.catalog.schema_model import VEHICLE_SCOPE

ERASED = "ErasedContent"
"""Kind of the refusal of a content that was erased."""
_TEXTS = 10_000
_OWN = frozenset({"erased_files", "erasures", "erasure_marks"})


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is kept of an erasure: nothing that tells what was erased.

    Attributes:
        scope_sha256: Digest of what was asked for.
        state: ``begun``, ``removed`` or ``done``.
        counts: What was removed, and looked at.
    """

    erasure_id: int
    scope_sha256: str
    requested_by: str
    reason: str
    state: str
    counts: Mapping[str, JsonValue]
    begun: datetime
    done: datetime | None


@dataclass(frozen=True, slots=True)
class Mark:
    """An artefact that was made from what an erasure erased."""

    erasure_id: int
    sha256: str
    kind: str
    removed: bool


@dataclass(frozen=True, slots=True)
class OpenErasure:
    """An erasure that is not done: the plan while there is something to remove, and what to look for afterwards."""

    erasure_id: int
    plan: Mapping[str, Any] | None
    needles: bytes


class Erasures:
    """Tombstones. Changed under the home's lock ``ingest``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def tombstones(self) -> list[Tombstone]:
        """Return every tombstone, the oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(ERASURES).order_by(ERASURES.c.erasure_id)).all()
        return [_tombstone(row) for row in rows]

    def erased_files(self) -> dict[str, Tombstone]:
        """Return the contents that are never taken in again, with the erasure that forbids it."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(ERASED_FILES.c.file_sha256, ERASURES).join(
                    ERASURES, ERASURES.c.erasure_id == ERASED_FILES.c.erasure_id
                )
            ).all()
        return {row.file_sha256: _tombstone(row) for row in rows}

    def marks(self) -> list[Mark]:
        """Return everything that erasures touched."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(ERASURE_MARKS).order_by(ERASURE_MARKS.c.erasure_id)).all()
        return [Mark(row.erasure_id, row.sha256, row.kind, row.removed) for row in rows]

    def open(self) -> list[OpenErasure]:
        """Return the erasures that a kill left unfinished, the oldest first."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(ERASURES).where(ERASURES.c.state != "done").order_by(ERASURES.c.erasure_id)
            ).all()
        return [OpenErasure(row.erasure_id, row.plan, bytes(row.needles or b"")) for row in rows]

    def begin(
        self,
        *,
        scope_sha256: str,
        requested_by: str,
        reason: str,
        plan: Mapping[str, Any],
        needles: bytes,
        files: Iterable[str],
        hidden: Sequence[int],
    ) -> int:
        """Write the tombstone: in one transaction its contents are blocked, and the ingests `hidden` no longer visible."""
        with self._engine.begin() as connection:
            erasure_id: int = connection.execute(
                insert(ERASURES)
                .values(
                    scope_sha256=scope_sha256,
                    requested_by=requested_by,
                    reason=reason,
                    plan=dict(plan),
                    needles=needles,
                    state="begun",
                )
                .returning(ERASURES.c.erasure_id)
            ).scalar_one()
            rows = [{"file_sha256": item, "erasure_id": erasure_id} for item in sorted(set(files))]
            if rows:
                connection.execute(postgresql.insert(ERASED_FILES).on_conflict_do_nothing(), rows)
            connection.execute(
                update(INGESTS)
                .where(INGESTS.c.ingest_id.in_(hidden), INGESTS.c.state == "committed")
                .values(state="superseded")
            )
            named = INGESTS.c.file_sha256.in_([row["file_sha256"] for row in rows])
            touched = connection.execute(select(INGESTS.c.drive_id).where(named, INGESTS.c.drive_id.is_not(None)))
            hide_clips(connection, touched.scalars().all())
        return erasure_id

    def mark(self, erasure_id: int, marks: Iterable[tuple[str, str, bool]]) -> None:
        """Note artefacts (digest, kind, removed) that were made from what is erased."""
        rows = [
            {"erasure_id": erasure_id, "sha256": digest, "kind": kind, "removed": removed}
            for digest, kind, removed in marks
        ]
        if rows:
            with self._engine.begin() as connection:
                connection.execute(postgresql.insert(ERASURE_MARKS).on_conflict_do_nothing(), rows)
                forget_datasets(connection, [str(row["sha256"]) for row in rows if row["removed"]])

    def begin_rest(self, key: FileKey) -> int:
        """Open an ingest for what stays of a content, which nobody else may take in again."""
        values = {
            "file_sha256": key.file_sha256,
            "reader_version": key.reader_version,
            "schema_version": key.schema_version,
            "options_sha256": key.options_sha256,
        }
        with self._engine.begin() as connection:
            started: int = connection.execute(
                insert(INGESTS).values(state="started", **values).returning(INGESTS.c.ingest_id)
            ).scalar_one()
        return started

    def record(self, ingest_id: int) -> IngestRecord:
        """Return what a committed ingest was committed as, without its streams."""
        with self._engine.connect() as connection:
            row = connection.execute(
                select(INGESTS, DRIVES.c.vehicle, DRIVES.c.session)
                .join(DRIVES, DRIVES.c.drive_id == INGESTS.c.drive_id)
                .where(INGESTS.c.ingest_id == ingest_id)
            ).one()
        return IngestRecord(
            ingest_id=row.ingest_id,
            drive=DriveIdentity(row.drive_id, row.vehicle, row.session),
            streams=(),
            signal_rows=row.signal_rows,
            sample_rows=row.sample_rows,
            start_ns=row.start_ns,
            stop_ns=row.stop_ns,
            pii_state=row.pii_state,
            metadata=row.metadata,
            problems=tuple(row.problems),
            recovered=row.recovered,
            bytes_lost=row.bytes_lost,
        )

    def ingests_of(self, files: Sequence[str]) -> list[int]:
        """Return every ingest of these contents that is not the visible one: their rows are to go."""
        with self._engine.connect() as connection:
            found = connection.execute(
                select(INGESTS.c.ingest_id).where(INGESTS.c.file_sha256.in_(files), INGESTS.c.state != "committed")
            ).scalars()
            return sorted(found)

    def blurs_of(self, ingest_ids: Sequence[int]) -> list[int]:
        """Return every blur of these ingests."""
        with self._engine.connect() as connection:
            return sorted(
                connection.execute(select(BLURS.c.blur_id).where(BLURS.c.ingest_id.in_(ingest_ids))).scalars()
            )

    def advance(self, head: LakeHead) -> None:
        """Let readers take these versions of the stores from now on."""
        with self._engine.begin() as connection:
            note_commit(connection, head)

    def remove(self, erasure_id: int, ingest_ids: Sequence[int], whole: Sequence[str], partly: Sequence[str]) -> None:
        """Delete every catalogue row of these ingests and of the contents `whole`, and drives that have nothing left.

        Tables are found by their columns, so one that is added later is not forgotten. Of contents erased in part the
        visible ingest stays, and the name they are found under goes all the same where nothing of it is visible.
        Lineage keeps digests; the names of drives in its roles go.
        """
        with self._engine.begin() as connection:
            for table in reversed(METADATA.sorted_tables):
                if table.name in _OWN:
                    continue
                if "ingest_id" in table.c:
                    connection.execute(delete(table).where(table.c.ingest_id.in_(ingest_ids)))
                if "file_sha256" in table.c and "ingest_id" not in table.c:
                    connection.execute(delete(table).where(table.c.file_sha256.in_(whole)))
            connection.execute(_nameless_roles(erasure_id, [*whole, *partly]))
            left = select(INGESTS.c.drive_id).where(INGESTS.c.drive_id.is_not(None))
            rows = connection.execute(
                select(DRIVES.c.drive_id, DRIVES.c.drive_number).where(DRIVES.c.drive_id.not_in(left))
            ).all()
            gone, numbers = [row.drive_id for row in rows], [row.drive_number for row in rows]
            for table in reversed(METADATA.sorted_tables):
                if "drive_number" in table.c:
                    connection.execute(delete(table).where(table.c.drive_number.in_(numbers)))
                elif "drive_id" in table.c and table.name not in _OWN and table is not INGESTS:
                    connection.execute(delete(table).where(table.c.drive_id.in_(gone)))
            _forget_vehicles(connection)
            forget_unused(connection)
            connection.execute(
                update(ERASURES).where(ERASURES.c.erasure_id == erasure_id).values(plan=None, state="removed")
            )

    def forget_names(self, erasure_id: int, telling: Callable[[Sequence[str]], list[str]]) -> int:
        """Replace what names a drive in lineage and in places, however it came there; return in how many texts it did.

        An imported dataset names its drives as one that was built does, but by digests of its own; a folder may be called as a drive.

        Args:
            erasure_id: By which.
            telling: Returns those of some texts that name what is erased.
        """
        found = 0
        with self._engine.begin() as connection:
            for column in (EDGES.c.role, ARTEFACTS.c.uri, DATASETS.c.name, RUNS.c.name, BUNDLES.c.name):
                texts = select(column).distinct().execution_options(yield_per=_TEXTS)
                told = [text for part in connection.execute(texts).scalars().partitions() for text in telling(part)]
                if told:
                    nameless = func.concat(f"erased/{erasure_id}/", cast(func.gen_random_uuid(), Text))
                    connection.execute(update(column.table).where(column.in_(told)).values({column.name: nameless}))
                found += len(told)
        return found

    def done(self, erasure_id: int, counts: Mapping[str, JsonValue]) -> Tombstone:
        """Close an erasure after nothing was found any more."""
        with self._engine.begin() as connection:
            row = connection.execute(
                update(ERASURES)
                .where(ERASURES.c.erasure_id == erasure_id)
                .values(
                    state="done", needles=None, counts=ERASURES.c.counts.op("||")(dict(counts)), done_utc=func.now()
                )
                .returning(ERASURES)
            ).one()
        return _tombstone(row)

    def count(self, erasure_id: int, counts: Mapping[str, JsonValue]) -> None:
        """Add to what the tombstone says was removed."""
        with self._engine.begin() as connection:
            connection.execute(
                update(ERASURES)
                .where(ERASURES.c.erasure_id == erasure_id)
                .values(counts=ERASURES.c.counts.op("||")(dict(counts)))
            )

    def shred(self, *, own_server: bool) -> None:
        """Rewrite every table without its dead rows, and drop the log of changes that still tells them.

        Args:
            own_server: Whether the server is the home's own. One elsewhere keeps logs and backups for a time of its
                own; only the tables are rewritten there.
        """
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in METADATA.sorted_tables:
                connection.execute(text(f'VACUUM (FULL, ANALYZE) "{table.name}"'))
            if not own_server:
                return
            connection.execute(text("VACUUM FULL pg_statistic"))
            # A recycled segment is an old one under a new name, with all that it told.
            connection.execute(text("ALTER SYSTEM SET wal_recycle = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
            for _ in range(2):
                connection.execute(text("SELECT pg_switch_wal()"))
                connection.execute(text("CHECKPOINT"))


def refusal_of(tombstone: Tombstone, key: FileKey) -> Refusal:
    """Say why a content that was erased is not taken in."""
    when = f"{tombstone.begun:%Y-%m-%d}"
    return Refusal(
        key,
        recover=True,
        kind=ERASED,
        reason=f"this content, or a part of it, was erased on {when} (erasure {tombstone.erasure_id}), for good",
        remedy="leave it out; what may be kept of it needs a log of its own, recorded or exported without the rest",
    )


def _forget_vehicles(connection: Connection) -> None:
    """Forget the schemas of vehicles of which no drive is left: their scopes name them."""
    left = select(func.concat(VEHICLE_SCOPE, DRIVES.c.vehicle)).where(DRIVES.c.vehicle.is_not(None))
    of_vehicles = STREAM_SCHEMAS.c.scope.startswith(VEHICLE_SCOPE, autoescape=True)
    connection.execute(delete(STREAM_SCHEMAS).where(of_vehicles, STREAM_SCHEMAS.c.scope.not_in(left)))


def _nameless_roles(erasure_id: int, files: Sequence[str]) -> Any:
    named = EDGES.c.input_sha256.in_(files) & EDGES.c.role.not_like("erased/%")
    role = func.concat(f"erased/{erasure_id}/", cast(func.gen_random_uuid(), Text))  # two roles of one input stay two
    return update(EDGES).where(named).values(role=role)


def _tombstone(row: Row[Any]) -> Tombstone:
    return Tombstone(
        row.erasure_id,
        row.scope_sha256,
        row.requested_by,
        row.reason,
        row.state,
        row.counts,
        row.begun_utc,
        row.done_utc,
    )

"""The catalogue: what was found, what was read from it, what is visible, and what was made of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Text,
    case,
    create_engine,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import OperationalError

from platform_lib.catalog.any_of import any_of
from platform_lib.catalog.committing import commit_one, key_columns, note_commit, note_due, refuse_one
from platform_lib.catalog.contract_runs import read_runs, write_runs
from platform_lib.catalog.drive_rows import read_drives, read_paths
from platform_lib.catalog.migrate import migrate
from platform_lib.catalog.model import (
    ContractRun,
    Drive,
    FileKey,
    FoundFile,
    IngestRecord,
    LakeHead,
    LakeView,
    Quarantined,
    Refusal,
    Release,
    StoredFile,
    StreamRecord,
    Unfetched,
    UsedDatabase,
    UsedOptions,
    VisibleIngest,
)
from platform_lib.catalog.reading import key_of, read_head, read_streams, read_view, visible_ingest
from platform_lib.catalog.records import write_artefact, write_manifest
from platform_lib.catalog.schema import (
    ARTEFACTS,
    BUCKET_LOGS,
    EDGES,
    ERASED_FILES,
    FILE_PATHS,
    FILES,
    INGESTS,
    LAKE_FILES,
    QUARANTINE,
    READ_OPTIONS,
    RELEASES,
)
from platform_lib.errors import ContractError, HomeError
from platform_lib.manifest import Manifest

_COMMIT_LOCK = 0x6472_6976_6574_7262  # any constant of ours


class Catalog:
    """The catalogue database. Use it as a context manager.

    Args:
        uri: SQLAlchemy URI, as `embedded_postgres` gives it. The schema is brought up to date.

    Raises:
        HomeError: It cannot be reached, or a newer release made it.
    """

    def __init__(self, uri: str) -> None:
        self._engine: Engine = create_engine(uri)
        try:
            migrate(self._engine)
        except OperationalError as error:
            self._engine.dispose()
            raise HomeError(
                f"the catalogue cannot be reached: {str(error.orig).strip().splitlines()[0]}",
                where=self._engine.url.render_as_string(),
                remedy="check that the database server runs and accepts this address",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def engine(self) -> Engine:
        """The database, for the catalogue's other modules."""
        return self._engine

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    # What is visible ------------------------------------------------------------------------------------------

    def head(self) -> LakeHead | None:
        """Return the stores' versions that readers take; None before the first commit."""
        with self._engine.connect() as connection:
            return read_head(connection)

    def view(self, drive_ids: Collection[str] | None = None) -> LakeView:
        """Return the committed ingests and the stores' versions that hold them, as of one moment.

        Args:
            drive_ids: Only ingests of these drives; of all by default, which in a large lake are millions.
        """
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            return read_view(connection, drive_ids)

    def drives(self, drive_ids: Sequence[str] | None = None) -> list[Drive]:
        """Return the drives that have a committed file, in order of their ids: all, or those named."""
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            return read_drives(connection, drive_ids)

    def streams(self, ingest_ids: Iterable[int]) -> dict[int, list[StreamRecord]]:
        """Return what became of each stream, by ingest."""
        with self._engine.connect() as connection:
            return read_streams(connection, ingest_ids)

    def quarantined(self) -> list[Quarantined]:
        """Return the files that could not be read, in order of their digests."""
        visible = INGESTS.alias()
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(QUARANTINE, FILES.c.bytes, visible.c.ingest_id.is_not(None).label("visible"))
                .join(FILES, FILES.c.file_sha256 == QUARANTINE.c.file_sha256)
                .outerjoin(
                    visible,
                    (visible.c.file_sha256 == QUARANTINE.c.file_sha256) & (visible.c.state == "committed"),
                )
                .order_by(QUARANTINE.c.file_sha256)
            ).all()
            paths = read_paths(connection, [row.file_sha256 for row in rows])
        return [
            Quarantined(
                Refusal(key_of(row), row.recover, row.kind, row.reason, row.remedy),
                paths[row.file_sha256],
                row.bytes,
                row.quarantined_utc,
                row.visible,
            )
            for row in rows
        ]

    def count_quarantined(self) -> int:
        """Return how many contents could not be read."""
        with self._engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(QUARANTINE)).scalar_one())

    # Ingest: the one writer, under the home's lock --------------------------------------------------------------

    def committed(self, file_sha256s: Collection[str]) -> dict[str, VisibleIngest]:
        """Return the committed ingest of each of these files that has one, by its digest."""
        named = INGESTS.c.file_sha256 == any_of(sorted(file_sha256s), Text())
        with self._engine.connect() as connection:
            rows = connection.execute(select(INGESTS).where((INGESTS.c.state == "committed") & named)).all()
        return {row.file_sha256: visible_ingest(row) for row in rows}

    def ingests(self, ingest_ids: Collection[int]) -> dict[int, VisibleIngest]:
        """Return those of these ingests that are committed, by their ids."""
        named = INGESTS.c.ingest_id == any_of(sorted(ingest_ids), BigInteger())
        with self._engine.connect() as connection:
            rows = connection.execute(select(INGESTS).where((INGESTS.c.state == "committed") & named)).all()
        return {row.ingest_id: visible_ingest(row) for row in rows}

    def note_files(self, found: Sequence[FoundFile]) -> None:
        """Remember contents and every path they were seen at."""
        if not found:
            return
        files = [{"file_sha256": item.key.file_sha256, "bytes": item.bytes} for item in found]
        paths = [{"file_sha256": item.key.file_sha256, "path": path} for item in found for path in item.paths]
        with self._engine.begin() as connection:
            connection.execute(postgresql.insert(FILES).on_conflict_do_nothing(), files)
            connection.execute(postgresql.insert(FILE_PATHS).on_conflict_do_nothing(), paths)

    def begin(self, keys: Sequence[FileKey]) -> list[int]:
        """Open one ingest for each file, before a byte is written; return the ids in the same order.

        Raises:
            ContractError: A content was erased, and is not taken in again by any way.
        """
        if not keys:
            return []
        with self._engine.connect() as connection:
            named = ERASED_FILES.c.file_sha256.in_([key.file_sha256 for key in keys])
            if (erased := connection.execute(select(ERASED_FILES).where(named)).first()) is not None:
                raise ContractError(
                    f"this content was erased (erasure {erased.erasure_id}), and is not taken in again",
                    where=erased.file_sha256,
                    remedy="leave it out",
                )
        statement = insert(INGESTS).returning(INGESTS.c.ingest_id, sort_by_parameter_order=True)
        with self._engine.begin() as connection:
            rows = [{"state": "started", **key_columns(key)} for key in keys]
            return list(connection.execute(statement, rows).scalars())

    def commit(
        self, head: LakeHead, records: Sequence[IngestRecord], *, also: Callable[[Connection], object] | None = None
    ) -> None:
        """Make `records` visible at `head`: one transaction, all or nothing.

        A file's older ingest is superseded in the same transaction, so its rows are never seen twice.

        Args:
            head: The versions that hold them.
            records: What.
            also: What is to become true in the same transaction, after that.
        """
        with self._engine.begin() as connection:
            _lock_commits(connection)
            commit_id = note_commit(connection, head)
            for record in records:
                commit_one(connection, record, commit_id)
            if also is not None:
                also(connection)

    def refuse(self, refusals: Sequence[Refusal]) -> None:
        """Note files that could not be read; the newest reason for each content is kept."""
        with self._engine.begin() as connection:
            for refusal in refusals:
                refuse_one(connection, refusal)

    def release(self, file_sha256: str, note: str) -> bool:
        """Let a content out of quarantine, noting why; False if it is not there."""
        with self._engine.begin() as connection:
            _lock_commits(connection)
            row = connection.execute(
                delete(QUARANTINE).where(QUARANTINE.c.file_sha256 == file_sha256).returning(QUARANTINE)
            ).first()
            if row is not None:
                names = ("file_sha256", "kind", "reason", "quarantined_utc")
                connection.execute(insert(RELEASES).values(note=note, **{name: row._mapping[name] for name in names}))  # noqa: SLF001 - SQLAlchemy's public name for it
        return row is not None

    def releases(self) -> list[Release]:
        """Return what was let out of quarantine, the newest last."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(RELEASES).order_by(RELEASES.c.release_id)).all()
        return [Release(row.file_sha256, row.kind, row.reason, row.note, row.released_utc) for row in rows]

    def note_options(self, options_sha256: str, used: UsedOptions) -> None:
        """Remember what logs are read with; the place of a database is the newest one seen."""
        databases = [[item.bus, item.sha256, item.path] for item in used.databases]
        values = {"options_sha256": options_sha256, "databases": databases, "timezone": used.timezone}
        statement = postgresql.insert(READ_OPTIONS).values(**values)
        with self._engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["options_sha256"], set_={"databases": databases})
            )

    def options(self) -> dict[str, UsedOptions]:
        """Return everything that logs were read with, by its digest."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(READ_OPTIONS)).all()
        return {
            row.options_sha256: UsedOptions(tuple(UsedDatabase(*item) for item in row.databases), row.timezone)
            for row in rows
        }

    def paths(self, digests: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return where contents were seen, by their digests."""
        with self._engine.connect() as connection:
            return dict(read_paths(connection, digests))

    # Logs in buckets --------------------------------------------------------------------------------------------

    def bucket_logs(self) -> dict[str, tuple[str, str]]:
        """Return what was fetched before: address -> its mark then, digest of its content."""
        wanted = select(BUCKET_LOGS).where(BUCKET_LOGS.c.file_sha256.is_not(None))
        with self._engine.connect() as connection:
            return {row.uri: (row.mark, row.file_sha256) for row in connection.execute(wanted)}

    def unfetched(self) -> list[Unfetched]:
        """Return the logs in buckets that could not be fetched, in order of their addresses."""
        wanted = select(BUCKET_LOGS).where(BUCKET_LOGS.c.file_sha256.is_(None)).order_by(BUCKET_LOGS.c.uri)
        with self._engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return [Unfetched(row.uri, row.bytes, row.kind, row.reason, row.remedy, row.noted_utc) for row in rows]

    def note_fetched(self, uri: str, mark: str, size_bytes: int, file_sha256: str) -> None:
        """Remember the content of a log in a bucket."""
        self._note_bucket_log({"uri": uri, "mark": mark, "bytes": size_bytes, "file_sha256": file_sha256})

    def note_unfetched(self, mark: str, item: Unfetched) -> None:
        """Remember that a log in a bucket could not be fetched."""
        names = ("uri", "bytes", "kind", "reason", "remedy")
        self._note_bucket_log({"mark": mark, **{name: getattr(item, name) for name in names}})

    def forget_unfetched(self, uris: Collection[str]) -> None:
        """Forget logs in buckets that could not be fetched and are not there any more."""
        named = BUCKET_LOGS.c.uri == any_of(sorted(uris), Text())
        with self._engine.begin() as connection:
            connection.execute(delete(BUCKET_LOGS).where(named, BUCKET_LOGS.c.file_sha256.is_(None)))

    def _note_bucket_log(self, values: Mapping[str, Any]) -> None:
        all_of_it = {"file_sha256": None, "kind": None, "reason": None, "remedy": None, **values}
        statement = postgresql.insert(BUCKET_LOGS).values(all_of_it)
        with self._engine.begin() as connection:
            connection.execute(
                statement.on_conflict_do_update(index_elements=["uri"], set_={**all_of_it, "noted_utc": func.now()})
            )

    # What no reader may see -------------------------------------------------------------------------------------

    def leftovers(self) -> list[int]:
        """Return ingests whose rows nobody may see: begun and never committed, or superseded.

        Waits for a commit that the server still carries out for a writer that was killed.
        """
        with self._engine.begin() as connection:
            _lock_commits(connection)
            found = connection.execute(
                select(INGESTS.c.ingest_id).where(INGESTS.c.state.in_(("started", "superseded")))
            ).scalars()
            return sorted(found)

    def lake_files(self) -> dict[str, tuple[StoredFile, int | None]]:
        """Return the data files that were written: path -> file, and whose rows it holds (None: of several)."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(LAKE_FILES)).all()
        return {row.path: (StoredFile(row.path, row.bytes, row.sha256), row.ingest_id) for row in rows}

    def file_owners(self) -> dict[str, int | None]:
        """Return whose rows each data file holds, as `platform_lib.lake.store.Store.drop` takes it."""
        return {path: owner for path, (_, owner) in self.lake_files().items()}

    def row_counts(self) -> dict[int, tuple[int, int]]:
        """Return what each committed ingest holds: ingest id -> signal rows, samples."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(INGESTS.c.ingest_id, INGESTS.c.signal_rows, INGESTS.c.sample_rows).where(
                    INGESTS.c.state == "committed"
                )
            ).all()
        return {row.ingest_id: (row.signal_rows, row.sample_rows) for row in rows}

    def pii_states(self, ingest_ids: Collection[int]) -> dict[int, str]:
        """Return what each ingest's log says of personal data in its frames."""
        named = INGESTS.c.ingest_id == any_of(list(ingest_ids), BigInteger())
        with self._engine.connect() as connection:
            return {row.ingest_id: row.pii_state for row in connection.execute(select(INGESTS).where(named))}

    def settle(self, sample_rows: Mapping[int, int], gone: Collection[str]) -> None:
        """Note that ingests hold this many samples from now on, and that the data files `gone` are no more."""
        with self._engine.begin() as connection:
            for ingest_id, count in sample_rows.items():
                connection.execute(update(INGESTS).where(INGESTS.c.ingest_id == ingest_id).values(sample_rows=count))
            named = INGESTS.c.ingest_id == any_of(list(sample_rows), BigInteger())
            changed = connection.execute(select(INGESTS.c.drive_id).where(named)).scalars().all()
            note_due(connection, changed)  # frames are gone, and with them what their clips say of personal data
            connection.execute(delete(LAKE_FILES).where(LAKE_FILES.c.path == any_of(sorted(gone), Text())))

    def rewrite(self, head: LakeHead, *, gone: Collection[str], added: Sequence[StoredFile]) -> None:
        """Let readers take these versions, which hold the same rows in other files: those of several ingests."""
        with self._engine.begin() as connection:
            _lock_commits(connection)
            note_commit(connection, head)
            connection.execute(delete(LAKE_FILES).where(LAKE_FILES.c.path == any_of(sorted(gone), Text())))
            rows = [{"path": item.path, "bytes": item.bytes, "sha256": item.sha256} for item in added]
            if rows:
                connection.execute(insert(LAKE_FILES), rows)

    def forget(self, ingest_ids: Sequence[int], head: LakeHead | None) -> None:
        """Note that no row of these ingests is left in the stores, whose versions now are `head`."""
        among = any_of(ingest_ids, BigInteger())
        with self._engine.begin() as connection:
            if head is not None:
                note_commit(connection, head)
            connection.execute(delete(LAKE_FILES).where(LAKE_FILES.c.ingest_id == among))
            connection.execute(update(INGESTS).where(INGESTS.c.ingest_id == among).values(state="deleted"))

    # Contracts --------------------------------------------------------------------------------------------------

    def record_contract_runs(self, runs: Sequence[ContractRun]) -> None:
        """Keep what contracts found, all or nothing; a run replaces the older one of the same contract and subject."""
        if runs:
            with self._engine.begin() as connection:
                write_runs(connection, runs)

    def contract_runs(self, *, ingest_ids: Collection[int] = (), artefacts: Collection[str] = ()) -> list[ContractRun]:
        """Return the runs on these files, lake versions and datasets."""
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            return read_runs(connection, ingest_ids=ingest_ids, artefacts=artefacts)

    # Lineage ----------------------------------------------------------------------------------------------------

    def record_artefact(self, kind: str, sha256: str, uri: str, inputs: Mapping[str, str]) -> None:
        """Record an artefact and what it was made from; recording it again changes nothing but its place.

        Args:
            kind: ``lake``, ``dataset``, ``run``, ``bundle``, ...
            sha256: Digest of the artefact.
            uri: Where it lies, for people.
            inputs: Role -> digest of an artefact or a file.
        """
        with self._engine.begin() as connection:
            write_artefact(connection, kind, sha256, uri, inputs)

    def record(self, manifest: Manifest, folder: Path) -> None:
        """Write the rows of what a step has published in `folder`: artefact, edges, and the row of its kind."""
        with self._engine.begin() as connection:
            write_manifest(connection, manifest, folder, folder)

    def ancestors(self, sha256: str, *, beyond: str | None = None) -> dict[str, str]:
        """Return everything an artefact was made from, however far back: digest -> kind.

        A log is a ``log``, also an erased one; what is neither a log nor recorded as made, a ``file``.

        Args:
            sha256: The artefact.
            beyond: A kind that is not looked beyond: a lake was made from every log there is.
        """
        with self._engine.connect() as connection:
            base = select(EDGES.c.input_sha256.label("sha256")).where(EDGES.c.sha256 == literal(sha256))
            walk = base.cte("walk", recursive=True)
            further = select(EDGES.c.input_sha256).join(walk, EDGES.c.sha256 == walk.c.sha256)
            if beyond is not None:
                own = select(ARTEFACTS.c.sha256).where(ARTEFACTS.c.sha256 == walk.c.sha256, ARTEFACTS.c.kind == beyond)
                further = further.where(~own.exists())
            walk = walk.union(further)
            logs = [select(it.c.file_sha256).where(it.c.file_sha256 == walk.c.sha256) for it in (FILES, ERASED_FILES)]
            other = case((or_(*(it.exists() for it in logs)), "log"), else_="file")
            rows = connection.execute(
                select(walk.c.sha256, func.coalesce(ARTEFACTS.c.kind, other))
                .outerjoin(ARTEFACTS, ARTEFACTS.c.sha256 == walk.c.sha256)
                .order_by(walk.c.sha256)
            ).all()
        return {digest: kind for digest, kind in rows}


def _lock_commits(connection: Connection) -> None:
    """Hold the commits' lock until the transaction ends, whatever becomes of the client."""
    connection.execute(select(func.pg_advisory_xact_lock(_COMMIT_LOCK)))

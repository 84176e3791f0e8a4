"""One moment of the catalogue, read piece by piece: what a query asks for, a page of drives at a time."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import BigInteger, Connection, Engine, Row, Text, select

from platform_lib.catalog.any_of import any_of
from platform_lib.catalog.drive_rows import read_drives
from platform_lib.catalog.model import Drive, FileKey, LakeHead, LakeView, StreamRecord, VisibleIngest
from platform_lib.catalog.schema import COMMITS, DRIVES, INGESTS, STREAMS

KEYS = ("drive_id", "vehicle", "session", "ingest_id", "file_sha256")
"""What drives are found by."""


class Moment:
    """What was visible at one moment, whatever is committed meanwhile. Several threads may ask, one after the other.

    Args:
        connection: In a transaction that sees one moment.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def of(cls, engine: Engine) -> Iterator[Self]:
        """Hold a moment for the block."""
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            yield cls(connection)

    def view(self, drive_ids: Collection[str] | None = None) -> LakeView:
        """Return the committed ingests and the stores' versions that hold them, of these drives or of all."""
        with self._lock:
            return read_view(self._connection, drive_ids)

    def drives(self, drive_ids: Sequence[str]) -> list[Drive]:
        """Return these drives, in order of their ids."""
        with self._lock:
            return read_drives(self._connection, drive_ids)

    def streams(self, ingest_ids: Iterable[int]) -> dict[int, list[StreamRecord]]:
        """Return what became of each stream, by ingest."""
        with self._lock:
            return read_streams(self._connection, ingest_ids)

    def drive_ids(self, keys: Mapping[str, Collection[Any]], *, after: str, most: int) -> list[str]:
        """Return some ids of drives with a committed file, in their order.

        Args:
            keys: Of `KEYS` -> values that a drive, or a file of it, has one of.
            after: The last id of the page before; empty for the first.
            most: How many at most.
        """
        wanted = select(DRIVES.c.drive_id).where(DRIVES.c.listed_ns.is_not(None), DRIVES.c.drive_id > after)
        for name in ("drive_id", "vehicle", "session"):
            if name in keys:
                wanted = wanted.where(DRIVES.c[name] == any_of(sorted(keys[name]), Text()))
        for name, kind in (("ingest_id", BigInteger()), ("file_sha256", Text())):
            if name in keys:
                named = INGESTS.c[name] == any_of(sorted(keys[name]), kind)
                of = select(INGESTS.c.drive_id).where(INGESTS.c.state == "committed", named)
                wanted = wanted.where(DRIVES.c.drive_id.in_(of))
        with self._lock:
            return list(self._connection.execute(wanted.order_by(DRIVES.c.drive_id).limit(most)).scalars())

    def pages(self, keys: Mapping[str, Collection[Any]], size: int) -> Iterator[list[str]]:
        """Yield the ids of such drives, so many at a time."""
        after = ""
        while page := self.drive_ids(keys, after=after, most=size):
            yield page
            after = page[-1]


def read_view(connection: Connection, drive_ids: Collection[str] | None = None) -> LakeView:
    """Return the committed ingests and the stores' versions that hold them, of these drives or of all."""
    ours = INGESTS.c.state == "committed"
    if drive_ids is not None:
        ours &= INGESTS.c.drive_id == any_of(sorted(drive_ids), Text())
    head = read_head(connection)
    ingests = connection.execute(select(INGESTS).where(ours).order_by(INGESTS.c.file_sha256)).all()
    return LakeView(head=head, ingests=tuple(map(visible_ingest, ingests)))


def read_head(connection: Connection) -> LakeHead | None:
    """Return the stores' versions that readers take; None before the first commit."""
    newest = connection.execute(
        select(COMMITS.c.iceberg_snapshot_id, COMMITS.c.lance_version).order_by(COMMITS.c.commit_id.desc()).limit(1)
    ).first()
    return None if newest is None else LakeHead(newest.iceberg_snapshot_id, newest.lance_version)


def read_streams(connection: Connection, ingest_ids: Iterable[int]) -> dict[int, list[StreamRecord]]:
    """Return what became of each stream, by ingest."""
    named = STREAMS.c.ingest_id == any_of(list(ingest_ids), BigInteger())
    rows = connection.execute(select(STREAMS).where(named).order_by(STREAMS.c.ingest_id, STREAMS.c.stream)).all()
    found: dict[int, list[StreamRecord]] = defaultdict(list)
    for row in rows:
        fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
        found[fields.pop("ingest_id")].append(StreamRecord(**fields))
    return found


def visible_ingest(row: Any) -> VisibleIngest:
    """Return an ingest's row as readers know it."""
    return VisibleIngest(row.ingest_id, row.drive_id, key_of(row), row.recovered)


def key_of(row: Row[Any]) -> FileKey:
    """Return what the rows of a file are known by."""
    return FileKey(row.file_sha256, row.reader_version, row.schema_version, row.options_sha256)

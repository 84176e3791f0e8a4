"""Which committed files are still to be held against the present contracts: an index probe, whatever the lake's size.

Each ingest carries the mark under which it was last checked whole: a digest of the contracts and of the checks' code. An index
on it finds those of another mark, or of none, so that an ingest into a lake of millions of files reads no row of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import BigInteger, ColumnElement, Engine, Select, Text, select, union_all, update

from platform_lib.catalog.any_of import any_of
from platform_lib.catalog.schema import DRIVES, INGESTS


@dataclass(frozen=True, slots=True)
class DueCheck:
    """A committed ingest that is to be checked.

    Attributes:
        vehicle: Of its drive; None where no log of it names one.
        signal_rows: How many values it holds.
    """

    ingest_id: int
    vehicle: str | None
    signal_rows: int


class DueChecks:
    """The marks of one catalogue.

    Args:
        engine: Its database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def next(self, mark: str, most: int) -> list[DueCheck]:
        """Return some committed ingests that were not checked under `mark`, in order of their ids; none: all were."""
        column = INGESTS.c.checked_with
        # Ordered as the index is, each by itself: so that no plan, however old its statistics, reads the whole table.
        parts = [_first(condition, most) for condition in (column.is_(None), column < mark, column > mark)]
        found = union_all(*(select(part.subquery()) for part in parts)).subquery()
        wanted = select(found.c.ingest_id, DRIVES.c.vehicle, found.c.signal_rows).join(
            DRIVES, DRIVES.c.drive_id == found.c.drive_id
        )
        with self._engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return [DueCheck(*row) for row in sorted(rows, key=lambda row: row.ingest_id)[:most]]

    def of_drives(self, drive_ids: Collection[str] | None) -> Iterator[DueCheck]:
        """Yield the committed ingests of these drives (of all by default), whatever their marks, in order of their ids."""
        wanted = select(INGESTS.c.ingest_id, DRIVES.c.vehicle, INGESTS.c.signal_rows)
        wanted = wanted.join(DRIVES, DRIVES.c.drive_id == INGESTS.c.drive_id)
        wanted = wanted.where(INGESTS.c.state == "committed").order_by(INGESTS.c.ingest_id)
        if drive_ids is not None:
            wanted = wanted.where(INGESTS.c.drive_id == any_of(sorted(drive_ids), Text()))
        with self._engine.connect() as connection:
            rows = connection.execute(wanted).all()
        return (DueCheck(*row) for row in rows)

    def done(self, mark: str, ingest_ids: Collection[int]) -> None:
        """Note that these were checked under `mark`."""
        named = INGESTS.c.ingest_id == any_of(sorted(ingest_ids), BigInteger())
        with self._engine.begin() as connection:
            connection.execute(update(INGESTS).where(named).values(checked_with=mark))


def _first(condition: ColumnElement[bool], most: int) -> Select[int, str, int]:
    return (
        select(INGESTS.c.ingest_id, INGESTS.c.drive_id, INGESTS.c.signal_rows)
        .where(INGESTS.c.state == "committed", condition)
        .order_by(INGESTS.c.checked_with, INGESTS.c.ingest_id)
        .limit(most)
    )

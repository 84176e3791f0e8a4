"""Clips as the catalogue keeps them: which are due, what they are, and which datasets took samples from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, Engine, Integer, Table, Text, delete, exists, insert, select
from sqlalchemy.dialects import postgresql

from platform_lib.catalog.any_of import any_of
from platform_lib.catalog.clip_schema import (
    CLIP_TAGS,
    CLIPS,
    CLIPS_DUE,
    DATASET_CLIPS,
    DATASETS,
    DRIVE_PLACES,
    ODD_CELLS,
    TAGS,
)
from platform_lib.catalog.committing import list_drives
from platform_lib.catalog.model import PiiState
from platform_lib.catalog.schema import DRIVES, VEHICLES

CLIP_NS = 20_000_000_000
"""A clip is a window of 20 s that begins at a multiple of 20 s since the epoch: the same one whatever log came first."""
_NAMED_CLIP = (DATASET_CLIPS, CLIP_TAGS)
_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class NewClip:
    """One clip of a drive, as it was derived.

    Attributes:
        pii_state: The least safe of its frames; None without frames.
        cell: See `platform_lib.catalog.cells`; None where the position is unknown, as both coordinates then.
    """

    start_ns: int
    pii_state: PiiState | None
    cell: int | None
    latitude_e7: int | None
    longitude_e7: int | None


@dataclass(frozen=True, slots=True)
class TakenClip:
    """A clip that samples of a dataset were taken from.

    Attributes:
        tags: What those samples show.
    """

    drive_id: str
    start_ns: int
    split: str
    samples: int
    tags: tuple[str, ...]


class Clips:
    """The rows of clips. They are an index of the lake and of datasets: all of them can be derived again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def due(self) -> dict[str, int]:
        """Return the drives whose clips are not those of what is visible: drive -> mark, for `replace`."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(CLIPS_DUE).order_by(CLIPS_DUE.c.drive_id)).all()
        return {row.drive_id: row.mark for row in rows}

    def note_all_due(self) -> int:
        """Note every listed drive as due; return how many there are."""
        listed = select(DRIVES.c.drive_id).where(DRIVES.c.listed_ns.is_not(None))
        statement = postgresql.insert(CLIPS_DUE).from_select(["drive_id"], listed)
        statement = statement.on_conflict_do_update(index_elements=["drive_id"], set_={"mark": statement.excluded.mark})
        with self._engine.begin() as connection:
            return connection.execute(statement).rowcount

    def replace(
        self, drive_id: str, mark: int, odd_cell: str, clips: Sequence[NewClip], cells: Collection[int]
    ) -> bool:
        """Put clips in the place of those a drive has; False where something changed since the mark was read.

        Args:
            drive_id: Whose.
            mark: What `due` said before the lake was read.
            odd_cell: Of the drive.
            clips: In order of time.
            cells: Every cell that the drive was in.
        """
        with self._engine.begin() as connection:
            ours = connection.execute(
                delete(CLIPS_DUE).where(CLIPS_DUE.c.drive_id == drive_id, CLIPS_DUE.c.mark == mark)
            )
            drive = connection.execute(
                select(DRIVES.c.drive_number, DRIVES.c.listed_ns).where(DRIVES.c.drive_id == drive_id)
            ).first()
            if ours.rowcount != 1 or drive is None:
                return False
            _drop_derived(connection, [drive.drive_number])
            _drop_foreign(connection, drive.drive_number, [item.start_ns for item in clips])
            if drive.listed_ns is None or not clips:
                return True
            odd_id = _number(connection, ODD_CELLS, "odd_cell", odd_cell)
            rows = [
                {
                    "drive_number": drive.drive_number,
                    "start_ns": item.start_ns,
                    "odd_id": odd_id,
                    "pii_state": item.pii_state,
                    "cell": item.cell,
                    "latitude_e7": item.latitude_e7,
                    "longitude_e7": item.longitude_e7,
                }
                for item in clips
            ]
            connection.execute(insert(CLIPS), rows)
            places = [
                {"cell": cell, "listed_ns": drive.listed_ns, "drive_number": drive.drive_number}
                for cell in sorted(set(cells))
            ]
            if places:
                connection.execute(insert(DRIVE_PLACES), places)
        return True

    def unnoted_datasets(self) -> dict[str, int]:
        """Return the datasets whose clips are not noted yet: digest -> number."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(DATASETS.c.sha256, DATASETS.c.dataset_number).where(~DATASETS.c.clips_noted)
            ).all()
        return {row.sha256: row.dataset_number for row in rows}

    def note_dataset(self, dataset_number: int, taken: Sequence[TakenClip]) -> int:
        """Note which clips a dataset's samples were taken from, in the place of what was noted before.

        Returns:
            How many of them are of drives that the catalogue knows; the others, of imported datasets, are left out.
        """
        with self._engine.begin() as connection:
            connection.execute(delete(DATASET_CLIPS).where(DATASET_CLIPS.c.dataset_number == dataset_number))
            numbers = _drive_numbers(connection, {item.drive_id for item in taken})
            known = [item for item in taken if item.drive_id in numbers]
            tags = {
                tag: _number(connection, TAGS, "tag", tag) for tag in sorted({t for item in known for t in item.tags})
            }
            rows = [
                {
                    "dataset_number": dataset_number,
                    "drive_number": numbers[item.drive_id],
                    "start_ns": item.start_ns,
                    "samples": item.samples,
                    "split": item.split,
                }
                for item in known
            ]
            shown = [
                {"tag_id": tags[tag], "start_ns": item.start_ns, "drive_number": numbers[item.drive_id]}
                for item in known
                for tag in item.tags
            ]
            for start in range(0, len(rows), _ROWS):
                connection.execute(insert(DATASET_CLIPS), rows[start : start + _ROWS])
            for start in range(0, len(shown), _ROWS):
                connection.execute(postgresql.insert(CLIP_TAGS).on_conflict_do_nothing(), shown[start : start + _ROWS])
            connection.execute(
                DATASETS.update().where(DATASETS.c.dataset_number == dataset_number).values(clips_noted=True)
            )
        return len(known)

    def note_no_dataset(self) -> None:
        """Forget which datasets took which clips, and what they show: the next look at the datasets notes it anew."""
        with self._engine.begin() as connection:
            for table in _NAMED_CLIP:
                connection.execute(delete(table))
            connection.execute(DATASETS.update().values(clips_noted=False))


def hide_clips(connection: Connection, drive_ids: Collection[str]) -> None:
    """Take the clips of these drives out of every list at once; those of what stays are due."""
    numbers = list(_drive_numbers(connection, drive_ids).values())
    _drop_derived(connection, numbers)
    list_drives(connection, drive_ids)


def forget_datasets(connection: Connection, digests: Collection[str]) -> None:
    """Forget which clips were in datasets that are deleted."""
    numbers = select(DATASETS.c.dataset_number).where(DATASETS.c.sha256 == any_of(sorted(digests), Text()))
    connection.execute(delete(DATASET_CLIPS).where(DATASET_CLIPS.c.dataset_number.in_(numbers)))


def forget_unused(connection: Connection) -> None:
    """Remove vehicles, ODD cells and tags that nothing is left of: their names can tell something."""
    used = (
        (VEHICLES, exists().where(DRIVES.c.vehicle == VEHICLES.c.vehicle)),
        (ODD_CELLS, exists().where(CLIPS.c.odd_id == ODD_CELLS.c.odd_id)),
        (TAGS, exists().where(CLIP_TAGS.c.tag_id == TAGS.c.tag_id)),
    )
    for table, still in used:
        connection.execute(delete(table).where(~still))


def _drop_derived(connection: Connection, numbers: Sequence[int]) -> None:
    for table in (CLIPS, DRIVE_PLACES):
        connection.execute(delete(table).where(table.c.drive_number == any_of(list(numbers), Integer())))


def _drop_foreign(connection: Connection, drive_number: int, starts_ns: Sequence[int]) -> None:
    """Remove what was noted of clips that are no more."""
    for table in _NAMED_CLIP:
        gone = ~(table.c.start_ns == any_of(list(starts_ns), BigInteger()))
        connection.execute(delete(table).where(table.c.drive_number == drive_number, gone))


def _drive_numbers(connection: Connection, drive_ids: Collection[str]) -> Mapping[str, int]:
    rows = connection.execute(
        select(DRIVES.c.drive_id, DRIVES.c.drive_number).where(DRIVES.c.drive_id == any_of(sorted(drive_ids), Text()))
    )
    return {row.drive_id: row.drive_number for row in rows}


def _number(connection: Connection, table: Table, column: str, value: str) -> int:
    """Return the number of a name; it gets one where it has none."""
    connection.execute(postgresql.insert(table).values({column: value}).on_conflict_do_nothing())
    key = next(iter(table.primary_key))
    found: int = connection.execute(select(key).where(table.c[column] == value)).scalar_one()
    return found

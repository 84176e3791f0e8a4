"""The questions that commands ask of a catalogue of any size: a page at a time, newest first, each by an index."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, Integer, Text, and_, cast, func, literal, select
from sqlalchemy.dialects import postgresql

from platform_lib.catalog.any_of import any_of
from platform_lib.catalog.clip_schema import CLIP_TAGS, CLIPS, DATASET_CLIPS, DATASETS, ODD_CELLS, TAGS
from platform_lib.catalog.clips import CLIP_NS
from platform_lib.catalog.drive_rows import read_drives, read_paths
from platform_lib.catalog.filters import ClipFilter, DriveFilter, Key
from platform_lib.catalog.model import Drive, FileKey
from platform_lib.catalog.page_queries import clip_rows, drive_keys, named_numbers
from platform_lib.catalog.schema import DRIVES, FILES, INGESTS
from platform_lib.errors import ConfigError

_E7 = 1e7


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip, for people.

    Attributes:
        tags: What datasets' samples of it show.
        pii_state: The least safe of its frames; None without frames.
        latitude_deg: Where it begins; None where nobody knows.
    """

    drive_id: str
    start_ns: int
    odd_cell: str
    pii_state: str | None
    latitude_deg: float | None
    longitude_deg: float | None
    tags: tuple[str, ...] = ()

    @property
    def clip_id(self) -> str:
        """Its name, DRIVE/TIME_NS; any time within it names it too."""
        return f"{self.drive_id}/{self.start_ns}"

    @property
    def stop_ns(self) -> int:
        """One past its last time."""
        return self.start_ns + CLIP_NS


@dataclass(frozen=True, slots=True)
class DrivePage:
    """Some drives, newest first, and where the next page begins; None: these were the last."""

    drives: tuple[Drive, ...]
    after: Key | None


@dataclass(frozen=True, slots=True)
class ClipPage:
    """Some clips, and where the next page begins; None: these were the last."""

    clips: tuple[Clip, ...]
    after: Key | None


@dataclass(frozen=True, slots=True)
class FoundContent:
    """One content of the lake, wherever it was seen.

    Attributes:
        drive_id: None where nothing of it is visible, and so with the ingest.
    """

    file_sha256: str
    bytes: int
    paths: tuple[str, ...]
    drive_id: str | None
    ingest_id: int | None
    key: FileKey | None
    start_ns: int | None
    stop_ns: int | None


@dataclass(frozen=True, slots=True)
class SawClip:
    """A dataset that took samples from a clip."""

    sha256: str
    name: str
    split: str
    samples: int


class Finder:
    """Answers the questions; each method is one of them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def drives(self, which: DriveFilter, *, limit: int, after: Key | None = None, names: bool = False) -> DrivePage:
        """Return a page of drives, newest first; with `names`, their files' places and lengths too."""
        with self._reading() as connection:
            keys = connection.execute(drive_keys(which, limit + 1, after)).all()
            page = keys[:limit]
            found = {
                item.drive_id: item for item in read_drives(connection, [row.drive_id for row in page], names=names)
            }
        drives = tuple(found[row.drive_id] for row in page if row.drive_id in found)
        return DrivePage(drives, (page[-1].listed_ns, page[-1].drive_number) if len(keys) > limit else None)

    def drive(self, name: str) -> Drive:
        """Return the drive of this id, or of this session.

        Raises:
            ConfigError: No drive is called so, or several are.
        """
        with self._reading() as connection:
            listed = DRIVES.c.listed_ns.is_not(None)
            ids = connection.execute(select(DRIVES.c.drive_id).where(DRIVES.c.drive_id == name, listed)).scalars().all()
            if not ids:
                named = select(DRIVES.c.drive_id).where(DRIVES.c.session == name, listed).limit(2)
                ids = connection.execute(named).scalars().all()
            found = read_drives(connection, ids) if len(ids) == 1 else []
        if len(found) != 1:
            what = f"no drive '{name}'" if not ids else f"several drives of the session '{name}'"
            raise ConfigError(
                what, where="drivetrain drives", remedy="name a drive as `drivetrain drives --json` does: its drive_id"
            )
        return found[0]

    def content(self, file_sha256: str) -> FoundContent | None:
        """Return what is known of a content; None where it was never seen."""
        with self._reading() as connection:
            row = connection.execute(
                select(FILES.c.bytes, INGESTS)
                .outerjoin(INGESTS, (INGESTS.c.file_sha256 == FILES.c.file_sha256) & (INGESTS.c.state == "committed"))
                .where(FILES.c.file_sha256 == file_sha256)
            ).first()
            if row is None:
                return None
            paths = read_paths(connection, [file_sha256])[file_sha256]
        key = None
        if row.ingest_id is not None:
            key = FileKey(file_sha256, row.reader_version, row.schema_version, row.options_sha256)
        return FoundContent(file_sha256, row.bytes, paths, row.drive_id, row.ingest_id, key, row.start_ns, row.stop_ns)

    def clips(self, which: ClipFilter, *, limit: int, after: Key | None = None) -> ClipPage:
        """Return a page of clips: of a drive in order of time, of a dataset by drive, else newest first.

        Raises:
            ConfigError: Nothing is named that an index finds clips by, or something that there is not.
        """
        with self._reading() as connection:
            numbers = named_numbers(connection, which)
            rows = connection.execute(clip_rows(which, numbers, limit + 1, after)).all()
            page = rows[:limit]
            tags = _tags_of(connection, [(row.drive_number, row.start_ns) for row in page])
        clips = tuple(
            Clip(
                row.drive_id,
                row.start_ns,
                row.odd_cell,
                row.pii_state,
                None if row.latitude_e7 is None else row.latitude_e7 / _E7,
                None if row.longitude_e7 is None else row.longitude_e7 / _E7,
                tags.get((row.drive_number, row.start_ns), ()),
            )
            for row in page
        )
        if len(rows) <= limit:
            return ClipPage(clips, None)
        last = page[-1]
        by_drive = which.dataset is not None
        key = (last.drive_number, last.start_ns) if by_drive else (last.start_ns, last.drive_number)
        return ClipPage(clips, key)

    def clip_at(self, drive_id: str, time_ns: int) -> Clip | None:
        """Return the clip of a drive that holds a time."""
        start_ns = time_ns // CLIP_NS * CLIP_NS
        window = ClipFilter(drive=drive_id, since_ns=start_ns, until_ns=start_ns + 1)
        return next(iter(self.clips(window, limit=1).clips), None)

    def saw_clip(self, drive_id: str, time_ns: int) -> list[SawClip]:
        """Return the datasets that took samples from the clip that holds a time."""
        with self._reading() as connection:
            rows = connection.execute(
                select(DATASETS.c.sha256, DATASETS.c.name, DATASET_CLIPS.c.split, DATASET_CLIPS.c.samples)
                .join(DATASET_CLIPS, DATASET_CLIPS.c.dataset_number == DATASETS.c.dataset_number)
                .join(DRIVES, DRIVES.c.drive_number == DATASET_CLIPS.c.drive_number)
                .where(DRIVES.c.drive_id == drive_id, DATASET_CLIPS.c.start_ns == time_ns // CLIP_NS * CLIP_NS)
                .order_by(DATASETS.c.name, DATASETS.c.sha256)
            ).all()
        return [SawClip(row.sha256, row.name, row.split, row.samples) for row in rows]

    def every_clip(self, most: int, drive_ids: Collection[str] | None = None) -> dict[str, list[Any]]:
        """Return clips of these drives (of all by default) as columns, in no order, at most so many of them."""
        position = (
            (CLIPS.c.latitude_e7 / literal(_E7)).label("latitude_deg"),
            (CLIPS.c.longitude_e7 / literal(_E7)).label("longitude_deg"),
        )
        wanted = (
            select(DRIVES.c.drive_id, CLIPS.c.start_ns, ODD_CELLS.c.odd_cell, cast(CLIPS.c.pii_state, Text), *position)
            .join(DRIVES, DRIVES.c.drive_number == CLIPS.c.drive_number)
            .join(ODD_CELLS, ODD_CELLS.c.odd_id == CLIPS.c.odd_id)
            .limit(most)
        )
        if drive_ids is not None:
            wanted = wanted.where(DRIVES.c.drive_id == any_of(sorted(drive_ids), Text()))
        with self._reading() as connection:
            result = connection.execute(wanted)
            names = list(result.keys())
            rows = result.all()
        return {name: [row[at] for row in rows] for at, name in enumerate(names)}

    def names(self) -> tuple[list[str], list[str]]:
        """Return the tags and the ODD cells that clips have."""
        with self._reading() as connection:
            tags = connection.execute(select(TAGS.c.tag).order_by(TAGS.c.tag)).scalars().all()
            cells = connection.execute(select(ODD_CELLS.c.odd_cell).order_by(ODD_CELLS.c.odd_cell)).scalars().all()
        return list(tags), list(cells)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """Hold one moment of the catalogue for a question, answered by one process of the server.

        A page is some hundred rows: to start workers for them takes longer than to read them, and each waits for a CPU.
        """
        with self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            connection.exec_driver_sql("SET LOCAL max_parallel_workers_per_gather = 0")
            yield connection


def _tags_of(connection: Connection, clips: Sequence[tuple[int, int]]) -> dict[tuple[int, int], tuple[str, ...]]:
    """Return the tags of clips (drive number, start)."""
    if not clips:
        return {}
    numbers, starts = zip(*clips, strict=True)
    page = (
        func.unnest(
            literal(list(numbers), postgresql.ARRAY(Integer)), literal(list(starts), postgresql.ARRAY(BigInteger))
        )
        .table_valued("drive_number", "start_ns")
        .render_derived(name="page")
    )
    same = and_(CLIP_TAGS.c.drive_number == page.c.drive_number, CLIP_TAGS.c.start_ns == page.c.start_ns)
    rows = connection.execute(
        select(CLIP_TAGS.c.drive_number, CLIP_TAGS.c.start_ns, func.array_agg(TAGS.c.tag, type_=postgresql.ARRAY(Text)))
        .select_from(page)
        .join(CLIP_TAGS, same)
        .join(TAGS, TAGS.c.tag_id == CLIP_TAGS.c.tag_id)
        .group_by(CLIP_TAGS.c.drive_number, CLIP_TAGS.c.start_ns)
    )
    return {(row[0], row[1]): tuple(sorted(row[2])) for row in rows}

"""What the catalogue knows of logs that were read before they were complete, or as loose parts of a bag that came later."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from typing import Any

from sqlalchemy import BigInteger, Connection, Engine, Row, Select, Text, select, update

from platform_lib.catalog.any_of import any_of
from platform_lib.catalog.committing import list_drives
from platform_lib.catalog.drive_rows import read_paths
from platform_lib.catalog.model import IngestRecord, StreamRecord
from platform_lib.catalog.reading import read_streams
from platform_lib.catalog.schema import INGESTS


@dataclass(frozen=True, slots=True)
class Earlier:
    """A committed reading whose rows a record that is about to be committed may hold as well.

    Attributes:
        ingest_id: Of that reading.
        by: Ingest of the record.
        streams: Streams of which it has signals.
    """

    ingest_id: int
    by: int
    streams: tuple[str, ...]


def earlier_readings(engine: Engine, records: Sequence[IngestRecord]) -> list[Earlier]:
    """Find readings of the same drive whose every place is now a record's own, or lies in its bag folder.

    Each of their streams is one of the record's, no longer and with no more messages; at the same place also begun at the
    same time. Whether the rows are the same is for the stores to say.
    """
    timed = {item.ingest_id: item for item in records if item.start_ns is not None}
    with engine.connect() as connection:
        rows = connection.execute(_committed_of(timed.values())).all() if timed else []
        pairs = list(_within(timed.values(), rows))
        if not pairs:
            return []
        own = {
            row.ingest_id: row.file_sha256
            for row in connection.execute(
                select(INGESTS.c.ingest_id, INGESTS.c.file_sha256).where(
                    INGESTS.c.ingest_id == any_of(sorted(timed), BigInteger())
                )
            )
        }
        paths = read_paths(connection, sorted({*own.values(), *(row.file_sha256 for _, row in pairs)}))
        pairs = [
            (item, row)
            for item, row in pairs
            if own[item.ingest_id] != row.file_sha256
            and lies_within(paths.get(row.file_sha256, ()), paths.get(own[item.ingest_id], ()))
        ]
        streams = read_streams(connection, {row.ingest_id for _, row in pairs}) if pairs else {}
    found: dict[int, Earlier] = {}
    for item, row in pairs:
        before = [one for one in streams.get(row.ingest_id, []) if one.messages]
        same_place = bool(set(paths[row.file_sha256]) & set(paths[own[item.ingest_id]]))
        if _may_hold({one.stream: one for one in item.streams}, before, from_the_start=same_place):
            named = tuple(one.stream for one in before if one.kept_as == "signals")
            found[row.ingest_id] = Earlier(row.ingest_id, item.ingest_id, named)
    return list(found.values())


def _committed_of(records: Iterable[IngestRecord]) -> Select[Any]:
    drives = sorted({item.drive.drive_id for item in records})
    columns = (INGESTS.c.ingest_id, INGESTS.c.drive_id, INGESTS.c.file_sha256, INGESTS.c.start_ns, INGESTS.c.stop_ns)
    return select(*columns).where(INGESTS.c.state == "committed", INGESTS.c.drive_id == any_of(drives, Text()))


def _within(records: Iterable[IngestRecord], rows: Sequence[Row[Any]]) -> Iterator[tuple[IngestRecord, Row[Any]]]:
    """Yield each record with the readings of its drive that lie within its times; the pieces of a drive mostly do not."""
    by_drive: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in sorted((row for row in rows if row.start_ns is not None), key=attrgetter("start_ns")):
        by_drive[row.drive_id].append(row)
    for item in records:
        if item.start_ns is None or item.stop_ns is None:
            continue
        of_drive = by_drive[item.drive.drive_id]
        first = bisect_left(of_drive, item.start_ns, key=attrgetter("start_ns"))
        last = bisect_right(of_drive, item.stop_ns, key=attrgetter("start_ns"))
        yield from ((item, row) for row in of_drive[first:last] if row.stop_ns <= item.stop_ns)


def lies_within(places: Collection[str], names: Collection[str]) -> bool:
    """Whether every one of these places is one of those names, or lies below one."""
    held = set(names)
    return bool(places) and all(any(place[:end] in held for end in _ends(place)) for place in places)


def _ends(place: str) -> Iterator[int]:
    """Yield where a path or address ends, and where those above it do."""
    yield len(place)
    end = place.rfind("/")
    while end > 0:
        yield end
        end = place.rfind("/", 0, end)


def _may_hold(whole: Mapping[str, StreamRecord], part: Sequence[StreamRecord], *, from_the_start: bool) -> bool:
    for item in part:
        same = whole.get(item.stream)
        if same is None or same.kept_as != item.kept_as or same.messages < item.messages:
            return False
        ends = (same.start_ns, item.start_ns, item.stop_ns, same.stop_ns)
        if not all(a is not None and b is not None and a <= b for a, b in pairwise(ends)):
            return False
        if from_the_start and same.start_ns != item.start_ns:
            return False
    return bool(part)


def supersede(connection: Connection, ingest_ids: Sequence[int]) -> None:
    """Let the rows of these committed ingests be seen no longer: others that are committed with this hold them."""
    if not ingest_ids:
        return
    named = INGESTS.c.ingest_id == any_of(ingest_ids, BigInteger())
    rows: Sequence[Row[tuple[str]]] = connection.execute(
        update(INGESTS)
        .where(named, INGESTS.c.state == "committed")
        .values(state="superseded")
        .returning(INGESTS.c.drive_id)
    ).all()
    list_drives(connection, {row.drive_id for row in rows})

"""Drives as their committed files tell them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, Select, Text, func, select

from platform_lib.catalog.any_of import any_of
from platform_lib.catalog.model import PII_STATES, Drive, DriveFile
from platform_lib.catalog.schema import DRIVES, FILE_PATHS, FILES, INGESTS, STREAMS

_IDENTITY_LABELS = frozenset({"vehicle", "session", "pii_state"})


def read_drives(connection: Connection, drive_ids: Sequence[str] | None = None, *, names: bool = True) -> list[Drive]:
    """Return the drives that have a committed file, in order of their ids: all, or those named.

    Args:
        connection: In a transaction that sees one moment.
        drive_ids: Which drives.
        names: Read where each file was seen, and its length. Their rows lie by digest, each on a page of its own: of fifty
            drives that is most of what is read.
    """
    committed = select(INGESTS).where(INGESTS.c.state == "committed")
    wanted = committed.order_by(INGESTS.c.drive_id, INGESTS.c.file_sha256)
    whose: Select[Any] = select(DRIVES.c.drive_id, DRIVES.c.vehicle, DRIVES.c.session)
    if names:
        wanted = wanted.add_columns(FILES.c.bytes).join(FILES, FILES.c.file_sha256 == INGESTS.c.file_sha256)
    counted = (
        select(STREAMS.c.ingest_id, func.count()).where(STREAMS.c.kept_as != "nothing").group_by(STREAMS.c.ingest_id)
    )
    if drive_ids is not None:
        wanted = wanted.where(INGESTS.c.drive_id == any_of(drive_ids, Text()))
        whose = whose.where(DRIVES.c.drive_id == any_of(drive_ids, Text()))
    vehicles = {row.drive_id: row for row in connection.execute(whose)}  # once a drive: joined, once a file of it
    rows = connection.execute(wanted).all()
    digests: Sequence[str] | None = None
    if drive_ids is not None:
        counted = counted.where(STREAMS.c.ingest_id == any_of([row.ingest_id for row in rows], BigInteger()))
        digests = [row.file_sha256 for row in rows]
    counts = {ingest_id: count for ingest_id, count in connection.execute(counted)}
    paths = read_paths(connection, digests) if names else None
    grouped: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        grouped[row.drive_id].append(row)
    return [_drive(vehicles[drive_id], group, paths, counts) for drive_id, group in grouped.items()]


def read_paths(connection: Connection, digests: Sequence[str] | None = None) -> dict[str, tuple[str, ...]]:
    """Return where contents were seen, by their digests; of all without any."""
    found: dict[str, tuple[str, ...]] = defaultdict(tuple)
    wanted = select(FILE_PATHS).order_by(FILE_PATHS.c.path)
    if digests is not None:
        wanted = wanted.where(FILE_PATHS.c.file_sha256 == any_of(digests, Text()))
    for digest, path in connection.execute(wanted):
        found[digest] += (path,)
    return found


def _drive(
    whose: Row[Any], rows: Sequence[Row[Any]], paths: Mapping[str, tuple[str, ...]] | None, streams: Mapping[int, int]
) -> Drive:
    labels: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name, value in row.metadata.items():
            if name not in _IDENTITY_LABELS:
                labels[name].add(value)
    starts = [row.start_ns for row in rows if row.start_ns is not None]
    stops = [row.stop_ns for row in rows if row.stop_ns is not None]
    return Drive(
        drive_id=whose.drive_id,
        vehicle=whose.vehicle,
        session=whose.session,
        start_ns=min(starts, default=None),
        stop_ns=max(stops, default=None),
        labels={name: "|".join(sorted(values)) for name, values in sorted(labels.items())},
        files=tuple(_drive_file(row, paths) for row in rows),
        pii_state=min((row.pii_state for row in rows), key=PII_STATES.index),
        streams=sum(streams.get(row.ingest_id, 0) for row in rows),
        signal_rows=sum(row.signal_rows for row in rows),
        sample_rows=sum(row.sample_rows for row in rows),
    )


def _drive_file(row: Row[Any], paths: Mapping[str, tuple[str, ...]] | None) -> DriveFile:
    seen, length = ((), None) if paths is None else (paths[row.file_sha256], row.bytes)
    return DriveFile(row.file_sha256, seen, length, row.recovered, row.start_ns, row.stop_ns)

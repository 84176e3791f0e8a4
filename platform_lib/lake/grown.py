"""Logs that were read before they were complete: which earlier rows a log that is about to be committed holds as well.

A sqlite3 bag whose recorder paused, or the first part of a bag whose ``metadata.yaml`` had not come yet, is a sound log of
its own, and its content another one than that of the whole. Both in the lake would be the same rows twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from platform_lib.catalog.grown import Earlier, earlier_readings
from platform_lib.catalog.model import IngestRecord, LakeHead
from platform_lib.lake.lake import Lake


def held_twice(lake: Lake, head: LakeHead, records: Sequence[IngestRecord]) -> list[Earlier]:
    """Return the committed readings whose every row is among those of `records`, which lie in `head` uncommitted.

    Of signals each value is compared, stream by stream; of samples, whose payloads may be gigabytes, the number and the
    first and last time.
    """
    found = earlier_readings(lake.catalog.engine, records)
    return [item for item in found if all(_holds(lake, head, item, stream) for stream in item.streams)]


def _holds(lake: Lake, head: LakeHead, item: Earlier, stream: str) -> bool:
    part = lake.signals_of(head, [item.ingest_id], stream)
    whole = lake.signals_of(head, [item.by], stream)
    with duckdb.connect(":memory:") as database:
        database.register("part", part)
        database.register("whole", whole)
        asked = "SELECT NOT EXISTS (SELECT * FROM part EXCEPT ALL SELECT * FROM whole)"
        row = database.execute(asked).fetchone()
    return row is not None and bool(row[0])

"""Deletes what killed, refused and replaced ingests left in the stores; under the home's lock ``ingest``."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from platform_lib.lake.compaction import finish_rewrite, note_files
from platform_lib.lake.lake import Lake

logger = logging.getLogger(__name__)


def prepare(lake: Lake) -> None:
    """Make the stores if they are not there, and clear what killed commands left in them; under the lock."""
    lake.store.mend(lake.catalog.head())
    lake.store.create()
    finish_rewrite(lake)
    sweep(lake)


def sweep(lake: Lake) -> None:
    """Delete rows that nobody may see: of killed, refused and superseded ingests."""
    leftovers = lake.catalog.leftovers()
    if not leftovers and not lake.store.writers.unfinished:
        return
    with lake.store.writers.barred():
        if leftovers:
            logger.info("ingests=%d left rows or files behind; sweeping", len(leftovers))
            drop(lake, leftovers)
        else:
            lake.store.collect_garbage()
        lake.store.writers.end()


def drop(lake: Lake, ingest_ids: Sequence[int]) -> None:
    """Delete all rows of these ingests, none of which readers see."""
    owners = lake.catalog.file_owners()
    lake.catalog.forget(ingest_ids, lake.store.drop(ingest_ids, owners))
    if None in owners.values():
        note_files(lake)

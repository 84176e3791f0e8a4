"""Blurred frames that nobody may see, and the catalogue's note of their files; under the home's lock ``blur``."""

from __future__ import annotations

import logging
from collections.abc import Collection

from platform_lib.lake.lake import Lake
from platform_lib.lake.place import LakePath, below, sizes_below
from platform_lib.lake.tables import BLURRED_NAME
from platform_lib.lake.writer import describe

logger = logging.getLogger(__name__)


def sweep_blurs(lake: Lake) -> None:
    """Delete rows of killed and superseded blurs and of ingests that are gone, once no worker writes any more.

    The catalogue forgets them first, and so waits for a commit that the server still carries out for a killed command:
    whatever it then does not show is shown no more.
    """
    store, writers = lake.store.blurred, lake.store.blur_writers
    lake.blurs.forget(lake.blurs.leftovers())
    hidden = sorted(store.held() - {item.blur_id for item in lake.blurs.visible()})
    if not hidden and not writers.unfinished:
        return
    logger.info("blurs=%d left rows or files behind; sweeping", len(hidden))
    with writers.barred():
        store.drop(hidden)
        note_blurred_files(lake, rewritten=False)
        writers.end()


def note_blurred_files(lake: Lake, *, rewritten: bool) -> None:
    """Let the catalogue name no other files than those that the newest version of blurred frames has.

    Args:
        lake: Which.
        rewritten: Files were written in the place of others, and are to be named too. Else one that the catalogue does not know is
            none of ours, and stays unknown.
    """
    store = lake.store.blurred
    there = {str(below(path, lake.store.root)): path for _, files in store.files() for path in files}
    known = {path for path in lake.catalog.lake_files() if path.startswith(BLURRED_NAME)}
    sizes = sizes_below(store.uri)
    added = [path for name, path in there.items() if rewritten and name not in known and path in sizes]
    lake.blurs.note_files(gone=known - there.keys(), added=describe(added, lake.store.root))


def blur_again(lake: Lake, blur_ids: Collection[int], broken: Collection[LakePath]) -> tuple[int, list[str]]:
    """Drop blurs, and those with rows in broken files, so that the next blur does them again.

    Returns:
        How many went, and those that stay as they are: not all their raw frames are kept any more.
    """
    visible = {item.blur_id: item for item in lake.blurs.visible()}
    lake.store.blurred.drop_unreadable()
    wrong = {*blur_ids, *lake.store.blurred.keys_in(broken)} & visible.keys()
    raw = lake.store.raw.counts()
    expired = {
        key for key in wrong if visible[key].frames + visible[key].unreadable > raw.get(visible[key].ingest_id, 0)
    }
    lake.blurs.forget(sorted(wrong - expired))
    sweep_blurs(lake)
    with lake.store.blur_writers.barred():
        lake.store.blurred.drop(())
    return len(wrong - expired), [f"blur {key}" for key in sorted(expired)]

"""Puts small files of the lake together; what readers see stays the same, row for row.

1. mark      a file says that a rewrite is under way                               nothing changed yet
2. signals   small Parquet files of one partition become few large ones            an Iceberg snapshot for 4 GiB
3. samples   small Lance fragments likewise                                        a Lance version for 4 GiB
4. name      the catalogue names both versions and the new files                   one PostgreSQL transaction

A reader sees the old versions until the last step. Killed before it, the next command that writes finishes it: the stores'
newest versions hold the same rows as those that the catalogue names. The old files go when `expire` forgets their versions.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from platform_lib.catalog.model import LakeHead
from platform_lib.lake.gathering import gather
from platform_lib.lake.lake import Lake
from platform_lib.lake.place import LakePath, below, delete, size_of, write_note
from platform_lib.lake.rewriting import merge
from platform_lib.lake.tables import BLURRED_NAME
from platform_lib.lake.writer import describe

logger = logging.getLogger(__name__)

SMALL_BYTES, TARGET_BYTES = 32 << 20, 256 << 20
ROUND_BYTES = 4 << 30


@dataclass(frozen=True, slots=True)
class CompactReport:
    """Data files before and after, of the signal table and of the sample store."""

    signal_files_before: int
    signal_files: int
    sample_files_before: int
    sample_files: int


def compact(
    lake: Lake,
    *,
    small_bytes: int = SMALL_BYTES,
    target_bytes: int = TARGET_BYTES,
    round_bytes: int = ROUND_BYTES,
) -> CompactReport:
    """Put files together, of every vehicle and day in one go; under the home's lock ``ingest``, with nothing left to sweep or to finish.

    Args:
        lake: Which.
        small_bytes: Files below this are put together.
        target_bytes: About how large the new ones become.
        round_bytes: After about how much a version of either store is kept, so that a kill costs no more than that.

    Raises:
        HomeError: The stores are ahead of what readers see.
    """
    head = lake.catalog.head()
    if head is None:
        return CompactReport(0, 0, 0, 0)
    lake.store.refuse_ahead(head)
    before = lake.store.inventory(head)
    write_note(lake.store.rewriting, "")
    _compact_signals(lake, before.signals, small_bytes, target_bytes, round_bytes)
    lake.store.compact_samples(small_bytes=small_bytes, target_bytes=target_bytes, round_bytes=round_bytes)
    after = lake.store.inventory(finish_rewrite(lake) or head)
    return CompactReport(len(before.signals), len(after.signals), len(before.fragments), len(after.fragments))


def finish_rewrite(lake: Lake) -> LakeHead | None:
    """Name the versions of a rewrite that is done, or was killed; return them, or None where none was under way.

    Under the home's lock ``ingest``, before anything else is written.
    """
    if size_of(lake.store.rewriting) is None:
        return None
    newest = note_files(lake)
    lake.store.collect_garbage()
    delete([lake.store.rewriting])
    return newest


def note_files(lake: Lake) -> LakeHead:
    """Let the catalogue name the stores' newest versions, which hold no other rows, and their data files; return them.

    Needed after files were written in the place of others: those that several ingests share.
    """
    newest, root = lake.store.newest(), lake.store.root
    there = {str(below(path, root)): path for path in lake.store.inventory(newest).files}
    known = {name: item for name, item in lake.catalog.lake_files().items() if not name.startswith(BLURRED_NAME)}
    added = describe([path for name, path in there.items() if name not in known], root)
    logger.info("files=%d came in the place of %d", len(added), len(known.keys() - there.keys()))
    lake.catalog.rewrite(newest, gone=known.keys() - there.keys(), added=added)
    return newest


def _compact_signals(
    lake: Lake, files: Mapping[LakePath, int], small_bytes: int, target_bytes: int, round_bytes: int
) -> None:
    replaced: dict[LakePath, list[LakePath]] = {}
    held_bytes = 0
    for group in _groups(files, small_bytes, target_bytes):
        target = group[0].parent / f"compact-{uuid.uuid4().hex[:12]}.parquet"
        merge(group, target)
        replaced[target] = group
        held_bytes += sum(files[path] for path in group)
        if held_bytes >= round_bytes:
            _replace(lake, replaced)
            replaced, held_bytes = {}, 0
    _replace(lake, replaced)


def _replace(lake: Lake, replaced: Mapping[LakePath, Sequence[LakePath]]) -> None:
    if replaced:
        lake.store.replace_signals([item for group in replaced.values() for item in group], list(replaced))


def _groups(files: Mapping[LakePath, int], small_bytes: int, target_bytes: int) -> Iterator[list[LakePath]]:
    """Yield files to put together: of one folder, which is a partition, in the order in which they were taken in."""
    by_folder: dict[LakePath, list[LakePath]] = {}
    for path, size in files.items():
        if size < small_bytes:
            by_folder.setdefault(path.parent, []).append(path)
    for small in by_folder.values():
        yield from gather(sorted(small, key=_ingest), files, target_bytes)


def _ingest(path: LakePath) -> tuple[int, str]:
    number = path.stem.partition("-")[0]
    return int(number) if number.isdecimal() else -1, path.name

"""Writes fragments of a Lance table anew: several into one, or one without its deleted rows; a few batches in memory.

Lance's own compaction chooses fragments by their number of rows, so that it writes large ones anew as well, and reads as far
ahead as 2 GiB: measured in docs/reference/lake.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import lance
import pyarrow as pa

from platform_lib.lake.gathering import gather
from platform_lib.lake.inventory import fragment_files
from platform_lib.lake.lance_table import commit_lance, delete_fragments, open_lance
from platform_lib.lake.place import LakePath, fsync_files, lance_options, size_of

_BATCH_BYTES, _BATCH_ROWS = 8 << 20, 8192
_AHEAD_BYTES = 32 << 20
_MOST_ROWS = 1 << 30
"""Of a file: its size in bytes is what ends it. Lance's own million rows of a few bytes each would be a small file again."""


def compact_fragments(uri: LakePath, *, small_bytes: int, target_bytes: int, round_bytes: int) -> None:
    """Put fragments below `small_bytes` together into ones of about `target_bytes`; others stay as they are.

    After about `round_bytes` a version is made, so that a kill costs no more than that. Rows of a log keep their order.
    """
    store = open_lance(uri)
    by_id = {item.fragment_id: item for item in store.get_fragments()}
    sizes = {number: _bytes_of(uri, item) for number, item in by_id.items()}
    small = sorted(number for number, size in sizes.items() if size < small_bytes)
    groups: list[list[Any]] = []
    held_bytes = 0
    for numbers in gather(small, sizes, target_bytes):
        groups.append([by_id[number] for number in numbers])
        held_bytes += sum(sizes[number] for number in numbers)
        if held_bytes >= round_bytes:
            store = _rewrite(uri, store, groups)
            groups, held_bytes = [], 0
    _rewrite(uri, store, groups)


def rewrite_without_deleted(uri: LakePath) -> int:
    """Write the fragments of a table anew that still hold deleted rows, each for itself; return the version that has none."""
    store = open_lance(uri)
    touched = [item for item in store.get_fragments() if item.metadata.deletion_file is not None]
    empty = [item.fragment_id for item in touched if not item.count_rows()]
    if empty:
        store = delete_fragments(uri, store, [], empty, "true")
    return int(_rewrite(uri, store, [[item] for item in touched if item.fragment_id not in empty]).version)


def _rewrite(uri: LakePath, store: Any, groups: Sequence[Sequence[Any]]) -> Any:
    """Let one fragment take the place of each group, in one version; return it."""
    if not groups:
        return store
    changes = []
    for group in groups:
        written = lance.fragment.write_fragments(
            pa.RecordBatchReader.from_batches(store.schema, _batches(store, group)),
            str(uri),
            schema=store.schema,
            mode="append",
            max_rows_per_file=_MOST_ROWS,
            storage_options=lance_options(uri),
        )
        fsync_files(uri / "data" / file.path for fragment in written for file in fragment.files)
        changes.append(lance.LanceOperation.RewriteGroup([item.metadata for item in group], written))
    return commit_lance(uri, store, lance.LanceOperation.Rewrite(changes, []))


def _batches(store: Any, group: Sequence[Any]) -> Iterator[pa.RecordBatch]:
    for fragment in group:  # one at a time: the next one's pictures are not fetched meanwhile
        yield from store.scanner(
            fragments=[fragment],
            batch_size=_BATCH_ROWS,
            batch_size_bytes=_BATCH_BYTES,
            io_buffer_size=_AHEAD_BYTES,
            batch_readahead=1,
            fragment_readahead=1,
            scan_in_order=True,
        ).to_batches()


def _bytes_of(uri: LakePath, fragment: Any) -> int:
    files = fragment_files(uri, fragment.metadata)
    return sum((size_of(path) or 0) if size is None else size for path, size in files.items())

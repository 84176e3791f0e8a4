"""Frames in stores of their own: raw ones, which no dataset is made from, and blurred ones, which may enter it.

Both are Lance tables beside the sample store. A row is visible when the catalogue knows its key: ``ingest_id`` of a
committed ingest for raw frames, ``blur_id`` of a committed blur for blurred ones. Keys are never used twice and rows only
ever added or dropped with their key, so a reader needs no version: the newest one holds every visible row.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa

from platform_lib.lake.inventory import forget_versions, fragment_files, lance_orphans
from platform_lib.lake.lance_table import append_lance, create_lance, delete_fragments, is_lance, open_lance
from platform_lib.lake.place import LakePath, abort_uploads, delete, flushed, refuse_unreachable
from platform_lib.lake.tables import SAMPLE_SCHEMA

logger = logging.getLogger(__name__)

RAW_SCHEMA = SAMPLE_SCHEMA
BLURRED_SCHEMA = pa.schema(
    [
        pa.field("blur_id", pa.int64()),
        *SAMPLE_SCHEMA,
        pa.field("regions", pa.int32()),
        pa.field("raw_sha256", pa.string()),
    ]
)
"""A blurred frame: the raw one's row, how many regions were blurred, and the digest of the bytes it was made from."""


class FrameStore:
    """One store of frames.

    Args:
        uri: The Lance table's folder.
        schema: Its columns.
        key: The column that decides whether a row is visible.
    """

    def __init__(self, uri: LakePath, schema: pa.Schema, key: str) -> None:
        self.uri, self.schema, self._key = uri, schema, key

    @property
    def exists(self) -> bool:
        """Whether a frame was ever written."""
        return is_lance(self.uri)

    @property
    def version(self) -> int:
        """The newest version's number."""
        return int(self._table().version)

    def create(self) -> None:
        """Make it if it does not exist."""
        if not self.exists:
            create_lance(self.uri, self.schema)

    def batches_in(
        self, keys: Sequence[int], files: Collection[LakePath], *, columns: Sequence[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of these keys that lie in these data files, so that others may be lost or damaged."""
        chosen = [item for item, of in self.files() if of.keys() <= set(files)]
        if chosen and keys:
            named = self._among(keys, None)
            scanner = self._table().scanner(columns=list(columns), filter=named, fragments=chosen, batch_size=rows)
            yield from scanner.to_batches()

    def count_in(self, keys: Sequence[int], fragments: Sequence[Any]) -> int:
        """Count the rows of these keys in these fragments."""
        if not keys or not fragments:
            return 0
        return int(self._table().scanner(filter=self._among(keys, None), fragments=list(fragments)).count_rows())

    def rows(self, keys: Sequence[int], *, columns: Sequence[str], condition: str | None = None) -> pa.Table:
        """Return the rows of these keys."""
        if not self.exists or not keys:
            return pa.Table.from_batches([], self.schema).select(list(columns))
        return self._table().to_table(columns=list(columns), filter=self._among(keys, condition))

    def batches(self, keys: Sequence[int], *, rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of these keys in bounded memory."""
        if self.exists and keys:
            yield from self._table().scanner(filter=self._among(keys, None), batch_size=rows).to_batches()

    def held(self) -> set[int]:
        """Return every key that has rows, visible or not."""
        return set(self.counts())

    def append(self, fragments: Sequence[str]) -> None:
        """Add written fragments (JSON of their metadata); visible once the catalogue knows their keys."""
        if not fragments:
            return
        self.create()
        append_lance(self.uri, self._table(), fragments)

    def drop(self, keys: Sequence[int]) -> None:
        """Delete the rows of these keys, and every file that no version names."""
        if not self.exists:
            return
        store = self._table()
        if keys and store.count_rows(filter=self._among(keys, None)):
            with flushed(self.uri):
                store.delete(self._among(keys, None))
        drop_uncommitted(self.uri)

    def expire(self, older_than: timedelta) -> None:
        """Forget versions that were replaced so long ago, with the files that they alone name; only while nobody writes."""
        if self.exists:
            with flushed(self.uri):
                forget_versions(self.uri, older_than)

    def fragments(self) -> list[Any]:
        """Return its fragments (`lance.LanceFragment`)."""
        return list(self._table().get_fragments()) if self.exists else []

    def files(self) -> list[tuple[Any, dict[LakePath, int | None]]]:
        """Return each fragment with its data files -> bytes, or None where the store notes none."""
        return [(item, fragment_files(self.uri, item.metadata)) for item in self.fragments()]

    def drop_unreadable(self) -> set[LakePath]:
        """Delete the fragments whose keys cannot be read any more, which would keep rows from being dropped; return their files."""
        whole, gone = [], set[LakePath]()
        for fragment, files in self.files():
            try:
                fragment.to_table(columns=[self._key])
            except (OSError, ValueError, RuntimeError) as error:
                refuse_unreachable(self.uri, error)
                whole.append(fragment.fragment_id)
                gone |= files.keys()
        if whole:
            delete_fragments(self.uri, self._table(), [], whole, "true")
        return gone

    def keys_in(self, paths: Collection[LakePath]) -> set[int]:
        """Return the keys of rows in these data files."""
        found: set[int] = set()
        for fragment, files in self.files():
            if not files.keys().isdisjoint(paths):
                found |= set(fragment.to_table(columns=[self._key])[self._key].to_pylist())
        return found

    def counts(self) -> Mapping[int, int]:
        """Return how many rows each key has, visible or not."""
        table = self._table().to_table(columns=[self._key]) if self.exists else self.schema.empty_table()
        counted = table.group_by(self._key).aggregate([([], "count_all")])
        return dict(zip(counted[self._key].to_pylist(), counted["count_all"].to_pylist(), strict=True))

    def delete(self, condition: str) -> None:
        """Delete the rows that a condition names, whatever their keys."""
        with flushed(self.uri):
            self._table().delete(condition)

    def _among(self, keys: Sequence[int], condition: str | None) -> str:
        named = f"{self._key} IN ({', '.join(map(str, keys))})"
        return named if condition is None else f"{named} AND ({condition})"

    def _table(self) -> Any:
        return open_lance(self.uri)


def drop_uncommitted(uri: LakePath) -> None:
    """Remove files, and parts of uploads, that a kill left before any version named them."""
    for name in abort_uploads(uri):
        logger.info("file=%s its upload was never completed; aborted", name)
    found = lance_orphans(uri)
    for path in found:
        logger.info("file=%s was never committed; removed", path)
    delete(found)


def forget_history(uri: LakePath) -> None:
    """Leave the newest version of a Lance table, without a file that it does not name; tags do not hold one back."""
    store = open_lance(uri)
    for tag in list(store.tags.list()):
        store.tags.delete(tag)
    store.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
    drop_uncommitted(uri)

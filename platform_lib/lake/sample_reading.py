"""Reading samples of some ingests: the files that can hold them, and no others.

Lance keeps no statistics of a fragment, so a condition on ``ingest_id`` alone would read that column of every one. The
catalogue says whose rows a file holds; only those of several, after compaction, are looked into.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from platform_lib.catalog.blurs import Blurs
from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.file_owners import files_of, unrecorded
from platform_lib.catalog.model import LakeHead
from platform_lib.lake.inventory import fragment_files
from platform_lib.lake.place import below
from platform_lib.lake.signal_table import among
from platform_lib.lake.store import SampleFragments, Store

_FRAME_KEY = ["ingest_id", "stream", "timestamp_ns"]
_BATCH_ROWS = 65_536


def open_samples(
    catalog: Catalog,
    store: Store,
    head: LakeHead,
    ingest_ids: Sequence[int],
    columns: Sequence[str],
    condition: str | None = None,
) -> pa.Table:
    """Return rows of the sample store, without raw and blurred frames, of these ingests.

    Args:
        catalog: Says in which files they lie.
        store: The stores.
        head: Their versions.
        ingest_ids: Whose.
        columns: Which.
        condition: Only rows of which this is true, in Lance's SQL.
    """
    batches = list(sample_batches(catalog, store, head, ingest_ids, columns, condition))
    schema = store.samples(head).schema
    return pa.Table.from_batches(batches, pa.schema([schema.field(name) for name in columns]))


def sample_batches(
    catalog: Catalog,
    store: Store,
    head: LakeHead,
    ingest_ids: Sequence[int],
    columns: Sequence[str],
    condition: str | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in bounded memory, as long as `columns` are not the payloads."""
    if not ingest_ids:
        return
    source = store.samples(head)
    fragments = _fragments(catalog, store, head, source, ingest_ids)
    if not fragments:
        return
    named = among(ingest_ids) if condition is None else f"{among(ingest_ids)} AND ({condition})"
    scanner = source.scanner(columns=list(columns), filter=named, fragments=fragments, batch_size=_BATCH_ROWS)
    yield from scanner.to_batches()


def _fragments(catalog: Catalog, store: Store, head: LakeHead, source: Any, ingest_ids: Sequence[int]) -> list[Any]:
    if store.fragments is None or store.fragments.version != head.lance_version:
        by_path: dict[str, Any] = {}
        for item in source.get_fragments():
            for path in fragment_files(store.samples_uri, item.metadata):
                by_path[str(below(path, store.root))] = item
        store.fragments = SampleFragments(head.lance_version, by_path, unrecorded(catalog.engine, by_path))
    may_hold = files_of(catalog.engine, ingest_ids) | store.fragments.unrecorded
    found = {item.fragment_id: item for path in may_hold if (item := store.fragments.by_path.get(path)) is not None}
    return [found[number] for number in sorted(found)]


def visible_samples(
    catalog: Catalog,
    store: Store,
    head: LakeHead,
    ingest_ids: Sequence[int],
    columns: Sequence[str],
    condition: str | None = None,
) -> Iterator[pa.Table]:
    """Yield each sample of these ingests once: a raw frame that was blurred is there as what became of it.

    Frames are held at once, without their pictures: keep to the ingests of some tens of drives.
    """
    chosen = list(columns)
    schema = pa.schema([store.samples(head).schema.field(name) for name in chosen])
    for batch in sample_batches(catalog, store, head, ingest_ids, chosen, condition):
        yield pa.Table.from_batches([batch], schema)
    for table in visible_frames(catalog, store, ingest_ids, chosen, condition):
        yield table.cast(schema)


def visible_frames(
    catalog: Catalog, store: Store, ingest_ids: Sequence[int], columns: Sequence[str], condition: str | None = None
) -> Iterator[pa.Table]:
    """Yield the frames of these ingests that are, or were, raw: those that are not blurred, then those that are.

    Each once, in no order where some are blurred.
    """
    chosen = list(columns)
    read = list(dict.fromkeys([*chosen, *_FRAME_KEY]))
    raw = store.raw.rows(ingest_ids, columns=read, condition=condition)
    if not len(raw) and not store.blurred.exists:
        return
    ours = set(ingest_ids)
    blurs = [item.blur_id for item in Blurs(catalog.engine).visible() if item.ingest_id in ours]
    blurred = store.blurred.rows(blurs, columns=read, condition=condition)
    done = raw.join(blurred, _FRAME_KEY, join_type="left anti") if len(blurred) else raw
    yield from (table.select(chosen) for table in (done, blurred) if len(table))

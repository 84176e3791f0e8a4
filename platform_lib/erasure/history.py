"""Drop rows from the stores, and leave one version of each: what older ones held is gone from the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

from pyiceberg.table import Table

from platform_lib.catalog.model import LakeHead
from platform_lib.lake.lance_rewriting import rewrite_without_deleted
from platform_lib.lake.lance_table import is_lance
from platform_lib.lake.place import LakePath, delete, files_below, located
from platform_lib.lake.store import Store
from platform_lib.privacy.zone import forget_history
from platform_lib.storage import fsync_path


def drop_rows(
    store: Store, ingest_ids: Sequence[int], blur_ids: Sequence[int], owners: Mapping[str, int | None]
) -> LakeHead:
    """Delete every row of these ingests and blurs; `owners` as in `Store.drop`.

    Returns:
        The versions that hold none of them, nor statistics of them; the catalogue has to name them before older ones go.
    """
    store.blurred.drop(blur_ids)
    head = store.drop(ingest_ids, owners)
    for item in (store.raw, store.blurred):
        if item.exists:
            rewrite_without_deleted(item.uri)
    version = rewrite_without_deleted(store.samples_uri)
    if head.iceberg_snapshot_id is None:
        return LakeHead(None, version)
    table = store.signal_table()
    # A snapshot that drops files still lists them, with their least and greatest values; the one after it does not.
    with table.transaction() as change, change.update_snapshot().fast_append():
        pass
    snapshot = table.refresh().current_snapshot()
    return LakeHead(None if snapshot is None else snapshot.snapshot_id, version)


def forget_older(store: Store) -> None:
    """Remove every older version of every store with the files that it alone names; pins do not hold them back."""
    table = store.signal_table()
    _forget_snapshots(table, store.signals_folder)
    for uri in (store.samples_uri, store.raw.uri, store.blurred.uri):
        if is_lance(uri):
            forget_history(uri)


def _forget_snapshots(table: Table, folder: LakePath) -> None:
    for name, reference in list(table.refs().items()):
        if name != "main":
            change = table.manage_snapshots()
            (change.remove_tag(name) if reference.snapshot_ref_type == "tag" else change.remove_branch(name)).commit()
    current = table.refresh().current_snapshot()
    older = [
        item.snapshot_id for item in table.snapshots() if current is None or item.snapshot_id != current.snapshot_id
    ]
    if older:
        table.maintenance.expire_snapshots().by_ids(older).commit()
    table.refresh()
    kept = {_path(table.metadata_location), *(_path(item.metadata_file) for item in table.metadata.metadata_log)}
    if current is not None:
        manifests = current.manifests(table.io)
        kept |= {_path(current.manifest_list), *(_path(item.manifest_path) for item in manifests)}
        kept |= {_path(name) for name in table.inspect.files()["file_path"].to_pylist()}
    delete(files_below(folder) - kept)
    for part in ("metadata", "data"):
        place = folder / part
        if isinstance(place, Path) and place.is_dir():
            fsync_path(place)


def _path(location: str) -> LakePath:
    return Path(unquote(urlparse(location).path)) if location.startswith("file:") else located(location)

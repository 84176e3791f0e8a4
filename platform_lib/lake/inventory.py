"""Which files the versions of both stores name, and which lie there besides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from platform_lib.catalog.model import LakeHead
from platform_lib.lake.lance_table import open_lance
from platform_lib.lake.place import LakePath, below, files_below, located

# Lance notes each commit here, and where to look for the newest version; both are its own business and hold no rows.
_OWN_NOTES = frozenset({"_transactions", "_versions"})
_UNFINISHED = "#"  # Lance writes a file under its name with this and a number, then renames it


@dataclass(frozen=True, slots=True)
class Inventory:
    """Data files of one version of both stores, absolute.

    Attributes:
        signals: Parquet files -> bytes, as the table notes them.
        fragments: Fragment of the sample store -> its data files -> bytes, or None where the store notes none.
        raw: The same of the store of raw frames, which has no versions that readers choose.
    """

    signals: dict[LakePath, int]
    fragments: dict[int, dict[LakePath, int | None]]
    raw: dict[int, dict[LakePath, int | None]]

    @property
    def files(self) -> dict[LakePath, int | None]:
        """Every data file -> bytes."""
        found: dict[LakePath, int | None] = dict(self.signals)
        for files in (*self.fragments.values(), *self.raw.values()):
            found |= files
        return found


def take_inventory(table: Table, samples_uri: LakePath, raw_uri: LakePath, head: LakeHead) -> Inventory:
    """List the data files of a version."""
    snapshot = None if head.iceberg_snapshot_id is None else table.snapshot_by_id(head.iceberg_snapshot_id)
    signals: dict[LakePath, int] = {}
    if snapshot is not None:
        for manifest in snapshot.manifests(table.io):
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                signals[located(entry.data_file.file_path)] = entry.data_file.file_size_in_bytes
    samples = _fragments(samples_uri, open_lance(samples_uri, head.lance_version))
    return Inventory(signals, samples, _fragments(raw_uri, open_lance(raw_uri)))


def _fragments(uri: LakePath, store: Any) -> dict[int, dict[LakePath, int | None]]:
    return {item.fragment_id: fragment_files(uri, item.metadata) for item in store.get_fragments()}


def fragment_files(uri: LakePath, metadata: Any) -> dict[LakePath, int | None]:
    """Return a fragment's data files -> bytes, or None where the store notes none."""
    return {uri / "data" / item.path: item.file_size_bytes for item in metadata.files}


def replaced_before(versions: Sequence[tuple[int, float]], moment_s: float) -> list[int]:
    """Return the versions that another had replaced before a moment, and that nobody has begun to read since then.

    The age of a version itself says nothing: one of last month may have been the newest until a minute ago.

    Args:
        versions: Id and time of its commit (s since 1970), the oldest first.
        moment_s: Seconds since 1970.
    """
    return [number for (number, _), (_, replaced_s) in pairwise(versions) if replaced_s < moment_s]


def forget_versions(uri: LakePath, older_than: timedelta) -> int:
    """Forget the versions of a Lance table that were replaced so long ago, with the files that they alone name.

    Only while nothing is being written. Returns how many went.
    """
    store = open_lance(uri)
    found = sorted((int(item["version"]), item["timestamp"].timestamp()) for item in store.versions())
    gone = replaced_before(found, (datetime.now(UTC) - older_than).timestamp())
    if not gone:
        return 0
    cleaned = store.cleanup_old_versions(versions=gone, delete_unverified=True, error_if_tagged_old_versions=False)
    return int(cleaned.old_versions)


def signal_orphans(table: Table, folder: LakePath) -> set[LakePath]:
    """Return the files in the signal table's folder that no version names which can still be read."""
    metadata = table.metadata
    left = files_below(folder) - {located(table.metadata_location)}
    left -= {located(item.metadata_file) for item in metadata.metadata_log}
    left -= {located(item.manifest_list) for item in metadata.snapshots}
    looked_into: set[str] = set()
    # The newest first: where nothing was deleted it names all there is, and the others need not be opened.
    for snapshot in sorted(metadata.snapshots, key=lambda item: -item.timestamp_ms):
        if not left:
            break
        _strike_signals(table, snapshot, left, looked_into)
    return left


def _strike_signals(table: Table, snapshot: Snapshot, left: set[LakePath], looked_into: set[str]) -> None:
    for manifest in snapshot.manifests(table.io):
        if manifest.manifest_path in looked_into:  # one manifest serves many snapshots
            continue
        looked_into.add(manifest.manifest_path)
        left.discard(located(manifest.manifest_path))
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            left.discard(located(entry.data_file.file_path))


def lance_orphans(uri: LakePath) -> set[LakePath]:
    """Return the files in a Lance table's folder that no version names which can still be read."""
    left = {
        path for path in files_below(uri) if below(path, uri).parts[0] not in _OWN_NOTES or _UNFINISHED in path.name
    }
    newest = open_lance(uri)
    for version in sorted((item["version"] for item in newest.versions()), reverse=True):
        if not left:
            break
        store = newest if version == newest.version else newest.checkout_version(version)
        for fragment in store.get_fragments():
            left -= fragment_files(uri, fragment.metadata).keys()
            deletion = fragment.metadata.deletion_file
            if deletion is not None:
                left.discard(uri / "_deletions" / PurePath(deletion.path(fragment.fragment_id)).name)
    return left

"""What was made from erased rows outside the lake: datasets, pictures, pages, logs inside the home."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import lance

from platform_lib.catalog.elsewhere import exports
from platform_lib.datasets.reader import KIND, MANIFEST_FILE, SAMPLES, note_erased
from platform_lib.erasure.needles import Needles, scan
from platform_lib.errors import HomeBusyError, IntegrityError
from platform_lib.home import Home
from platform_lib.manifest import Manifest, read_manifest
from platform_lib.storage import sweep_unfinished, walk_files

_SCRATCH = ("dataset-", "import-", "fetched-")


@dataclass(frozen=True, slots=True)
class DerivedDataset:
    """A dataset that holds rows of a drive; its digest is None where its manifest cannot be read."""

    folder: Path
    sha256: str | None


def datasets_with(home: Home, drive_ids: Sequence[str], files: Sequence[str]) -> list[DerivedDataset]:
    """Return the datasets that were made from these drives: by their manifest, or by any row of any version."""
    found = []
    for folder in sorted(home.datasets.iterdir()) if home.datasets.is_dir() else ():
        if folder.name.startswith(".tmp-") or not folder.is_dir():
            continue
        manifest = _manifest(folder)
        named = manifest is not None and any(f'"{item}"' in manifest.model_dump_json() for item in [*files, *drive_ids])
        if named or _holds(folder / SAMPLES, drive_ids):
            found.append(DerivedDataset(folder, None if manifest is None else manifest.step_sha256))
    return found


def _manifest(folder: Path) -> Manifest | None:
    try:
        found = read_manifest(folder / MANIFEST_FILE)
    except (FileNotFoundError, NotADirectoryError, IntegrityError):
        return None
    return found if found.kind == KIND else None


def _holds(uri: Path, drive_ids: Sequence[str]) -> bool:
    if not (uri / "_versions").is_dir() or not drive_ids:
        return False
    names = ", ".join("'" + item.replace("'", "''") + "'" for item in drive_ids)
    store = lance.dataset(str(uri))
    versions = [item["version"] for item in store.versions()]
    return any(store.checkout_version(version).count_rows(filter=f"drive_id IN ({names})") for version in versions)


@contextmanager
def held(home: Home, datasets: Sequence[DerivedDataset]) -> Iterator[None]:
    """Hold the locks of datasets, so that none is trained or scored on.

    Raises:
        HomeBusyError: One is in use.
    """
    with ExitStack() as locks:
        for item in datasets:
            try:
                locks.enter_context(home.lock(f"dataset-{item.folder.name}"))
            except HomeBusyError as busy:
                raise HomeBusyError(
                    f"the dataset '{item.folder.name}' holds what is to be erased, and is in use: {busy.what}",
                    where=item.folder,
                    remedy="wait for that command to end or stop it, then erase; nothing is erased yet",
                ) from busy
        yield


def remove_datasets(home: Home, datasets: Sequence[DerivedDataset]) -> None:
    """Delete datasets whole, and what killed commands left beside them; a copy that is put back will not be opened."""
    note_erased(home.root, [item.sha256 for item in datasets if item.sha256 is not None])
    for item in datasets:
        if item.folder.is_dir():
            aside = item.folder.with_name(f".tmp-erased-{item.folder.name}")
            shutil.rmtree(aside, ignore_errors=True)
            item.folder.rename(aside)
    sweep_unfinished(home.datasets)
    # Shards of killed builds and imports, and logs that a killed ingest fetched, which may be packed: their locks are ours.
    for left in (path for begin in _SCRATCH for path in home.scratch.glob(f"{begin}*")):
        shutil.rmtree(left, ignore_errors=True)


def remove_exports(home: Home, marked: Collection[str]) -> int:
    """Delete exports that lie inside the home, whole: what packs its content no search would find; return how many went."""
    removed = 0
    for place in exports(home, marked):
        if place.is_relative_to(home.root.resolve()) and place.is_dir():
            shutil.rmtree(place)
            removed += 1
    return removed


def remove_logs(home: Home, paths: Sequence[str]) -> tuple[int, list[str]]:
    """Delete logs that lie inside the home; return how many, and those outside, which are their owner's."""
    removed, outside = 0, []
    for path in map(Path, paths):
        if not path.is_relative_to(home.root):
            outside.append(str(path))
        elif path.is_dir():
            shutil.rmtree(path)
            removed += 1
        elif path.exists():
            path.unlink()
            removed += 1
    return removed, outside


def remove_named(home: Home, drive_ids: Sequence[str]) -> int:
    """Delete files below the home's raw logs that carry a drive's name as theirs, and its folders where they are empty."""
    removed = 0
    for root, folders, names in os.walk(home.drives, topdown=False):
        for path in (Path(root) / name for name in names):
            if path.stem in drive_ids:
                path.unlink()
                removed += 1
        for path in (Path(root) / name for name in folders):
            if path.name in drive_ids and not any(path.iterdir()):
                path.rmdir()
    return removed


def remove_pieces(home: Home, needles: Needles) -> tuple[int, list[Path]]:
    """Delete files outside the stores that hold a piece of what is erased.

    A signed bundle that only names a drive stays as it was signed; one that holds content goes whole.

    Returns:
        How many files went, and the bundles that went.
    """
    stores = (home.lake, home.postgres, home.root / "locks", home.keys)
    removed, bundles = 0, set()
    for item in scan(home.root, needles, leave=stores)[0]:
        if item.path.is_relative_to(home.bundles):
            if item.content:
                bundles.add(home.bundles / item.path.relative_to(home.bundles).parts[0])
        elif item.path.is_relative_to(home.logs):
            os.truncate(item.path, 0)  # a server writes on into it
            removed += 1
        else:
            item.path.unlink(missing_ok=True)
            removed += 1
    for bundle in bundles:
        removed += sum(1 for _ in walk_files(bundle)) if bundle.is_dir() else 1
        shutil.rmtree(bundle, ignore_errors=True)
    return removed, sorted(bundles)

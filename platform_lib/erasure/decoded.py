"""Arrays that training decoded from frames: what calibrates a compile, and what engines are compared on.

Packed and scaled, they hold no bytes that a search would know. They are found by the run they belong to, and by the
names of samples that they carry.
"""

from __future__ import annotations

import logging
import shutil
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from platform_lib.errors import IntegrityError
from platform_lib.home import Home
from platform_lib.manifest import read_manifest
from platform_lib.storage import walk_files

logger = logging.getLogger(__name__)

_ARRAYS = ".npz"
_NAMES = "sample_id"


def remove_decoded(home: Home, drive_ids: Collection[str], marked: Collection[str]) -> int:
    """Delete arrays decoded from frames of erased drives; return how many files went.

    Args:
        home: Whose.
        drive_ids: Drives of which something goes.
        marked: Digests of what was made from them. Arrays of a marked run that name no samples go too, since nobody
            can say of which frames they are.
    """
    removed = 0
    for path in list(walk_files(home.runs)) if home.runs.is_dir() else ():
        if path.suffix == _ARRAYS and (_names(path, drive_ids) or (not _tells(path) and _run_of(home, path) in marked)):
            logger.info("file=%s holds decoded frames of what is erased; removed", path)
            path.unlink()
            removed += 1
    for path in list(walk_files(home.compiled)) if home.compiled.is_dir() else ():
        if path.suffix == _ARRAYS and _names(path, drive_ids):
            path.unlink()
            removed += 1
    for bundle in sorted(home.bundles.iterdir()) if home.bundles.is_dir() else ():
        files = list(walk_files(bundle)) if bundle.is_dir() else []
        if any(path.suffix == _ARRAYS and _names(path, drive_ids) for path in files):
            logger.info("bundle=%s holds decoded frames of what is erased; removed", bundle)
            shutil.rmtree(bundle)
            removed += len(files)
    return removed


def _run_of(home: Home, path: Path) -> str | None:
    run = home.runs / path.relative_to(home.runs).parts[0]
    try:
        return read_manifest(run / "manifest.json").step_sha256
    except (OSError, IntegrityError):
        return None


def _tells(path: Path) -> bool:
    return next(_samples(path), None) is not None


def _names(path: Path, drive_ids: Collection[str]) -> bool:
    return any(sample.startswith(f"{drive}/") for sample in _samples(path) for drive in drive_ids)


def _samples(path: Path) -> Iterator[str]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield from map(str, arrays[_NAMES].tolist() if _NAMES in arrays else ())
    except (OSError, ValueError, zipfile.BadZipFile):
        return

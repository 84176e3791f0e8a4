"""What a commit wrote is on the disk before the catalogue names it, so that a power loss takes nothing that was seen.

Iceberg's SQL catalogue points at a metadata file in a transaction of its own, so its files are flushed as they are
closed. Lance flushes nothing; what it wrote is found by comparing its folders, and flushed before the catalogue's row.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path

from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from platform_lib.storage import fsync_path


def make_folder(folder: Path) -> None:
    """Make a folder and what is missing above it, their names on the disk."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for item in reversed(missing):
        item.mkdir(exist_ok=True)
        fsync_path(item.parent)


def fsync_files(files: Iterable[Path]) -> None:
    """Wait until files and their names are on the disk."""
    folders = set()
    for file in files:
        fsync_path(file)
        folders.add(file.parent)
    for folder in sorted(folders):
        fsync_path(folder)


def files_below(folder: Path, *, but: str | None = None) -> set[Path]:
    """Return every file below `folder`, except in its subfolder `but`."""
    found: set[Path] = set()
    for root, folders, names in os.walk(folder):
        if but is not None and Path(root) == folder and but in folders:
            folders.remove(but)
        found.update(Path(root) / name for name in names)
    return found


class DurableFileIO(PyArrowFileIO):
    """Iceberg's files on a local disk: written, flushed and named when they are closed."""

    def new_output(self, location: str) -> PyArrowFile:
        """Return a file to write to."""
        plain = super().new_output(location)
        scheme, netloc, path = self.parse_location(location, self.properties)
        return _DurableFile(plain.location, path, self.fs_by_scheme(scheme, netloc))


class _DurableFile(PyArrowFile):
    def create(self, overwrite: bool = False) -> OutputStream:  # noqa: FBT001, FBT002 - pyiceberg's own signature
        path = Path(self._path)
        make_folder(path.parent)
        return _DurableStream(path, "wb" if overwrite else "xb")


class _DurableStream(io.BufferedWriter):
    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(io.FileIO(path, mode))
        self._path = path

    def close(self) -> None:
        if self.closed:
            return
        self.flush()
        os.fsync(self.fileno())
        super().close()
        fsync_path(self._path.parent)

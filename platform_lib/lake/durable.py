"""What a commit wrote is on the disk before the catalogue names it, so that a power loss takes nothing that was seen.

Iceberg's SQL catalogue points at a metadata file in a transaction of its own, so its files are flushed as they are
closed. Lance flushes nothing; what it wrote is found by comparing its folders, and flushed before the catalogue's row.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from pyarrow.fs import FileSystem
from pyiceberg.io import InputFile, OutputFile, OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from platform_lib.lake import objects
from platform_lib.lake.objects import ObjectPath
from platform_lib.lake.place import make_folder
from platform_lib.storage import fsync_path


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


class BucketFileIO(PyArrowFileIO):
    """Iceberg's files in a bucket, over the lake's own client: an object is there, whole, once its writer has closed it."""

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> FileSystem:
        return objects.filesystem(ObjectPath(netloc or "", ""))

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Delete a file; pyarrow would leave the mark of an empty folder in its place."""
        objects.delete([ObjectPath.parse(location if isinstance(location, str) else location.location)])

"""Where the lake's files lie: in a folder of this machine, or below a prefix of an S3 bucket.

`LakePath` is a file or folder of either kind; the functions here are the few things that are done to them otherwise. In a
folder what is written is flushed, and named by a rename; in a bucket an object is there whole once S3 has answered.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import pyarrow.fs

from platform_lib.home import Home
from platform_lib.lake import objects
from platform_lib.lake.objects import ObjectPath
from platform_lib.storage import fsync_path, sha256_file

LakePath = Path | ObjectPath


def lake_of(home: Home) -> LakePath:
    """Return where the lake of a home lies."""
    return located(home.bucket_lake or str(home.lake))


def located(text: str) -> LakePath:
    """Read a path, or ``s3://bucket/key``."""
    return ObjectPath.parse(text) if text.startswith("s3://") else Path(text)


def below(path: LakePath, folder: LakePath) -> PurePath:
    """Return how a path goes on from a folder that it lies in."""
    if isinstance(path, ObjectPath) and isinstance(folder, ObjectPath):
        return path.relative_to(folder)
    return Path(str(path)).relative_to(str(folder))


# Files ------------------------------------------------------------------------------------------------------------------


def files_below(folder: LakePath, *, but: str | None = None) -> set[LakePath]:
    """Return every file below `folder`, except in its subfolder `but`."""
    if isinstance(folder, ObjectPath):
        return {path for path in objects.listed(folder) if but is None or below(path, folder).parts[0] != but}
    found: set[LakePath] = set()
    for root, folders, names in os.walk(folder):
        if but is not None and Path(root) == folder and but in folders:
            folders.remove(but)
        found.update(Path(root) / name for name in names)
    return found


def sizes_below(folder: LakePath) -> dict[LakePath, int]:
    """Return every file below `folder` -> bytes."""
    if isinstance(folder, ObjectPath):
        return dict(objects.listed(folder).items())
    return {path: path.stat().st_size for path in files_below(folder) if isinstance(path, Path) and path.is_file()}


def size_of(path: LakePath) -> int | None:
    """Return a file's length; None if there is none."""
    if isinstance(path, ObjectPath):
        return objects.size_of(path)
    return path.stat().st_size if path.is_file() else None


def holds_any(folder: LakePath) -> bool:
    """Whether there is anything below a folder."""
    if isinstance(folder, ObjectPath):
        return bool(objects.listed(folder, most=1))
    return folder.is_dir() and any(folder.iterdir())


def delete(paths: Iterable[LakePath]) -> None:
    """Delete files; one that is not there is no error."""
    found = list(paths)
    objects.delete([path for path in found if isinstance(path, ObjectPath)])
    for path in found:
        if isinstance(path, Path):
            path.unlink(missing_ok=True)


def abort_uploads(folder: LakePath) -> list[str]:
    """Throw away what killed writers had uploaded of objects that they never completed; only while nobody writes there.

    Returns:
        Their names. In a folder of this machine there are none: an unfinished file is a file.
    """
    if not isinstance(folder, ObjectPath):
        return []
    found = objects.unfinished_uploads(folder)
    objects.abort(found)
    return [str(item.path) for item in found]


def sha256_of(path: LakePath) -> str:
    """Return the hex sha256 of a file's content; of an object all of it is fetched."""
    if isinstance(path, Path):
        return sha256_file(path)
    digest = hashlib.sha256()
    for block in objects.blocks(path):
        digest.update(block)
    return digest.hexdigest()


def read_note(path: LakePath) -> str | None:
    """Return a short text; None if it is not there."""
    if isinstance(path, ObjectPath):
        found = objects.get(path)
        return None if found is None else found.decode()
    try:
        return path.read_text()
    except OSError:
        return None


def write_note(path: LakePath, text: str) -> None:
    """Write a short text, in the place of what is there."""
    if isinstance(path, ObjectPath):
        objects.put(path, text.encode())
    else:
        path.write_text(text)


# Durability -------------------------------------------------------------------------------------------------------------


def make_folder(folder: LakePath) -> None:
    """Make a folder and what is missing above it, their names on the disk; a bucket has none."""
    missing = []
    while isinstance(folder, Path) and not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for item in reversed(missing):
        item.mkdir(exist_ok=True)
        fsync_path(item.parent)


def fsync_files(files: Iterable[LakePath]) -> None:
    """Wait until files and their names are on the disk; objects are, once S3 has answered."""
    folders = set()
    for file in files:
        if isinstance(file, Path):
            fsync_path(file)
            folders.add(file.parent)
    for folder in sorted(folders):
        fsync_path(folder)


@contextmanager
def flushed(uri: LakePath) -> Iterator[None]:
    """Flush what the block makes Lance write into the table at `uri`; its data files are flushed by who wrote them."""
    if isinstance(uri, ObjectPath):
        yield
        return
    before = files_below(uri, but="data")
    make_folder(uri)
    yield
    fsync_files(files_below(uri, but="data") - before)
    fsync_path(uri)


# Readers of Parquet -------------------------------------------------------------------------------------------------------


def arrow_path(path: LakePath) -> tuple[str, pyarrow.fs.FileSystem]:
    """Return a path as pyarrow takes it, with the file system that it is on."""
    if isinstance(path, ObjectPath):
        return path.without_scheme, objects.filesystem(path)
    return str(path), pyarrow.fs.LocalFileSystem()


def arrow_paths(texts: Sequence[str]) -> tuple[list[str], pyarrow.fs.FileSystem]:
    """Do the same for several files of one lake, of which there is at least one."""
    first, system = arrow_path(located(texts[0]))
    if first == texts[0]:
        return list(texts), system
    return [text.removeprefix("s3://") for text in texts], system


# Damage, or a bucket that does not answer -------------------------------------------------------------------------------


def refuse_unreachable(path: LakePath, error: BaseException) -> None:
    """Raise what an error means if it says that a bucket does not answer, so that nobody takes it for a damaged file.

    To be called wherever a file that cannot be read would be taken for lost, deleted or written anew. On this machine's
    disk a file that cannot be read is damaged; nothing is raised.

    Raises:
        PlatformError: The bucket cannot be reached, refuses access, or is gone.
    """
    if not isinstance(path, ObjectPath):
        return
    if objects.is_transport(error):
        raise objects.as_bucket_error(path, error) from error
    objects.listed(path, most=1)  # it raises if the bucket does not answer now either


@contextmanager
def told(path: LakePath) -> Iterator[None]:
    """Say what it means when Lance, pyarrow or pyiceberg cannot reach the bucket of `path` in the block.

    Raises:
        PlatformError: The bucket cannot be reached, refuses access, or is gone.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(path, ObjectPath) and objects.is_transport(error):
            raise objects.as_bucket_error(path, error) from error
        raise


def lance_options(path: LakePath) -> dict[str, Any] | None:
    """Return what Lance has to be told of the way to `path`."""
    return objects.lance_options(path) if isinstance(path, ObjectPath) else None

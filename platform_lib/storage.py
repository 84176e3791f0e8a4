"""Digests, and publishing that is whole or absent: temporary name, fsync, rename."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def sha256_file(path: Path) -> str:
    """Return the hex sha256 of a file's content, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_tree(folder: Path) -> str:
    """Return one digest over every file below `folder`: relative POSIX name and content, in name order."""
    digest = hashlib.sha256()
    for path in sorted(walk_files(folder), key=lambda item: item.relative_to(folder).as_posix()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield every regular file below `folder`, hidden ones included, following no link."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                yield path


def publish_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old content or all of the new."""
    with publish_file(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def publish_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well it is fsynced and renamed to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        yield temporary
        _fsync(temporary)
        temporary.replace(path)
        _fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; when the block ends well it takes the place of `path`.

    An older folder of that name is moved aside first and deleted last, so a kill leaves the old one, the new one, or
    (between two renames) neither, never a mixture.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:12]
    temporary = path.with_name(f".tmp-{token}-{path.name}")
    aside = path.with_name(f".tmp-{token}-old-{path.name}")
    temporary.mkdir()
    try:
        yield temporary
        for item in walk_files(temporary):
            _fsync(item)
        _fsync(temporary)
        if path.exists():
            path.rename(aside)
        temporary.rename(path)
        _fsync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def sweep_unfinished(folder: Path) -> int:
    """Delete what killed commands left under temporary names directly in `folder`; return how many there were.

    Only for the holder of the lock that guards `folder`.
    """
    leftovers = list(folder.glob(".tmp-*")) if folder.is_dir() else []
    for path in leftovers:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return len(leftovers)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

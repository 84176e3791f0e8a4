"""Digests, and publishing that is whole or absent: temporary name, fsync, rename."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_ASIDE = re.compile(r"\.tmp-old-[0-9a-f]{12}-(?P<name>.+)")
_AT_FDCWD = -100  # Source: linux/fcntl.h
_RENAME_EXCHANGE = 2  # Source: linux/fs.h


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
        # A NUL cannot be in a name and a digest has one length, so no two trees give the same bytes.
        digest.update(os.fsencode(path.relative_to(folder).as_posix()) + f"\0{sha256_file(path)}\n".encode())
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
        fsync_path(temporary)
        temporary.replace(path)
        fsync_path(path.parent)
    finally:
        _remove(temporary)


@contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside `path`; when the block ends well it takes the place of `path`.

    An older folder of that name is exchanged for the new one in a single step, so a kill leaves the old one or the
    new one, never neither and never a mixture. Where the file system has no such step, the old one is moved aside
    first; `sweep_unfinished` brings it back if a kill falls between the two renames.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex[:12]
    temporary = path.with_name(f".tmp-{token}-{path.name}")
    temporary.mkdir()
    try:
        yield temporary
        _fsync_tree(temporary)
        _put_in_place(temporary, path, aside=path.with_name(f".tmp-old-{token}-{path.name}"))
        fsync_path(path.parent)
    finally:
        _remove(temporary)


def sweep_unfinished(folder: Path) -> int:
    """Clear what killed commands left under temporary names directly in `folder`; return how many there were.

    What was moved aside and never replaced goes back to its name; the rest is deleted. Only for the holder of the
    lock that guards `folder`: a living command's work is not to be told from a dead one's.
    """
    leftovers = sorted(folder.glob(".tmp-*")) if folder.is_dir() else []
    for path in leftovers:
        aside = _ASIDE.fullmatch(path.name)
        home = path.with_name(aside["name"]) if aside else None
        if home is not None and not home.exists():
            path.rename(home)
        else:
            _remove(path)
    return len(leftovers)


def _put_in_place(temporary: Path, path: Path, *, aside: Path) -> None:
    """Make `temporary` the new `path`; what was there ends under the name `temporary`, or nowhere."""
    if not os.path.lexists(path):
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise  # those three: another command published the same name in this moment
        else:
            return
    if _exchange(temporary, path):
        return
    path.rename(aside)
    try:
        temporary.rename(path)
    except BaseException:
        aside.rename(path)
        raise
    _remove(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system or file system cannot (Linux 3.15 and glibc 2.28 can)."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _fsync_tree(folder: Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            if path.is_file() and not path.is_symlink():
                fsync_path(path)
        fsync_path(Path(root))


def fsync_path(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

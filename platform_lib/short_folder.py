"""Short folders in the temporary folder: what a home cannot hold itself, because paths of sockets are limited.

Each belongs to one path (a home) and says so in a file. When that path is gone and nobody uses the folder, the next
command of the same user removes it. Who makes a folder and who sweeps meet at the lock of that file: a maker that was
overtaken sees that its folder is no longer the one of that name, and makes it again; a sweeper asks after the path
once more under the lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platform_lib.errors import HomeError

logger = logging.getLogger(__name__)

_BELONGS_TO = "belongs-to"


def short_path(belongs_to: Path, kind: str = "") -> Path:
    """Name the folder of `belongs_to`; two kinds of one path are two folders."""
    digest = hashlib.sha256(os.fsencode(belongs_to)).hexdigest()[:10]
    return Path(tempfile.gettempdir()) / f"drivetrain-{kind}{os.getuid()}-{digest}"


def make_short_folder(belongs_to: Path, kind: str = "", *, open_to_all: bool = False) -> Path:
    """Make the folder on its first use, and say in it whom it belongs to.

    Args:
        belongs_to: An absolute path that exists.
        kind: Part of the name, for a second folder of the same path.
        open_to_all: Others may look into it; by default this user alone may enter.

    Raises:
        HomeError: Something of that name is there, and is not such a folder of this user.
    """
    folder = short_path(belongs_to, kind)
    mode = 0o755 if open_to_all else 0o700
    while True:
        try:
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            _refuse_foreign(folder, forbidden=0o777 & ~mode)
            if open_to_all:
                folder.chmod(mode)
            with _locked(folder, fcntl.LOCK_SH) as marker:
                if marker is not None:
                    text = os.fsencode(belongs_to)
                    if os.pread(marker, len(text) + 1, 0) != text:
                        os.ftruncate(marker, 0)
                        os.pwrite(marker, text, 0)
                    return folder
        except FileNotFoundError:
            continue  # swept at this moment


def sweep_short_folders(is_held: Callable[[Path], bool]) -> None:
    """Remove this user's short folders whose path is gone, unless somebody holds them.

    Args:
        is_held: Asked of each folder whose path is gone; it may clear what dead processes left there.
    """
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"drivetrain-*{os.getuid()}-*")):
        with suppress(FileNotFoundError):  # another command sweeps as well
            _sweep(folder, is_held)


def _sweep(folder: Path, is_held: Callable[[Path], bool]) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        return
    if not os.path.lexists(folder / _BELONGS_TO):
        with suppress(OSError):
            folder.rmdir()  # an empty one of an earlier release; one that is just being made is made again
        return
    with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB) as marker:
        if marker is None or not _is_gone(os.fsdecode(os.pread(marker, 1 << 16, 0))) or is_held(folder):
            return
        logger.info("folder=%s what it belonged to is gone; removed", folder)
        doomed = folder.with_name(f"drivetrain-{os.getuid()}-gone-{uuid.uuid4().hex[:8]}")
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def _is_gone(path: str) -> bool:
    if not path:
        return True  # its maker was killed before it wrote
    if not path.startswith("/"):
        return False
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[int | None]:
    """Give the folder's file under a lock; None if somebody holds it, or the folder was replaced meanwhile."""
    path = folder / _BELONGS_TO
    marker = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        free = True
        try:
            fcntl.flock(marker, how)
        except BlockingIOError:
            free = False
        yield marker if free and path.lstat().st_ino == os.fstat(marker).st_ino else None
    finally:
        os.close(marker)


def _refuse_foreign(folder: Path, *, forbidden: int) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & forbidden:
        raise HomeError(
            "the socket folder is not a folder that this user alone may enter",
            where=folder,
            remedy="remove it, or set TMPDIR",
        )

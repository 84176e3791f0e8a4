"""Where an export goes: nobody's file is overwritten unasked, one export at a time, nothing half left behind."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from platform_lib.errors import ConfigError, HomeBusyError

# As `publish_file` calls what is not finished; tables are written into such folders by exports alone.
_UNFINISHED = re.compile(r"\.tmp-[0-9a-f]{12}-(?P<name>.+?(?P<suffix>\.[a-z]+))")
_OURS = frozenset({".parquet", ".csv"})


@contextmanager
def claimed(targets: Sequence[Path], *, force: bool) -> Iterator[None]:
    """Hold the folder of `targets`, so that no other export writes into it; clear what a killed one left there.

    A folder that was made for an export that failed is taken away again.

    Raises:
        ConfigError: A target exists and is not to be replaced.
        HomeBusyError: Another export holds the folder.
    """
    folder = targets[0].parent
    _refuse_existing(targets, force=force)
    made = [item for item in (folder, *folder.parents) if not item.exists()]  # the innermost first
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, folder)
        _refuse_existing(targets, force=force)  # another may have finished in between
        names = {path.name for path in targets}
        for path in folder.iterdir():
            found = _UNFINISHED.fullmatch(path.name)
            if found and (found["suffix"] in _OURS or found["name"] in names):
                path.unlink(missing_ok=True)
        yield
    except BaseException:
        with suppress(OSError):  # which says that somebody put something there
            for item in made:
                item.rmdir()
        raise
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        remedy = "wait for it, or name another place with --out"
        raise HomeBusyError("another export is writing into this folder", where=folder, remedy=remedy) from error


def _refuse_existing(targets: Sequence[Path], *, force: bool) -> None:
    for path in targets:
        if path.is_dir():
            raise ConfigError("a folder is in the way", where=path, remedy="name another place with --out")
        if not force and os.path.lexists(path):
            raise ConfigError("it exists already", where=path, remedy="--force replaces it; --out names another place")

"""What lies in a folder, found without following a link or opening anything but plain files."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_MAX_DEPTH = 32
_MAX_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class Contents:
    """The plain files of a folder, and what else is there.

    Attributes:
        sizes_bytes: Relative POSIX path -> size of each plain file, hidden ones included.
        unsafe: Links, pipes, sockets, devices, folders that cannot be read: nothing below may be opened then.
        odd: Empty folders and set-id files: never part of a package, and harmless to read past.
    """

    sizes_bytes: dict[str, int]
    unsafe: tuple[str, ...]
    odd: tuple[str, ...]


def list_contents(folder: Path) -> Contents:
    """List everything below `folder` by lstat alone."""
    sizes: dict[str, int] = {}
    unsafe: list[str] = []
    odd: list[str] = []
    queue: list[tuple[Path, str, int]] = [(folder, "", 0)]
    while queue:
        here, prefix, depth = queue.pop()
        try:
            with os.scandir(here) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            unsafe.append(f"{shown(prefix)} cannot be read: {error.strerror}")
            continue
        if not entries and prefix:
            odd.append(f"{shown(prefix)} is an empty folder, which no signature covers")
        for entry in entries:
            name = f"{prefix}{entry.name}"
            found = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                queue.append((Path(entry.path), f"{name}/", depth + 1))
            elif stat.S_ISREG(found.st_mode):
                sizes[name] = found.st_size
                if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
                    odd.append(f"{shown(name)} has a set-id bit")
            else:
                unsafe.append(f"{shown(name)} is {_kind(found.st_mode)}, not a plain file")
        if depth > _MAX_DEPTH or len(sizes) > _MAX_ENTRIES:
            unsafe.append("more folders or files than any package has")
            break
    return Contents(dict(sorted(sizes.items())), tuple(sorted(unsafe)), tuple(sorted(odd)))


def read_plain(path: Path, limit_bytes: int) -> bytes:
    """Read a plain file without following a link at its end.

    Raises:
        OSError: It cannot be read, is a link, is no plain file, or is longer than `limit_bytes`.
    """
    with os.fdopen(_open_plain(path), "rb") as stream:
        data = stream.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise OSError(27, f"longer than {limit_bytes} bytes", str(path))
    return data


def sha256_plain(path: Path) -> str:
    """Return the hex sha256 of a plain file without following a link at its end.

    Raises:
        OSError: It cannot be read, is a link, or is no plain file.
    """
    digest = hashlib.sha256()
    with os.fdopen(_open_plain(path), "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def shown(name: str) -> str:
    """Return a file's name fit for a terminal and for JSON: what is not printable is escaped."""
    escaped = (c if c.isprintable() else c.encode("unicode_escape", "surrogateescape").decode("ascii") for c in name)
    return "".join(escaped)


def _open_plain(path: Path) -> int:
    # Non-blocking: opening a pipe that took the file's place must not hang.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(22, "not a plain file", str(path))
    return descriptor


def _kind(mode: int) -> str:
    kinds = (
        (stat.S_ISLNK, "a link"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((word for test, word in kinds if test(mode)), "of an unknown kind")

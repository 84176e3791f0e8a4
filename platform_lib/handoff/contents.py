"""What lies in a folder, found without following a link or opening anything but plain files."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_CHUNK_BYTES = 1 << 20
_MAX_DEPTH = 32


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file was touched: nobody can set `changed_ns` back."""

    size_bytes: int
    changed_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Contents:
    """The plain files of a folder, and what else is there; two listings of a folder nobody touched are equal.

    Attributes:
        files: Relative POSIX path -> stamp of each plain file, hidden ones included.
        unsafe: Links, pipes, sockets, devices, folders that cannot be read: nothing below may be opened then.
        odd: Empty folders and set-id files: never part of a bundle, and harmless to read past.
    """

    files: dict[str, Stamp]
    unsafe: tuple[str, ...]
    odd: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files together."""
        return sum(stamp.size_bytes for stamp in self.files.values())


@dataclass(frozen=True, slots=True)
class SignedFiles:
    """The files that a signature covers, read so that nothing but what was signed is ever returned."""

    root: Path
    sha256: Mapping[str, str]

    def read(self, name: str, limit_bytes: int) -> bytes:
        """Read one file.

        Raises:
            OSError: It cannot be read, is a link, is no plain file, or is longer than `limit_bytes`.
            ValueError: The signature does not cover it, or its bytes are not the signed ones.
        """
        data = read_plain(self.root / name, limit_bytes)
        if hashlib.sha256(data).hexdigest() != self.sha256.get(name):
            raise ValueError(f"{shown(name)} was changed")
        return data


@dataclass(slots=True)
class _Listing:
    """What a walk has found so far."""

    files: dict[str, Stamp] = field(default_factory=dict)
    unsafe: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    folders: list[tuple[Path, str, int]] = field(default_factory=list)

    def add(self, entry: os.DirEntry[str], name: str, depth: int) -> None:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError as error:  # removed while it was listed
            self.unsafe.append(f"{shown(name)} cannot be read: {error.strerror}")
            return
        if stat.S_ISDIR(found.st_mode):
            self.folders.append((Path(entry.path), f"{name}/", depth + 1))
        elif stat.S_ISREG(found.st_mode):
            self.files[name] = Stamp(found.st_size, found.st_ctime_ns, found.st_ino)
            if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
                self.odd.append(f"{shown(name)} has a set-id bit")
        else:
            self.unsafe.append(f"{shown(name)} is {_kind(found.st_mode)}, not a plain file")


def list_contents(folder: Path, *, limit: int) -> Contents:
    """List everything below `folder` by lstat alone, and stop after `limit` files and folders."""
    listing, entries = _Listing(folders=[(folder, "", 0)]), 0
    while listing.folders:
        here, prefix, depth = listing.folders.pop()
        before = entries
        try:
            with os.scandir(here) as scan:
                for entry in scan:
                    entries += 1
                    listing.add(entry, f"{prefix}{entry.name}", depth)
                    if entries > limit:
                        break
        except OSError as error:
            listing.unsafe.append(f"{shown(prefix)} cannot be read: {error.strerror}")
            continue
        if entries == before and prefix:
            listing.odd.append(f"{shown(prefix)} is an empty folder, which no signature covers")
        if depth > _MAX_DEPTH or entries > limit:
            listing.unsafe.append(f"more than {limit} files and folders, or folders in each other {_MAX_DEPTH} deep")
            break
    return Contents(dict(sorted(listing.files.items())), tuple(sorted(listing.unsafe)), tuple(sorted(listing.odd)))


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

"""Where a log's bytes come from: a local file, or an S3 object read by ranges.

A reader asks for `read_at(offset, length)` and never learns which of the two it has. `SourceFile` is a source as a
binary file, and `SourceBytes` as something to slice, for code that wants a file or a mapping.
"""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, overload

from platform_lib.errors import ConfigError, CorruptLog
from platform_lib.logs.faults import REMEDY

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BAG_METADATA = "metadata.yaml"
_S3_FOLDED = "s3:/"


class ByteSource(Protocol):
    """Random access to bytes that do not change.

    Attributes:
        name: The path or URI, for messages.
        size_bytes: How many bytes there are.
        remote: Whether a read costs a request over the network, so that few large reads are wanted.
        bytes_fetched: How many bytes were read so far, those read twice counted twice.
        requests: In how many reads of the file or object.
    """

    name: str
    size_bytes: int
    remote: bool
    bytes_fetched: int
    requests: int

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`.

        Raises:
            CorruptLog: They are not all there.
            IntegrityError: The object changed since it was opened.
        """

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target` with the bytes from `offset`; raises as `read_at` does."""

    def close(self) -> None:
        """Release the file or connection; closing twice is fine."""


class LocalSource:
    """A local file, read with ``pread``: a mapping would crash the process if the file were cut while it is read."""

    remote = False

    def __init__(self, path: Path) -> None:
        """Open `path`.

        Raises:
            ConfigError: It does not exist, may not be read, or is no regular file.
        """
        if path.exists() and not path.is_file():  # opening a pipe would wait for its writer
            raise ConfigError("not a file or folder", where=path, remedy="name a drive log")
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            what = f"cannot be opened ({error.strerror})"
            raise ConfigError(what, where=path, remedy="check the path and its permissions") from error
        self.name = str(path)
        self.size_bytes = os.fstat(self._file.fileno()).st_size
        self.bytes_fetched = 0
        self.requests = 0
        self._lock = threading.Lock()
        self._reads, self._closing = 0, False

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        _inside(self, offset, length)
        descriptor = self._begin()
        try:
            data = os.pread(descriptor, length, offset)
        finally:
            self._end()
        self._count(len(data))
        if len(data) < length:  # a signal, a network file system, or more than 2 GiB: the rest piece by piece
            whole = bytearray(length)
            whole[: len(data)] = data
            self.read_into(offset + len(data), memoryview(whole)[len(data) :])
            return bytes(whole)
        return data

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target` with the bytes from `offset`."""
        _inside(self, offset, len(target))
        done = 0
        while done < len(target):
            descriptor = self._begin()
            try:
                count = os.preadv(descriptor, [target[done:]], offset + done)
            finally:
                self._end()
            if count == 0:
                raise CorruptLog("the file became shorter while it was read", where=self.name, remedy=REMEDY)
            self._count(count)
            done += count

    def _count(self, count: int) -> None:
        self.bytes_fetched += count
        self.requests += 1

    def _begin(self) -> int:
        """Return the descriptor, which stays this file's until `_end`: closed, its number may be another file's at once."""
        with self._lock:
            if self._closing:
                raise ConfigError("the log is closed", where=self.name, remedy="read inside `with open_log(...)`")
            self._reads += 1
            return self._file.fileno()

    def _end(self) -> None:
        with self._lock:
            self._reads -= 1
            if self._closing and not self._reads:
                self._file.close()

    def close(self) -> None:
        """Release the file, once no thread reads it any more."""
        with self._lock:
            self._closing = True
            if not self._reads:
                self._file.close()


def _inside(source: ByteSource, offset: int, length: int) -> None:
    if offset < 0 or length < 0 or offset + length > source.size_bytes:
        what = f"bytes {offset} to {offset + length} are asked for, the file has {source.size_bytes}"
        raise CorruptLog(what, where=source.name, remedy=REMEDY)


def located(path: str | Path) -> str | Path:
    """Return an ``s3://`` address as text, anything else as a path.

    A `Path` folds the two slashes of an address into one; they are put back.
    """
    text = str(path)
    if text.startswith(_S3_FOLDED):
        return f"{_S3_FOLDED}/{text[len(_S3_FOLDED) :].lstrip('/')}"
    return Path(path)


def open_source(path: str | Path) -> ByteSource:
    """Open a local file, or an ``s3://bucket/key`` object given as text.

    Raises:
        ConfigError: There is none, or it may not be read.
    """
    if isinstance(path, str):
        from platform_lib.logs.s3_source import S3Source

        return S3Source(path)
    return LocalSource(path)


def open_file(path: Path | str) -> ByteSource | None:
    """Open a file or object; ``None`` for a folder, and for an address under which a bag's metadata lies.

    Raises:
        ConfigError: There is none, or it may not be read.
    """
    if isinstance(path, Path):
        return None if path.is_dir() else open_source(path)
    from platform_lib.logs.s3_source import find

    if path == f"{_S3_FOLDED}/":
        return open_source(path)  # which says that it names no bucket
    found = None if path.endswith("/") else find(path)
    if found is None and not path.endswith("/"):
        under = find(f"{path}/{BAG_METADATA}")
        if under is None:
            return open_source(path)  # which says that there is none
        under.close()
    return found


class SourceFile(io.RawIOBase):
    """A source as a binary file; wrap it in `io.BufferedReader` so that small reads make few requests."""

    def __init__(self, source: ByteSource) -> None:
        super().__init__()
        self._source = source
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, and return the new position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size_bytes}[whence]
        if base + offset < 0:
            raise ValueError("a position before the file's start")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read up to the buffer's length, less at the end."""
        target = memoryview(buffer).cast("B")
        count = max(0, min(len(target), self._source.size_bytes - self._at))
        self._source.read_into(self._at, target[:count])
        self._at += count
        return count


class SourceBytes:
    """A source to slice like a mapping: ``len(view)``, ``view[7]``, ``view[a:b]`` (bytes, one read each)."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return self._source.size_bytes

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> bytes: ...

    def __getitem__(self, at: int | slice) -> int | bytes:
        if isinstance(at, int):
            index = range(len(self))[at]
            return self._source.read_at(index, 1)[0]
        start, stop, step = at.indices(len(self))
        if step != 1:
            raise ValueError("slices of a source have step 1")
        return self._source.read_at(start, max(0, stop - start))

"""Temporary local copies of what cannot be read in place: compressed files, and objects for readers of local files.

They lie under ``TMPDIR`` and are removed before the log is open: who opened one in time keeps it.
"""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import zstandard

from platform_lib.errors import ConfigError, CorruptLog, UnsupportedLog
from platform_lib.logs.bytes_source import ByteSource, SourceFile
from platform_lib.logs.faults import translated
from platform_lib.logs.mcap.fetching import fetched
from platform_lib.logs.model import Report

MOST_COPIED_BYTES = 4 << 30
_KEPT_FREE_BYTES = 1 << 30
_PIECE_BYTES = 4 << 20


@contextmanager
def decompressed(source: ByteSource) -> Iterator[Path]:
    """Give a file's content, zstd-compressed as a whole, as a temporary file.

    Raises:
        CorruptLog: It does not decompress.
        ConfigError: There is no room for it.
    """
    with _folder(source) as folder:
        plain = folder / PurePosixPath(source.name).name.removesuffix(".zstd")
        stored = io.BufferedReader(SourceFile(source), _PIECE_BYTES)
        with translated(source.name, "decompressing"):
            _write(plain, zstandard.ZstdDecompressor().read_to_iter(stored, write_size=1 << 20), source.name)
        yield plain


@contextmanager
def copied(source: ByteSource, report: Report, beside: Sequence[ByteSource] = ()) -> Iterator[Path]:
    """Give an object as a temporary file, which the report names.

    Args:
        source: The object.
        report: Told how much was copied, and where to.
        beside: What has to lie in the same folder; these are closed.

    Raises:
        UnsupportedLog: It is larger than `MOST_COPIED_BYTES`.
        ConfigError: There is no room for it.
    """
    size_bytes = sum(item.size_bytes for item in (source, *beside))
    if size_bytes > MOST_COPIED_BYTES:
        raise UnsupportedLog(
            f"it can only be read as a local file; of {size_bytes} bytes no temporary copy is made "
            f"(the most is {MOST_COPIED_BYTES})",
            where=source.name,
            remedy="copy it first: `aws s3 cp`, then open the copy",
        )
    with _folder(source) as folder:
        for item in (*beside, source):
            starts = range(0, item.size_bytes, _PIECE_BYTES)
            ranges = [(start, min(_PIECE_BYTES, item.size_bytes - start)) for start in starts]
            path = folder / PurePosixPath(item.name).name
            _write(path, fetched(item, ranges), item.name)
        for item in beside:
            item.close()
        report.notes.append(
            f"{path.name}: read from a temporary copy of all its {size_bytes} bytes under {folder.parent}"
        )
        yield path


@contextmanager
def _folder(source: ByteSource) -> Iterator[Path]:
    """Give a folder for a copy; errors about the copy become errors about its source."""
    try:
        with tempfile.TemporaryDirectory(prefix="drivetrain-bag-") as folder:
            yield Path(folder)
    except (CorruptLog, UnsupportedLog) as error:
        raise type(error)(error.what, where=source.name, remedy=error.remedy) from error


def _write(path: Path, pieces: Iterable[bytes | memoryview], name: str) -> None:
    room = shutil.disk_usage(path.parent).free - _KEPT_FREE_BYTES
    with path.open("wb") as target:
        for piece in pieces:
            room -= len(piece)
            if room < 0:
                remedy = "make room, or set TMPDIR to a folder that has it"
                raise ConfigError("a temporary copy of it needs more room than there is", where=name, remedy=remedy)
            target.write(piece)

"""The one place where the exceptions of the libraries below become `CorruptLog`.

Damaged bytes make parsers fail in any of these ways; everything else (a bug of ours, a full disk) passes through.
"""

from __future__ import annotations

import sqlite3
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platform_lib.errors import CorruptLog, PlatformError

REMEDY = "fetch the file again from its source, or read what is whole with recover=True (--recover)"

# What parsers raise when bytes are not what the format promises. OSError is no part of it, except for sqlite's.
_DAMAGE: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    NotImplementedError,
    TypeError,
    ValueError,
    sqlite3.Error,
    struct.error,
    zlib.error,
)


def damage_types() -> tuple[type[Exception], ...]:
    """Return every exception type that stands for damaged bytes, with those of the libraries already imported."""
    found = list(_DAMAGE)
    for module, name in (
        ("asammdf.blocks.utils", "MdfException"),
        ("mcap.exceptions", "McapError"),
        ("zstandard", "ZstdError"),
        ("rosbags.rosbag1", "ReaderError"),
        ("rosbags.rosbag2", "ReaderError"),
        ("rosbags.typesys", "TypesysError"),
        ("pyarrow", "ArrowException"),
        ("xml.parsers.expat", "ExpatError"),
        ("lxml.etree", "LxmlError"),
    ):
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            found.append(kind)
    lz4 = sys.modules.get("lz4.block")
    if lz4 is not None:
        found.append(lz4.LZ4BlockError)
    found.append(RuntimeError)  # lz4.frame and isal raise it bare
    return tuple(found)


@contextmanager
def translated(path: Path | str, what: str) -> Iterator[None]:
    """Turn a parser's exception inside the block into a `CorruptLog` about `path`; ours that name no place get it.

    Args:
        path: The log being read.
        what: What was being done, for example ``"reading stream '/imu'"``.
    """
    try:
        yield
    except PlatformError as error:
        if error.where is not None:
            raise
        raise error.completed(where=str(path)) from error
    except damage_types() as error:
        raise CorruptLog(f"damaged: {what} failed ({describe(error)})", where=path, remedy=REMEDY) from error


def describe(error: Exception) -> str:
    """Say an exception in one short line."""
    text = " ".join(str(error).split())[:160]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

"""Decompressing a large chunk piece by piece into its final place, so that its compressed form is never in memory whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, cast

import lz4.frame
import pyarrow as pa
import zstandard

from platform_lib.errors import CorruptLog
from platform_lib.logs.payloads import Buffer

LARGE_BYTES = 32 << 20
"""From this size on a chunk is decompressed in pieces: slower than at once, and half the memory."""

_PIECE_BYTES = 4 << 20
_MOST_WINDOW_BYTES = 16 << 20  # what zstd keeps beside the target; only the highest levels write more


class _Stored:
    """A chunk's compressed records as a file that zstandard reads."""

    def __init__(self, read_at: Callable[[int, int], bytes], offset: int, stored_bytes: int) -> None:
        self._read_at = read_at
        self._at = offset
        self._end = offset + stored_bytes

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes, at most a piece."""
        most = _PIECE_BYTES if count < 0 else min(count, _PIECE_BYTES)
        piece = self._read_at(self._at, min(most, self._end - self._at))
        self._at += len(piece)
        return piece


def wide_window(head: bytes) -> bool:
    """Whether a zstd frame, by its first bytes, asks for more memory than is spared by reading it in pieces.

    Raises:
        CorruptLog: They are no frame's.
    """
    try:
        return bool(zstandard.get_frame_parameters(head).window_size > _MOST_WINDOW_BYTES)
    except zstandard.ZstdError as error:
        raise CorruptLog(f"a chunk does not decompress ({error})") from error


def inflated(
    compression: str, read_at: Callable[[int, int], bytes], offset: int, stored_bytes: int, size_bytes: int
) -> Buffer:
    """Return a chunk's records.

    Args:
        compression: ``zstd`` or ``lz4``.
        read_at: Reads the file: offset, length.
        offset: Where the stored records begin.
        stored_bytes: How long they are.
        size_bytes: How long they are decompressed.

    Raises:
        CorruptLog: They do not decompress to exactly that.
    """
    target = memoryview(pa.allocate_buffer(size_bytes)).cast("B")
    stored = _Stored(read_at, offset, stored_bytes)
    try:
        filled = _zstd(stored, target) if compression == "zstd" else _lz4(stored, target)
    except (zstandard.ZstdError, RuntimeError, EOFError) as error:
        raise CorruptLog(f"a chunk does not decompress ({error})") from error
    if filled != size_bytes:
        raise CorruptLog(f"a chunk decompresses to other than the {size_bytes} bytes that it says")
    return target


def _zstd(stored: _Stored, target: memoryview) -> int:
    source = cast("IO[bytes]", stored)  # only `read` is asked for
    with zstandard.ZstdDecompressor().stream_reader(source, _PIECE_BYTES, read_across_frames=True) as reader:
        done = 0
        while done < len(target) and (count := reader.readinto(target[done:])):
            done += count
        return done + len(reader.read(1))


def _lz4(stored: _Stored, target: memoryview) -> int:
    frame = lz4.frame.LZ4FrameDecompressor()
    done = 0
    while not frame.eof:
        piece = stored.read() if frame.needs_input else b""
        if frame.needs_input and not piece:
            break
        more = frame.decompress(piece, max_length=min(_PIECE_BYTES, len(target) - done) or 1)
        if len(more) > len(target) - done:
            return done + len(more)
        target[done : done + len(more)] = more
        done += len(more)
    return done

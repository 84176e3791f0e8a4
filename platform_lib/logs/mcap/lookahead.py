"""Small reads near one another, served from few large ones."""

from __future__ import annotations

from collections import deque

from platform_lib.logs.bytes_source import ByteSource

_LOCAL_BYTES = 256 << 10
_REMOTE_BYTES = 4 << 10
_PIECES = 4


class Lookahead:
    """Reads a source and keeps the last few pieces; a piece is somewhat larger than what was asked for."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.ahead_bytes = _REMOTE_BYTES if source.remote else _LOCAL_BYTES
        self._pieces: deque[tuple[int, bytes]] = deque(maxlen=_PIECES)

    def read(self, offset: int, count: int, *, alone: bool = False) -> bytes:
        """Return exactly `count` bytes from `offset`; raises as the source does.

        Args:
            offset: Where.
            count: How many.
            alone: Nothing near is expected to be asked for: fetch no more than this.
        """
        for start, piece in self._pieces:
            if start <= offset and offset + count <= start + len(piece):
                return piece[offset - start : offset - start + count]
        more = 0 if alone else min(self.ahead_bytes, self.source.size_bytes - offset)
        return self.fetch(offset, max(count, more))[:count]

    def fetch(self, offset: int, count: int) -> bytes:
        """Read and keep a piece of exactly `count` bytes."""
        piece = self.source.read_at(offset, count)
        self._pieces.append((offset, piece))
        return piece

"""Looking for pieces of what was erased in every byte of a home, without keeping the pieces.

A needle is the 64-bit digest of 16 bytes of content (or of 8, for short texts). A scan takes the same digest of the bytes
at every offset of every file, so what is kept to look for tells nothing of the content. The chance that a byte of other
content gives a needle's digest is their number / 2^64: for 60,000 needles and 1 TB 4e-3.

Pages hold pictures as base64, three bytes as four signs, which look otherwise for each of the three places at which a group
may begin; all three are looked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from platform_lib.lake import objects
from platform_lib.lake.objects import ObjectPath
from platform_lib.storage import walk_files

WINDOW_BYTES, SHORT_BYTES = 16, 8
_FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)  # odd, from xxHash and the golden ratio
_SPREAD = np.uint64(0xFF51AFD7ED558CCD)  # Source: MurmurHash3, fmix64
_BLOCK_BYTES = 8 << 20
_FILTER_BITS = (20, 26)
"""Least and most bits of the table that sorts out almost every offset; eight places a needle in between."""
_DIGITS, _FEWEST_DIGITS = frozenset(b"0123456789"), 4

Digests = npt.NDArray[np.uint64]
_NONE: Digests = np.zeros(0, np.uint64)


@dataclass(frozen=True, slots=True)
class Needles:
    """What to look for: digests of 16 bytes of content, of 16 bytes of texts, and of 8 bytes of shorter texts."""

    content: Digests
    texts: Digests
    short_texts: Digests

    def __len__(self) -> int:
        return len(self.content) + len(self.texts) + len(self.short_texts)

    def telling(self, texts: Sequence[str]) -> list[str]:
        """Return those of some short texts that hold a piece of a name."""
        sieves = Sieve.of(self.texts, WINDOW_BYTES), Sieve.of(self.short_texts, SHORT_BYTES)

        def tells(text: str) -> bool:
            return any(sieve.hits(text.encode()) for sieve in sieves)

        return [text for text in texts if tells(text)] if tells("\0".join(texts)) else []

    def to_bytes(self) -> bytes:
        """Write them for the catalogue."""
        parts = (self.content, self.texts, self.short_texts)
        return np.array([len(part) for part in parts], "<u8").tobytes() + b"".join(
            part.astype("<u8").tobytes() for part in parts
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Needles:
        """Read what `to_bytes` wrote."""
        words = np.frombuffer(data, "<u8").astype(np.uint64)
        ends = np.cumsum(words[:3]).astype(np.int64)
        content, texts, short = np.split(words[3:], ends[:2])
        return cls(content, texts, short)


@dataclass(frozen=True, slots=True)
class Found:
    """A file that holds a piece: of a blob's content, or of a text that names what was erased."""

    path: Path
    content: int
    texts: int


def text_needles(pieces: Iterable[bytes]) -> Needles:
    """Digest pieces of texts, of 8 or of 16 bytes each."""
    found = list(pieces)
    long, short = ([item for item in found if len(item) == size] for size in (WINDOW_BYTES, SHORT_BYTES))
    return Needles(_NONE, np.unique(digests(long, WINDOW_BYTES)), np.unique(digests(short, SHORT_BYTES)))


def distinctive(text: str, others: Iterable[str]) -> bytes | None:
    """Return 16 (or 8) bytes of a name that are in none of the others, with four digits at least.

    None where there are none: "run-0001" is part of "run-00012", and "recording" of half the texts there are.
    """
    name, rest = text.encode(), [item.encode() for item in others]
    for size in (WINDOW_BYTES, SHORT_BYTES):
        for start in range(len(name) - size, -1, -1):
            piece = name[start : start + size]
            if sum(byte in _DIGITS for byte in piece) >= _FEWEST_DIGITS and not any(piece in other for other in rest):
                return piece
    return None


def joined(parts: Sequence[Needles]) -> Needles:
    """Put needles together."""
    return Needles(
        *(
            np.unique(np.concatenate([np.zeros(0, np.uint64), *(getattr(part, name) for part in parts)]))
            for name in ("content", "texts", "short_texts")
        )
    )


def scan(folder: Path, needles: Needles, *, leave: Iterable[Path] = ()) -> tuple[list[Found], int]:
    """Look through every file below a folder, whatever it is.

    Args:
        folder: Where.
        needles: What for.
        leave: Folders below it that are not looked at.

    Returns:
        The files that hold a piece, and how many bytes were looked at.
    """
    skip, found, looked = [os.fspath(item) + os.sep for item in leave], [], 0
    sieves = _sieves(needles)
    for path in sorted(walk_files(folder)):
        if any(os.fspath(path).startswith(prefix) for prefix in skip):
            continue
        try:
            with path.open("rb") as stream:
                content, texts, size = _scan_blocks(iter(lambda: stream.read(_BLOCK_BYTES), b""), *sieves)
        except FileNotFoundError:  # a server's own file, gone while others were looked at
            continue
        looked += size
        if content or texts:
            found.append(Found(path, content, texts))
    return found, looked


def scan_objects(folder: ObjectPath, needles: Needles) -> tuple[list[str], int]:
    """Look through every object below a prefix of a bucket; return those that hold a piece, and the bytes looked at."""
    found, looked, sieves = [], 0, _sieves(needles)
    for path in sorted(objects.listed(folder)):
        content, texts, size = _scan_blocks(objects.blocks(path), *sieves)
        looked += size
        if content or texts:
            found.append(str(path))
    return found, looked


def _sieves(needles: Needles) -> tuple[Sieve, Sieve, Sieve]:
    return (
        Sieve.of(needles.content, WINDOW_BYTES),
        Sieve.of(needles.texts, WINDOW_BYTES),
        Sieve.of(needles.short_texts, SHORT_BYTES),
    )


def digests(pieces: Sequence[bytes], size: int) -> Digests:
    """Digest pieces of 16 or of 8 bytes, in their order."""
    if not pieces:
        return _NONE
    words = np.frombuffer(b"".join(pieces), "<u8").astype(np.uint64).reshape(len(pieces), size // 8)
    return _mix(words[:, 0], words[:, 1] if size == WINDOW_BYTES else None)


def _mix(first: Digests, second: Digests | None) -> Digests:
    mixed = first * _FIRST if second is None else first * _FIRST + second * _SECOND
    mixed ^= mixed >> np.uint64(33)
    return mixed * _SPREAD


@dataclass(frozen=True, slots=True)
class Sieve:
    """Needles of one size, with a table that says for a digest's first bits whether there may be one."""

    wanted: Digests
    size: int
    shift: np.uint64
    table: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, wanted: Digests, size: int) -> Sieve:
        """Make one for digests of pieces of 16 or of 8 bytes."""
        bits = min(max(_FILTER_BITS[0], (8 * len(wanted)).bit_length()), _FILTER_BITS[1])
        shift = np.uint64(64 - bits)
        table = np.zeros(1 << bits, dtype=np.bool_)
        table[wanted >> shift] = True
        return cls(np.sort(wanted), size, shift, table)

    def hits(self, data: bytes) -> int:
        """Count the offsets at which a needle lies."""
        return sum(len(places) for places in self._places(data))

    def found(self, data: bytes) -> Digests:
        """Return which needles lie at any offset."""
        return np.unique(np.concatenate([_NONE, *(self.wanted[places] for places in self._places(data))]))

    def _places(self, data: bytes) -> Iterator[npt.NDArray[np.intp]]:
        """Yield where in `wanted` the hits lie, for each of the eight ways to cut words."""
        if not len(self.wanted):
            return
        for offset in range(8):
            fit = (len(data) - offset) // 8
            if fit < self.size // 8:
                continue
            words: Digests = np.frombuffer(data, np.uint64, count=fit, offset=offset)
            mixed = _mix(words, None) if self.size == SHORT_BYTES else _mix(words[:-1], words[1:])
            maybe = mixed[self.table[mixed >> self.shift]]
            place = np.minimum(np.searchsorted(self.wanted, maybe), len(self.wanted) - 1)
            yield place[self.wanted[place] == maybe]


def _scan_blocks(blocks: Iterable[bytes], content: Sieve, texts: Sieve, short_texts: Sieve) -> tuple[int, int, int]:
    found = named = size = 0
    tail = b""
    for block in blocks:
        size += len(block)
        data = tail + block
        found += content.hits(data)
        named += texts.hits(data) + short_texts.hits(data)
        tail = data[-(WINDOW_BYTES - 1) :]
    return found, named, size

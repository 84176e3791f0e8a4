"""What a picture looks like, in 256 bits: nearly equal pictures have nearly equal bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from platform_lib.privacy.decoding import decode_picture

BITS = 256
_SIDE = 64
_FREQUENCIES = 16
_BANDS_AT_LEAST_BITS = 16
# Grey levels of spread under which a picture shows nothing: a covered lens, a black night. All of those look alike.
_FEATURELESS_STD = 2.0
_BLOCK = 2048
# Pairs looked at for the one figure that nothing depends on: about a second.
_COMPARED = 30_000_000

Words = npt.NDArray[np.uint64]


def fingerprint(jpeg: bytes) -> bytes | None:
    """Return a picture's perceptual hash, 32 bytes; None if it cannot be decoded or shows nothing.

    The signs, against their median, of the 16 x 16 lowest frequencies of the picture shrunk to 64 x 64 grey pixels.
    Source: C. Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), section 3.2.1,
    with 256 bits in place of 64: at 64 bits different pictures of one road fall together.
    """
    grey = decode_picture(jpeg, cv2.IMREAD_REDUCED_GRAYSCALE_2)
    if grey is not None and min(grey.shape) < _SIDE:
        grey = decode_picture(jpeg, cv2.IMREAD_GRAYSCALE)
    if grey is None:
        return None
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if float(small.std()) < _FEATURELESS_STD:
        return None
    low = cv2.dct(small)[:_FREQUENCIES, :_FREQUENCIES].reshape(-1)
    return bytes(np.packbits(low > np.median(low[1:])).tobytes())


def words_of(prints: Iterable[bytes | None]) -> tuple[Words, npt.NDArray[np.int64]]:
    """Return fingerprints as (N, 4) words, and which of the given ones (N,) they are; None is left out."""
    kept = [(row, value) for row, value in enumerate(prints) if value is not None]
    words = np.frombuffer(b"".join(value for _, value in kept), dtype=np.uint64).reshape(-1, BITS // 64)
    return words, np.array([row for row, _ in kept], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Alike:
    """Pairs of pictures of different owners that are nearly equal; K pairs, each once.

    Attributes:
        one: (K,) rows.
        other: (K,) rows.
        bits: (K,) in how many bits they differ.
    """

    one: npt.NDArray[np.int64]
    other: npt.NDArray[np.int64]
    bits: npt.NDArray[np.int64]


def alike(words: Words, owner: npt.NDArray[np.int64], *, max_bits: int) -> Alike:
    """Find every pair of different owners that differs in at most `max_bits` bits; none is missed.

    The 256 bits are cut into ``max_bits + 1`` bands: two prints that differ in no more bits than `max_bits` are equal
    in at least one band, so only prints that share a band are compared (Source: Norouzi, Punjani and Fleet, "Fast
    search in Hamming space with multi-index hashing", CVPR 2012, section 3).

    Args:
        words: (N, 4) from `words_of`.
        owner: (N,) what pairs are not looked for within, for example the drive.
        max_bits: At most 15, so that a band is wide enough to tell prints apart.

    Raises:
        ValueError: `max_bits` is out of range.
    """
    if not 0 <= max_bits < BITS // _BANDS_AT_LEAST_BITS:
        raise ValueError(f"{max_bits} bits are not searched for")
    found = [np.zeros((0, 3), dtype=np.int64)]
    bits = np.unpackbits(words.view(np.uint8), axis=1) if len(words) else np.zeros((0, BITS), dtype=np.uint8)
    for band in np.array_split(np.arange(BITS), max_bits + 1):
        key = bits[:, band].astype(np.int64) @ (1 << np.arange(len(band), dtype=np.int64))
        for rows in _shared(key, owner):
            found.extend(_pairs(words, owner, rows, max_bits))
    pairs = np.unique(np.concatenate(found), axis=0)
    return Alike(pairs[:, 0], pairs[:, 1], pairs[:, 2])


def _shared(key: npt.NDArray[np.int64], owner: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the rows of each key that more than one owner has."""
    order = np.argsort(key, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        if len(rows) > 1 and np.any(owner[rows] != owner[rows[0]]):
            yield rows


def _pairs(
    words: Words, owner: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], max_bits: int
) -> Iterator[npt.NDArray[np.int64]]:
    """Compare all rows with one another, in bounded memory."""
    for start in range(0, len(rows), _BLOCK):
        own = rows[start : start + _BLOCK]
        for again in range(start, len(rows), _BLOCK):
            other = rows[again : again + _BLOCK]
            bits = np.bitwise_count(words[own][:, None] ^ words[other][None]).sum(axis=2, dtype=np.int64)
            near = (bits <= max_bits) & (owner[own][:, None] != owner[other][None])
            left, right = np.nonzero(near)
            pair = np.sort(np.column_stack([own[left], other[right]]), axis=1)
            yield np.column_stack([pair, bits[left, right]])


def nearest_bits(words: Words, others: Words) -> int | None:
    """Return in how many bits the nearest two of (N, 4) and (M, 4) prints differ; None where that takes too long."""
    if not len(words) or not len(others) or len(words) * len(others) > _COMPARED:
        return None
    return min(int(np.bitwise_count(row[None] ^ others).sum(axis=1, dtype=np.int64).min()) for row in words)

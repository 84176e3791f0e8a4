"""Loops over bytes that numpy cannot express. Their callers have proven every index."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.compiled import compiled

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]


def weave(planes: Bytes) -> Values:
    """Return numbers from their bytes kept apart.

    Args:
        planes: (W, N) with W up to 8, least significant byte first.

    Returns:
        (N,) unsigned, of the smallest type that holds W bytes.
    """
    width, rows = planes.shape
    out = np.empty(rows, f"u{1 << (width - 1).bit_length()}")
    if width == 2:
        _weave2(planes, out)
    elif width == 4:
        _weave4(planes, out)
    elif width == 8:
        _weave8(planes, out)
    else:
        _weave(planes, out)
    return out


@compiled
def _weave2(planes: Bytes, out: Values) -> None:
    a, b = planes[0], planes[1]
    for row in range(out.size):
        out[row] = np.uint16(a[row]) | np.uint16(b[row]) << np.uint16(8)


@compiled
def _weave4(planes: Bytes, out: Values) -> None:
    a, b, c, d = planes[0], planes[1], planes[2], planes[3]
    for row in range(out.size):
        low = np.uint32(a[row]) | np.uint32(b[row]) << np.uint32(8)
        out[row] = low | np.uint32(c[row]) << np.uint32(16) | np.uint32(d[row]) << np.uint32(24)


@compiled
def _weave8(planes: Bytes, out: Values) -> None:
    a, b, c, d = planes[0], planes[1], planes[2], planes[3]
    e, f, g, h = planes[4], planes[5], planes[6], planes[7]
    for row in range(out.size):
        low = np.uint32(a[row]) | np.uint32(b[row]) << np.uint32(8)
        low = low | np.uint32(c[row]) << np.uint32(16) | np.uint32(d[row]) << np.uint32(24)
        high = np.uint32(e[row]) | np.uint32(f[row]) << np.uint32(8)
        high = high | np.uint32(g[row]) << np.uint32(16) | np.uint32(h[row]) << np.uint32(24)
        out[row] = np.uint64(low) | np.uint64(high) << np.uint64(32)


@compiled
def _weave(planes: Bytes, out: Values) -> None:
    for row in range(out.size):
        value = np.uint64(0)
        for byte in range(planes.shape[0]):
            value |= np.uint64(planes[byte, row]) << np.uint64(8 * byte)
        out[row] = value


def gather(data: Bytes, starts: Values, lengths: Values) -> Bytes:
    """Return the stretches of `data` that begin at `starts`, one after the other."""
    out = np.empty(int(lengths.sum()), np.uint8)
    _gather(data, starts, lengths, out)
    return out


@compiled
def _gather(data: Bytes, starts: Values, lengths: Values, out: Bytes) -> None:
    at = 0
    for row in range(starts.size):
        begin = starts[row]
        for byte in range(lengths[row]):
            out[at + byte] = data[begin + byte]
        at += lengths[row]


BROKEN, UNKNOWN = 1, 2
"""Why `walk` stopped before the end: a record that is not all there, an id that no group has."""


@compiled
def walk(data: Bytes, id_bytes: int, ids: Values, sizes: Values, rows: Values, taken: Values) -> tuple[int, int, int]:
    """Count the records of each group in mixed data.

    Args:
        data: Records, each its id, then its bytes, or for variable ones a 32-bit length and that many bytes.
        id_bytes: Bytes of an id.
        ids: (G,) uint64, the groups' ids.
        sizes: (G,) int64, bytes of a record without id; -1 for variable ones.
        rows: (G,) int64, grown by the records of each group.
        taken: (G,) int64, grown by their bytes without id.

    Returns:
        Where the first record that was not counted starts, why, and how many bytes it would take.
    """
    at = 0
    size = data.size
    while at + id_bytes <= size:
        group = _group(data, at, id_bytes, ids)
        if group < 0:
            return at, UNKNOWN, 0
        count = sizes[group]
        if count < 0:
            if at + id_bytes + 4 > size:
                return at, BROKEN, id_bytes + 4
            count = 4 + _length(data, at + id_bytes)
        if at + id_bytes + count > size:
            return at, BROKEN, id_bytes + count
        rows[group] += 1
        taken[group] += count
        at += id_bytes + count
    return at, 0 if at == size else BROKEN, id_bytes


@compiled
def extract(data: Bytes, id_bytes: int, ids: Values, sizes: Values, wanted: int, out: Bytes) -> int:
    """Copy one group's records, without ids, from mixed data that `walk` has gone through; return their bytes."""
    at, to = 0, 0
    while at + id_bytes <= data.size:
        group = _group(data, at, id_bytes, ids)
        if group < 0:
            return to
        at += id_bytes
        count = sizes[group]
        if count < 0:
            count = 4 + _length(data, at)
        if group == wanted:
            if at + count > data.size or to + count > out.size:
                return to
            for byte in range(count):
                out[to + byte] = data[at + byte]
            to += count
        at += count
    return to


@compiled
def _group(data: Bytes, at: int, id_bytes: int, ids: Values) -> int:
    number = np.uint64(0)
    for byte in range(id_bytes):
        number |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
    for group in range(ids.size):
        if ids[group] == number:
            return group
    return -1


@compiled
def _length(data: Bytes, at: int) -> int:
    length = 0
    for byte in range(3, -1, -1):
        length = length * 256 + data[at + byte]
    return length

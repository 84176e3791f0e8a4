"""Loops over bytes that numpy cannot express. Their callers have proven every index."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.logs.compiled import compiled

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

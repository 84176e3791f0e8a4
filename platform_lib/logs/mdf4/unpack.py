"""Records -> numbers: all columns in one walk over the records, as many at a time as the first cache holds.

Where the bytes of records are kept apart, one column after the other: each byte is needed once.
Compiled; the callers have proven every index.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.compiled import compiled, inner, soon_written
from platform_lib.logs.mdf4.numbers import FLOAT, WHOLE

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
_SCRATCH_ROWS = 1024
_TILE_BYTES = 32 << 10
_LINE_BYTES = 64
_WHOLE_ROWS = _LINE_BYTES  # of which a column of bytes fills a cache line
_WINDOW = np.dtype([("value", "<u8")])


def unpack(data: Bytes, fields: Values, at: Values, out: Bytes, *, planes: bool, first: int, rows: int) -> None:
    """Unpack numbers of records.

    Args:
        data: The records, contiguous: (N, record bytes), as planes (record bytes, N).
        fields: (F,) of `platform_lib.logs.mdf4.numbers.FIELD`.
        at: (F,) where the values of each start in `out`, counted in values of its size.
        out: Takes them.
        planes: Whether byte k of every record is in row k.
        first: The first wanted record.
        rows: How many.

    Raises:
        IndexError: A number lies past the end of its record.
    """
    size, across, step = (data.shape[0], data.shape[1], 1) if planes else (data.shape[1], 1, data.shape[1])
    if int((fields["byte"] + fields["count"]).max()) > size:
        raise IndexError("a number lies past the end of its record")
    flat = data.reshape(-1)
    # The eight bytes at every byte: in a structure, so that they are not taken to be aligned.
    eights: Values = np.ndarray((max(0, flat.size - 7),), _WINDOW, flat, 0, (1,))
    tile = max(1, rows) if planes else min(_SCRATCH_ROWS, max(1, _TILE_BYTES // step // _WHOLE_ROWS) * _WHOLE_ROWS)
    typed = [out.view(kind) for kind in (np.uint8, np.uint16, np.uint32, np.uint64, np.float32, np.float64)]
    _unpack(_read_only(flat), _read_only(eights), across, step, first, rows, tile, fields, at, *typed)


def _read_only(values: Values) -> Values:
    """Return a view that cannot be written to: compiled code has one version for those and one for others."""
    seen = values.view()
    seen.flags.writeable = False
    return seen


@compiled
def _unpack(
    data: Bytes, eights: Values, across: int, step: int, first: int, rows: int, tile: int, fields: Values, at: Values,
    u1: Values, u2: Values, u4: Values, u8: Values, f4: Values, f8: Values,
) -> None:  # fmt: skip
    raw = np.empty(_SCRATCH_ROWS, np.uint64)
    starts = np.arange(_SCRATCH_ROWS).astype(np.uint64) * np.uint64(step)
    for top in range(0, rows, tile):
        bottom = min(rows, top + tile)
        for number in range(fields.size):
            field = fields[number]
            for start in range(top, bottom, _SCRATCH_ROWS):
                count = min(_SCRATCH_ROWS, bottom - start)
                begin, to = (first + start) * step, np.uint64(at[number] + start)
                done = 0
                if across == 1 and number + 1 < fields.size:
                    size = fields[number + 1].size
                    _announce(u1, (at[number + 1] + start) * size, count * size)
                if across == 1 and field.count <= 8:
                    done = _read_eights(eights, begin + field.byte, step, starts, count, raw, field)
                if done < count:
                    _join(data, begin, across, step, done, count, raw, field)
                _write(raw, count, field, to, u1, u2, u4, u8, f4, f8)


@inner
def _write(
    raw: Values, count: int, field: Any, to: Any,
    u1: Values, u2: Values, u4: Values, u8: Values, f4: Values, f8: Values,
) -> None:  # fmt: skip
    if field.scaled == WHOLE:
        _convert(raw, count, f8, to, field)
        return
    _cut(raw, count, field)
    if field.size == 1:
        _put(raw, count, u1, to)
    elif field.size == 2:
        _put(raw, count, u2, to)
    elif field.size == 4:
        _put(raw, count, u4, to)
    else:
        _put(raw, count, u8, to)
    if field.scaled == FLOAT and field.size == 4:
        _scale(f4, to, count, np.float32(field.factor), np.float32(field.offset))
    elif field.scaled == FLOAT:
        _scale(f8, to, count, field.factor, field.offset)


@inner
def _announce(out: Bytes, start: int, count: int) -> None:
    """Have the cache lines fetched that the next number is written to; a fifth of unpacking would be waiting for them."""
    for byte in range(start, start + count, _LINE_BYTES):
        soon_written(out, byte)


@inner
def _read_eights(eights: Values, byte: int, step: int, starts: Values, count: int, raw: Values, field: Any) -> int:
    """Read numbers from the eight bytes at the first of each, where there are eight; return how many there were.

    What is above a number may be anything.
    """
    count = min(count, max(0, (eights.size - byte + step - 1) // step))
    for row in range(count):
        raw[row] = eights[np.uint64(byte) + starts[row]].value
    shift = np.uint64(field.shift)
    if field.big:
        odd, low = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
        shift += np.uint64(64 - 8 * field.count)
        for row in range(count):
            value = raw[row]
            value = (value & odd) << np.uint64(8) | value >> np.uint64(8) & odd
            value = (value & low) << np.uint64(16) | value >> np.uint64(16) & low
            raw[row] = (value << np.uint64(32) | value >> np.uint64(32)) >> shift
    elif shift:
        for row in range(count):
            raw[row] >>= shift
    return count


@inner
def _join(data: Bytes, begin: int, across: int, step: int, first: int, count: int, raw: Values, field: Any) -> None:
    """Join numbers of their bytes, wherever these are, from row `first` on."""
    lowest = begin + field.byte * across
    if field.big:
        lowest, across = lowest + (field.count - 1) * across, -across
    for row in range(first, count):
        raw[np.uint64(row)] = 0
    for at in range(field.count):
        shift = 8 * at - field.shift
        byte, up, down = np.uint64(lowest + at * across), np.uint64(max(0, shift)), np.uint64(max(0, -shift))
        if step == 1:
            _add(data, byte, first, count, raw, up, down)
            continue
        for row in range(first, count):
            place = byte + np.uint64(row) * np.uint64(step)
            raw[np.uint64(row)] |= np.uint64(data[place]) << up >> down


@inner
def _add(data: Bytes, byte: Any, first: int, count: int, raw: Values, up: Any, down: Any) -> None:
    """Put one byte of every number in its place: the same byte of all records, one after the other."""
    for row in range(first, count):
        raw[np.uint64(row)] |= np.uint64(data[byte + np.uint64(row)]) << up >> down


@inner
def _cut(raw: Values, count: int, field: Any) -> None:
    """Cut off what is above the number; with a sign, it becomes the sign."""
    unused = np.uint64(field.unused)
    if unused and field.signed:
        for row in range(count):
            raw[row] = np.uint64(np.int64(raw[row] << unused) >> np.int64(unused))
    elif unused:
        for row in range(count):
            raw[row] = raw[row] << unused >> unused


@inner
def _convert(raw: Values, count: int, out: Values, to: Any, field: Any) -> None:
    unused = np.uint64(field.unused)
    if field.signed:
        for row in range(count):
            value = np.int64(raw[row] << unused) >> np.int64(unused)
            out[to + np.uint64(row)] = np.float64(value) * field.factor + field.offset
    else:
        for row in range(count):
            out[to + np.uint64(row)] = np.float64(raw[row] << unused >> unused) * field.factor + field.offset


@inner
def _put(raw: Values, count: int, out: Values, to: Any) -> None:
    for row in range(count):
        out[to + np.uint64(row)] = raw[row]


@inner
def _scale(out: Values, to: Any, count: int, factor: Any, offset: Any) -> None:
    for row in range(count):
        out[to + np.uint64(row)] = out[to + np.uint64(row)] * factor + offset

"""Records -> numbers, from planes: byte k of every record in row k, whose loops the compiler makes vectors of.

Records that are stored one after the other are turned into planes first, as many at a time as a cache holds
and only the bytes that are asked for: that costs a tenth of a nanosecond a byte, and picking each number out of
its record several times as much. Compiled; the callers have proven every index.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from platform_lib.compiled import TURNED_BYTES, TURNED_ROWS, compiled, inner, turn
from platform_lib.logs.mdf4.numbers import FLOAT, WHOLE

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
_PIECE_ROWS = 4096
_TILE_BYTES = 400 << 10
_LINE_BYTES = 64


def unpack(data: Bytes, fields: Values, at: Values, out: Bytes, *, planes: bool, first: int, rows: int) -> None:
    """Unpack numbers of records.

    Args:
        data: The records, contiguous: (N, record bytes), as planes (record bytes, N).
        fields: (F,) of `platform_lib.logs.mdf4.numbers.FIELD`.
        at: (F,) where the values of each start in `out`, counted in values of its size.
        out: Takes them; a multiple of 8 bytes.
        planes: Whether byte k of every record is in row k.
        first: The first wanted record.
        rows: How many.

    Raises:
        IndexError: A number lies past the end of its record.
    """
    size = data.shape[0] if planes else data.shape[1]
    if int((fields["byte"] + fields["count"]).max()) > size:
        raise IndexError("a number lies past the end of its record")
    flat = data.reshape(-1)
    flat.flags.writeable = False  # compiled code has one version for what can be written to and one for others
    if planes:
        _from_planes(flat, data.shape[1], first, rows, fields, at, out)
    else:
        _from_rows(flat, size, first, rows, fields, at, out)


@compiled
def _from_planes(data: Bytes, width: int, first: int, rows: int, fields: Values, at: Values, out: Bytes) -> None:
    scratch = _views(np.empty(8 * _PIECE_ROWS, np.uint8))
    taken = _views(out)
    for number in range(fields.size):
        for start in range(0, rows, _PIECE_ROWS):
            count = min(_PIECE_ROWS, rows - start)
            _column(data, width, first + start, count, fields[number], at[number] + start, scratch, taken)


@compiled
def _from_rows(data: Bytes, step: int, first: int, rows: int, fields: Values, at: Values, out: Bytes) -> None:
    parts = _parts(fields, step)
    moved = fields.copy()
    for number in range(fields.size):
        part = np.searchsorted(parts, fields[number].byte // TURNED_BYTES)
        moved[number].byte = part * TURNED_BYTES + fields[number].byte % TURNED_BYTES
    height = parts.size * TURNED_BYTES
    tile = min(_PIECE_ROWS, max(1, _TILE_BYTES // (height * TURNED_ROWS)) * TURNED_ROWS)
    width = tile + _LINE_BYTES  # no power of two: the planes would share the cache's sets
    planes = np.empty(height * width, np.uint8)
    scratch = _views(np.empty(8 * tile, np.uint8))
    taken = _views(out)
    for top in range(0, rows, tile):
        count = min(tile, rows - top)
        for number in range(parts.size):
            place = (first + top) * step + parts[number] * TURNED_BYTES
            _turn(data, place, step, count, planes, number * TURNED_BYTES * width, width)
        for number in range(fields.size):
            _column(planes, width, 0, count, moved[number], at[number] + top, scratch, taken)


@compiled
def _views(data: Bytes) -> Any:
    """Return memory as numbers of every kind: made once, since making one costs as much as some hundred numbers."""
    unsigned = (data, data.view(np.uint16), data.view(np.uint32), data.view(np.uint64))
    signed = (data.view(np.int8), data.view(np.int16), data.view(np.int32), data.view(np.int64))
    return unsigned, signed, (data.view(np.float32), data.view(np.float64))


@compiled
def _parts(fields: Values, step: int) -> Values:
    """Return which runs of `TURNED_BYTES` bytes of a record hold a part of a number, in order."""
    needed = np.zeros(step // TURNED_BYTES + 1, np.bool_)
    for number in range(fields.size):
        field = fields[number]
        needed[field.byte // TURNED_BYTES] = True
        needed[(field.byte + field.count - 1) // TURNED_BYTES] = True
    return np.flatnonzero(needed)


@inner
def _turn(data: Bytes, place: int, step: int, rows: int, planes: Bytes, to: int, width: int) -> None:
    """Turn `TURNED_BYTES` bytes of every record into planes; what lies past the end of a record may be anything."""
    for row in range(0, rows, TURNED_ROWS):
        begin = place + row * step
        if row + TURNED_ROWS <= rows and begin + (TURNED_ROWS - 1) * step + TURNED_BYTES <= data.size:
            turn(data, np.uint64(begin), np.uint64(step), planes, np.uint64(to + row), np.uint64(width))
            continue
        for last in range(row, min(rows, row + TURNED_ROWS)):
            begin = place + last * step
            for byte in range(min(TURNED_BYTES, data.size - begin)):
                planes[to + byte * width + last] = data[begin + byte]


@inner
def _column(planes: Bytes, width: int, first: int, count: int, field: Any, to: int, scratch: Any, out: Any) -> None:
    """Read one number of `count` records; `scratch` and `out` are `_views`."""
    lowest, across, place = first + field.byte * width, width, np.uint64(to)
    if field.big:
        lowest, across = lowest + (field.count - 1) * width, -width
    if field.scaled == WHOLE:
        whole = field.shift == 0 and field.unused == 64 - 8 * field.count
    else:
        whole = field.shift == 0 and field.unused == 0 and field.size == field.count
    if not whole or field.count not in (1, 2, 4, 8):
        _odd(planes, lowest, across, count, field, place, scratch, out)
    elif field.scaled == WHOLE:
        _join(planes, lowest, across, count, field.count, scratch[0], np.uint64(0))
        _convert(scratch, count, field.count, out[2][1], place, field)
    else:
        _join(planes, lowest, across, count, field.count, out[0], place)
    if field.scaled == FLOAT and field.size == 4:
        _scale(out[2][0], place, count, np.float32(field.factor), np.float32(field.offset))
    elif field.scaled == FLOAT:
        _scale(out[2][1], place, count, field.factor, field.offset)


@inner
def _convert(scratch: Any, count: int, size: int, out: Values, to: Any, field: Any) -> None:
    """Scale whole numbers of `size` bytes."""
    factor, offset, (u1, u2, u4, u8), (i1, i2, i4, i8) = field.factor, field.offset, scratch[0], scratch[1]
    if size == 1 and field.signed:
        _scaled(i1, count, out, to, factor, offset)
    elif size == 1:
        _scaled(u1, count, out, to, factor, offset)
    elif size == 2 and field.signed:
        _scaled(i2, count, out, to, factor, offset)
    elif size == 2:
        _scaled(u2, count, out, to, factor, offset)
    elif size == 4 and field.signed:
        _scaled(i4, count, out, to, factor, offset)
    elif size == 4:
        _scaled(u4, count, out, to, factor, offset)
    elif field.signed:
        _scaled(i8, count, out, to, factor, offset)
    else:
        _scaled(u8, count, out, to, factor, offset)


# -- numbers of 1, 2, 4 or 8 whole bytes -------------------------------------------------------------------------------


@inner
def _join(planes: Bytes, lowest: int, across: int, count: int, size: int, out: Any, to: Any) -> None:
    if size == 1:
        _put(planes, np.uint64(lowest), count, out[0], to)
    elif size == 2:
        _join_2(planes, lowest, across, count, out[1], to)
    elif size == 4:
        _join_4(planes, lowest, across, count, out[2], to)
    else:
        _join_8(planes, lowest, across, count, out[3], to)


@inner
def _join_2(planes: Bytes, lowest: int, across: int, count: int, out: Values, to: Any) -> None:
    low, high = np.uint64(lowest), np.uint64(lowest + across)
    for row in range(count):
        at = np.uint64(row)
        out[to + at] = np.uint16(planes[low + at]) | np.uint16(planes[high + at]) << np.uint16(8)


@inner
def _join_4(planes: Bytes, lowest: int, across: int, count: int, out: Values, to: Any) -> None:
    a, b = np.uint64(lowest), np.uint64(lowest + across)
    c, d = np.uint64(lowest + 2 * across), np.uint64(lowest + 3 * across)
    for row in range(count):
        at = np.uint64(row)
        low = np.uint32(planes[a + at]) | np.uint32(planes[b + at]) << np.uint32(8)
        out[to + at] = low | np.uint32(planes[c + at]) << np.uint32(16) | np.uint32(planes[d + at]) << np.uint32(24)


@inner
def _join_8(planes: Bytes, lowest: int, across: int, count: int, out: Values, to: Any) -> None:
    for row in range(count):
        number = np.uint64(0)
        for byte in range(8):
            number |= np.uint64(planes[np.uint64(lowest + byte * across) + np.uint64(row)]) << np.uint64(8 * byte)
        out[to + np.uint64(row)] = number


# -- all others --------------------------------------------------------------------------------------------------------


@inner
def _odd(planes: Bytes, lowest: int, across: int, count: int, field: Any, to: Any, scratch: Any, out: Any) -> None:
    """Read numbers of any bits, of which bits may have to be cut off on both sides."""
    raw = scratch[0][3]
    for row in range(count):
        raw[np.uint64(row)] = 0
    for at in range(field.count):
        shift = 8 * at - field.shift
        _add(planes, np.uint64(lowest + at * across), count, raw, np.uint64(max(0, shift)), np.uint64(max(0, -shift)))
    _cut(raw, count, np.uint64(field.unused), field.signed)
    if field.scaled == WHOLE:
        _convert(scratch, count, 8, out[2][1], to, field)
    elif field.size == 1:
        _put(raw, np.uint64(0), count, out[0][0], to)
    elif field.size == 2:
        _put(raw, np.uint64(0), count, out[0][1], to)
    elif field.size == 4:
        _put(raw, np.uint64(0), count, out[0][2], to)
    else:
        _put(raw, np.uint64(0), count, out[0][3], to)


@inner
def _add(planes: Bytes, byte: Any, count: int, raw: Values, up: Any, down: Any) -> None:
    """Put one byte of every number in its place."""
    for row in range(count):
        raw[np.uint64(row)] |= np.uint64(planes[byte + np.uint64(row)]) << up >> down


@inner
def _cut(raw: Values, count: int, unused: Any, signed: Any) -> None:
    """Cut off what is above the number; with a sign, it becomes the sign."""
    if unused and signed:
        for row in range(count):
            raw[row] = np.uint64(np.int64(raw[row] << unused) >> np.int64(unused))
    elif unused:
        for row in range(count):
            raw[row] = raw[row] << unused >> unused


@inner
def _scaled(values: Values, count: int, out: Values, to: Any, factor: float, offset: float) -> None:
    for row in range(count):
        out[to + np.uint64(row)] = np.float64(values[np.uint64(row)]) * factor + offset


@inner
def _put(values: Values, begin: Any, count: int, out: Values, to: Any) -> None:
    for row in range(count):
        out[to + np.uint64(row)] = values[begin + np.uint64(row)]


@inner
def _scale(out: Values, to: Any, count: int, factor: Any, offset: Any) -> None:
    for row in range(count):
        out[to + np.uint64(row)] = out[to + np.uint64(row)] * factor + offset

"""A schema-driven, vectorised decoder of ROS messages: one column at a time over all payloads of a batch.

Every field is read for all messages at once: a cursor a message, aligned and moved by numpy, so that messages whose
strings differ in length cost no loop. Only sequences of messages that themselves vary in size loop, over the
longest sequence. Alignment is relative to the byte after the 4-byte encapsulation header.
Source: OMG DDS-XTypes 1.3, 7.4.1 (XCDR version 1); ROS 1 serialisation, http://wiki.ros.org/msg (2026-11-20).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs.model import unique
from platform_lib.logs.ros_schema import Array, Primitive, Struct, Text, Type, arrow_type, is_bytes, parse_definition

Index = npt.NDArray[np.int64]

_ENCAPSULATION_BYTES = 4
_BIG, _LITTLE = 0x0000, 0x0001
# Writers pad the payload to 4 bytes, some to 8; more than that after the last field is no padding.
_MOST_PADDING_BYTES = 7
_LIST_LIMIT = 2**31 - 1
# From this mean length on, copying row by row beats one gather with an 8-byte index for every byte.
_BLOB_BYTES = 64


@dataclass(slots=True)
class _Cursor:
    """Where each of M values starts: absolute byte positions in one buffer.

    Attributes:
        raw: The buffer, uint8.
        pos: The next byte to read, a value each; moved on by every read.
        origin: What alignment is relative to, a value each.
        end: One past the last byte of the payload, a value each.
        order: ``"<"`` or ``">"``.
        plain: ROS 1: no alignment, strings without a closing NUL.
    """

    raw: npt.NDArray[np.uint8]
    pos: Index
    origin: Index
    end: Index
    order: str
    plain: bool

    def part(self, chosen: npt.NDArray[Any]) -> _Cursor:
        return _Cursor(self.raw, self.pos[chosen], self.origin[chosen], self.end[chosen], self.order, plain=self.plain)

    def align(self, size_bytes: int) -> None:
        if not self.plain and size_bytes > 1:
            self.pos = self.pos + (self.origin - self.pos) % size_bytes

    def take(self, length_bytes: int | Index) -> Index:
        """Move every cursor by `length_bytes` and return where they were; refuse to pass the payload's end."""
        start = self.pos
        stop = start + length_bytes
        if bool(np.any(stop > self.end)):
            row = int(np.argmax(stop > self.end))
            raise CorruptLog(f"a message ends inside a field (row {row} of the batch)")
        self.pos = stop
        return start

    def numbers(self, kind: Primitive, count: int = 1) -> npt.NDArray[Any]:
        """Read `count` numbers a value: shape (M,) for one, else (M, count)."""
        size = kind.size_bytes
        self.align(size)
        start = self.take(size * count)
        dtype = np.dtype(self.order + ("u1" if kind.code == "b1" else kind.code))
        values = _gather(self.raw, start, dtype, count)
        values = values != 0 if kind.code == "b1" else values.astype(dtype.newbyteorder("="), copy=False)
        return values[:, 0] if count == 1 else values


def _gather(raw: npt.NDArray[np.uint8], start: Index, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
    width = dtype.itemsize * count
    if start.size == 0:
        return np.empty((0, count), dtype)
    # A view at every byte offset (stride 1), of which the wanted rows are copied out. `take` proved them inside.
    rows = raw.size - width + 1
    view = np.ndarray((rows, count), dtype, raw.data, 0, (1, dtype.itemsize))
    return view[start]


def _ranges(start: Index, length: Index) -> Index:
    """Return ``concatenate([arange(s, s + n) for s, n in zip(start, length)])``."""
    total = int(length.sum())
    if total > _LIST_LIMIT:
        raise UnsupportedLog(
            "more than 2 GiB of variable-length values in one batch", remedy="read it with decode=False"
        )
    ends = np.cumsum(length)
    steps: Index = np.arange(total, dtype=np.int64) + np.repeat(start - (ends - length), length)
    return steps


def _pieces(raw: npt.NDArray[np.uint8], start: Index, length: Index) -> npt.NDArray[np.uint8]:
    """Return the bytes ``raw[s : s + n]`` of every row, one after the other."""
    total = int(length.sum())
    if total < _BLOB_BYTES * length.size:
        return raw[_ranges(start, length)]
    if total > _LIST_LIMIT:
        raise UnsupportedLog("more than 2 GiB of blobs in one batch", remedy="read it with decode=False")
    view = memoryview(raw.data).cast("B")
    stop = start + length
    whole = b"".join(view[first:last] for first, last in zip(start.tolist(), stop.tolist(), strict=True))
    return np.frombuffer(whole, np.uint8)


def _offsets(length: Index) -> npt.NDArray[np.int32]:
    offsets = np.zeros(length.size + 1, np.int64)
    np.cumsum(length, out=offsets[1:])
    if int(offsets[-1]) > _LIST_LIMIT:
        raise UnsupportedLog("more than 2^31 list elements in one batch", remedy="read it with decode=False")
    return offsets.astype(np.int32)


_COUNT = Primitive("u4", pa.uint32())


def _read(kind: Type, cursor: _Cursor) -> pa.Array:
    match kind:
        case Primitive():
            return pa.array(cursor.numbers(kind), type=kind.arrow)
        case Text():
            return _read_text(cursor)
        case Struct():
            return _read_struct(kind, cursor)
        case Array():
            return _read_sequence(kind, cursor) if kind.count is None else _read_fixed_array(kind, kind.count, cursor)


def _read_struct(kind: Struct, cursor: _Cursor) -> pa.Array:
    rows = cursor.pos.size
    if not kind.fields:
        _read_empty(cursor)
        return pa.array([{}] * rows, type=pa.struct([]))
    columns = [_read(item, cursor) for _, item in kind.fields]
    return pa.StructArray.from_arrays(columns, fields=list(arrow_type(kind)))


def _read_empty(cursor: _Cursor) -> None:
    if not cursor.plain:  # CDR knows no empty struct: ROS 2 puts one byte in its place
        cursor.take(1)


def _read_text(cursor: _Cursor) -> pa.Array:
    length = cursor.numbers(_COUNT).astype(np.int64)
    start = cursor.take(length)
    if not cursor.plain:
        closed = length > 0
        if bool(np.any(cursor.raw[start[closed] + length[closed] - 1] != 0)):
            raise CorruptLog("a string does not end with NUL")
        length = length - closed
    data = _pieces(cursor.raw, start, length)
    array = pa.StringArray.from_buffers(length.size, pa.py_buffer(_offsets(length)), pa.py_buffer(data))
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        raise CorruptLog("a string is not UTF-8", remedy="read the payload with decode=False") from error
    return array


def _read_fixed_array(kind: Array, count: int, cursor: _Cursor) -> pa.Array:
    rows = cursor.pos.size
    if count == 0:
        return pa.array([b"" if is_bytes(kind) else []] * rows, type=arrow_type(kind))
    if isinstance(kind.item, Primitive):
        values = np.ascontiguousarray(cursor.numbers(kind.item, count)).reshape(rows * count)
        if is_bytes(kind):
            return pa.FixedSizeBinaryArray.from_buffers(pa.binary(count), rows, [None, pa.py_buffer(values)])
        return pa.FixedSizeListArray.from_arrays(pa.array(values, type=kind.item.arrow), count)
    steps = [_read(kind.item, cursor) for _ in range(count)]
    # Step-major to row-major: row r's element j is at j * rows + r.
    order = (np.arange(count) * rows + np.arange(rows)[:, None]).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.concat_arrays(steps).take(pa.array(order)), count)


def _read_sequence(kind: Array, cursor: _Cursor) -> pa.Array:
    length = cursor.numbers(_COUNT).astype(np.int64)
    left = cursor.end - cursor.pos
    if bool(np.any(length > left)):  # every element takes at least a byte
        if not (cursor.plain and _may_be_empty(kind.item)):
            raise CorruptLog("a sequence is longer than its message")
    item = kind.item
    if isinstance(item, Primitive):
        return _read_number_sequence(kind, item, length, cursor)
    if _is_fixed(item):
        elements, offsets = _read_regular(item, length, cursor), _offsets(length)
        return pa.ListArray.from_arrays(pa.array(offsets), elements)
    return _read_irregular(item, length, cursor)


def _may_be_empty(kind: Type) -> bool:
    return isinstance(kind, Struct) and not kind.fields


def _read_number_sequence(kind: Array, item: Primitive, length: Index, cursor: _Cursor) -> pa.Array:
    size = item.size_bytes
    filled = length > 0
    before = cursor.pos
    cursor.align(size)
    cursor.pos = np.where(filled, cursor.pos, before)  # an empty sequence has nothing to align
    start = cursor.take(length * size)
    data = _pieces(cursor.raw, start, length * size)
    if is_bytes(kind):
        offsets = _offsets(length)
        return pa.BinaryArray.from_buffers(pa.binary(), length.size, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    dtype = np.dtype(cursor.order + ("u1" if item.code == "b1" else item.code))
    values = data.view(dtype)
    values = values != 0 if item.code == "b1" else values.astype(dtype.newbyteorder("="), copy=False)
    return pa.ListArray.from_arrays(pa.array(_offsets(length)), pa.array(values, type=item.arrow))


def _is_fixed(kind: Type) -> bool:
    """Whether a value's size depends on nothing but where it starts, modulo 8."""
    match kind:
        case Primitive():
            return True
        case Text():
            return False
        case Array():
            return kind.count is not None and _is_fixed(kind.item)
        case Struct():
            return all(_is_fixed(item) for _, item in kind.fields)


def _end_of(kind: Type, at: int, *, plain: bool) -> int:
    """Return where a fixed value that starts at `at` ends."""
    match kind:
        case Primitive():
            size = kind.size_bytes
            return at + size + (0 if plain else -at % size)
        case Struct():
            if not kind.fields:
                return at + (0 if plain else 1)
            for _, item in kind.fields:
                at = _end_of(item, at, plain=plain)
            return at
        case Array() if isinstance(kind.item, Primitive) and kind.count:
            return _end_of(kind.item, at, plain=plain) + kind.item.size_bytes * (kind.count - 1)
        case Array():
            for _ in range(kind.count or 0):
                at = _end_of(kind.item, at, plain=plain)
            return at
        case Text():
            raise AssertionError("text has no fixed size")


def _read_regular(item: Type, length: Index, cursor: _Cursor) -> pa.Array:
    """Read sequences of fixed elements: find where every element starts, then read all of them at once."""
    sizes = np.array([_end_of(item, phase, plain=cursor.plain) - phase for phase in range(8)], np.int64)
    total = int(length.sum())
    starts = np.empty(total, np.int64)
    first = np.cumsum(length) - length
    here = cursor.pos.copy()
    for step in range(int(length.max(initial=0))):
        rows = np.flatnonzero(length > step)
        starts[first[rows] + step] = here[rows]
        here[rows] += sizes[(here[rows] - cursor.origin[rows]) % 8]
    cursor.take(here - cursor.pos)
    owner = np.repeat(np.arange(length.size), length)
    flat = _Cursor(cursor.raw, starts, cursor.origin[owner], cursor.end[owner], cursor.order, plain=cursor.plain)
    return _read(item, flat)


def _read_irregular(item: Type, length: Index, cursor: _Cursor) -> pa.Array:
    """Read sequences of elements that vary in size: element 0 of every row, then element 1, ..."""
    parts: list[pa.Array] = []
    places: list[Index] = []
    first = np.cumsum(length) - length
    for step in range(int(length.max(initial=0))):
        rows = np.flatnonzero(length > step)
        active = cursor.part(rows)
        parts.append(_read(item, active))
        places.append(first[rows] + step)
        cursor.pos = cursor.pos.copy()
        cursor.pos[rows] = active.pos
    offsets = pa.array(_offsets(length))
    if not parts:
        return pa.ListArray.from_arrays(offsets, pa.array([], type=arrow_type(item)))
    order = np.argsort(np.concatenate(places), kind="stable")
    return pa.ListArray.from_arrays(offsets, pa.concat_arrays(parts).take(pa.array(order)))


@dataclass(frozen=True, slots=True)
class MessageDecoder:
    """Decodes payloads of one message type.

    Attributes:
        root: The message's type.
        ros1: The payloads are ROS 1 serialisation (no header, no alignment), not CDR.
    """

    root: Struct
    ros1: bool = False

    def fields(self) -> list[pa.Field]:
        """Return the Arrow fields of the message, in order."""
        return [pa.field(name, arrow_type(item)) for name, item in self.root.fields]

    def decode(self, raw: npt.NDArray[np.uint8], start: Index, length: Index) -> list[pa.Array]:
        """Decode the payloads ``raw[start : start + length]``.

        Returns:
            One array a field, in the order of `fields`.

        Raises:
            CorruptLog: A payload does not fit the definition.
        """
        if self.ros1:
            return self._columns(_Cursor(raw, start, start, start + length, "<", plain=True))
        if bool(np.any(length < _ENCAPSULATION_BYTES)):
            raise CorruptLog("a CDR payload is shorter than its 4-byte header")
        kinds = raw[start].astype(np.int64) << 8 | raw[start + 1]
        body, end = start + _ENCAPSULATION_BYTES, start + length
        if bool(np.all(kinds == kinds[:1])):
            return self._columns(_Cursor(raw, body, body, end, _order(kinds), plain=False))
        parts, places = [], []
        for kind in np.unique(kinds):
            rows = np.flatnonzero(kinds == kind)
            part = _Cursor(raw, body[rows], body[rows], end[rows], _order(kinds[rows]), plain=False)
            parts.append(self._columns(part))
            places.append(rows)
        order = pa.array(np.argsort(np.concatenate(places), kind="stable"))
        return [pa.concat_arrays(list(pieces)).take(order) for pieces in zip(*parts, strict=True)]

    def _columns(self, cursor: _Cursor) -> list[pa.Array]:
        if not self.root.fields:
            _read_empty(cursor)
        columns = [_read(item, cursor) for _, item in self.root.fields]
        left = cursor.end - cursor.pos
        most = 0 if cursor.plain else _MOST_PADDING_BYTES
        if bool(np.any(left > most)):
            row = int(np.argmax(left > most))
            raise CorruptLog(
                f"{int(left[row])} bytes follow the last field (row {row} of the batch): another definition"
            )
        return columns


def _order(kinds: Index) -> str:
    kind = int(kinds[0]) if kinds.size else _LITTLE
    if kind not in (_BIG, _LITTLE):
        raise UnsupportedLog(f"a CDR representation 0x{kind:04x}; 0 and 1 (plain CDR) are read")
    return "<" if kind == _LITTLE else ">"


@lru_cache(maxsize=256)
def message_decoder(message_type: str, schema_text: str, *, ros1: bool = False) -> MessageDecoder:
    """Return the decoder of a message definition, parsed once.

    Raises:
        UnsupportedLog: The definition holds something that is not decoded.
    """
    return MessageDecoder(parse_definition(message_type, schema_text, ros1=ros1), ros1=ros1)


def decode_payloads(message_type: str, schema_text: str, payloads: Iterable[bytes]) -> pa.RecordBatch:
    """Decode payloads of one type into one batch; see `platform_lib.logs.decode_cdr`."""
    decoder = message_decoder(message_type, schema_text)
    parts = list(payloads)
    length = np.array([len(part) for part in parts], np.int64)
    raw = np.frombuffer(b"".join(parts), np.uint8)
    columns = decoder.decode(raw, np.cumsum(length) - length, length)
    fields = decoder.fields()
    names = unique([field.name for field in fields])
    schema = pa.schema([field.with_name(name) for field, name in zip(fields, names, strict=True)])
    return pa.RecordBatch.from_arrays(columns, schema=schema)


Decode = Callable[[npt.NDArray[np.uint8], Index, Index], list[pa.Array]]

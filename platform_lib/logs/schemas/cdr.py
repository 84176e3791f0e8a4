"""A schema-driven, vectorised decoder of ROS messages: one column at a time over all payloads of a batch.

Every field is read for all messages at once, so that messages whose strings differ in length cost no loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.model import unique
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.cursor import Cursor, Nearby, Wire, native
from platform_lib.logs.schemas.faulty import FaultyPayload
from platform_lib.logs.schemas.idl import parse_idl
from platform_lib.logs.schemas.kinds import (
    UINT16,
    UINT32,
    Array,
    Primitive,
    Struct,
    Text,
    Type,
    arrow_field,
    arrow_type,
    is_bytes,
)
from platform_lib.logs.schemas.memory import Index, Memory
from platform_lib.logs.schemas.rosmsg import parse_definition
from platform_lib.logs.schemas.walk import least_bytes, program

_ENCAPSULATION_BYTES = 4
_ORDERS = {0x0000: ">", 0x0001: "<"}
# Source: OMG DDS-XTypes 1.3, table 59 (encapsulation identifiers).
_OTHERS = {
    0x0002: "parameter list CDR",
    0x0003: "parameter list CDR",
    0x0006: "XCDR version 2",
    0x0007: "XCDR version 2",
    0x0008: "delimited XCDR version 2",
    0x0009: "delimited XCDR version 2",
    0x000A: "parameter list XCDR version 2",
    0x000B: "parameter list XCDR version 2",
}
# Writers pad the payload to 4 bytes, some to 8; more than that after the last field is no padding.
_MOST_PADDING_BYTES = 7
_LIST_LIMIT = 2**31 - 1
# Definitions that nest types in each other multiply; real ones have some hundred parts.
_MOST_PARTS = 100_000
# Messages without fields take no bytes in ROS 1, so their number proves nothing.
_MOST_EMPTY = 1 << 16


def _offsets(length: Index) -> npt.NDArray[np.int32]:
    offsets = np.zeros(length.size + 1, np.int64)
    np.cumsum(length, out=offsets[1:])
    if int(offsets[-1]) > _LIST_LIMIT:
        raise UnsupportedLog("more than 2^31 list elements in one batch", remedy="read it with decode=False")
    return offsets.astype(np.int32)


def _read(kind: Type, cursor: Cursor) -> pa.Array:
    match kind:
        case Primitive():
            return pa.array(cursor.numbers(kind), type=kind.arrow)
        case Text():
            return _read_wide_text(cursor) if kind.wide else _read_text(cursor)
        case Struct():
            return _read_struct(kind, cursor)
        case Array():
            return _read_sequence(kind, cursor) if kind.count is None else _read_fixed_array(kind, kind.count, cursor)


def _read_struct(kind: Struct, cursor: Cursor) -> pa.Array:
    if not kind.fields:
        _read_empty(cursor)
        return pa.array([{}] * cursor.rows, type=pa.struct([]))
    columns = [_read(item, cursor) for _, item in kind.fields]
    return pa.StructArray.from_arrays(columns, fields=list(arrow_type(kind)))


def _read_empty(cursor: Cursor) -> None:
    if not cursor.wire.plain:  # CDR knows no empty struct: ROS 2 puts one byte in its place
        cursor.take(1)


def _read_text(cursor: Cursor) -> pa.Array:
    length = cursor.length()
    data = cursor.bytes(length)
    if not cursor.wire.plain:
        ends = np.cumsum(length) - 1
        closed = length > 0
        last = np.zeros(length.size, np.uint8)
        last[closed] = data[ends[closed]]
        cursor.fail(last != 0, "a string does not end with NUL")
        keep = np.ones(data.size, bool)
        keep[ends[closed]] = False
        data, length = data[keep], length - closed
    array = pa.StringArray.from_buffers(length.size, pa.py_buffer(_offsets(length)), pa.py_buffer(data))
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        cursor.fail(_not_utf8(data, length), "a string is not UTF-8", "read the payload with decode=False")
        raise
    return array


def _not_utf8(data: npt.NDArray[np.uint8], length: Index) -> npt.NDArray[np.bool_]:
    bad = np.zeros(length.size, bool)
    stops = np.cumsum(length).tolist()
    for row, (stop, size) in enumerate(zip(stops, length.tolist(), strict=True)):
        try:
            data[stop - size : stop].tobytes().decode()
        except UnicodeDecodeError:
            bad[row] = True
            break
    return bad


def _read_wide_text(cursor: Cursor) -> pa.Array:
    """Read wstrings: UTF-16 units, each in 4 bytes and counted, or each in 2 bytes whose bytes are counted.

    ROS 2's middlewares write either (Fast CDR 1 and Cyclone DDS the first, Fast CDR 2 the second). No unit is NUL, so
    text of the second form, read as the first, has values that no unit has.
    """
    length = cursor.length()
    for size, kind in ((4, UINT32), (2, UINT16)):
        needed = length * 4 if size == 4 else length
        if bool((needed > cursor.left).any()) or bool((needed % size).any()):
            continue
        data = cursor.peek(needed)
        units = native(data.view(np.dtype(cursor.wire.order + kind.code)), kind)
        if bool(((units == 0) | (units > 0xFFFF)).any()):
            continue
        cursor.take(needed)
        return _from_utf16(units.astype("<u2").tobytes(), needed // size, cursor)
    cursor.fail(np.ones(cursor.rows, bool), "a wstring is neither of the two forms that ROS 2 writes")
    return pa.array([], type=pa.string())


def _from_utf16(data: bytes, units: Index, cursor: Cursor) -> pa.Array:
    texts: list[str] = []
    stops = (2 * np.cumsum(units)).tolist()
    for row, (stop, count) in enumerate(zip(stops, units.tolist(), strict=True)):
        try:
            texts.append(data[stop - 2 * count : stop].decode("utf-16-le"))
        except UnicodeDecodeError:
            cursor.fail(np.arange(cursor.rows) == row, "a wstring is not UTF-16")
    return pa.array(texts, type=pa.string())


def _read_fixed_array(kind: Array, count: int, cursor: Cursor) -> pa.Array:
    rows = cursor.rows
    if count == 0:
        return pa.array([b"" if is_bytes(kind) else []] * rows, type=arrow_type(kind))
    if isinstance(kind.item, Primitive):
        values = np.ascontiguousarray(cursor.numbers(kind.item, count)).reshape(rows * count)
        if is_bytes(kind):
            return pa.FixedSizeBinaryArray.from_buffers(pa.binary(count), rows, [None, pa.py_buffer(values)])
        return pa.FixedSizeListArray.from_arrays(pa.array(values, type=kind.item.arrow), type=arrow_type(kind))
    steps = [_read(kind.item, cursor) for _ in range(count)]
    # Step-major to row-major: row r's element j is at j * rows + r.
    order = (np.arange(count) * rows + np.arange(rows)[:, None]).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.concat_arrays(steps).take(pa.array(order)), type=arrow_type(kind))


def _read_sequence(kind: Array, cursor: Cursor) -> pa.Array:
    length = cursor.length()
    least = least_bytes(kind.item, plain=cursor.wire.plain)
    most = cursor.left // least if least else _MOST_EMPTY
    cursor.fail(length > most, "a sequence is longer than its message")
    if isinstance(kind.item, Primitive):
        return _read_number_sequence(kind, kind.item, length, cursor)
    offsets = pa.array(_offsets(length))
    return _list(kind, offsets, _elements(kind.item, length, cursor))


def _list(kind: Array, offsets: pa.Array, values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(offsets, values, type=arrow_type(kind))


def _read_number_sequence(kind: Array, item: Primitive, length: Index, cursor: Cursor) -> pa.Array:
    cursor.align(item.size_bytes, length > 0)  # an empty sequence has nothing to align
    data = cursor.bytes(length * item.size_bytes)
    offsets = _offsets(length)
    if is_bytes(kind):
        return pa.BinaryArray.from_buffers(pa.binary(), length.size, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    values = native(data.view(np.dtype(cursor.wire.order + ("u1" if item.code == "b1" else item.code))), item)
    return _list(kind, pa.array(offsets), pa.array(values, type=item.arrow))


def _elements(item: Type, length: Index, cursor: Cursor) -> pa.Array:
    """Read the elements of sequences: pass over them, then read all of them at once."""
    steps = program(item, plain=cursor.wire.plain)
    if steps is None:
        return _elements_in_turn(item, length, cursor)
    starts = cursor.walk(steps, length, np.empty(int(length.sum()), np.int64))
    return _read(item, cursor.part(np.repeat(np.arange(length.size), length), starts))


def _elements_in_turn(item: Type, length: Index, cursor: Cursor) -> pa.Array:
    """Read the elements of sequences: element 0 of every row, then element 1, ..."""
    parts: list[pa.Array] = []
    places: list[Index] = []
    first = np.cumsum(length) - length
    for step in range(int(length.max(initial=0))):
        rows = np.flatnonzero(length > step)
        active = cursor.part(rows)
        parts.append(_read(item, active))
        places.append(first[rows] + step)
        cursor.move(active.pos, rows)
    if not parts:
        return pa.array([], type=arrow_type(item))
    order = np.argsort(np.concatenate(places), kind="stable")
    return pa.concat_arrays(parts).take(pa.array(order))


def _skip(kind: Type, cursor: Cursor) -> None:
    """Pass a value that nobody asked for."""
    if isinstance(kind, Array) and kind.count is None and isinstance(kind.item, Primitive):
        length = cursor.length()
        cursor.align(kind.item.size_bytes, length > 0)
        cursor.skip(length * kind.item.size_bytes)
        return
    steps = program(kind, plain=cursor.wire.plain)
    if steps is None:
        _read(kind, cursor)
    else:
        cursor.walk(steps, np.ones(cursor.rows, np.int64), np.empty(0, np.int64))


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
        return [arrow_field(name, item) for name, item in self.root.fields]

    def decode(self, payloads: Payloads, wanted: Sequence[int] | None = None) -> list[pa.Array]:
        """Decode payloads.

        Args:
            payloads: One message each.
            wanted: Which fields, by number, ascending; all by default. The others are passed over, and what comes
                after the last wanted one may not be looked at.

        Returns:
            One array a wanted field, in the order of `fields`.

        Raises:
            FaultyPayload: A payload does not fit the definition.
        """
        chosen = frozenset(range(len(self.root.fields)) if wanted is None else wanted)
        memory, start = Memory.of(payloads)
        # Of large payloads no more than what is wanted is looked at; to look at all of a small one costs nothing.
        stop = max(chosen, default=-1) + 1 if memory.scattered else len(self.root.fields)
        end = start + payloads.length
        if self.ros1:
            return self._columns(Cursor(memory, Wire("<", plain=True), start, end), chosen, stop)
        short = payloads.length < _ENCAPSULATION_BYTES
        if bool(short.any()):
            raise FaultyPayload.at(int(np.argmax(short)), "a CDR payload is shorter than its 4-byte header")
        head = memory.gather(start, np.dtype(np.uint8), 2).astype(np.int64)
        kinds = head[:, 0] << 8 | head[:, 1]
        body = start + _ENCAPSULATION_BYTES
        if bool((kinds == kinds[:1]).all()):
            wire = _wire(int(kinds[0]) if kinds.size else 1)
            return self._columns(Cursor(memory, wire, body, end), chosen, stop)
        return self._mixed(memory, kinds, body, end, chosen, stop)

    def _mixed(
        self, memory: Memory, kinds: Index, body: Index, end: Index, chosen: frozenset[int], stop: int
    ) -> list[pa.Array]:
        parts, places = [], []
        for kind in np.unique(kinds).tolist():
            rows = np.flatnonzero(kinds == kind)
            whole = Cursor(memory, _wire(kind), body, end)
            parts.append(self._columns(whole.part(rows), chosen, stop))
            places.append(rows)
        order = pa.array(np.argsort(np.concatenate(places), kind="stable"))
        return [pa.concat_arrays(list(pieces)).take(order) for pieces in zip(*parts, strict=True)]

    def _columns(self, cursor: Cursor, chosen: frozenset[int], stop: int) -> list[pa.Array]:
        if not self.root.fields:
            _read_empty(cursor)
        columns = []
        nearby = Nearby(cursor)
        for number, (_, item) in enumerate(self.root.fields[:stop]):
            if number in chosen:
                columns.append(nearby.read(partial(_read, item)))
            else:
                nearby.read(partial(_skip, item))
        if stop == len(self.root.fields):
            most = 0 if cursor.wire.plain else _MOST_PADDING_BYTES
            cursor.fail(cursor.left > most, "bytes follow the last field: another definition")
        return columns


def _wire(kind: int) -> Wire:
    if kind not in _ORDERS:
        name = _OTHERS.get(kind, "an unknown encapsulation")
        raise UnsupportedLog(f"a CDR representation 0x{kind:04x} ({name}); 0 and 1 (plain CDR) are read")
    return Wire(_ORDERS[kind])


@lru_cache(maxsize=256)
def message_decoder(message_type: str, schema_text: str, encoding: str = "ros2msg") -> MessageDecoder:
    """Return the decoder of a message definition, parsed once.

    Args:
        message_type: The root type.
        schema_text: The definition with its dependencies.
        encoding: ``ros2msg``, ``ros1msg``, ``ros2idl`` or ``omgidl``.

    Raises:
        UnsupportedLog: The definition holds something that is not decoded.
    """
    ros1 = encoding == "ros1msg"
    if encoding in ("ros2idl", "omgidl"):
        root = parse_idl(message_type, schema_text)
    else:
        root = parse_definition(message_type, schema_text, ros1=ros1)
    if _parts(root, {}) > _MOST_PARTS:
        raise UnsupportedLog(f"the definition of '{message_type}' nests to more than {_MOST_PARTS} parts")
    return MessageDecoder(root, ros1=ros1)


def _parts(kind: Type, known: dict[int, int]) -> int:
    """Count the values that are read one by one; a type that occurs twice is counted twice but visited once."""
    if id(kind) not in known:
        match kind:
            case Struct():
                known[id(kind)] = 1 + sum(_parts(item, known) for _, item in kind.fields)
            case Array() if not isinstance(kind.item, Primitive):
                known[id(kind)] = 1 + _parts(kind.item, known) * (1 if kind.count is None else kind.count)
            case _:
                known[id(kind)] = 1
    return known[id(kind)]


def decode_payloads(message_type: str, schema_text: str, payloads: Iterable[bytes]) -> pa.RecordBatch:
    """Decode payloads of one type into one batch; see `platform_lib.logs.decode_cdr`."""
    decoder = message_decoder(message_type, schema_text)
    columns = decoder.decode(Payloads.of(list(payloads)))
    fields = decoder.fields()
    names = unique([field.name for field in fields])
    schema = pa.schema([field.with_name(name) for field, name in zip(fields, names, strict=True)])
    return pa.RecordBatch.from_arrays(columns, schema=schema)

"""A schema-driven, vectorised decoder of ROS messages: one column at a time over all payloads of a batch.

Every field is read for all messages at once, so that messages whose strings differ in length cost no loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    Extensibility,
    Primitive,
    Struct,
    Text,
    Type,
    Union,
    arrow_field,
    arrow_type,
    is_bytes,
)
from platform_lib.logs.schemas.memory import Index, Memory
from platform_lib.logs.schemas.rosmsg import parse_definition
from platform_lib.logs.schemas.walk import least_bytes, program

_ENCAPSULATION_BYTES = 4
_ANOTHER_LENGTH = "a value is not as long as it says: another definition"
# Encapsulation identifiers. Source: OMG DDS-XTypes 1.3, table 60.
_FORMS: tuple[tuple[int, int, Extensibility, Extensibility], ...] = (
    (0x0000, 1, "final", "final"),
    (0x0006, 2, "final", "final"),
    (0x0008, 2, "appendable", "appendable"),
    (0x000A, 2, "mutable", "appendable"),
)
_WIRES = {
    first + little: Wire("<" if little else ">", version=version, root=root, extensibility=inner)
    for first, version, root, inner in _FORMS
    for little in (0, 1)
}
_MEMBER_ID = 0x0FFF_FFFF
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
    if not cursor.wire.delimited(kind):
        return _read_value(kind, cursor)
    stop = cursor.delimiter()
    if isinstance(kind, Struct) and cursor.wire.grows(kind) == "mutable":
        return _structs(kind, _read_members(kind, range(len(kind.fields)), stop, cursor), cursor.rows)
    values = _read_value(kind, cursor)
    cursor.fail(cursor.pos != stop, _ANOTHER_LENGTH)
    return values


def _read_value(kind: Type, cursor: Cursor) -> pa.Array:
    match kind:
        case Primitive():
            return pa.array(cursor.numbers(kind), type=kind.arrow)
        case Text():
            return _read_wide_text(cursor) if kind.wide else _read_text(cursor)
        case Struct():
            return _read_struct(kind, cursor)
        case Union():
            return _read_union(kind, cursor)
        case Array():
            return _read_sequence(kind, cursor) if kind.count is None else _read_fixed_array(kind, kind.count, cursor)


def _read_struct(kind: Struct, cursor: Cursor) -> pa.Array:
    if not kind.fields:
        _read_empty(cursor)
    return _structs(kind, [_read(item, cursor) for _, item in kind.fields], cursor.rows)


def _structs(kind: Struct | Union, columns: list[pa.Array], rows: int) -> pa.Array:
    if not columns:
        return pa.array([{}] * rows, type=pa.struct([]))
    return pa.StructArray.from_arrays(columns, fields=list(arrow_type(kind)))


def _read_union(kind: Union, cursor: Cursor) -> pa.Array:
    tag = cursor.numbers(kind.tag)
    named = [label for _, _, labels in kind.cases for label in labels or ()]
    columns = [pa.array(tag, type=kind.tag.arrow)]
    for _, item, labels in kind.cases:
        mine = np.isin(tag, named, invert=True) if labels is None else np.isin(tag, labels)
        rows = np.flatnonzero(mine)
        chosen = cursor.part(rows)
        values = _read(item, chosen) if rows.size else pa.array([], type=arrow_type(item))
        cursor.move(chosen.pos, rows)
        columns.append(values.take(pa.array(np.cumsum(mine) - 1, mask=~mine)))
    return _structs(kind, columns, cursor.rows)


def _read_members(kind: Struct, chosen: Sequence[int], stop: Index, cursor: Cursor) -> list[pa.Array]:
    """Read members that lie in any order up to `stop`, each behind its id and length."""
    start, size = _member_places(kind, stop, cursor)
    columns = []
    for number in chosen:
        name, item = kind.fields[number]
        cursor.fail(start[number] < 0, f"a message lacks its member '{name}'")
        member = cursor.part(np.arange(cursor.rows), start[number])
        columns.append(_read(item, member))
        member.fail(member.pos != start[number] + size[number], _ANOTHER_LENGTH)
    return columns


def _member_places(kind: Struct, stop: Index, cursor: Cursor) -> tuple[Index, Index]:
    """Return where each member starts and how long it is: (members, rows), -1 where it is not there."""
    ids = np.array(kind.ids or range(len(kind.fields)), np.int64)
    start, size = np.full((ids.size, cursor.rows), -1), np.full((ids.size, cursor.rows), 0)
    rows = np.flatnonzero(cursor.pos < stop)
    while rows.size:
        one = cursor.part(rows)
        head = one.numbers(UINT32).astype(np.int64)
        at, length = _member_extent(head >> 28 & 7, one)
        one.fail(at + length > stop[rows], "a member passes its message's end")
        known = head & _MEMBER_ID == ids[:, None]
        one.fail(~known.any(axis=0), "a member has an id that the definition lacks")
        number = known.argmax(axis=0)
        one.fail(start[number, rows] >= 0, "a member is there twice")
        start[number, rows], size[number, rows] = at, length
        cursor.move(at + length, rows)
        cursor.align(4, (cursor.pos < stop) & np.isin(np.arange(cursor.rows), rows))
        rows = np.flatnonzero(cursor.pos < stop)
    cursor.fail(cursor.pos != stop, _ANOTHER_LENGTH)
    return start, size


def _member_extent(code: Index, cursor: Cursor) -> tuple[Index, Index]:
    """Return where the members behind the current headers start, and how long they are.

    Source: OMG DDS-XTypes 1.3, 7.4.3.4.2: a length code below 4 means 1, 2, 4, 8 bytes; 4 is followed by the length; 5
    to 7 too, in units of 1, 4 and 8 bytes, as a number that is the member's own first one.
    """
    length = np.left_shift(1, np.minimum(code, 3))
    at = cursor.pos.copy()
    rows = np.flatnonzero(code >= 4)
    if rows.size:
        following = cursor.part(rows)
        count = following.length()
        own = 4 * (code[rows] >= 5)
        length[rows] = count * np.array([1, 1, 4, 8])[code[rows] - 4] + own
        at[rows] = following.pos - own
    return at, length


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
    forms = ((4, UINT32), (2, UINT16)) if cursor.wire.version == 1 else ((2, UINT16),)  # version 2 has one form only
    for size, kind in forms:
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
    if data.ctypes.data % item.size_bytes:
        data = data.copy()  # Arrow wants numbers aligned
    values = native(data.view(np.dtype(cursor.wire.order + ("u1" if item.code == "b1" else item.code))), item)
    return _list(kind, pa.array(offsets), pa.array(values, type=item.arrow))


def _elements(item: Type, length: Index, cursor: Cursor) -> pa.Array:
    """Read the elements of sequences: pass over them, then read all of them at once."""
    steps = program(item, cursor.wire)
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
    if isinstance(kind, Array) and kind.count is None and not cursor.wire.delimited(kind):
        item = kind.item
        if isinstance(item, Primitive):
            length = cursor.length()
            cursor.align(item.size_bytes, length > 0)  # an empty sequence has nothing to align
            cursor.skip(length * item.size_bytes)
            return
    steps = program(kind, cursor.wire)
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
        mutable: What of it is mutable, which XCDR version 1 writes in a way that is not read; ``""`` for nothing.
    """

    root: Struct
    ros1: bool = False
    mutable: str = ""

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
            wire = self._wire(int(kinds[0]) if kinds.size else 1)
            return self._columns(Cursor(memory, wire, body, end), chosen, stop)
        return self._mixed(memory, kinds, body, end, chosen, stop)

    def _mixed(
        self, memory: Memory, kinds: Index, body: Index, end: Index, chosen: frozenset[int], stop: int
    ) -> list[pa.Array]:
        parts, places = [], []
        for kind in np.unique(kinds).tolist():
            rows = np.flatnonzero(kinds == kind)
            whole = Cursor(memory, self._wire(kind), body, end)
            parts.append(self._columns(whole.part(rows), chosen, stop))
            places.append(rows)
        order = pa.array(np.argsort(np.concatenate(places), kind="stable"))
        return [pa.concat_arrays(list(pieces)).take(order) for pieces in zip(*parts, strict=True)]

    def _wire(self, kind: int) -> Wire:
        if kind not in _WIRES:
            name = "parameter list CDR" if kind in (2, 3) else "an unknown encapsulation"
            raise UnsupportedLog(f"a CDR representation 0x{kind:04x} ({name}); 0, 1 and 6 to 11 are read")
        wire = _WIRES[kind]
        if wire.version == 1 and self.mutable:
            raise UnsupportedLog(f"'{self.mutable}', a mutable type in XCDR version 1; in version 2 it would be read")
        return wire

    def _columns(self, cursor: Cursor, chosen: frozenset[int], stop: int) -> list[pa.Array]:
        """Read the root's fields. Whether it is delimited the encapsulation says, whatever the definition."""
        wire = cursor.wire
        if wire.root == "final":
            columns = self._in_turn(cursor, chosen, stop)
        else:
            end = cursor.delimiter()
            if wire.root == "mutable":
                columns = _read_members(self.root, sorted(chosen), end, cursor)
            else:
                columns = self._in_turn(cursor, chosen, stop)
                cursor.fail((cursor.pos != end) if stop == len(self.root.fields) else cursor.pos > end, _ANOTHER_LENGTH)
        if stop == len(self.root.fields):
            most = 0 if wire.plain else _MOST_PADDING_BYTES
            cursor.fail(cursor.left > most, "bytes follow the last field: another definition")
        return columns

    def _in_turn(self, cursor: Cursor, chosen: frozenset[int], stop: int) -> list[pa.Array]:
        if not self.root.fields:
            _read_empty(cursor)
        columns = []
        nearby = Nearby(cursor)
        for number, (_, item) in enumerate(self.root.fields[:stop]):
            if number in chosen:
                columns.append(nearby.read(partial(_read, item)))
            else:
                nearby.read(partial(_skip, item))
        return columns


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
    mutable = (item.name for item in _structs_of(root, set()) if item.extensibility == "mutable")
    return MessageDecoder(root, ros1=ros1, mutable=next(mutable, ""))


def _structs_of(kind: Type, seen: set[int]) -> Iterator[Struct]:
    """Yield the structs of a type, itself among them, each once."""
    if id(kind) in seen:
        return
    seen.add(id(kind))
    match kind:
        case Struct():
            yield kind
            for _, item in kind.fields:
                yield from _structs_of(item, seen)
        case Union():
            for _, item, _ in kind.cases:
                yield from _structs_of(item, seen)
        case Array():
            yield from _structs_of(kind.item, seen)


def _parts(kind: Type, known: dict[int, int]) -> int:
    """Count the values that are read one by one; a type that occurs twice is counted twice but visited once.

    Raises:
        UnsupportedLog: An array is longer than any message.
    """
    if isinstance(kind, Array) and (kind.count or 0) > _LIST_LIMIT:
        raise UnsupportedLog(f"the definition holds an array of {kind.count} elements; at most {_LIST_LIMIT} are read")
    if id(kind) not in known:
        match kind:
            case Struct():
                known[id(kind)] = 1 + sum(_parts(item, known) for _, item in kind.fields)
            case Union():
                known[id(kind)] = 1 + sum(_parts(item, known) for _, item, _ in kind.cases)
            case Array() if not isinstance(kind.item, Primitive):
                known[id(kind)] = 1 + _parts(kind.item, known) * (1 if kind.count is None else kind.count)
            case _:
                known[id(kind)] = 1
    return known[id(kind)]


def decode_payloads(message_type: str, schema_text: str, payloads: Iterable[bytes | bytearray]) -> pa.RecordBatch:
    """Decode payloads of one type into one batch; see `platform_lib.logs.decode_cdr`."""
    decoder = message_decoder(message_type, schema_text)
    columns = decoder.decode(Payloads.of(list(payloads)))
    fields = decoder.fields()
    names = unique([field.name for field in fields])
    schema = pa.schema([field.with_name(name) for field, name in zip(fields, names, strict=True)])
    return pa.RecordBatch.from_arrays(columns, schema=schema)

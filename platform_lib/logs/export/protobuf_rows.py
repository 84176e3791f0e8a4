"""Rows of a table -> protobuf messages, one a row, a whole batch at once. Pure.

Numbers have the fixed-width wire types, so that a run of columns without nulls is one block of equal length for all
rows. A field is absent where the value is null. Source: https://protobuf.dev/programming-guides/encoding/ (2026-11-20).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf import descriptor_pb2

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.schemas.protobuf import NAME_OPTION, UNIT_OPTION

_Proto = descriptor_pb2.FieldDescriptorProto
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Google's own libraries hold a message in at most 64 KiB: 16 bytes for each text, besides what says which are there.
_MOST_FIELDS = 3_500
_UNSAFE = re.compile(r"[^A-Za-z0-9_]")
_PACKAGE = "drivetrain.log"
_SLICE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class _Number:
    """How a number is stored: protobuf type, wire type, numpy type."""

    proto: int
    wire: int
    dtype: str


_INT32 = _Number(_Proto.TYPE_SFIXED32, _FIXED32, "<i4")
_UINT32 = _Number(_Proto.TYPE_FIXED32, _FIXED32, "<u4")
_INT64 = _Number(_Proto.TYPE_SFIXED64, _FIXED64, "<i8")
_FLOAT = _Number(_Proto.TYPE_FLOAT, _FIXED32, "<f4")
_NUMBERS = {
    pa.bool_(): _Number(_Proto.TYPE_BOOL, _VARINT, "u1"),
    pa.int8(): _INT32,
    pa.int16(): _INT32,
    pa.int32(): _INT32,
    pa.uint8(): _UINT32,
    pa.uint16(): _UINT32,
    pa.uint32(): _UINT32,
    pa.int64(): _INT64,
    pa.uint64(): _Number(_Proto.TYPE_FIXED64, _FIXED64, "<u8"),
    pa.float16(): _FLOAT,
    pa.float32(): _FLOAT,
    pa.float64(): _Number(_Proto.TYPE_DOUBLE, _FIXED64, "<f8"),
}


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a message; its kind is what is not ``None``, else bytes or text."""

    name: str
    tag: int
    number: _Number | None = None
    items: _Number | None = None
    message: tuple[_Field, ...] | None = None


class RowEncoder:
    """Encodes the rows of one schema.

    Attributes:
        message_type: The full name of the message.
        descriptors: A serialised ``FileDescriptorSet`` that defines it. A field that could not be called as its column
            carries the column's name, and each its unit, as field options.
    """

    def __init__(self, name: str, schema: pa.Schema) -> None:
        """Plan how rows become messages called `name`, made an identifier; the schema's first column is their time.

        Raises:
            UnsupportedLog: A column has a type that no field holds, or there are too many.
        """
        file = descriptor_pb2.FileDescriptorProto(name=f"{identifier(name)}.proto", package=_PACKAGE, syntax="proto3")
        root = identifier(name)
        self._fields = _define(file, root, list(schema)[1:])
        self.message_type = f"{_PACKAGE}.{root}"
        self.descriptors = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString(deterministic=True)

    def encode(self, batch: pa.RecordBatch) -> Iterator[pa.Array]:
        """Yield the serialised messages of a batch, one a row, as binary arrays of a bounded size."""
        rows = max(1, min(batch.num_rows, _SLICE_BYTES * batch.num_rows // max(1, 2 * batch.nbytes)))
        for first in range(0, batch.num_rows, rows):
            part = batch.slice(first, rows)
            yield _messages(self._fields, part.columns[1:], part.num_rows)


def identifier(name: str) -> str:
    """Return a name that protobuf takes: ASCII letters, digits and ``_``, a letter first."""
    plain = _UNSAFE.sub("_", name).strip("_")
    return plain if plain[:1].isalpha() else f"f_{plain}".rstrip("_")


# -- definition ----------------------------------------------------------------------------------------------------


def _define(file: descriptor_pb2.FileDescriptorProto, name: str, columns: Sequence[pa.Field]) -> tuple[_Field, ...]:
    """Add a message type with these columns, and those that it needs."""
    message = file.message_type.add(name=name)
    fields = []
    taken: set[str] = set()
    if len(columns) > _MOST_FIELDS:
        what = f"{len(columns)} columns; readers of protobuf take no message of more than {_MOST_FIELDS}"
        raise UnsupportedLog(what, remedy="export it as Parquet")
    for number, column in enumerate(columns, 1):
        called = identifier(column.name)
        while called in taken:
            called += f"_{number}"
        taken.add(called)
        # Named outright: the names that JSON would give them may be alike.
        proto = message.field.add(name=called, number=number, label=_Proto.LABEL_OPTIONAL, json_name=called)
        fields.append(_field(file, proto, column))
        _tell(proto, column)
        if proto.label == _Proto.LABEL_OPTIONAL and fields[-1].message is None:
            proto.proto3_optional = True
            proto.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{called}")
    return tuple(fields)


def _field(
    file: descriptor_pb2.FileDescriptorProto, proto: descriptor_pb2.FieldDescriptorProto, column: pa.Field
) -> _Field:
    kind, called = column.type, proto.name
    number = _number(kind)
    if number is not None:
        proto.type = number.proto
        return _Field(called, proto.number << 3 | number.wire, number=number)
    if _is_bytes(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        proto.type = _Proto.TYPE_BYTES if _is_bytes(kind) else _Proto.TYPE_STRING
        return _Field(called, proto.number << 3 | _BYTES)
    if pa.types.is_struct(kind):
        proto.type = _Proto.TYPE_MESSAGE
        part = f"{file.message_type[0].name}_{len(file.message_type)}"
        proto.type_name = f".{_PACKAGE}.{part}"
        return _Field(called, proto.number << 3 | _BYTES, message=_define(file, part, list(kind)))
    items = _number(_item_type(kind))
    if items is not None:
        proto.type, proto.label = items.proto, _Proto.LABEL_REPEATED
        return _Field(called, proto.number << 3 | _BYTES, items=items)
    remedy = "export it as Parquet, or the other streams alone"
    raise UnsupportedLog(f"column '{column.name}' is {kind}, which no protobuf field holds", remedy=remedy)


def _number(kind: pa.DataType) -> _Number | None:
    return _INT64 if pa.types.is_temporal(kind) else _NUMBERS.get(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_binary(kind) or kind in (pa.binary(), pa.large_binary(), pa.binary_view())


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _item_type(kind: pa.DataType) -> pa.DataType:
    """Return what a list holds in the end: a matrix is written row by row."""
    while _is_list(kind):
        kind = kind.value_type
    return kind


def _tell(proto: descriptor_pb2.FieldDescriptorProto, column: pa.Field) -> None:
    """Add unit and original name as field options, which readers that do not know them pass over."""
    unit = (column.metadata or {}).get(b"unit", b"")
    name = column.name.encode() if column.name != proto.name else b""
    options = b"".join(
        _varint(option << 3 | _BYTES) + _varint(len(value)) + value
        for option, value in ((UNIT_OPTION, unit), (NAME_OPTION, name))
        if value
    )
    if options:
        proto.options.MergeFromString(options)


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


# -- values --------------------------------------------------------------------------------------------------------


def _messages(fields: Sequence[_Field], columns: Sequence[pa.Array], rows: int) -> pa.Array:
    """Return (rows,) messages as a binary array."""
    parts: list[pa.Array] = []
    run: list[tuple[_Field, _Number, pa.Array]] = []
    for field, column in zip(fields, columns, strict=True):
        if field.number is not None and not column.null_count:
            run.append((field, field.number, column))
            continue
        if run:
            parts.append(_block(run, rows))
            run = []
        parts.append(_part(field, column))
    if run:
        parts.append(_block(run, rows))
    if not parts:
        return pa.array([b""] * rows, pa.binary())
    return pc.binary_join_element_wise(*parts, b"", null_handling="replace", null_replacement=b"")


def _part(field: _Field, column: pa.Array) -> pa.Array:
    """Return one field of all rows, null where it is absent."""
    if field.number is not None:
        whole = _block([(field, field.number, column)], len(column))
        return _with_nulls(whole, column)
    if field.items is not None:
        return _delimited(field, _packed(column, field.items))
    if field.message is not None:
        return _delimited(field, _with_nulls(_messages(field.message, column.flatten(), len(column)), column))
    return _delimited(field, column.cast(pa.binary()))


def _with_nulls(values: pa.Array, like: pa.Array) -> pa.Array:
    return pc.if_else(like.is_valid(), values, pa.scalar(None, pa.binary())) if like.null_count else values


def _plain(column: pa.Array, number: _Number) -> npt.NDArray[np.generic]:
    """Return (N,) numbers as they are stored; zero for null."""
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int32()).cast(pa.int64()) if column.type.bit_width == 32 else column.cast(pa.int64())
    elif pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if column.null_count:
        column = pc.fill_null(column, pa.scalar(0, column.type))
    return np.asarray(column).astype(number.dtype, copy=False)


def _block(run: Sequence[tuple[_Field, _Number, pa.Array]], rows: int) -> pa.Array:
    """Return neighbouring numbers with their tags, as byte strings of one length."""
    formats: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    for at, (field, number, _) in enumerate(run):
        formats += [(f"t{at}", "u1", (len(_varint(field.tag)),)), (f"v{at}", number.dtype)]
    table = np.empty(rows, np.dtype(formats))
    for at, (field, number, column) in enumerate(run):
        table[f"t{at}"] = np.frombuffer(_varint(field.tag), np.uint8)
        table[f"v{at}"] = _plain(column, number)
    offsets = np.arange(rows + 1, dtype=np.int32) * table.dtype.itemsize
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(table)])


def _packed(column: pa.Array, number: _Number) -> pa.Array:
    """Return the elements of each list as bytes, null for a null or empty list."""
    counts = np.ones(len(column), np.int64)
    valid = np.asarray(column.is_valid())
    flat = column
    while _is_list(flat.type):
        lengths = np.asarray(pc.fill_null(pc.list_value_length(flat), 0)).astype(np.int64)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        stops = np.cumsum(counts)
        counts = ends[stops] - ends[stops - counts]
        flat = pc.list_flatten(flat)
    if flat.null_count:
        raise UnsupportedLog("a list with nulls inside, which no protobuf field holds", remedy="export it as Parquet")
    values = np.ascontiguousarray(_plain(flat, number))
    offsets = np.concatenate([[0], np.cumsum(counts)]) * values.dtype.itemsize
    validity = pa.py_buffer(np.packbits(valid & (counts > 0), bitorder="little"))
    buffers = [validity, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.binary(), len(column), buffers)


def _delimited(field: _Field, payload: pa.Array) -> pa.Array:
    """Put tag and length before each byte string."""
    lengths = np.asarray(pc.fill_null(pc.binary_length(payload), 0)).astype(np.int64)
    return pc.binary_join_element_wise(_varint(field.tag), _varints(lengths), payload, b"", null_handling="emit_null")


def _varints(values: npt.NDArray[np.int64]) -> pa.Array:
    """Return (N,) whole numbers below 2^35 as varints."""
    groups = values[:, None] >> np.arange(0, 35, 7) & 0x7F
    used = np.maximum.reduce([np.where(values >= 1 << 7 * at, at + 1, 1) for at in range(5)])
    more = np.arange(5) < used[:, None] - 1
    data = (groups | np.where(more, 0x80, 0)).astype(np.uint8)[np.arange(5) < used[:, None]]
    offsets = np.concatenate([[0], np.cumsum(used)]).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), values.size, [None, pa.py_buffer(offsets), pa.py_buffer(data)])

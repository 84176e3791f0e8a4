"""From the columns of one log batch to signals: one leaf is one signal, in the type that holds it exactly.

What becomes of each Arrow type (pure; nothing is dropped without a word, see `unkept`):

| column | numbers | text |
|---|---|---|
| float64 | float64 | |
| float32, float16 | float32 | |
| boolean, integer of at most 32 bits with its sign | int32 | |
| other integer | int64 | |
| 64-bit unsigned beyond 2^63 | nearest float64 | the exact decimal, where beyond 2^53 |
| string | | the string |
| time, date, duration | its integer, in its own unit | |
| struct | its members, named `a.b` | |
| fixed-size list of at most `EXPANDED_ELEMENTS` | its elements, named `a[i]` | |
| longer or variable list | | JSON, one row |
| binary | not kept here; a message with binary members is kept as a sample | |
| null | null | null |
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

EXPANDED_ELEMENTS = 8
"""Longest fixed array whose elements become signals: a quaternion or four wheels does; of a 3x3 covariance, ten times
a topic's other rows would be zeros, so it stays one JSON row."""

EXACT = 1 << 53
"""Beyond this a double does not hold every integer. Source: IEEE 754-2019, table 3.5 (binary64, p = 53)."""

_INT32_TYPES = frozenset({pa.bool_(), pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32()})
_UNIT = b"unit"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One signal of a batch.

    Attributes:
        name: Members are dotted, elements numbered.
        unit: None where the log names none.
        type: Its Arrow type in the log.
        numbers: float64, float32, int64 or int32; None where it has none.
        text: string; None where it has none.
    """

    name: str
    unit: str | None
    type: str
    numbers: pa.Array | None
    text: pa.Array | None


def is_signal_schema(schema: pa.Schema, *, skip: tuple[str, ...] = ("timestamp_ns", "publish_ns")) -> bool:
    """Whether a message is made only of scalars, strings and fixed-size arrays, so that it becomes signals.

    A message without a single one (std_msgs/Empty) is none: as signals its very arrival would be lost.
    """
    kinds = [field.type for field in schema if field.name not in skip]
    return all(map(_is_signal_type, kinds)) and any(map(_has_leaf, kinds))


def unkept(schema: pa.Schema) -> list[str]:
    """Name the leaves of a signal stream that `leaves` does not give, each with its type."""
    found: list[str] = []
    for field in schema:
        _collect_unkept(field.name, field.type, found)
    return found


def leaves(batch: pa.RecordBatch, *, skip: tuple[str, ...] = ("timestamp_ns",)) -> Iterator[Leaf]:
    """Yield every signal of a batch, each as long as the batch, in column order."""
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if field.name not in skip:
            yield from _leaves(field.name, _unit(field), column)


def _unit(field: pa.Field) -> str | None:
    raw = (field.metadata or {}).get(_UNIT)
    return raw.decode() if raw else None


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _is_signal_type(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return all(_is_signal_type(kind.field(i).type) for i in range(kind.num_fields))
    if pa.types.is_fixed_size_list(kind):
        return _is_signal_type(kind.value_type)
    return not (pa.types.is_nested(kind) or _is_binary(kind))


def _has_leaf(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_has_leaf(kind.field(i).type) for i in range(kind.num_fields))
    if pa.types.is_fixed_size_list(kind):
        return kind.list_size > 0 and _has_leaf(kind.value_type)
    return True


def _collect_unkept(name: str, kind: pa.DataType, found: list[str]) -> None:
    if _is_binary(kind):
        found.append(f"{name} ({kind})")
    elif pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            _collect_unkept(f"{name}.{kind.field(i).name}", kind.field(i).type, found)
    elif hasattr(kind, "value_type") and not pa.types.is_dictionary(kind) and _holds_binary(kind.value_type):
        found.append(f"{name} ({kind})")


def _holds_binary(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_holds_binary(kind.field(i).type) for i in range(kind.num_fields))
    if hasattr(kind, "value_type") and not pa.types.is_dictionary(kind):
        return _holds_binary(kind.value_type)
    return _is_binary(kind)


def _leaves(name: str, unit: str | None, column: pa.Array) -> Iterator[Leaf]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(name, unit, column.dictionary_decode())
    elif pa.types.is_struct(kind):
        for i in range(kind.num_fields):
            member = kind.field(i)
            yield from _leaves(f"{name}.{member.name}", _unit(member) or unit, pc.struct_field(column, [i]))
    elif pa.types.is_fixed_size_list(kind) and kind.list_size <= EXPANDED_ELEMENTS:
        for i in range(kind.list_size):
            yield from _leaves(f"{name}[{i}]", unit, pc.list_element(column, i))
    elif not _holds_binary(kind):
        yield Leaf(name, unit, str(kind), *_scalars(column))


def _scalars(column: pa.Array) -> tuple[pa.Array | None, pa.Array | None]:
    kind = column.type
    if pa.types.is_floating(kind):
        return (column.cast(pa.float32()) if pa.types.is_float16(kind) else column), None
    if kind in _INT32_TYPES:
        return column.cast(pa.int32()), None
    if pa.types.is_integer(kind):
        return _wide_integers(column)
    if pa.types.is_temporal(kind):
        return column.cast(pa.int32() if kind.bit_width == 32 else pa.int64()), None
    if pa.types.is_null(kind):
        return None, None
    if pa.types.is_nested(kind):
        return None, pa.array([None if item is None else _json(item) for item in column.to_pylist()], pa.string())
    return None, column.cast(pa.string())


def _json(value: object) -> str:
    try:
        return json.dumps(value, allow_nan=False, default=str)
    except ValueError:
        # JSON has no NaN and no infinity: they are written as texts, so that a parser still takes the row.
        return re.sub(r"-?\b(NaN|Infinity)\b", lambda match: f'"{match[0]}"', json.dumps(value, default=str))


def _wide_integers(column: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    largest = pc.max(column).as_py()
    if largest is None or largest < 1 << 63:
        return column.cast(pa.int64()), None
    return column.cast(pa.float64(), safe=False), exact_texts(column)


def exact_texts(integers: pa.Array) -> pa.Array:
    """Return the decimals of those 64-bit integers that a double may not hold, and null for the others."""
    kind = integers.type
    beyond = pc.greater(integers, pa.scalar(EXACT, kind))
    if pa.types.is_signed_integer(kind):
        beyond = pc.or_(beyond, pc.less(integers, pa.scalar(-EXACT, kind)))
    return pc.if_else(beyond, integers.cast(pa.string()), pa.scalar(None, pa.string()))

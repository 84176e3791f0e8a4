"""One channel -> one column: how its bytes are read, converted, and marked invalid.

A column's type follows from its channel alone, never from the samples at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.logs.mdf4.conversions import (
    FROM_TEXT_RULES,
    TEXT_RULES,
    ToText,
    from_text,
    is_identity,
    numeric,
    scaling,
)
from platform_lib.logs.mdf4.model import BYTE_TYPES, ENCODINGS, Channel, ChannelFlag, ChannelKind, DataType
from platform_lib.logs.mdf4.numbers import Number, Place, Unreadable, canopen_date, canopen_time
from platform_lib.logs.mdf4.records import Records
from platform_lib.logs.mdf4.signal_data import SignalData
from platform_lib.logs.mdf4.text import binary, even_binary, fixed_text, joined_text

Bytes = npt.NDArray[np.uint8]
Values = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_] | None
Finish = Callable[[Values, Mask], pa.Array]
_TEXT_TYPES = frozenset({*ENCODINGS, DataType.BOM_TEXT})
_DATA_TYPES = frozenset(DataType)
_VIRTUAL = frozenset({ChannelKind.VIRTUAL, ChannelKind.VIRTUAL_MASTER})
_NULLABLE = ChannelFlag.ALL_INVALID | ChannelFlag.INVALIDATION_BIT
_CANOPEN = {DataType.CANOPEN_DATE: canopen_date, DataType.CANOPEN_TIME: canopen_time}
_CANOPEN_BYTES = {DataType.CANOPEN_DATE: 7, DataType.CANOPEN_TIME: 6}


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records of a group.

    Attributes:
        records: Their bytes.
        first_row: The first one's number.
        flags: (rows, invalidation bytes), ``None`` where none is set.
    """

    records: Records
    first_row: int
    flags: Bytes | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a channel's reading depends on beside itself.

    Attributes:
        before: Bytes of the record that come before its data: the record id.
        cycles: Declared records.
        channels: The group's channels, by where their blocks are.
        signal_data: Opens a channel's variable-length data.
    """

    before: int
    cycles: int
    channels: Mapping[int, Channel]
    signal_data: Callable[[Channel], SignalData]


@dataclass(frozen=True, slots=True)
class Column:
    """A channel as a column.

    Attributes:
        name: Unique in its group.
        arrow: Its type.
        metadata: Unit and comment, where there are any.
        channel: What it is read from.
        array: Reads it; the mask says which rows are null.
        raw: Reads it unconverted: (N,) numbers or (N, W) bytes, padded with zeros; ``None`` where that is no use.
        sized: Reads bytes of variable length like `raw`, and (N,) how many they are; ``None`` for all others.
        signal_data: Its variable-length values, ``None`` for others.
        offsets: Reads where these are.
        number: What it is made of, where that is one number a record, which is read together with others.
        finish: Makes the column of that number's values.
    """

    name: str
    arrow: pa.DataType
    metadata: Mapping[str, str]
    channel: Channel
    array: Callable[[Batch, Mask], pa.Array]
    raw: Callable[[Batch], Values] | None
    signal_data: SignalData | None = None
    offsets: Callable[[Records], Values] | None = None
    number: Number | None = None
    finish: Finish | None = None
    sized: Callable[[Batch], tuple[Values, Values]] | None = None

    def read(self, batch: Batch, values: Values | None = None) -> pa.Array:
        """Return the column's values for a batch; `values` are those of its number, where they were read already."""
        mask = invalid(self.channel, batch)
        return self.array(batch, mask) if values is None or self.finish is None else self.finish(values, mask)

    def read_plain(self, batch: Batch, memory: pa.Buffer) -> pa.Array | None:
        """Return the column of its number's values, where these are its values and none is null; None elsewhere."""
        nullable = self.channel.flags & _NULLABLE
        if self.finish is not vector or (nullable and (batch.flags is not None or nullable == ChannelFlag.ALL_INVALID)):
            return None
        return pa.Array.from_buffers(self.arrow, batch.records.rows, [None, memory])

    def read_valid(self, batch: Batch) -> pa.Array:
        """Return the column's values as if all were valid."""
        return self.array(batch, None)

    def spread_bytes(self, records: Records) -> int:
        """Return how far apart its variable-length values lie: what reading them at once takes."""
        if self.signal_data is None or self.offsets is None:
            return 0
        return self.signal_data.spread_bytes(self.offsets(records))

    def field(self) -> pa.Field:
        """Return the Arrow field."""
        return pa.field(self.name, self.arrow, metadata=dict(self.metadata) or None)


def invalid(channel: Channel, batch: Batch) -> Mask:
    """Return which of a batch's rows have no valid value; ``None`` where all have."""
    if channel.flags & ChannelFlag.ALL_INVALID and not channel.flags & ChannelFlag.INVALIDATION_BIT:
        return np.ones(batch.records.rows, bool)
    if batch.flags is None or not channel.flags & ChannelFlag.INVALIDATION_BIT:
        return None
    byte, bit = divmod(channel.invalid_bit, 8)
    found: npt.NDArray[np.bool_] = (batch.flags[:, byte] >> bit & 1).astype(bool)
    return found if found.any() else None


def plan(channel: Channel, name: str, around: Surroundings) -> Column:
    """Plan how a channel is read.

    Raises:
        Unreadable: It cannot be a column, by anyone.
        ConversionError: Its conversion is not evaluated here.
    """
    metadata = {key: text for key, text in (("unit", channel.unit), ("comment", channel.comment)) if text}
    if channel.array is not None and channel.array.unsupported:
        raise Unreadable(channel.array.unsupported)
    if channel.data_type not in _DATA_TYPES:
        raise Unreadable(f"data type {channel.data_type} is not defined")
    if channel.kind == ChannelKind.VLSC:
        raise Unreadable("compact variable-length channels are not read")
    data = around.signal_data(channel) if channel.kind == ChannelKind.VLSD else None
    if data is not None:
        found = _variable(channel, around, data)
    elif channel.kind in _VIRTUAL:
        found = _virtual(channel, around)
    elif channel.data_type in _CANOPEN:
        found = _canopen(channel, around)
    elif channel.data_type in _TEXT_TYPES:
        found = _text(channel, around)
    elif channel.data_type in BYTE_TYPES:
        found = _bytes(channel, around)
    elif channel.bit_count > 64 and channel.data_type <= DataType.SIGNED_BE:
        found = _wide(channel, around)
    else:
        found = _number(channel, around)
    if channel.array is not None:
        if data is not None or channel.kind in _VIRTUAL:
            raise Unreadable("arrays of variable-length or virtual values are not read")
        found = _nested(channel.array.sizes, found)
    offsets = None if data is None else offsets_of(channel, around.before)
    return Column(
        name, found.arrow, metadata, channel, found.array, found.raw, data, offsets, found.number, found.finish,
        found.sized,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What of a `Column` follows from the kind of its channel."""

    arrow: pa.DataType
    array: Callable[[Batch, Mask], pa.Array]
    raw: Callable[[Batch], Values] | None = None
    number: Number | None = None
    finish: Finish | None = None
    sized: Callable[[Batch], tuple[Values, Values]] | None = None


# -- numbers -----------------------------------------------------------------------------------------------------------


def vector(values: Values, mask: Mask) -> pa.Array:
    """Return (N,) numbers as an Arrow array, without a copy; null where `mask`."""
    if values.dtype.kind == "c":
        parts = values.view(f"f{values.dtype.itemsize // 2}").reshape(-1, 2)
        columns = [pa.array(np.ascontiguousarray(parts[:, at])) for at in range(2)]
        validity = None if mask is None else pa.array(mask)
        return pa.StructArray.from_arrays(columns, ["real", "imaginary"], mask=validity)
    if values.dtype.kind == "b" or values.dtype.kind == "M":
        return pa.array(values, mask=mask)
    validity = None if mask is None else pa.py_buffer(np.packbits(~mask, bitorder="little"))
    contiguous = np.ascontiguousarray(values)
    return pa.Array.from_buffers(_type_of(values.dtype), values.size, [validity, pa.py_buffer(contiguous)])


@cache
def _type_of(dtype: np.dtype[Any]) -> pa.DataType:
    """Return the type of `vector`."""
    if dtype.kind == "c":
        return vector(np.empty(0, dtype), None).type
    return pa.from_numpy_dtype(dtype)


def _converted(channel: Channel, dtype: np.dtype[Any]) -> tuple[pa.DataType, Finish]:
    """Return the type of the column that raw numbers become, and what makes it of them."""
    conversion = channel.conversion
    if conversion is not None and conversion.kind in TEXT_RULES:
        return pa.string(), ToText(conversion)
    if is_identity(conversion):
        return _type_of(dtype), vector
    convert = numeric(conversion)

    def finish(values: Values, mask: Mask) -> pa.Array:
        with np.errstate(all="ignore"):
            return vector(convert(values), mask)

    return finish(np.ones(1, dtype), None).type, finish


def _number(channel: Channel, around: Surroundings) -> Plan:
    raw = Number(channel, around.before)
    conversion = channel.conversion
    scale = None if conversion is None or is_identity(conversion) else scaling(conversion)
    scaled = None if scale is None else raw.scaled(*scale)
    number = scaled or raw
    arrow, finish = (_type_of(scaled.dtype), vector) if scaled else _converted(channel, raw.dtype)

    def array(batch: Batch, mask: Mask) -> pa.Array:
        return finish(number(batch.records), mask)

    return Plan(arrow, array, lambda batch: raw(batch.records), number if number.single else None, finish)


def _virtual(channel: Channel, around: Surroundings) -> Plan:
    dtype = np.min_scalar_type(around.cycles)
    arrow, finish = _converted(channel, dtype)

    def read(batch: Batch) -> Values:
        return np.arange(batch.first_row, batch.first_row + batch.records.rows).astype(dtype)

    return Plan(arrow, lambda batch, mask: finish(read(batch), mask), read)


def _canopen(channel: Channel, around: Surroundings) -> Plan:
    kind = DataType(channel.data_type)
    place = Place.of(channel, around.before)
    if place.count != _CANOPEN_BYTES[kind]:
        raise Unreadable(f"a CANopen value of {channel.bit_count} bits")

    def array(batch: Batch, mask: Mask) -> pa.Array:
        values, sound = _CANOPEN[kind](place.bytes(batch.records))
        hidden = ~sound if mask is None else mask | ~sound
        return pa.array(values, pa.timestamp("ms"), mask=hidden if hidden.any() else None)

    return Plan(pa.timestamp("ms"), array)


def _nested(sizes: tuple[int, ...], element: Plan) -> Plan:
    """Wrap all elements into lists of fixed sizes."""
    arrow = element.arrow
    for size in reversed(sizes):
        arrow = pa.list_(arrow, size)

    def array(batch: Batch, mask: Mask) -> pa.Array:
        if 0 in sizes:
            return pa.array([[]] * batch.records.rows, arrow, mask=mask)
        flat = element.array(batch, None)
        for size in reversed(sizes[1:]):
            flat = pa.FixedSizeListArray.from_arrays(flat, size)
        return pa.FixedSizeListArray.from_arrays(flat, sizes[0], mask=None if mask is None else pa.array(mask))

    return Plan(arrow, array, element.raw)


def _wide(channel: Channel, around: Surroundings) -> Plan:
    """A whole number of more than 64 bits: its bytes."""
    place = Place.of(channel, around.before)
    if channel.bit_offset or channel.bit_count % 8:
        raise Unreadable(f"a whole number of {channel.bit_count} bits")
    arrow = pa.list_(pa.uint8(), place.count)

    def array(batch: Batch, mask: Mask) -> pa.Array:
        flat = pa.array(np.ascontiguousarray(place.bytes(batch.records)).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, place.count, mask=None if mask is None else pa.array(mask))

    return Plan(arrow, array, lambda batch: place.bytes(batch.records))


# -- texts and bytes ---------------------------------------------------------------------------------------------------


def _masked(array: pa.Array, mask: Mask) -> pa.Array:
    if mask is None:
        return array
    return array.take(pa.array(np.arange(len(array)), mask=mask))


def _renamed(channel: Channel, read: Callable[[Batch], pa.Array]) -> Plan:
    """Apply a conversion from text."""
    conversion = channel.conversion
    if conversion is None or conversion.kind not in FROM_TEXT_RULES:
        if not is_identity(conversion):
            raise Unreadable(f"a text with a conversion of type {conversion.kind if conversion else 0}")
        return Plan(pa.string(), lambda batch, mask: _masked(read(batch), mask))
    table, default = from_text(conversion)
    arrow = pa.string() if isinstance(default, str) else pa.float64()

    def array(batch: Batch, mask: Mask) -> pa.Array:
        encoded = read(batch).dictionary_encode()
        results = pa.array([table.get(text, default) for text in encoded.dictionary.to_pylist()], arrow)
        return _masked(results.take(encoded.indices), mask)

    return Plan(arrow, array)


def _sizes(channel: Channel, around: Surroundings) -> Callable[[Batch], Values] | None:
    """Return how many bytes of a maximum-length value count."""
    if channel.kind != ChannelKind.MLSD:
        return None
    sizes = around.channels.get(channel.data_link)
    if sizes is None:
        raise Unreadable("its size channel is not in its group")
    number = Number(sizes, around.before)
    if number.dtype.kind not in "ui":
        raise Unreadable("its size channel holds no whole numbers")
    return lambda batch: np.maximum(number(batch.records).astype(np.int64), 0)


def _text(channel: Channel, around: Surroundings) -> Plan:
    place = _whole_bytes(channel, around)
    sizes = _sizes(channel, around)

    def read(batch: Batch) -> pa.Array:
        return fixed_text(place.bytes(batch.records), channel.data_type, sizes(batch) if sizes else None)

    return _renamed(channel, read)


def _bytes(channel: Channel, around: Surroundings) -> Plan:
    place = _whole_bytes(channel, around)
    sizes = _sizes(channel, around)
    if not is_identity(channel.conversion):
        raise Unreadable("byte strings with a conversion")

    def matrix(batch: Batch) -> Values:
        return place.bytes(batch.records)

    def array(batch: Batch, mask: Mask) -> pa.Array:
        data = matrix(batch)
        if sizes is None:
            return _masked(even_binary(data), mask)
        lengths = np.minimum(sizes(batch), place.count)
        return _masked(binary(data[np.arange(place.count) < lengths[:, None]], lengths), mask)

    def sized(batch: Batch) -> tuple[Values, Values]:
        return matrix(batch), sizes(batch) if sizes else np.empty(0, np.int64)

    return Plan(pa.binary(), array, matrix, sized=sized if sizes else None)


def _whole_bytes(channel: Channel, around: Surroundings) -> Place:
    if channel.bit_offset or channel.bit_count % 8:
        raise Unreadable("texts and byte strings start and end with a byte")
    return Place.of(channel, around.before)


def _variable(channel: Channel, around: Surroundings, data: SignalData) -> Plan:
    offsets = offsets_of(channel, around.before)

    def values(batch: Batch) -> tuple[Bytes, Values]:
        return data.values(offsets(batch.records))

    if channel.data_type in _TEXT_TYPES:
        return _renamed(channel, lambda batch: joined_text(*values(batch), channel.data_type))
    if not is_identity(channel.conversion):
        raise Unreadable("variable-length values with a conversion")

    def sized(batch: Batch) -> tuple[Values, Values]:
        joined, lengths = values(batch)
        out = np.zeros((lengths.size, int(lengths.max(initial=0))), np.uint8)
        out[np.arange(out.shape[1]) < lengths[:, None]] = joined
        return out, lengths

    def array(batch: Batch, mask: Mask) -> pa.Array:
        return _masked(binary(*values(batch)), mask)

    return Plan(pa.binary(), array, lambda batch: sized(batch)[0], sized=sized)


def offsets_of(channel: Channel, before: int) -> Number:
    """Return the reader of a variable-length channel's offsets."""
    plain = replace(channel, kind=ChannelKind.VALUE, data_type=DataType.UNSIGNED_LE, array=None)
    return Number(plain, before)

"""Protobuf messages -> Arrow columns, typed by the descriptors that the log carries."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, unknown_fields
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.faulty import FaultyPayload

_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: pa.int32(),
    FieldDescriptor.CPPTYPE_INT64: pa.int64(),
    FieldDescriptor.CPPTYPE_UINT32: pa.uint32(),
    FieldDescriptor.CPPTYPE_UINT64: pa.uint64(),
    FieldDescriptor.CPPTYPE_DOUBLE: pa.float64(),
    FieldDescriptor.CPPTYPE_FLOAT: pa.float32(),
    FieldDescriptor.CPPTYPE_BOOL: pa.bool_(),
    FieldDescriptor.CPPTYPE_ENUM: pa.int32(),
}
UNIT_OPTION, NAME_OPTION = 50_101, 50_102
"""Field options (text) of definitions that `drivetrain log export` writes: the unit, and the column's name where no field
can be called so. Numbers from 50000 on are free for use within one organisation."""

# Types that refer to each other multiply when they are written out; real ones have some hundred parts.
_MOST_PARTS = 20_000
# Protobuf's own parsers read messages to this depth. Source: google/protobuf, CodedInputStream's default recursion limit.
_MOST_DEPTH = 100

Get = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Field:
    """A field: its Arrow field, and how to get its value from a message as Arrow takes it."""

    arrow: pa.Field
    get: Get


@dataclass(frozen=True, slots=True)
class ProtobufDecoder:
    """Decodes messages of one type.

    A field without presence that a message lacks has its default, one with presence is null. Enumerations are numbers,
    their names in the metadata ``choices``. A field whose type contains itself stays a serialised message (binary).
    """

    parse: Callable[[bytes], Message]
    parts: tuple[_Field, ...]

    def fields(self) -> list[pa.Field]:
        """Return the Arrow fields, in the order of the definition."""
        return [part.arrow for part in self.parts]

    def decode(self, payloads: Payloads, wanted: Sequence[int] | None = None) -> list[pa.Array]:
        """Decode payloads, see `platform_lib.logs.schemas.decoders.TopicDecoder`."""
        messages = []
        for row, data in enumerate(payloads.each()):
            try:
                messages.append(self.parse(data))
            except (DecodeError, ValueError) as error:
                raise FaultyPayload.at(row, f"no message of its protobuf type ({error})") from error
        chosen = range(len(self.parts)) if wanted is None else wanted
        return [_column(self.parts[number], messages) for number in chosen]


def _column(part: _Field, messages: list[Message]) -> pa.Array:
    values = []
    for row, message in enumerate(messages):
        try:
            values.append(part.get(message))
        except UnicodeDecodeError as error:  # proto2 does not look at its strings before they are asked for
            raise FaultyPayload.at(row, f"field '{part.arrow.name}' is not UTF-8") from error
    return pa.array(values, type=part.arrow.type)


@lru_cache(maxsize=256)
def protobuf_decoder(message_type: str, descriptors: bytes) -> ProtobufDecoder:
    """Return the decoder of a message type.

    Args:
        message_type: The full name.
        descriptors: A serialised ``FileDescriptorSet`` with the type and all that it refers to.

    Raises:
        UnsupportedLog: The descriptors cannot be used.
    """
    try:
        root = _pool(descriptors).FindMessageTypeByName(message_type)
        kind = message_factory.GetMessageClass(root)
    except (DecodeError, KeyError, TypeError, ValueError, RecursionError) as error:
        short = " ".join(str(error).split())[:160]
        raise UnsupportedLog(f"its protobuf descriptors cannot be used ({short})") from error
    return ProtobufDecoder(kind.FromString, _Builder().fields(root, (root.full_name,)))


def _pool(descriptors: bytes) -> descriptor_pool.DescriptorPool:
    """Load files, each after those that it imports."""
    files = {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file}
    pool = descriptor_pool.DescriptorPool()
    loaded: set[str] = set()
    waiting = [(name, False) for name in files]
    while waiting:
        name, ready = waiting.pop()
        if name in loaded or name not in files:
            continue
        if ready:
            pool.Add(files[name])
            loaded.add(name)
        else:
            waiting.append((name, True))
            file = files.pop(name)
            files[name] = file
            waiting.extend((other, False) for other in file.dependency if other not in loaded and other != name)
    return pool


class _Builder:
    """Builds fields; counts them, so that no definition grows without end."""

    def __init__(self) -> None:
        self._parts = 0

    def fields(self, kind: Descriptor, above: tuple[str, ...]) -> tuple[_Field, ...]:
        """Return the fields of a message type that lies inside the types `above`."""
        if len(above) > _MOST_DEPTH:
            raise UnsupportedLog(f"its protobuf type nests more than {_MOST_DEPTH} deep")
        return tuple(self._field(field, above) for field in kind.fields)

    def _field(self, field: FieldDescriptor, above: tuple[str, ...]) -> _Field:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise UnsupportedLog(f"its protobuf type nests to more than {_MOST_PARTS} parts")
        name = field.name
        metadata = _told(field)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            return self._map(field, above)
        arrow, convert = self._value(field, above, metadata)
        if field.is_repeated:
            return _Field(pa.field(name, pa.list_(arrow), metadata=metadata or None), _repeated(name, convert))
        return _Field(pa.field(name, arrow, metadata=metadata or None), _single(name, field.has_presence, convert))

    def _value(
        self, field: FieldDescriptor, above: tuple[str, ...], metadata: dict[str, str]
    ) -> tuple[pa.DataType, Get | None]:
        """Return the type of one value, and its conversion where it needs one."""
        if field.message_type is not None:
            kind = field.message_type
            if kind.full_name in above:
                metadata["protobuf"] = kind.full_name
                return pa.binary(), _serialised
            parts = self.fields(kind, (*above, kind.full_name))
            return pa.struct([part.arrow for part in parts]), _structure(parts)
        if field.enum_type is not None:
            names = {str(value.number): value.name for value in reversed(field.enum_type.values)}
            metadata["choices"] = json.dumps(dict(sorted(names.items(), key=lambda item: int(item[0]))))
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            return (pa.binary() if field.type == FieldDescriptor.TYPE_BYTES else pa.string()), None
        return _SCALARS[field.cpp_type], None

    def _map(self, field: FieldDescriptor, above: tuple[str, ...]) -> _Field:
        entry = field.message_type.fields_by_name
        key, _ = self._value(entry["key"], above, {})
        value, convert = self._value(entry["value"], above, {})
        arrow = pa.field(field.name, pa.map_(key, value))
        name = field.name

        def get(message: Any) -> Any:
            items = getattr(message, name)
            return [(at, items[at] if convert is None else convert(items[at])) for at in sorted(items)]

        return _Field(arrow, get)


def _told(field: FieldDescriptor) -> dict[str, str]:
    """Return the unit and the original name that a field's options carry, see `UNIT_OPTION`."""
    known = {UNIT_OPTION: "unit", NAME_OPTION: "name"}
    options = unknown_fields.UnknownFieldSet(field.GetOptions())
    return {
        known[item.field_number]: item.data.decode(errors="replace")
        for item in options
        if item.field_number in known and isinstance(item.data, bytes)
    }


def _serialised(message: Any) -> bytes:
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def _structure(parts: tuple[_Field, ...]) -> Get:
    getters = [(part.arrow.name, part.get) for part in parts]
    return lambda message: {name: get(message) for name, get in getters}


def _repeated(name: str, convert: Get | None) -> Get:
    if convert is None:
        return lambda message: list(getattr(message, name))
    return lambda message: [convert(item) for item in getattr(message, name)]


def _single(name: str, has_presence: bool, convert: Get | None) -> Get:  # noqa: FBT001 - as the descriptor calls it
    def get(message: Any) -> Any:
        if has_presence and not message.HasField(name):
            return None
        value = getattr(message, name)
        return value if convert is None else convert(value)

    return get

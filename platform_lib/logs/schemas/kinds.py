"""What a message is made of, whatever language defines it; and the Arrow type of each part. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

import pyarrow as pa

from platform_lib.logs.model import unique

Extensibility = Literal["final", "appendable", "mutable", ""]
"""How a type may grow, which XCDR version 2 shows on the wire; ``""``: its definition does not say."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """A number or bool.

    Attributes:
        code: Its numpy code without byte order (``"f8"``).
        arrow: Its Arrow type.
        choices: Value -> name, for enumerations.
    """

    code: str
    arrow: pa.DataType
    choices: tuple[tuple[int, str], ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes on the wire; also its alignment in CDR."""
        return int(self.code[1])


@dataclass(frozen=True, slots=True)
class Text:
    """A UTF-8 string; `wide`: a wstring."""

    wide: bool = False


@dataclass(frozen=True, slots=True)
class Array:
    """A fixed array (`count` given) or a sequence (`count` is ``None``).

    Attributes:
        item: Its elements' type.
        count: How many; ``None`` for as many as a message has.
        dimension: It is one more dimension of the array that it is an element of.
    """

    item: Type
    count: int | None
    dimension: bool = False


@dataclass(frozen=True, slots=True)
class Struct:
    """A message: its name and its fields in order.

    Attributes:
        name: With its scope.
        fields: Name and type.
        extensibility: How it may grow.
        ids: Of a definition in IDL, its members' ids.
    """

    name: str
    fields: tuple[tuple[str, Type], ...]
    extensibility: Extensibility = ""
    ids: tuple[int, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Union:
    """One of several members, told by a discriminator; in Arrow a struct of which only that member is not null.

    Attributes:
        name: With its scope.
        tag: The discriminator's type.
        cases: Member name, type, and the discriminator's values that select it; ``None`` for all others.
        extensibility: How it may grow.
    """

    name: str
    tag: Primitive
    cases: tuple[tuple[str, Type, tuple[int, ...] | None], ...]
    extensibility: Extensibility = ""


Type = Primitive | Text | Array | Struct | Union

BOOL = Primitive("b1", pa.bool_())
INT8, UINT8 = Primitive("i1", pa.int8()), Primitive("u1", pa.uint8())
INT16, UINT16 = Primitive("i2", pa.int16()), Primitive("u2", pa.uint16())
INT32, UINT32 = Primitive("i4", pa.int32()), Primitive("u4", pa.uint32())
INT64, UINT64 = Primitive("i8", pa.int64()), Primitive("u8", pa.uint64())
FLOAT32, FLOAT64 = Primitive("f4", pa.float32()), Primitive("f8", pa.float64())


def arrow_type(kind: Type) -> pa.DataType:
    """Return the Arrow type that values of `kind` have: ``uint8[]`` is binary, ``uint8[16]`` fixed-size binary."""
    match kind:
        case Primitive():
            return kind.arrow
        case Text():
            return pa.string()
        case Struct():
            return pa.struct([arrow_field(name, item) for name, item in kind.fields])
        case Union():
            names = unique(["discriminator", *(name for name, _, _ in kind.cases)])
            items = [kind.tag, *(item for _, item, _ in kind.cases)]
            return pa.struct([arrow_field(name, item) for name, item in zip(names, items, strict=True)])
        case Array():
            if is_bytes(kind):
                return pa.binary() if kind.count is None else pa.binary(kind.count)
            item = arrow_type(kind.item)
            return pa.list_(item) if kind.count is None else pa.list_(item, kind.count)


def arrow_field(name: str, kind: Type) -> pa.Field:
    """Return a field's Arrow field; an enumeration has its names in the metadata ``choices``."""
    choices = kind.choices if isinstance(kind, Primitive) else ()
    metadata = {"choices": json.dumps({str(value): text for value, text in choices})} if choices else None
    return pa.field(name, arrow_type(kind), metadata=metadata)


def is_bytes(kind: Array) -> bool:
    """Whether the array is a blob of bytes (``uint8``, ROS 2 ``byte``, ``char``)."""
    return isinstance(kind.item, Primitive) and kind.item.code == "u1" and not kind.item.choices

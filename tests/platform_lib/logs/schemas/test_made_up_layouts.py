"""Message types that hypothesis makes up, decoded as other libraries decode them.

CDR and XCDR version 2 against pycdr2 (the IDL part of Eclipse Cyclone DDS, the only reference for version 2 in Python;
rosbags and mcap-ros2-support read plain CDR alone), plain CDR of .msg types against rosbags, protobuf against Google's.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from message_layouts import Kind, Layout, as_class, as_idl, as_msg, as_object, as_ros, layouts, plain, value
from pycdr2._support import Endianness
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.cdr import message_decoder
from platform_lib.logs.schemas.protobuf import protobuf_decoder

seeds = st.integers(0, 1 << 30)
FIXED = Layout("final", (Kind("int16"), Kind("float64", many=True), Kind("string"), Kind("uint8", many=True, count=3)))


def rows(decoder: Any, payloads: list[bytes]) -> list[Any]:
    columns = decoder.decode(Payloads.of(payloads))
    for column in columns:
        column.validate(full=True)
    names = [field.name for field in decoder.fields()]
    return [
        {name: plain(column[row].as_py()) for name, column in zip(names, columns, strict=True)}
        for row in range(len(payloads))
    ]


def by_cyclone(layout: Layout, seed: int, *, version_2: bool, little: bool) -> tuple[list[bytes], list[Any]]:
    """Return payloads that pycdr2 wrote, and what it reads in them."""
    made = as_class(layout)
    order = Endianness.Little if little else Endianness.Big
    rng = random.Random(seed)  # noqa: S311 - a seeded test
    payloads = [
        made.__idl__.serialize(as_object(layout, made, value(layout, rng)), version_2, endianness=order)
        for _ in range(3)
    ]
    return payloads, [plain(made.__idl__.deserialize(item)) for item in payloads]


@settings(max_examples=25, deadline=None)
@given(layouts(), seeds, st.booleans())
def test_xcdr_version_2_equals_cyclone(layout: Layout, seed: int, little: bool) -> None:
    payloads, expected = by_cyclone(layout, seed, version_2=True, little=little)
    assert rows(message_decoder("Root", as_idl(layout), "omgidl"), payloads) == expected


@settings(max_examples=15, deadline=None)
@given(layouts(("final",)), seeds, st.booleans())
def test_plain_cdr_of_idl_types_equals_cyclone(layout: Layout, seed: int, little: bool) -> None:
    payloads, expected = by_cyclone(layout, seed, version_2=False, little=little)
    assert rows(message_decoder("Root", as_idl(layout), "omgidl"), payloads) == expected


@settings(max_examples=15, deadline=None)
@given(layouts(("final",)), seeds)
def test_plain_cdr_of_msg_types_equals_rosbags(layout: Layout, seed: int) -> None:
    text, texts = as_msg(layout)
    store = get_typestore(Stores.EMPTY)
    for name, own in texts.items():
        store.register(get_types_from_msg(own, f"made/msg/{name}"))
    rng = random.Random(seed)  # noqa: S311 - a seeded test
    kind = "made/msg/Root"
    payloads = [bytes(store.serialize_cdr(as_ros(store, layout, value(layout, rng)), kind)) for _ in range(3)]
    expected = [plain(store.deserialize_cdr(item, kind)) for item in payloads]
    assert rows(message_decoder("made/msg/Root", text, "ros2msg"), payloads) == expected


@pytest.mark.parametrize("version_2", [False, True])
@pytest.mark.parametrize("at", [4, 16, -1])
def test_the_comparison_notices_a_wrong_byte(version_2: bool, at: int) -> None:
    layout = Layout("final", (Kind("int16"), Kind("uint32"), Kind("float64"), Kind("uint8", many=True, count=3)))
    payloads, expected = by_cyclone(layout, 1, version_2=version_2, little=True)
    decoder = message_decoder("Root", as_idl(layout), "omgidl")
    assert rows(decoder, payloads) == expected
    padding = payloads[1][3]
    wrong = bytearray(payloads[1])
    wrong[at - padding if at < 0 else at] ^= 1
    assert rows(decoder, [payloads[0], bytes(wrong), payloads[2]]) != expected


# -- protobuf --------------------------------------------------------------------------------------------------------

F = descriptor_pb2.FieldDescriptorProto
NUMBERS = {
    F.TYPE_DOUBLE: st.floats(allow_nan=False), F.TYPE_FLOAT: st.floats(width=32, allow_nan=False),
    F.TYPE_INT32: st.integers(-(2**31), 2**31 - 1), F.TYPE_SINT32: st.integers(-(2**31), 2**31 - 1),
    F.TYPE_SFIXED32: st.integers(-(2**31), 2**31 - 1), F.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    F.TYPE_SINT64: st.integers(-(2**63), 2**63 - 1), F.TYPE_SFIXED64: st.integers(-(2**63), 2**63 - 1),
    F.TYPE_UINT32: st.integers(0, 2**32 - 1), F.TYPE_FIXED32: st.integers(0, 2**32 - 1),
    F.TYPE_UINT64: st.integers(0, 2**64 - 1), F.TYPE_FIXED64: st.integers(0, 2**64 - 1),
    F.TYPE_BOOL: st.booleans(), F.TYPE_STRING: st.text(max_size=4), F.TYPE_BYTES: st.binary(max_size=4),
}  # fmt: skip


@st.composite
def described(draw: st.DrawFn) -> tuple[bytes, Any, list[Any]]:
    """Return a descriptor of made-up messages, their class, and some of them."""
    file = descriptor_pb2.FileDescriptorProto(
        name="m.proto", package="m", syntax=draw(st.sampled_from(["proto2", "proto3"]))
    )
    values: dict[str, dict[str, tuple[bool, Any]]] = {}
    for name in ("Inner", "Root"):
        message = file.message_type.add(name=name)
        values[name] = {}
        for at in range(draw(st.integers(1, 5))):
            kind = draw(st.sampled_from([*NUMBERS, *([F.TYPE_MESSAGE] * 3 if name == "Root" else [])]))
            many = draw(st.booleans())
            label = F.LABEL_REPEATED if many else F.LABEL_OPTIONAL
            field = message.field.add(name=f"f{at}", number=draw(st.integers(1, 500)) * 6 + at, type=kind, label=label)
            if kind == F.TYPE_MESSAGE:
                field.type_name = ".m.Inner"
            values[name][f"f{at}"] = many, kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("m.Root"))
    found = [_filled(draw, values, "Root", made()) for _ in range(draw(st.integers(1, 3)))]
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString(), made, found


def _filled(draw: st.DrawFn, values: dict[str, dict[str, tuple[bool, Any]]], name: str, message: Any) -> Any:
    for field, (many, kind) in values[name].items():
        if kind == F.TYPE_MESSAGE:
            for _ in range(draw(st.integers(0, 3 if many else 1))):
                inner = getattr(message, field).add() if many else getattr(message, field)
                inner.SetInParent()
                _filled(draw, values, "Inner", inner)
        elif many:
            getattr(message, field).extend(draw(st.lists(NUMBERS[kind], max_size=3)))
        elif draw(st.booleans()):
            setattr(message, field, draw(NUMBERS[kind]))
    return message


def as_google(message: Any) -> dict[str, Any]:
    """Return a message by its own accessors; a field that can be absent, and is, is None."""
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        one = getattr(message, field.name)
        nested = field.type == F.TYPE_MESSAGE
        if field.is_repeated:
            found[field.name] = [as_google(item) if nested else plain(item) for item in one]
        elif field.has_presence and not message.HasField(field.name):
            found[field.name] = None
        else:
            found[field.name] = as_google(one) if nested else plain(one)
    return found


@settings(max_examples=30, deadline=None)
@given(described())
def test_protobuf_equals_googles(case: tuple[bytes, Any, list[Any]]) -> None:
    descriptors, made, messages = case
    payloads = [message.SerializeToString() for message in messages]
    expected = [as_google(made.FromString(item)) for item in payloads]
    decoder = protobuf_decoder("m.Root", descriptors)
    assert rows(decoder, payloads) == expected


def test_the_comparison_notices_a_wrong_protobuf_value() -> None:
    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="m", syntax="proto3")
    file.message_type.add(name="Root").field.add(name="f0", number=1, type=F.TYPE_FIXED32, label=F.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("m.Root"))
    payload = made(f0=77).SerializeToString()
    decoder = protobuf_decoder("m.Root", descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString())
    assert rows(decoder, [payload]) == [as_google(made.FromString(payload))]
    wrong = payload[:-1] + bytes([payload[-1] ^ 1])
    assert rows(decoder, [wrong]) != [as_google(made.FromString(payload))]

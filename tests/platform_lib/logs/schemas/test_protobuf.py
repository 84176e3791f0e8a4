from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2, timestamp_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import Writer

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import open_log
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.decoders import topic_decoder
from platform_lib.logs.schemas.faulty import FaultyPayload
from platform_lib.logs.schemas.protobuf import protobuf_decoder

F = descriptor_pb2.FieldDescriptorProto


def files() -> descriptor_pb2.FileDescriptorSet:
    """Two files, the one that imports first."""
    main = descriptor_pb2.FileDescriptorProto(name="main.proto", package="t", syntax="proto3")
    main.dependency.extend(["inner.proto", "google/protobuf/timestamp.proto"])
    message = main.message_type.add(name="State")
    message.oneof_decl.add(name="_maybe")
    plain = [
        ("speed", 1, F.TYPE_DOUBLE), ("count", 2, F.TYPE_UINT64), ("name", 3, F.TYPE_STRING), ("blob", 4, F.TYPE_BYTES),
        ("small", 5, F.TYPE_SINT32), ("on", 6, F.TYPE_BOOL),
    ]  # fmt: skip
    for name, number, kind in plain:
        message.field.add(name=name, number=number, type=kind, label=F.LABEL_OPTIONAL)
    message.field.add(
        name="maybe", number=7, type=F.TYPE_INT32, label=F.LABEL_OPTIONAL, oneof_index=0, proto3_optional=True
    )
    message.field.add(name="mode", number=8, type=F.TYPE_ENUM, type_name=".t.Mode", label=F.LABEL_OPTIONAL)
    message.field.add(name="inner", number=9, type=F.TYPE_MESSAGE, type_name=".t.Inner", label=F.LABEL_OPTIONAL)
    message.field.add(name="many", number=10, type=F.TYPE_MESSAGE, type_name=".t.Inner", label=F.LABEL_REPEATED)
    message.field.add(name="ranges", number=11, type=F.TYPE_FLOAT, label=F.LABEL_REPEATED)
    message.field.add(
        name="stamp", number=12, type=F.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp", label=F.LABEL_OPTIONAL
    )
    message.field.add(
        name="sizes", number=13, type=F.TYPE_MESSAGE, type_name=".t.State.SizesEntry", label=F.LABEL_REPEATED
    )
    entry = message.nested_type.add(name="SizesEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=F.TYPE_STRING, label=F.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=F.TYPE_INT64, label=F.LABEL_OPTIONAL)
    mode = main.enum_type.add(name="Mode")
    mode.value.add(name="OFF", number=0)
    mode.value.add(name="ON", number=3)
    inner = descriptor_pb2.FileDescriptorProto(name="inner.proto", package="t", syntax="proto3")
    kind = inner.message_type.add(name="Inner")
    kind.field.add(name="x", number=1, type=F.TYPE_FLOAT, label=F.LABEL_OPTIONAL)
    kind.field.add(name="below", number=2, type=F.TYPE_MESSAGE, type_name=".t.Inner", label=F.LABEL_OPTIONAL)
    stamp = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(stamp)
    return descriptor_pb2.FileDescriptorSet(file=[main, inner, stamp])


DESCRIPTORS = files().SerializeToString()


def state() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in reversed(files().file):
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.State"))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "speed": st.floats(allow_nan=False),
                "count": st.integers(0, 2**64 - 1),
                "name": st.text(max_size=5),
                "blob": st.binary(max_size=5),
                "small": st.integers(-(2**31), 2**31 - 1),
                "on": st.booleans(),
                "ranges": st.lists(st.floats(width=32, allow_nan=False), max_size=3),
                "sizes": st.dictionaries(st.text(max_size=3), st.integers(-5, 5), max_size=3),
            }
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_was_serialised_comes_back(messages: list[dict[str, Any]]) -> None:
    kind = state()
    decoder = protobuf_decoder("t.State", DESCRIPTORS)
    columns = decoder.decode(Payloads.of([kind(**message).SerializeToString() for message in messages]))
    names = [field.name for field in decoder.fields()]
    for row, message in enumerate(messages):
        ours = {name: column[row].as_py() for name, column in zip(names, columns, strict=True)}
        assert all(ours[name] == value for name, value in message.items() if name != "sizes")
        assert dict(ours["sizes"]) == message["sizes"]
        assert (ours["maybe"], ours["inner"], ours["many"], ours["stamp"]) == (None, None, [], None)


def test_presence_enumerations_and_messages_in_themselves() -> None:
    kind = state()
    decoder = protobuf_decoder("t.State", DESCRIPTORS)
    fields = {field.name: field for field in decoder.fields()}
    assert fields["mode"].type == pa.int32()
    assert json.loads(fields["mode"].metadata[b"choices"]) == {"0": "OFF", "3": "ON"}
    assert fields["inner"].type.field("below").type == pa.binary()
    message = kind(maybe=0, mode=7, inner={"x": 1.5, "below": {"x": 2.0}}, stamp={"seconds": 5, "nanos": 6})
    columns = decoder.decode(Payloads.of([message.SerializeToString()]))
    row = {name: column[0].as_py() for name, column in zip(fields, columns, strict=True)}
    assert (row["maybe"], row["mode"]) == (0, 7)
    assert row["stamp"] == {"seconds": 5, "nanos": 6}
    assert row["inner"]["x"] == 1.5
    assert type(message.inner).FromString(row["inner"]["below"]).x == 2.0


def test_types_do_not_depend_on_values() -> None:
    decoder = protobuf_decoder("t.State", DESCRIPTORS)
    expected = [field.type for field in decoder.fields()]
    for payloads in ([], [b""], [state()(name="x", many=[{"x": 1}]).SerializeToString()]):
        assert [column.type for column in decoder.decode(Payloads.of(payloads))] == expected
    assert decoder.decode(Payloads.of([b""]), [2])[0].to_pylist() == [""]


def test_googles_recursive_struct_is_read() -> None:
    file = descriptor_pb2.FileDescriptorProto()
    struct_pb2.DESCRIPTOR.CopyToProto(file)
    descriptors = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    message = struct_pb2.Struct()
    message.update({"a": 1.5, "b": {"c": [1]}})
    column = protobuf_decoder("google.protobuf.Struct", descriptors).decode(Payloads.of([message.SerializeToString()]))[
        0
    ]
    found = dict(column[0].as_py())
    assert found["a"]["number_value"] == 1.5
    assert isinstance(found["b"]["struct_value"], bytes)


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"\x1a\x02\xff\xfe", b"\x4a\xff\xff\xff\xff\x0f"])
def test_payloads_that_are_no_such_message_are_refused(payload: bytes) -> None:
    decoder = protobuf_decoder("t.State", DESCRIPTORS)
    with pytest.raises(FaultyPayload) as caught:
        decoder.decode(Payloads.of([b"", payload]))
    assert caught.value.row == 1


@pytest.mark.parametrize(
    ("name", "descriptors"),
    [
        ("t.Other", DESCRIPTORS),
        ("t.State", b"\xff\xff"),
        ("t.State", files().file[0].SerializeToString()),
        ("t.State", b""),
    ],
)
def test_descriptors_that_cannot_be_used_are_named(name: str, descriptors: bytes) -> None:
    with pytest.raises(UnsupportedLog, match="descriptors"):
        protobuf_decoder(name, descriptors)


def test_topics_of_every_encoding(tmp_path: Path) -> None:
    path = tmp_path / "encodings.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema("t.State", "protobuf", DESCRIPTORS)
        flat = writer.register_schema("t.Flat", "flatbuffer", b"\0")
        channels = {
            name: writer.register_channel(name, encoding, number)
            for name, encoding, number in (
                ("/proto", "protobuf", schema),
                ("/broken", "protobuf", schema),
                ("/flat", "flatbuffer", flat),
                ("/cbor", "cbor", 0),
                ("/msgpack", "msgpack", 0),
                ("/own", "x-own", 0),
            )
        }
        for name, number in channels.items():
            data = state()(speed=2.5).SerializeToString() if name == "/proto" else b"\xff"
            writer.add_message(number, 7, data, 7)
        writer.finish()
    with open_log(path) as log:
        assert [batch["speed"].to_pylist() for batch in log.read("/proto", ["speed"])] == [[2.5]]
        with pytest.raises(CorruptLog, match="topic '/broken', the message at 7 ns"):
            list(log.read("/broken"))
        assert set(log.report.unsupported) == {"/flat", "/cbor", "/msgpack", "/own"}
        assert "FlatBuffers" in log.report.unsupported["/flat"]
        for name in log.report.unsupported:
            assert [batch["data"].to_pylist() for batch in log.read(name)] == [[b"\xff"]]


def nested(depth: int) -> bytes:
    file = descriptor_pb2.FileDescriptorProto(name="deep.proto", syntax="proto3")
    for level in range(depth):
        last = level == depth - 1
        field = file.message_type.add(name=f"M{level}").field.add(name="a", number=1, label=1, type=5 if last else 11)
        if not last:
            field.type_name = f".M{level + 1}"
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def test_types_that_nest_deeper_than_protobuf_reads_are_named() -> None:
    assert not isinstance(topic_decoder("protobuf", "protobuf", "M0", None, nested(100)), str)
    for depth in (102, 400):
        reason = topic_decoder("protobuf", "protobuf", "M0", None, nested(depth))
        assert reason == "its protobuf type nests more than 100 deep"
    assert "recursion" in str(topic_decoder("protobuf", "protobuf", "M0", None, nested(3000)))


def test_message_definitions_that_nest_too_deep_are_named() -> None:
    text = (
        "A1 a\n" + "".join(f"===\nMSG: p/A{at}\nA{at + 1} a\n" for at in range(1, 3000)) + "===\nMSG: p/A3000\nbool a\n"
    )
    assert topic_decoder("cdr", "ros2msg", "p/msg/A0", text, None) == "its message definition nests too deep"

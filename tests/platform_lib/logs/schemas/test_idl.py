from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mcap.writer import Writer
from rosbags.typesys import Stores, get_types_from_idl, get_typestore

from platform_lib.errors import UnsupportedLog
from platform_lib.logs import open_log
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.cdr import message_decoder
from platform_lib.logs.schemas.idl import parse_idl
from platform_lib.logs.schemas.rosmsg import parse_definition

IDL = """\
================================================================================
IDL: t/msg/State
// generated
#include "t/msg/Point.idl"
module t {
  module msg {
    module State_Constants {
      const uint8 SIZE = 2; /* a comment
      over lines */
      const string NAME = "a; } \\" b";
    };
    typedef double double__9[9];
    enum Mode { OFF, @value(5) ON, AUTO };
    @verbatim (language="comment", text="Says (so) " "much")
    struct State {
      @unit(value="m") double x, y[3];
      t::msg::Point corner;
      sequence<msg::Point, 4> path;
      double__9 covariance;
      Mode mode;
      sequence<octet> blob;
      sequence<string<5>> names;
      long long big;
      unsigned short pair[State_Constants::SIZE][3];
      @default (value=TRUE)
      boolean flag;
      Nothing nothing;
    };
  };
};
================================================================================
IDL: t/msg/Point
module t { module msg {
  struct Base { uint8 tag; };
  struct Point : Base { float x; float y; };
  struct Nothing { uint8 structure_needs_at_least_one_member; };
}; };
"""
ROSMSG = """\
float64 x
float64[3] y
Point corner
Point[<=4] path
float64[9] covariance
uint32 mode
byte[] blob
string[] names
int64 big
Row[2] pair
bool flag
Nothing nothing
===
MSG: t/Point
uint8 tag
float32 x
float32 y
===
MSG: t/Row
uint16[3] v
===
MSG: t/Nothing
"""


def test_the_same_message_in_idl_and_msg_decodes_alike() -> None:
    ours = message_decoder("t/msg/State", IDL, "ros2idl")
    fields = {field.name: field for field in ours.fields()}
    assert fields["mode"].metadata == {b"choices": b'{"0": "OFF", "5": "ON", "6": "AUTO"}'}
    assert fields["pair"].type == pa.list_(pa.list_(pa.uint16(), 3), 2)
    other = message_decoder("t/msg/State", ROSMSG)
    payload = b"\0\1\0\0" + np.arange(1.0, 5.0).tobytes() + b"\x07\0\0\0" + np.float32([5, 6]).tobytes()
    payload += np.uint32([1]).tobytes() + b"\x08\0\0\0" + np.float32([7, 8]).tobytes()
    at = len(payload) - 4
    payload += b"\0" * (-at % 8) + np.arange(9.0).tobytes() + np.uint32([5, 3]).tobytes() + b"abc\0"
    payload += np.uint32([2, 2]).tobytes() + b"x\0\0\0" + np.uint32([1]).tobytes() + b"\0"
    payload += (
        b"\0" * (-(len(payload) - 4) % 8) + np.int64([-9]).tobytes() + np.arange(6, dtype="<u2").tobytes() + b"\1\0"
    )
    columns = zip(ours.decode(Payloads.of([payload])), other.decode(Payloads.of([payload])), strict=True)
    values = {name: (a.to_pylist()[0], b.to_pylist()[0]) for name, (a, b) in zip(fields, columns, strict=True)}
    assert values.pop("pair") == ([[0, 1, 2], [3, 4, 5]], [{"v": [0, 1, 2]}, {"v": [3, 4, 5]}])
    assert all(a == b for a, b in values.values())
    assert values["names"][0] == ["x", ""]
    assert values["big"][0] == -9


@pytest.mark.parametrize("name", ["sensor_msgs/msg/Imu", "nav_msgs/msg/Odometry", "sensor_msgs/msg/PointCloud2"])
def test_standard_messages_written_as_idl_equal_their_msg(name: str) -> None:
    text = as_idl(name)
    assert get_types_from_idl(text)[name]  # what another parser takes too
    store = get_typestore(Stores.ROS2_HUMBLE)
    assert parse_idl(name, text) == renamed(parse_definition(name, store.generate_msgdef(name, ros_version=2)[0]))


def as_idl(root: str) -> str:
    """Write a standard message and all that it holds as IDL."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    done: dict[str, str] = {}

    def spell(desc: Any) -> tuple[str, str]:
        kind, inner = desc
        if kind.name == "BASE":
            names = {"float64": "double", "float32": "float", "bool": "boolean"}
            return names.get(inner[0], inner[0]), ""
        if kind.name == "NAME":
            write(inner)
            return inner.replace("/", "::"), ""
        item, size = inner
        if kind.name == "ARRAY":
            return spell(item)[0], f"[{size}]"
        return f"sequence<{spell(item)[0]}>", ""

    def write(name: str) -> None:
        if name in done:
            return
        members = []
        for field, desc in store.fielddefs[name][1]:
            written, size = spell(desc)
            members.append(f"      {written} {field}{size};")
        package, _, short = name.split("/")
        body = "\n".join(members)
        done[name] = f"module {package} {{\n  module msg {{\n    struct {short} {{\n{body}\n    }};\n  }};\n}};\n"

    write(root)
    return "\n".join(done.values())


def renamed(kind: Any) -> Any:
    """IDL names types with ``::``."""
    from platform_lib.logs.schemas.kinds import Array, Struct

    if isinstance(kind, Struct):
        return Struct(kind.name.replace("/", "::"), tuple((name, renamed(item)) for name, item in kind.fields))
    return Array(renamed(kind.item), kind.count) if isinstance(kind, Array) else kind


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ("struct S { S again; };", "recursive"),
        ("union U switch (float) { case 1: long a; }; struct S { U u; };", "told apart by 'float'"),
        ("union U switch (long) { case 1: long a; case 1: long b; }; struct S { U u; };", "a case twice"),
        ("union U switch (long) { case NONE: long a; }; struct S { U u; };", "the case 'NONE'"),
        ("union U switch (long) { long a; }; struct S { U u; };", "where a case belongs"),
        ("@mutable union U switch (long) { case 1: long a; }; struct S { U u; };", "'U', a mutable union"),
        ("union U switch (long) { case 1: U a; }; struct S { U u; };", "recursive"),
        ("struct S { @optional long a; };", "optional"),
        ("struct S { map<string, long> a; };", "a map"),
        ("struct S { Missing a; };", "does not define"),
        ("@bit_bound(64) enum E { A }; struct S { E e; };", "an enum of 64 bits"),
        ("struct S { long a[N]; };", "array size"),
        ("struct S { long a; ", "where"),
        ("struct S { long ?; };", "the text"),
        ("typedef long S;", "no struct"),
        ("struct Other { long a; };", "does not define"),
        ("sequence<" * 100 + "long", "belongs"),
        ("struct S { " + "sequence<" * 100 + "long" + ">" * 100 + " a; };", "nested"),
        ("module a { " * 500, "nested"),
    ],
)
def test_what_is_not_decoded_is_named(body: str, match: str) -> None:
    with pytest.raises(UnsupportedLog, match=match):
        parse_idl("S", body)


def test_a_topic_defined_by_idl(tmp_path: Path) -> None:
    path = tmp_path / "idl.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        good = writer.register_schema("t/msg/P", "ros2idl", b"module t { module msg { struct P { int16 a; }; }; };")
        bad = writer.register_schema("t/msg/Q", "ros2idl", b"module t { module msg { struct Q { any a; }; }; };")
        for name, schema in (("/good", good), ("/bad", bad)):
            writer.add_message(writer.register_channel(name, "cdr", schema), 1, b"\0\1\0\0\xfe\xff", 1)
        writer.finish()
    with open_log(path) as log:
        assert [row["a"] for batch in log.read("/good") for row in batch.to_pylist()] == [-2]
        assert "any" in log.report.unsupported["/bad"]
        assert [batch["data"].to_pylist() for batch in log.read("/bad")] == [[b"\0\1\0\0\xfe\xff"]]


def test_definitions_from_windows_end_their_lines_in_their_way() -> None:
    text = (
        "=====\nIDL: p/msg/P\n// made\nmodule p { module msg {\n  struct P { long x; };\n}; };\n=====\nIDL: p/msg/Q\n"
    )
    assert parse_idl("p/msg/P", text.replace("\n", "\r\n")) == parse_idl("p/msg/P", text)

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap_ros2._dynamic import serialize_dynamic
from mcap_ros2.decoder import DecoderFactory
from rosbags.typesys import Stores, get_typestore

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import decode_cdr, open_log
from platform_lib.logs.schemas.cdr import message_decoder

NESTED = """\
bool flag
uint8 kind
float64[] values
Item[] items
Fixed[<=9] fixed
Item[2] pair
string[] names
bool[3] bits
int64 last
===
MSG: t/Item
uint8 a
string s
int16[] b
===
MSG: t/Fixed
uint8 a
float64 b
int16 c
"""


def plain(value: Any) -> Any:
    """A decoded message of the reference as plain values; arrays of bytes as bytes."""
    if hasattr(value, "__slots__"):
        return {name: plain(getattr(value, name)) for name in value.__slots__}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(item) for item in value]
    return value


def equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, dict):
        names = [name for name in theirs if name != "structure_needs_at_least_one_member"]
        return list(ours) == names and all(equal(ours[name], theirs[name]) for name in names)
    if isinstance(ours, bytes) and isinstance(theirs, list):
        return list(ours) == theirs
    if isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return bool(ours == theirs or (ours != ours and theirs != theirs))


def test_equals_mcap_ros2_on_every_real_message(real_logs: Path) -> None:
    compared = 0
    for path in sorted((real_logs / "mcap").glob("*.mcap")):
        if path.name.startswith("wrong"):
            continue
        with open_log(path) as log, path.open("rb") as stream:
            rows = {s.name: [r for b in log.read(s.name) for r in b.to_pylist()] for s in log.streams}
            seen = dict.fromkeys(rows, 0)
            reader = make_reader(stream, decoder_factories=[DecoderFactory()])
            for _, channel, message, decoded in reader.iter_decoded_messages():
                row = dict(rows[channel.topic][seen[channel.topic]])
                seen[channel.topic] += 1
                assert row.pop("timestamp_ns") == message.log_time
                row.pop("publish_ns")
                assert equal(row, plain(decoded)), (path.name, channel.topic)
                compared += 1
    assert compared > 1400


def test_the_comparison_notices_a_wrong_value() -> None:
    assert equal({"a": [1, {"b": 2.0}]}, {"a": [1, {"b": 2.0}]})
    assert not equal({"a": [1, {"b": 2.0}]}, {"a": [1, {"b": 2.5}]})
    assert not equal({"a": [1]}, {"a": [1, 2]})
    assert not equal({"a": 1}, {"b": 1})


item = st.fixed_dictionaries(
    {"a": st.integers(0, 255), "s": st.text(max_size=5).filter(lambda t: "\0" not in t), "b": st.lists(st.integers(-9, 9), max_size=3)}
)  # fmt: skip
fixed = st.fixed_dictionaries({"a": st.integers(0, 255), "b": st.floats(allow_nan=False), "c": st.integers(-99, 99)})
nested = st.fixed_dictionaries(
    {
        "flag": st.booleans(),
        "kind": st.integers(0, 255),
        "values": st.lists(st.floats(allow_nan=False), max_size=4),
        "items": st.lists(item, max_size=3),
        "fixed": st.lists(fixed, max_size=9),
        "pair": st.lists(item, min_size=2, max_size=2),
        "names": st.lists(st.text("aé", max_size=4), max_size=3),
        "bits": st.lists(st.booleans(), min_size=3, max_size=3),
        "last": st.integers(-(2**63), 2**63 - 1),
    }
)


@settings(max_examples=30, deadline=None)
@given(st.lists(nested, min_size=1, max_size=6))
def test_what_was_serialised_comes_back(messages: list[dict[str, Any]]) -> None:
    serialise = serialize_dynamic("t/msg/Nested", NESTED)["t/msg/Nested"]
    batch = decode_cdr("t/msg/Nested", NESTED, [bytes(serialise(message)) for message in messages])
    batch.validate(full=True)
    assert batch.to_pylist() == messages


@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize(
    "name", ["sensor_msgs/msg/Imu", "nav_msgs/msg/Odometry", "geometry_msgs/msg/TransformStamped", "std_msgs/msg/Empty"]
)
def test_both_byte_orders_of_standard_messages(name: str, little: bool) -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    rng = np.random.default_rng(5)
    messages = [fill(store, name, rng, step) for step in range(7)]
    payloads = [bytes(store.serialize_cdr(message, name, little_endian=little)) for message in messages]
    batch = decode_cdr(name, store.generate_msgdef(name, ros_version=2)[0], payloads)
    assert batch.num_rows == 0 if not batch.num_columns else batch.num_rows == 7
    for row, message in zip(batch.to_pylist(), messages, strict=False):
        assert equal(row, unpack(message))


def test_rows_of_mixed_byte_order_keep_their_order() -> None:
    store = get_typestore(Stores.ROS2_HUMBLE)
    name = "std_msgs/msg/String"
    kind = store.types[name]
    payloads = [bytes(store.serialize_cdr(kind(data=f"n{n}"), name, little_endian=n % 3 != 0)) for n in range(9)]
    assert decode_cdr(name, "string data", payloads)["data"].to_pylist() == [f"n{n}" for n in range(9)]


def fill(store: Any, name: str, rng: np.random.Generator, step: int) -> Any:
    """A message with every field set at random."""

    def value(desc: Any) -> Any:
        kind, inner = desc
        if kind.name == "BASE":
            return f"frame{'x' * step}" if inner[0] == "string" else step
        if kind.name == "NAME":
            return fill(store, inner, rng, step)
        size = inner[1] if kind.name == "ARRAY" else step
        return rng.normal(size=size)

    fields = store.fielddefs[name][1]
    return store.types[name](
        **{key: value(desc) for key, desc in fields if key != "structure_needs_at_least_one_member"}
    )


def unpack(message: Any) -> Any:
    if hasattr(message, "__dataclass_fields__"):
        return {k: unpack(getattr(message, k)) for k in message.__dataclass_fields__ if k != "__msgtype__"}
    return plain(message)


@pytest.mark.parametrize(
    ("definition", "payload", "match"),
    [
        ("float64 x", b"\0\1\0\0\0\0\0", "ends inside"),
        ("string s", b"\0\1\0\0\x03\0\0\0abc", "NUL"),
        ("string s", b"\0\1\0\0\x03\0\0\0\xff\xff\0", "UTF-8"),
        ("uint8[] d", b"\0\1\0\0\xff\xff\xff\x7f", "longer than its message"),
        ("uint8 a", b"\0\1\0\0\1" + b"\0" * 9, "follow the last field"),
        ("uint8 a", b"\0\1", "shorter than"),
    ],
)
def test_payloads_that_do_not_fit_are_refused(definition: str, payload: bytes, match: str) -> None:
    with pytest.raises(CorruptLog, match=match):
        decode_cdr("t/msg/T", definition, [payload])


@pytest.mark.parametrize(
    ("definition", "match"),
    [("Missing m", "does not define"), ("?? x", "line"), ("T again", "recursive")],
)
def test_definitions_that_are_not_decoded_are_named(definition: str, match: str) -> None:
    with pytest.raises(UnsupportedLog, match=match):
        decode_cdr("t/msg/T", definition, [])


def test_parameter_list_encapsulation_is_refused() -> None:
    with pytest.raises(UnsupportedLog, match="0x0003"):
        decode_cdr("t/msg/T", "uint8 a", [b"\0\3\0\0\1"])


def test_constants_defaults_comments_and_bounds_are_understood() -> None:
    text = "# c\nuint8 DEBUG=10 # ten\nstring<=5 s 'a'\nint32[<=3] v [1, 2]\nbyte b 3\n\nchar[4] c"
    assert message_decoder("t/T", text).fields() == [
        pa.field("s", pa.string()),
        pa.field("v", pa.list_(pa.int32())),
        pa.field("b", pa.uint8()),
        pa.field("c", pa.binary(4)),
    ]

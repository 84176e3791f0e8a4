from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap.writer import Writer
from mcap_ros2._dynamic import serialize_dynamic
from mcap_ros2.decoder import DecoderFactory
from rosbags.typesys import Stores, get_typestore

from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.logs import decode_cdr, open_log
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.cdr import message_decoder
from platform_lib.logs.schemas.faulty import FaultyPayload

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
    if isinstance(message, list):
        return [unpack(item) for item in message]
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


# -- where the bytes lie, and what is wanted of them ---------------------------------------------------------------

CLOUD = """\
uint32 stamp
string frame
Field[] fields
uint8[] data
bool dense
string[] tags
===
MSG: t/Field
string name
uint32 offset
uint8 kind
"""


def clouds(count: int, blob_bytes: int) -> list[bytes]:
    serialise = serialize_dynamic("t/msg/Cloud", CLOUD)["t/msg/Cloud"]
    rng = np.random.default_rng(8)
    return [
        bytes(
            serialise(
                {
                    "stamp": number,
                    "frame": "f" * (number % 3),
                    "fields": [{"name": "xyz"[: at % 4], "offset": 4 * at, "kind": at} for at in range(number % 5)],
                    "data": rng.bytes(blob_bytes + number),
                    "dense": bool(number % 2),
                    "tags": ["a", "", "ccc"][: number % 4],
                }
            )
        )
        for number in range(count)
    ]


def scattered(payloads: list[bytes], buffers: int) -> Payloads:
    """Payload k in buffer k modulo `buffers`, with bytes between them that belong to none."""
    parts = [bytearray(b"\xff" * (3 + number)) for number in range(buffers)]
    number = np.arange(len(payloads)) % buffers
    start = []
    for at, payload in zip(number, payloads, strict=True):
        start.append(len(parts[at]))
        parts[at] += payload + b"\xff" * int(at)
    length = np.array([len(payload) for payload in payloads], np.int64)
    return Payloads([bytes(part) for part in parts], number.astype(np.int32), np.array(start, np.int64), length)


@pytest.mark.parametrize("blob_bytes", [10, 9000])
@pytest.mark.parametrize("buffers", [1, 2, 5])
def test_where_payloads_lie_makes_no_difference(buffers: int, blob_bytes: int) -> None:
    payloads = clouds(23, blob_bytes)
    decoder = message_decoder("t/msg/Cloud", CLOUD)
    expected = decode_cdr("t/msg/Cloud", CLOUD, payloads).columns
    for column, ours in zip(expected, decoder.decode(scattered(payloads, buffers)), strict=True):
        ours.validate(full=True)
        assert ours.equals(column)


@pytest.mark.parametrize("blob_bytes", [10, 9000])
@pytest.mark.parametrize("wanted", [[], [0], [1, 2], [0, 4], [3], [5], [0, 1, 2, 3, 4, 5]])
def test_wanted_fields_are_those_of_the_whole(wanted: list[int], blob_bytes: int) -> None:
    payloads = clouds(23, blob_bytes)
    decoder = message_decoder("t/msg/Cloud", CLOUD)
    expected = decode_cdr("t/msg/Cloud", CLOUD, payloads).columns
    for data in (scattered(payloads, 3), Payloads.of(payloads)):
        ours = decoder.decode(data, wanted)
        assert [column.to_pylist() for column in ours] == [expected[number].to_pylist() for number in wanted]


@pytest.mark.parametrize("wanted", [None, [1], [2], [4]])
def test_fields_where_the_copy_of_a_payloads_head_ends(wanted: list[int] | None) -> None:
    """Wide texts tell by what is left of the message which of two forms they have: not by what was copied of it."""
    decoder = message_decoder("t/msg/T", "string pad\nwstring w\nuint32 after\nuint8[] data\nbool dense")
    for pad in range(470, 520):
        body = struct.pack("<I", pad + 1) + b"p" * pad + b"\0"
        body += b"\0" * (-len(body) % 4) + struct.pack("<I", 2) + "ab".encode("utf-32-le") + struct.pack("<I", pad)
        payload = b"\0\1\0\0" + body + struct.pack("<I", 9000) + bytes(9000) + b"\1"
        expected = ["p" * pad, "ab", pad, bytes(9000), True]
        ours = decoder.decode(scattered([payload] * 4, 3), wanted)
        assert [column[3].as_py() for column in ours] == [
            expected[at] for at in (range(5) if wanted is None else wanted)
        ]


@pytest.mark.parametrize("wanted", [None, [3], [4], [5]])
def test_a_large_payload_that_is_cut_is_refused_by_its_number(wanted: list[int] | None) -> None:
    payloads = clouds(6, 9000)
    payloads[4] = payloads[4][:5000]
    decoder = message_decoder("t/msg/Cloud", CLOUD)
    with pytest.raises(FaultyPayload, match=r"ends inside a field|longer than its message") as caught:
        decoder.decode(scattered(payloads, 3), wanted)
    assert caught.value.row == 4
    assert len(decoder.decode(scattered(payloads, 3), [0, 1, 2])) == 3
    payloads[1] = payloads[1][:6]
    with pytest.raises(FaultyPayload, match="ends inside a field") as caught:
        decoder.decode(scattered(payloads, 3), [0])
    assert caught.value.row == 1


def test_a_small_payload_that_is_cut_after_what_is_wanted_is_refused() -> None:
    decoder = message_decoder("t/msg/T", "uint8 wanted\nuint8[] data")
    payload = b"\0\1\0\0" + b"\7\0\0\0" + struct.pack("<I", 9) + bytes(9)
    assert decoder.decode(Payloads.of([payload]), [0])[0].to_pylist() == [7]
    with pytest.raises(FaultyPayload, match="ends inside a field"):
        decoder.decode(Payloads.of([payload[:-1]]), [0])


def test_a_head_that_is_longer_than_usual_is_read_too() -> None:
    serialise = serialize_dynamic("t/msg/Cloud", CLOUD)["t/msg/Cloud"]
    row = {"stamp": 1, "frame": "f" * 3000, "fields": [], "data": bytes(9000), "dense": True, "tags": []}
    payloads = [bytes(serialise(row))] * 4
    frames = message_decoder("t/msg/Cloud", CLOUD).decode(scattered(payloads, 2), [1])[0]
    assert frames.to_pylist() == ["f" * 3000] * 4


@settings(max_examples=60, deadline=None)
@given(st.lists(nested, min_size=1, max_size=4), st.data())
def test_a_payload_cut_anywhere_is_refused_by_its_number(messages: list[dict[str, Any]], data: st.DataObject) -> None:
    serialise = serialize_dynamic("t/msg/Nested", NESTED)["t/msg/Nested"]
    payloads = [bytes(serialise(message)) for message in messages]
    bad = data.draw(st.integers(0, len(payloads) - 1))
    payloads[bad] = payloads[bad][: data.draw(st.integers(0, len(payloads[bad]) - 1))]
    with pytest.raises(FaultyPayload) as caught:
        message_decoder("t/msg/Nested", NESTED).decode(Payloads.of(payloads))
    assert caught.value.row == bad


@settings(max_examples=80, deadline=None)
@given(nested, st.data())
def test_flipped_bytes_give_values_or_a_refusal(message: dict[str, Any], data: st.DataObject) -> None:
    serialise = serialize_dynamic("t/msg/Nested", NESTED)["t/msg/Nested"]
    payload = bytearray(serialise(message))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(4, len(payload) - 1))] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]))
    try:
        batch = decode_cdr("t/msg/Nested", NESTED, [bytes(payload)])
    except CorruptLog:
        return
    batch.validate(full=True)


LYING = struct.pack("<I", 0xFFFFFFFF)


@pytest.mark.parametrize(
    "definition",
    ["string s", "uint8[] d", "float64[] d", "string[] s", "Item[] d\n===\nMSG: t/Item\nuint8 a\nstring s",
     "Item[] d\n===\nMSG: t/Item\nuint8 a", "Item[] d\n===\nMSG: t/Item\nstring[] deep", "wstring w"],
)  # fmt: skip
@pytest.mark.parametrize("wanted", [None, [1]])
def test_lying_lengths_are_refused_without_taking_memory(definition: str, wanted: list[int] | None) -> None:
    head, sign, rest = definition.partition("\n===")
    decoder = message_decoder("t/msg/T", f"{head}\nuint8 last{sign}{rest}")
    payload = b"\0\1\0\0" + LYING + b"\1" * 64
    tracemalloc.start()
    with pytest.raises(CorruptLog):
        decoder.decode(Payloads.of([payload]), wanted)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_long_sequence_of_strings_takes_no_loop_in_python() -> None:
    payload = b"\0\1\0\0" + struct.pack("<I", 400_000) + struct.pack("<I", 1)
    payload += b"\0\0\0\0" + (struct.pack("<I", 1) + b"\0\0\0\0") * 399_999
    batch = decode_cdr("t/msg/T", "string[] s", [payload])
    assert batch["s"].to_pylist() == [[""] * 400_000]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", ["four bytes a unit", "two bytes a unit"])
def test_both_forms_of_wide_strings(order: str, form: str) -> None:
    texts = ["", "a", "grün", "𝄞 clef", "x" * 9]
    payloads = []
    for number, text in enumerate(texts):
        units = np.frombuffer(text.encode("utf-16-le"), "<u2")
        if form == "four bytes a unit":
            body = struct.pack(order + "I", units.size) + units.astype(order + "u4").tobytes()
        else:
            body = struct.pack(order + "I", 2 * units.size) + units.astype(order + "u2").tobytes()
        body += b"\0" * (-len(body) % 4) + struct.pack(order + "I", number)
        payloads.append((b"\0\1\0\0" if order == "<" else b"\0\0\0\0") + body)
    batch = decode_cdr("t/msg/T", "wstring w\nuint32 after", payloads)
    assert batch["w"].to_pylist() == texts
    assert batch["after"].to_pylist() == list(range(len(texts)))


@pytest.mark.parametrize(
    "definition",
    ["A[200000] a\n===\nMSG: t/A\nuint8 x\nstring s",
     "A a\nA b\n===\nMSG: t/A\n" + "".join(f"B{n} x{n}\n" for n in range(2)) + "".join(
         f"===\nMSG: t/B{n}\n" + "".join(f"B{n + 2} y{k}\n" for k in range(9)) for n in range(40))
     + "".join(f"===\nMSG: t/B{n}\nuint8 z\n" for n in (40, 41))],
)  # fmt: skip
def test_definitions_that_multiply_are_refused(definition: str) -> None:
    with pytest.raises(UnsupportedLog, match="parts"):
        message_decoder("t/msg/T", definition)


@pytest.mark.parametrize("name", ["sensor_msgs/msg/Imu", "nav_msgs/msg/Odometry", "nav_msgs/msg/Path"])
def test_ros1_serialisation_equals_rosbags(name: str) -> None:
    store = get_typestore(Stores.ROS1_NOETIC)
    rng = np.random.default_rng(5)
    messages = [fill1(store, name, rng, step) for step in range(5)]
    payloads = [bytes(store.serialize_ros1(message, name)) for message in messages]
    decoder = message_decoder(name, store.generate_msgdef(name, ros_version=1)[0], "ros1msg")
    columns = decoder.decode(Payloads.of(payloads))
    names = [field.name for field in decoder.fields()]
    for row, message in enumerate(messages):
        ours = {key: column[row].as_py() for key, column in zip(names, columns, strict=True)}
        assert equal(renamed(ours), unpack(message))
    with pytest.raises(FaultyPayload):
        decoder.decode(Payloads.of([payloads[1][:-1]]))


def renamed(value: Any) -> Any:
    """ROS 1 calls nanoseconds `nsec`, rosbags `nanosec`."""
    if isinstance(value, dict):
        return {"nanosec" if key == "nsec" else key: renamed(item) for key, item in value.items()}
    return [renamed(item) for item in value] if isinstance(value, list) else value


def fill1(store: Any, name: str, rng: np.random.Generator, step: int) -> Any:
    if name == "nav_msgs/msg/Path":
        poses = [fill(store, "geometry_msgs/msg/PoseStamped", rng, at) for at in range(step)]
        return store.types[name](header=fill(store, "std_msgs/msg/Header", rng, step), poses=poses)
    return fill(store, name, rng, step)


def test_a_faulty_message_is_named_by_topic_and_time(tmp_path: Path) -> None:
    path = tmp_path / "bad.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start()
        schema = writer.register_schema("t/msg/T", "ros2msg", b"string s")
        channel = writer.register_channel("/bad", "cdr", schema)
        for time_ns in range(5):
            text = b"\x02\0\0\0a\0" if time_ns != 3 else b"\xff\xff\0\0a\0"
            writer.add_message(channel, time_ns * 10, b"\0\1\0\0" + text, 0)
        writer.finish()
    with open_log(path) as log, pytest.raises(CorruptLog, match="topic '/bad', the message at 30 ns"):
        list(log.read("/bad"))
    with open_log(path) as log:
        assert sum(batch.num_rows for batch in log.read("/bad", decode=False)) == 5


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_definitions_from_windows_end_their_lines_in_their_way(ending: str) -> None:
    text = "Point p  # where\nint32 x\n===\nMSG: q/Point\nuint8 UP=1\nuint8 y\n".replace("\n", ending)
    payload = b"\0\1\0\0" + bytes([7, 0, 0, 0]) + (5).to_bytes(4, "little")
    assert decode_cdr("q/msg/P", text, [payload]).to_pylist() == [{"p": {"y": 7}, "x": 5}]


@pytest.mark.parametrize("field", ["uint8[4294967296] x", "float64[2147483648] x"])
def test_arrays_longer_than_any_message_are_named(field: str) -> None:
    with pytest.raises(UnsupportedLog, match="an array of"):
        message_decoder("p/msg/M", field)
    message_decoder("p/msg/M", "uint8[2147483647] x").fields()

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cantools
import numpy as np
import pytest
from cantools.database.can import Message as Described
from cantools.database.can import Signal as DescribedSignal
from cantools.database.conversion import BaseConversion
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platform_lib.logs.bus.database import Databases, _message
from platform_lib.logs.bus.layout import parameter_group
from platform_lib.logs.bus.streams import BusStreams
from platform_lib.logs.model import Report, Window


def rows_of(streams: BusStreams, name: str) -> list[dict[str, Any]]:
    return [row for batch in streams.read(name, Window()) for row in batch.to_pylist()]


def same(ours: Any, theirs: Any) -> bool:
    return bool(ours == theirs or (ours != ours and theirs != theirs))


@st.composite
def described(draw: st.DrawFn) -> DescribedSignal:
    """A signal anywhere in 64 bytes."""
    big = draw(st.booleans())
    floating = draw(st.booleans())
    length = draw(st.sampled_from([16, 32, 64])) if floating else draw(st.integers(1, 64))
    first = draw(st.integers(0, 512 - length))
    start = 8 * (first // 8) + 7 - first % 8 if big else first
    scale, offset = draw(st.sampled_from([(1, 0), (0.5, -3), (-2, 0), (1, 0.125)]))
    conversion = BaseConversion.factory(scale=scale, offset=offset, is_float=floating)
    order = "big_endian" if big else "little_endian"
    return DescribedSignal("s", start, length, order, is_signed=draw(st.booleans()), conversion=conversion)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(described(), st.lists(st.binary(min_size=64, max_size=64), min_size=1, max_size=4))
def test_any_signal_of_any_frame_equals_cantools(
    array_frames: Any, signal: DescribedSignal, payloads: list[bytes]
) -> None:
    message = Described(0x123, "m", 64, [signal], is_fd=True, strict=True)
    streams = BusStreams(_databases(message), Report("mdf4"))
    streams.add(array_frames([0x123] * len(payloads), payloads))
    for row, payload in zip(rows_of(streams, "CAN0/m"), payloads, strict=True):
        expected = message.decode(payload)["s"]
        assert same(row["s"], float(expected) if isinstance(row["s"], float) else expected)
        # A planted fault: the frame with one of the signal's bits flipped does not decode to the same.
        bit = signal.start
        wrong = bytearray(payload)
        wrong[bit // 8] ^= 1 << bit % 8
        if math.isfinite(expected) and signal.conversion.is_float is False and signal.length <= 52:
            assert message.decode(bytes(wrong))["s"] != row["s"]


def _databases(*messages: Described) -> Databases:
    from platform_lib.logs.bus.database import Database

    return Databases(
        [Database("CAN", 0, tuple(_message(message, j1939=False, described=True) for message in messages))]
    )


NESTED = """\
VERSION ""
NS_ :
BS_:
BU_: E
BO_ 10 Nested: 8 E
 SG_ Outer M : 0|4@1+ (1,0) [0|0] "" E
 SG_ Inner m1M : 4|4@1+ (1,0) [0|0] "" E
 SG_ Deep m2 : 8|16@1- (0.5,0) [0|0] "V" E
 SG_ Wide m3 : 15|16@0+ (1,0) [0|0] "" E
 SG_ Plain : 56|8@1+ (1,0) [0|0] "" E
SG_MUL_VAL_ 10 Inner Outer 1-1, 4-6;
SG_MUL_VAL_ 10 Deep Inner 2-3, 9-9;
SG_MUL_VAL_ 10 Wide Outer 3-3, 7-12;
"""


def test_nested_multiplexers_with_ranges_equal_cantools(tmp_path: Path, array_frames: Any) -> None:
    path = tmp_path / "nested.dbc"
    path.write_text(NESTED)
    described = cantools.database.load_file(path).messages[0]
    payloads = [bytes([first, 0x34, 0x92, *range(4), 7]) for first in range(256)]
    streams = BusStreams(Databases.load([str(path)], []), Report("mdf4"))
    streams.add(array_frames([10] * 256, payloads))
    compared = 0
    for row, payload in zip(rows_of(streams, "CAN0/Nested"), payloads, strict=True):
        row.pop("timestamp_ns")
        try:
            expected = described.decode(payload)
        except cantools.database.DecodeError:  # a selector that selects nothing: cantools refuses the frame
            assert row["Plain"] == 7
            continue
        assert {name: value for name, value in row.items() if value is not None} == expected
        compared += len(expected)
    assert compared > 300


def test_values_past_a_short_frame_are_null_and_selectors_too(tmp_path: Path, array_frames: Any) -> None:
    path = tmp_path / "nested.dbc"
    path.write_text(NESTED)
    report = Report("mdf4")
    streams = BusStreams(Databases.load([str(path)], []), report)
    streams.add(array_frames([10] * 4, [b"", b"\x21", b"\x21\x04", b"\x21\x04\x00"]))
    rows = rows_of(streams, "CAN0/Nested")
    assert [row["Outer"] for row in rows] == [None, 1, 1, 1]
    assert [row["Deep"] for row in rows] == [None, None, None, 2.0]
    assert any("4 CAN frames are shorter than their message" in line for line in report.problems)


def test_lengths_come_from_the_length_code_of_can_fd(tmp_path: Path, array_frames: Any) -> None:
    path = tmp_path / "fd.dbc"
    path.write_text(
        'VERSION ""\nNS_ :\nBS_:\nBU_: E\nBO_ 5 Long: 64 E\n SG_ a : 0|8@1+ (1,0) [0|0] "" E\n'
        ' SG_ z : 440|64@1+ (1,0) [0|0] "" E\n SG_ y : 376|16@1+ (1,0) [0|0] "" E\n'
    )
    data = np.tile(np.arange(64, dtype=np.uint8), (3, 1))
    streams = BusStreams(Databases.load([str(path)], []), Report("mdf4"))
    streams.add(array_frames([5, 5, 5], data, columns={"DLC": np.array([15, 14, 3], np.uint8)}))
    rows = rows_of(streams, "CAN0/Long")
    assert [row["a"] for row in rows] == [0, 0, 0]
    assert [row["y"] for row in rows] == [47 | 48 << 8, None, None]
    assert rows[0]["z"] == int.from_bytes(bytes(range(55, 63)), "little")
    assert rows[1]["z"] is None


def test_frames_marked_invalid_are_counted_and_left_out(tmp_path: Path, array_frames: Any) -> None:
    path = tmp_path / "nested.dbc"
    path.write_text(NESTED)
    report = Report("mdf4")
    streams = BusStreams(Databases.load([str(path)], []), report)
    valid = {"DataBytes": np.array([True, False, True])}
    streams.add(array_frames([10] * 3, [bytes([n] * 8) for n in range(3)], valid=valid))
    assert [row["Plain"] for row in rows_of(streams, "CAN0/Nested")] == [0, 2]
    assert any("1 CAN frames are marked invalid" in line for line in report.problems)


@pytest.mark.parametrize(
    ("frame_id", "group"),
    [(0x0CF004FE, 0xF004), (0x18F00421, 0xF004), (0x18EA21F9, 0xEA00), (0x0CEAFF00, 0xEA00), (0x19F004FE, 0x1F004)],
)
def test_parameter_group_numbers(frame_id: int, group: int) -> None:
    assert parameter_group(frame_id) == group


def test_any_bits_of_a_float_signal_are_read_without_a_warning(tmp_path: Path, array_frames: Any) -> None:
    path = tmp_path / "float.dbc"
    signal = 'BO_ 10 F: 8 E\n SG_ f : 0|32@1- (1,0) [0|0] "" E\nSIG_VALTYPE_ 10 f : 1;\n'
    path.write_text(f'VERSION ""\nNS_ :\nBS_:\nBU_: E\n{signal}')
    streams = BusStreams(Databases.load([str(path)], []), Report("mdf4"))
    streams.add(array_frames([10, 10], [bytes.fromhex("010080ff00000000"), bytes.fromhex("0000803f00000000")]))
    assert [same(row["f"], value) for row, value in zip(rows_of(streams, "CAN0/F"), (math.nan, 1.0), strict=True)] == [
        True,
        True,
    ]

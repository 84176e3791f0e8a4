"""Every layout of numbers, texts and flags in a record, against whole-number arithmetic on the record's bytes."""

from __future__ import annotations

import math
import random
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asammdf import MDF
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mdf4_writer import START_NS, Channel, Data, Group, time_channel, write_mdf4

from platform_lib.logs import open_log

STORAGES = ["DT", "DL", "HL+DZ", "DL+LZ4", "DL+ZSTD", "DT+DZ"]
Row = dict[str, Any]
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def channels(draw: st.DrawFn) -> list[Channel]:
    found = []
    for number in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from([0, 1, 2, 3, 4, 5]))
        bits = draw(
            st.sampled_from([16, 32, 64] if kind > 3 else [1, 2, 7, 8, 12, 16, 20, 24, 31, 32, 33, 48, 57, 63, 64])
        )
        bit = draw(st.integers(0, 7)) if bits % 8 or draw(st.booleans()) else 0
        size = (bit + bits + 7) // 8
        if kind > 3 and size > 8:
            bit = 0
        byte = draw(st.integers(8, 30 - size))
        flags = draw(st.sampled_from([0, 2]))
        found.append(Channel(f"c{number}", kind, bits, byte, bit, flags=flags, invalid_bit=draw(st.integers(0, 15))))
    return found


def value_of(channel: Channel, record: bytes) -> int | float:
    """What the standard says, in unbounded whole numbers."""
    size = (channel.bit + channel.bits + 7) // 8
    data = record[channel.byte : channel.byte + size]
    number = int.from_bytes(data, "big" if channel.data_type % 2 else "little")
    number = number >> channel.bit & (1 << channel.bits) - 1
    if channel.data_type in (2, 3):
        return number - (1 << channel.bits) if number >> (channel.bits - 1) else number
    if channel.data_type in (4, 5):
        form = {16: "e", 32: "f", 64: "d"}[channel.bits]
        return float(struct.unpack(f"<{form}", number.to_bytes(channel.bits // 8, "little"))[0])
    return number


def same(one: Any, other: Any) -> bool:
    return one == other or (
        isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)
    )


def differences(found: list[Row], expected: list[Row]) -> int:
    assert len(found) == len(expected)
    return sum(
        not same(row[key], other[key])
        for row, other in zip(found, expected, strict=True)
        for key in other.keys() | row.keys()
    )


def rows_of(path: Path, **options: Any) -> list[Row]:
    with open_log(path, **options) as log:
        assert log.report.readers == {"0:g": "fast"}
        batches = list(log.read("0:g"))
        for batch in batches:
            batch.validate(full=True)
            assert batch.schema.equals(log.streams[0].schema, check_metadata=True)
        return [row for batch in batches for row in batch.to_pylist()]


@QUICK
@given(
    layout=channels(),
    storage=st.sampled_from(STORAGES),
    seed=st.integers(0, 2**32),
    columns=st.sampled_from([0, 32, 5]),
)
def test_numbers_of_every_width_place_and_byte_order(
    tmp_path: Path, layout: list[Channel], storage: str, seed: int, columns: int
) -> None:
    rng = random.Random(seed)  # noqa: S311 - seeded data
    count = 60
    records = [struct.pack("<d", row * 0.25) + rng.randbytes(24) for row in range(count)]
    group = Group([time_channel(), *layout], count, 30, 2, name="g")
    data = Data([group], b"".join(records), storage=storage, block_bytes=500, columns=columns if "+" in storage else 0)
    found = rows_of(write_mdf4(tmp_path / "log.mf4", [data], version=430))
    expected: list[Row] = []
    for row, record in enumerate(records):
        flags = int.from_bytes(record[30:], "little")
        values = {
            item.name: None if item.flags and flags >> item.invalid_bit & 1 else value_of(item, record)
            for item in layout
        }
        expected.append({"timestamp_ns": START_NS + row * 250_000_000, **values})
    assert not differences(found, expected)
    name = rng.choice(layout).name
    for planted in ({"timestamp_ns": found[7]["timestamp_ns"] + 1}, {name: 12345.5}, {name: None}):
        if found[7][name] is None and planted == {name: None}:
            planted = {name: 0}
        assert differences([*found[:7], found[7] | planted, *found[8:]], expected) == 1


def test_arrays_follow_their_steps_in_both_layouts(tmp_path: Path) -> None:
    rows, size = 9, 8 + 24
    rng = np.random.default_rng(1)
    records = [struct.pack("<d", row) + rng.bytes(24) for row in range(rows)]
    arrays = [
        Channel("rows", 2, 16, 8, sizes=(2, 3), step=2),
        Channel("columns", 2, 16, 8, sizes=(2, 3), step=2, inverse=True),
        Channel("spread", 0, 8, 8, sizes=(3,), step=5),
        Channel("bits", 0, 3, 8, bit=2, sizes=(4,), step=1),
    ]
    path = write_mdf4(
        tmp_path / "log.mf4", [Data([Group([time_channel(), *arrays], rows, size, name="g")], b"".join(records))]
    )
    for row, record in zip(rows_of(path), records, strict=True):
        words = np.frombuffer(record, "<i2", 6, 8)
        assert row["rows"] == words.reshape(2, 3).tolist()
        assert row["columns"] == words.reshape(3, 2).T.tolist()
        assert row["spread"] == [record[8], record[13], record[18]]
        assert row["bits"] == [byte >> 2 & 7 for byte in record[8:12]]


def test_an_array_of_structures_gives_a_list_for_each_part(tmp_path: Path) -> None:
    parts = [Channel("x", 2, 16, 8), Channel("y", 0, 8, 10)]
    parent = Channel("points", 10, 24, 8, parts=parts, sizes=(3,), step=3)
    records = [struct.pack("<d", row) + b"".join(struct.pack("<hB", row * k, k) for k in range(3)) for row in range(4)]
    path = write_mdf4(
        tmp_path / "log.mf4", [Data([Group([time_channel(), parent], 4, 17, name="g")], b"".join(records))]
    )
    assert rows_of(path)[2] == {"timestamp_ns": START_NS + 2 * 10**9, "x": [0, 2, 4], "y": [0, 1, 2]}


def test_texts_end_at_their_first_zero_in_every_encoding(tmp_path: Path) -> None:
    texts = ["", "a", "grün", "x" * 8]
    fields = [("latin", 6, "latin-1"), ("utf8", 7, "utf-8"), ("le", 8, "utf-16-le"), ("be", 9, "utf-16-be")]
    records, layout, at = [b""] * len(texts), [time_channel()], 8
    for name, kind, _ in fields:
        layout.append(Channel(name, kind, 16 * 8, at))
        at += 16
    for row, text in enumerate(texts):
        records[row] = struct.pack("<d", row)
        for _, _, encoding in fields:
            records[row] += text.encode(encoding).ljust(16, b"\0")
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group(layout, len(texts), at, name="g")], b"".join(records))])
    found = rows_of(path)
    for name, _, _ in fields:
        assert [row[name] for row in found] == texts


def test_a_text_that_is_none_of_its_encoding_is_damage(tmp_path: Path) -> None:
    from platform_lib.errors import CorruptLog

    record = struct.pack("<d", 0.0) + b"\xff\xfe\xfd\0"
    path = write_mdf4(
        tmp_path / "log.mf4", [Data([Group([time_channel(), Channel("t", 7, 32, 8)], 1, 12, name="g")], record)]
    )
    with pytest.raises(CorruptLog, match="utf-8"):
        rows_of(path)


def test_maximum_length_values_end_at_their_size(tmp_path: Path) -> None:
    layout = [
        time_channel(),
        Channel("size", 0, 8, 8),
        Channel("bytes", 10, 32, 9, kind=5, size_channel="size"),
        Channel("text", 7, 32, 9, kind=5, size_channel="size"),
    ]
    records = [struct.pack("<dB", row, row) + b"abcd" for row in range(7)]
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group(layout, 7, 13, name="g")], b"".join(records))])
    found = rows_of(path)
    assert [row["bytes"] for row in found] == [b"abcd"[:row] for row in range(7)]
    assert [row["text"] for row in found] == ["abcd"[:row] for row in range(7)]


def test_canopen_dates_and_times_and_complex_numbers(tmp_path: Path) -> None:
    from datetime import datetime

    layout = [time_channel(), Channel("date", 13, 56, 8), Channel("time", 14, 48, 15), Channel("z", 15, 128, 21)]
    date = struct.pack("<HBBBBB", 1500, 59, 23 | 0x80, 31 | 5 << 5, 12, 24)
    record = struct.pack("<d", 0.0) + date + struct.pack("<IH", 1000, 1) + struct.pack("<2d", 1.5, -2.5)
    broken = record[:8] + struct.pack("<HBBBBB", 0, 0, 0, 30, 2, 24) + record[15:]
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group(layout, 2, 37, name="g")], record + broken)])
    first, second = rows_of(path)
    assert first["date"] == datetime(2024, 12, 31, 23, 59, 1, 500_000)  # noqa: DTZ001 - CANopen has no zone
    assert first["time#2" if "time#2" in first else "time"] == datetime(1984, 1, 2, 0, 0, 1)  # noqa: DTZ001
    assert first["z"] == {"real": 1.5, "imaginary": -2.5}
    assert second["date"] is None, "there is no 30 February"


def test_virtual_channels_count_records(tmp_path: Path) -> None:
    from mdf4_writer import VIRTUAL, VIRTUAL_MASTER, Conversion

    clock = Channel("time", 0, 0, kind=VIRTUAL_MASTER, sync=1, conversion=Conversion(1, (0.0, 0.5)))
    index = Channel("index", 0, 0, kind=VIRTUAL, conversion=Conversion(1, (10.0, 2.0)))
    for data_bytes, data in ((0, b""), (1, bytes(5))):
        path = write_mdf4(tmp_path / "log.mf4", [Data([Group([clock, index], 5, data_bytes, name="g")], data)])
        found = rows_of(path)
        assert [row["timestamp_ns"] - START_NS for row in found] == [row * 500_000_000 for row in range(5)]
        assert [row["index"] for row in found] == [10.0, 12.0, 14.0, 16.0, 18.0]


def test_all_invalid_channels_are_null_throughout(tmp_path: Path) -> None:
    layout = [time_channel(), Channel("gone", 0, 8, 8, flags=1), Channel("there", 0, 8, 8)]
    records = b"".join(struct.pack("<dB", row, row) for row in range(3))
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group(layout, 3, 9, name="g")], records)])
    assert [(row["gone"], row["there"]) for row in rows_of(path)] == [(None, 0), (None, 1), (None, 2)]


def test_odd_layouts_equal_asammdf(tmp_path: Path) -> None:
    rng = random.Random(3)  # noqa: S311 - seeded data
    layout = [
        Channel("u12", 0, 12, 8, 3),
        Channel("be24", 1, 24, 10),
        Channel("s5", 2, 5, 9, 2),
        Channel("f4be", 5, 32, 13),
        Channel("s40", 3, 40, 17),
        Channel("be12", 1, 12, 8, 2),
    ]
    records = b"".join(struct.pack("<d", row * 0.01) + rng.randbytes(17) for row in range(500))
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group([time_channel(), *layout], 500, 25, name="g")], records)])
    found = rows_of(path)
    with warnings.catch_warnings(), MDF(path) as mdf:
        warnings.simplefilter("ignore")
        for channel in layout:
            theirs = mdf.get(channel.name, raw=True).samples.tolist()
            assert all(same(row[channel.name], value) for row, value in zip(found, theirs, strict=True)), channel.name

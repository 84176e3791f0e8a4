"""Numbers read together, scaled on the way, from both layouts of records: against arithmetic on single bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.logs.mdf4.conversions import Rule, numeric
from platform_lib.logs.mdf4.model import Channel, Conversion
from platform_lib.logs.mdf4.numbers import FIELD, Number, Numbers
from platform_lib.logs.mdf4.records import Planes, Records, Rows

Values = np.ndarray[Any, Any]
SCALES = [None, (0.1, -40.0), (-2.0, 0.0), (1.0, 0.5), (1e300, 1e300), (0.0, -0.0)]
RECORD_BYTES = 20
QUICK = settings(max_examples=40, deadline=None)


def channel(data_type: int, bits: int, byte: int, bit: int = 0) -> Channel:
    return Channel(
        offset=0, name="n", kind=0, sync=0, data_type=data_type, bit_offset=bit, byte_offset=byte, bit_count=bits,
        flags=0, invalid_bit=0, unit="", comment="", conversion=None, data_link=0, array=None, structure=False,
    )  # fmt: skip


Plan = tuple[Channel, tuple[float, float] | None]


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    found: list[Plan] = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.integers(0, 5))
        bits = draw(st.sampled_from([16, 32, 64]) if kind > 3 else st.integers(1, 64))
        bit = draw(st.integers(0, 7))
        byte = draw(st.integers(0, RECORD_BYTES - (bit + bits + 7) // 8))
        found.append((channel(kind, bits, byte, bit), draw(st.sampled_from(SCALES))))
    return found


def numbers_of(chosen: list[Plan]) -> list[Number]:
    found = []
    for item, scale in chosen:
        number = Number(item, 0)
        found.append((number.scaled(*scale) if scale else None) or number)
    return found


def raw_of(item: Channel, data: Values, dtype: np.dtype[Any]) -> Values:
    """What the standard says, bit by bit, in unbounded whole numbers."""
    size = (item.bit_offset + item.bit_count + 7) // 8
    found = []
    for record in data[:, item.byte_offset : item.byte_offset + size]:
        number = int.from_bytes(record.tobytes(), "big" if item.data_type % 2 else "little")
        number = number >> item.bit_offset & (1 << item.bit_count) - 1
        if item.data_type in (2, 3) and number >> (item.bit_count - 1):
            number -= 1 << item.bit_count
        found.append(number)
    if item.data_type < 4:
        return np.array(found, dtype)
    return np.array(found, f"u{dtype.itemsize}").view(dtype)


def expected(item: Channel, scale: tuple[float, float] | None, data: Values) -> Values:
    raw = raw_of(item, data, Number(item, 0).dtype)
    if scale is None or raw.dtype == np.float16:
        return raw
    with np.errstate(all="ignore"):
        return numeric(Conversion(Rule.LINEAR, "", "", (scale[1], scale[0]), ()))(raw).astype(
            raw.dtype if raw.dtype.kind == "f" else np.float64
        )


def same(found: Values, wanted: Values) -> bool:
    """Bit for bit; of what was computed, any NaN is as good as another."""
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        return False
    unequal = found.view(f"u{found.dtype.itemsize}") != wanted.view(f"u{wanted.dtype.itemsize}")
    if found.dtype.kind == "f":
        unequal &= ~(np.isnan(found) & np.isnan(wanted))
    return not unequal.any()


def layouts(data: Values) -> Iterator[tuple[Records, Values]]:
    planes = np.ascontiguousarray(data.T)
    yield Rows(data), data
    yield Planes(planes, 0, data.shape[0]), data
    for start, stop in ((0, data.shape[0] // 2), (data.shape[0] // 3, data.shape[0])):
        yield Rows(data).slice(start, stop), data[start:stop]
        yield Planes(planes, 0, data.shape[0]).slice(start, stop), data[start:stop]


@QUICK
@given(chosen=plans(), rows=st.sampled_from([0, 1, 2, 7, 70]), seed=st.integers(0, 2**32))
def test_every_number_of_both_layouts_is_what_its_bytes_say(chosen: list[Plan], rows: int, seed: int) -> None:
    data = np.random.default_rng(seed).integers(0, 256, (rows, RECORD_BYTES), np.uint8)
    read = Numbers(numbers_of(chosen))
    for records, wanted in layouts(data):
        for (item, scale), found in zip(chosen, read(records), strict=True):
            assert same(found, expected(item, scale, wanted)), (item, scale, type(records))
            assert same(Number(item, 0)(records), expected(item, None, wanted))


@pytest.mark.parametrize("rows", [63, 64, 65, 1023, 1024, 1025, 2500])
def test_what_is_read_at_once_has_no_seams(rows: int) -> None:
    data = np.random.default_rng(rows).integers(0, 256, (rows, RECORD_BYTES), np.uint8)
    chosen: list[Plan] = [
        (channel(0, 64, 3, 1), (0.5, 1.0)),  # nine bytes
        (channel(1, 20, RECORD_BYTES - 3, 2), None),  # at the end, where no eight bytes follow
        (channel(2, 16, 5), (0.1, -40.0)),
        (channel(0, 8, RECORD_BYTES - 1), None),
        (channel(5, 64, 8), (2.0, 0.0)),
    ]
    for records, wanted in layouts(data):
        for (item, scale), found in zip(chosen, Numbers(numbers_of(chosen))(records), strict=True):
            assert same(found, expected(item, scale, wanted)), (item, scale)


@pytest.mark.parametrize("record_bytes", [8, 31, 32, 33, 67, 300])
def test_records_of_any_size_are_turned(record_bytes: int) -> None:
    """Bytes are turned 32 at a time, of 16 records: numbers lie on both sides of these bounds, or leave out a part."""
    chosen: list[Plan] = [
        (channel(2, 16, byte), (0.5, 1.0)) for byte in (0, 30, 31, 63, 298) if byte + 2 <= record_bytes
    ] + [(channel(1, 64, record_bytes - 8), None), (channel(0, 3, record_bytes - 1, 4), None)]
    for rows in (1, 15, 16, 17, 4111):
        data = np.random.default_rng(rows).integers(0, 256, (rows, record_bytes), np.uint8)
        for records, wanted in layouts(data):
            for (item, scale), found in zip(chosen, Numbers(numbers_of(chosen))(records), strict=True):
                assert same(found, expected(item, scale, wanted)), (item, rows, type(records))


@pytest.mark.parametrize("plan", [(kind, bits) for kind in range(4) for bits in (8, 16, 32, 64)])
def test_whole_bytes_of_every_kind_are_scaled_and_kept(plan: tuple[int, int]) -> None:
    data = np.random.default_rng(5).integers(0, 256, (100, RECORD_BYTES), np.uint8)
    chosen: list[Plan] = [(channel(*plan, 7), scale) for scale in (None, (0.1, -40.0))]
    for records, wanted in layouts(data):
        for (item, scale), found in zip(chosen, Numbers(numbers_of(chosen))(records), strict=True):
            assert same(found, expected(item, scale, wanted)), (item, scale)


def test_scaling_keeps_the_sign_of_zero_and_what_is_no_number() -> None:
    values = [-0.0, 0.0, float("nan"), float("inf"), -1.5]
    for kind, form in ((32, "<f"), (64, "<d")):
        data = np.frombuffer(b"".join(struct.pack(form, value) for value in values), np.uint8).reshape(5, -1)
        for scale in ((2.0, 0.0), (-1.0, 0.0), (1.0, -0.0), (1.0, 3.0)):
            item = channel(4, kind, 0)
            found = numbers_of([(item, scale)])[0](Rows(data))
            assert same(found, expected(item, scale, data)), scale
            assert np.signbit(found[0]) == np.signbit(expected(item, scale, data)[0])


@pytest.mark.parametrize("name", ["byte", "count", "big", "shift", "unused", "signed", "factor", "offset"])
def test_a_wrong_part_of_a_plan_gives_other_numbers(name: str) -> None:
    item, scale = channel(3, 20, 4, 2), (0.5, 3.0)
    data = np.random.default_rng(3).integers(0, 256, (300, RECORD_BYTES), np.uint8)
    read = Numbers(numbers_of([(item, scale)]))
    planted = read._fields.copy()
    planted[name] = 1 - planted[name] if name in ("big", "signed") else planted[name] - 1
    wanted = expected(item, scale, data)
    assert same(read(Rows(data))[0], wanted)
    read._fields = planted
    for records, _ in list(layouts(data))[:2]:
        assert not same(read(records)[0], wanted)


def test_a_flipped_bit_changes_the_numbers_it_is_part_of_and_no_other() -> None:
    chosen: list[Plan] = [(channel(kind, 12, 2 + 3 * kind, 2), (0.5, 1.0) if kind % 2 else None) for kind in range(4)]
    data = np.random.default_rng(4).integers(0, 256, (100, RECORD_BYTES), np.uint8)
    read = Numbers(numbers_of(chosen))
    before = [values.copy() for values in read(Rows(data))]
    for number in range(4):
        changed = data.copy()
        changed[57, 2 + 3 * number] ^= 0x20
        after = read(Planes(np.ascontiguousarray(changed.T), 0, 100))
        moved = [np.flatnonzero(one != other).tolist() for one, other in zip(before, after, strict=True)]
        assert moved == [[57] if at == number else [] for at in range(4)]


@pytest.mark.parametrize("planes", [False, True])
def test_a_number_past_the_end_of_its_record_is_refused(*, planes: bool) -> None:
    data = np.zeros((4, 6), np.uint8)
    records: Records = Planes(np.ascontiguousarray(data.T), 0, 4) if planes else Rows(data)
    assert Number(channel(0, 16, 4), 0)(records).tolist() == [0] * 4
    with pytest.raises(IndexError, match="past the end"):
        Number(channel(0, 16, 5), 0)(records)


def test_arrays_and_complex_numbers_are_not_read_together() -> None:
    assert Number(channel(0, 16, 0), 0).single
    assert not Number(channel(15, 64, 0), 0).single
    assert Number(channel(4, 16, 0), 0).scaled(2.0, 0.0) is None, "half floats are scaled by numpy"
    assert Numbers([])(Rows(np.zeros((3, 1), np.uint8))) == []
    assert FIELD.itemsize == 8 * len(FIELD.names or ())

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.lake.flatten import EXPANDED_ELEMENTS, is_signal_schema, leaves, unkept

_POINT = pa.struct([("x", pa.float32()), ("tag", pa.string())])


def _flat(column: pa.Array) -> dict[str, list[tuple[float | None, str | None]]]:
    batch = pa.record_batch({"timestamp_ns": pa.array(range(len(column)), pa.int64()), "c": column})
    nothing = [None] * len(column)
    return {
        leaf.name: list(
            zip(
                nothing if leaf.numbers is None else leaf.numbers.to_pylist(),
                nothing if leaf.text is None else leaf.text.to_pylist(),
                strict=True,
            )
        )
        for leaf in leaves(batch)
    }


@pytest.mark.parametrize(
    ("column", "rows"),
    [
        (pa.array([1, None], pa.uint8()), [(1.0, None), (None, None)]),
        (pa.array([1.5], pa.float32()), [(1.5, None)]),
        (pa.array([True, False]), [(1.0, None), (0.0, None)]),
        (pa.array(["x", None]), [(None, "x"), (None, None)]),
        (pa.array(["x"]).dictionary_encode(), [(None, "x")]),
        (pa.array([5], pa.timestamp("ns")), [(5, None)]),
        (pa.array([5], pa.time32("ms")), [(5.0, None)]),
        (pa.nulls(1), [(None, None)]),
        (pa.array([[1, 2], []], pa.list_(pa.int8())), [(None, "[1, 2]"), (None, "[]")]),
    ],
)
def test_a_column_becomes_values_or_texts(column: pa.Array, rows: list[tuple[float | None, str | None]]) -> None:
    assert _flat(column) == {"c": rows}


def test_members_are_dotted_and_elements_numbered() -> None:
    kind = pa.struct([("p", _POINT), ("q", pa.list_(pa.float64(), 2))])
    flat = _flat(pa.array([{"p": {"x": 1.0, "tag": "a"}, "q": [2.0, 3.0]}], kind))
    assert flat == {
        "c.p.x": [(1.0, None)],
        "c.p.tag": [(None, "a")],
        "c.q[0]": [(2.0, None)],
        "c.q[1]": [(3.0, None)],
    }


def test_a_long_array_is_one_text_and_holds_every_element() -> None:
    values = [float(i) for i in range(EXPANDED_ELEMENTS + 1)]
    ((value, text),) = _flat(pa.array([values], pa.list_(pa.float64(), len(values))))["c"]
    assert value is None
    assert json.loads(text or "") == values


def test_what_json_cannot_say_is_said_as_text() -> None:
    ((_, text),) = _flat(pa.array([[float("nan"), -float("inf"), 1.0]], pa.list_(pa.float64())))["c"]
    assert json.loads(text or "") == ["NaN", "-Infinity", 1.0]


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        *((kind, pa.int32()) for kind in (pa.bool_(), pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32())),
        *((kind, pa.int64()) for kind in (pa.uint32(), pa.int64(), pa.uint64(), pa.duration("ns"), pa.date64())),
        *((kind, pa.int32()) for kind in (pa.date32(), pa.time32("s"))),
        *((kind, pa.float32()) for kind in (pa.float16(), pa.float32())),
        (pa.float64(), pa.float64()),
    ],
)
def test_numbers_keep_the_narrowest_type_that_holds_them_and_tell_the_logs(kind: Any, kept: Any) -> None:
    (leaf,) = leaves(pa.record_batch({"c": pa.nulls(1, kind)}))
    assert leaf.numbers is not None
    assert (leaf.numbers.type, leaf.type) == (kept, str(kind))


@given(st.integers(2**63, 2**64 - 1))
def test_an_unsigned_integer_that_no_column_holds_keeps_its_digits_as_text(number: int) -> None:
    ((value, text), second) = _flat(pa.array([number, 3], pa.uint64()))["c"]
    assert (value, text, second) == (float(number), str(number), (3.0, None))


def test_units_come_from_the_field() -> None:
    field = pa.field("v", pa.float64(), metadata={"unit": "m/s"})
    schema = pa.schema([("timestamp_ns", pa.int64()), field, ("w", pa.float64())])
    batch = pa.record_batch([pa.array([1]), pa.array([2.0]), pa.array([3.0])], schema)
    assert [(leaf.name, leaf.unit) for leaf in leaves(batch)] == [("v", "m/s"), ("w", None)]


@pytest.mark.parametrize(
    ("kind", "signals"),
    [
        (pa.float64(), True),
        (pa.string(), True),
        (_POINT, True),
        (pa.list_(pa.float64(), 36), True),
        (pa.list_(pa.float64()), False),
        (pa.binary(), False),
        (pa.struct([("blob", pa.large_binary())]), False),
        (pa.list_(pa.struct([("blob", pa.binary())]), 2), False),
        (pa.struct([]), False),
        (pa.list_(pa.int8(), 0), False),
    ],
)
def test_scalars_and_fixed_arrays_make_signals_blobs_and_sequences_samples(kind: Any, signals: bool) -> None:
    assert is_signal_schema(pa.schema([("c", kind)])) is signals


@pytest.mark.parametrize(
    "kind",
    [pa.binary(), pa.struct([("a", pa.int8()), ("b", pa.binary(4))]), pa.list_(pa.binary()), pa.list_(pa.binary(), 2)],
)
def test_what_is_not_kept_is_named(kind: Any) -> None:
    schema = pa.schema([("c", kind)])
    assert unkept(schema)
    batch = pa.record_batch([pa.nulls(1, kind)], schema)
    assert not any("b" in leaf.name.partition(".")[2] for leaf in leaves(batch))


def test_all_else_is_kept() -> None:
    assert unkept(pa.schema([("c", _POINT), ("d", pa.list_(pa.int8())), ("e", pa.string())])) == []

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.export.protobuf_rows import RowEncoder, identifier
from platform_lib.logs.schemas.protobuf import protobuf_decoder

FLOAT32 = st.floats(width=32, allow_nan=False)
KINDS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.bool_(), st.booleans()),
    (pa.int8(), st.integers(-128, 127)),
    (pa.uint16(), st.integers(0, 65535)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float32(), FLOAT32),
    (pa.float64(), st.floats(allow_nan=False)),
    (pa.string(), st.text(max_size=200)),
    (pa.binary(), st.binary(max_size=200)),
    (pa.struct([pa.field("a", pa.float64()), pa.field("b", pa.string())]),
     st.fixed_dictionaries({"a": st.none() | st.floats(allow_nan=False), "b": st.none() | st.text(max_size=9)})),
]  # fmt: skip
NUMBERS = [item for item in KINDS[:7] if item[0] != pa.bool_()]


def batch_of(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    rows = len(next(iter(columns.values())))
    return pa.RecordBatch.from_pydict({"timestamp_ns": pa.array(range(rows), pa.int64()), **columns})


def parsed(encoder: RowEncoder, messages: list[bytes]) -> list[Any]:
    """Parse with protobuf's own library."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(encoder.descriptors).file:
        pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(encoder.message_type))
    return [kind.FromString(data) for data in messages]


def encoded(encoder: RowEncoder, batch: pa.RecordBatch) -> list[bytes]:
    return [message for part in encoder.encode(batch) for message in part.to_pylist()]


def value(message: Any, name: str) -> Any:
    if not message.HasField(name):
        return None
    found = getattr(message, name)
    return {part: value(found, part) for part in ("a", "b")} if hasattr(found, "DESCRIPTOR") else found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_row_is_read_back_by_protobuf_itself(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    rows = data.draw(st.integers(1, 8))
    columns = {}
    for number, (kind, values) in enumerate(kinds):
        items = data.draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        columns[f"c{number}"] = pa.array(items, kind)
    batch = batch_of(columns)
    encoder = RowEncoder("x", batch.schema)
    messages = parsed(encoder, encoded(encoder, batch))
    for name, column in columns.items():
        assert [value(message, name) for message in messages] == column.to_pylist()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(NUMBERS), st.data())
def test_lists_are_read_back(kind: tuple[pa.DataType, st.SearchStrategy[Any]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.none() | st.lists(kind[1], max_size=70), min_size=1, max_size=6))
    batch = batch_of({"v": pa.array(rows, pa.list_(kind[0]))})
    encoder = RowEncoder("x", batch.schema)
    # A null list and an empty one are both no element: protobuf knows no difference.
    assert [list(message.v) for message in parsed(encoder, encoded(encoder, batch))] == [row or [] for row in rows]


def test_matrices_are_written_row_by_row_and_slices_are_their_own_rows() -> None:
    matrix = pa.array([[[1, 2], [3, 4]], None, [[5, 6], [7, 8]]], pa.list_(pa.list_(pa.int8(), 2), 2))
    batch = batch_of({"m": matrix, "t": pa.array([None, 5, 6], pa.timestamp("ms"))}).slice(1)
    encoder = RowEncoder("x", batch.schema)
    found = parsed(encoder, encoded(encoder, batch))
    assert [list(message.m) for message in found] == [[], [5, 6, 7, 8]]
    assert [message.t for message in found] == [5, 6]


def test_nan_and_signed_zero_survive() -> None:
    batch = batch_of({"v": pa.array([float("nan"), -0.0, None, float("-inf")])})
    encoder = RowEncoder("x", batch.schema)
    found = [message.v if message.HasField("v") else None for message in parsed(encoder, encoded(encoder, batch))]
    assert np.isnan(found[0])
    assert str(found[1:]) == "[-0.0, None, -inf]"


def test_names_and_units_are_told() -> None:
    names = ["speed", "v[0]", "v.0.", "V_0", "漢", "", "9", "漢字", "vO", "v_o"]
    fields = [pa.field(name, pa.float64(), metadata={"unit": "km/h"} if name == "v[0]" else None) for name in names]
    schema = pa.schema([pa.field("timestamp_ns", pa.int64()), *fields])
    encoder = RowEncoder("2:Engine [x]", schema)
    found = protobuf_decoder(encoder.message_type, encoder.descriptors).fields()
    assert encoder.message_type == "drivetrain.log.f_2_Engine__x"
    assert len({field.name for field in found}) == len(names)
    told = [(field.metadata or {}).get(b"name", field.name.encode()).decode() for field in found]
    assert told == ["f_6" if name == "" else name for name in names]
    assert [field.metadata[b"unit"] for field in found if field.metadata and b"unit" in field.metadata] == [b"km/h"]


def test_as_many_columns_as_readers_take() -> None:
    batch = batch_of({f"c{number}": pa.array([str(number)]) for number in range(3_500)})
    encoder = RowEncoder("wide", batch.schema)
    (message,) = parsed(encoder, encoded(encoder, batch))
    assert (message.c0, message.c3499) == ("0", "3499")
    with pytest.raises(UnsupportedLog, match="3501 columns"):
        RowEncoder("wide", batch_of({f"c{number}": pa.array([1]) for number in range(3_501)}).schema)


@pytest.mark.parametrize("kind", [pa.list_(pa.string()), pa.map_(pa.string(), pa.int8()), pa.decimal128(5)])
def test_what_no_field_holds_is_refused(kind: pa.DataType) -> None:
    with pytest.raises(UnsupportedLog, match="'v'"):
        RowEncoder("x", batch_of({"v": pa.array([None], kind)}).schema)


def test_nulls_inside_a_list_are_refused() -> None:
    batch = batch_of({"v": pa.array([[1, None]], pa.list_(pa.int8()))})
    with pytest.raises(UnsupportedLog, match="nulls"):
        encoded(RowEncoder("x", batch.schema), batch)


def test_identifiers() -> None:
    assert [identifier(name) for name in ("a b", "1", "", "ü", "_x", "a-b.c[0]")] == [
        "a_b",
        "f_1",
        "f",
        "f",
        "x",
        "a_b_c_0",
    ]

"""Packed rows give back the long rows that were recorded: by Python and by SQL, to the last bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.lake.packing import KNOWN, UNKNOWN, long_sql, unpack
from platform_lib.lake.tables import PACKED_SCHEMA, SIGNAL_SCHEMA, SIGNALS_RESULT
from platform_lib.lake.writer import SignalWriter, Tag

_TAG = Tag(ingest_id=5, drive_id="d", file_sha256="f", pii_state="none_present")
_INF, _NAN = math.inf, math.nan
_Row = tuple[str, str, str | None, int, float | None, str | None]


def _write(folder: Path, *batches: tuple[str, pa.RecordBatch]) -> pa.Table:
    with SignalWriter(folder, _TAG) as writer:
        promised = sum(writer.add(stream, batch) for stream, batch in batches)
        files = writer.finish()
    assert writer.rows == promised
    return pa.concat_tables([PACKED_SCHEMA.empty_table(), *(pq.ParquetFile(file).read() for file in files)])


def _batch(values: pa.Array, times: list[int] | None = None, unit: str | None = None) -> pa.RecordBatch:
    metadata = {} if unit is None else {"unit": unit}
    schema = pa.schema([("timestamp_ns", pa.int64()), pa.field("c", values.type, metadata=metadata)])
    return pa.record_batch([pa.array(times or range(len(values)), pa.int64()), values], schema)


def _by_sql(packed: pa.Table) -> pa.Table:
    with duckdb.connect(":memory:") as connection:
        known = pc.is_valid(packed["vehicle"])
        connection.register(KNOWN, packed.filter(known))
        connection.register(UNKNOWN, packed.filter(pc.invert(known)))
        found = connection.sql(long_sql([KNOWN, UNKNOWN])).to_arrow_table()
    assert found.column_names == SIGNAL_SCHEMA.names
    names = ["stream", "signal", "timestamp_ns"]
    return found.select(SIGNALS_RESULT.names).sort_by([(name, "ascending") for name in names]).cast(SIGNALS_RESULT)


def _rows(table: pa.Table) -> list[Any]:
    return [repr(row) for row in table.to_pylist()]  # repr: NaN equals itself, -0.0 is not 0.0


@pytest.mark.parametrize(
    ("values", "expected", "column"),
    [
        (pa.array([1.5, None, -0.0, _NAN, _INF, -_INF, 5e-324]), None, "doubles"),
        (pa.array([0.1, None, _NAN, _INF], pa.float32()), None, "floats"),
        (pa.array([1, None, 255], pa.uint8()), None, "ints"),
        (pa.array([-(2**31), 2**31 - 1], pa.int32()), None, "ints"),
        (pa.array([2**32 - 1], pa.uint32()), None, "longs"),
        (pa.array([True, None, False]), [(1.0, None), (None, None), (0.0, None)], "ints"),
        (
            pa.array([2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), None]),
            [
                (2.0**53, None),
                (float(2**53 + 1), "9007199254740993"),
                (float(-(2**53) - 1), "-9007199254740993"),
                (2.0**63, "9223372036854775807"),
                (-(2.0**63), "-9223372036854775808"),
                (None, None),
            ],
            "longs",
        ),
        (pa.array([2**63 - 1, 7], pa.uint64()), [(2.0**63, "9223372036854775807"), (7.0, None)], "longs"),
        (
            pa.array([2**64 - 1, 7, None], pa.uint64()),
            [(2.0**64, str(2**64 - 1)), (7.0, None), (None, None)],
            "doubles",
        ),
        (pa.array(["", None, "é\n"]), [(None, ""), (None, None), (None, "é\n")], "texts"),
        (pa.nulls(2), [(None, None)] * 2, None),
        (pa.nulls(2, pa.float64()), [(None, None)] * 2, "doubles"),
        (pa.nulls(2, pa.int64()), [(None, None)] * 2, "longs"),
    ],
)
def test_values_keep_their_type_in_the_file_and_come_back(
    tmp_path: Path, values: pa.Array, expected: list[tuple[float | None, str | None]] | None, column: str | None
) -> None:
    packed = _write(tmp_path, ("s", _batch(values, unit="V")))
    times, row = packed.to_pylist()
    assert (times["signal"], times["times"]) == (None, list(range(len(values))))
    assert {name for name in ("doubles", "floats", "longs", "ints") if row[name] is not None} == {column} - {
        "texts",
        None,
    }
    assert (row["type"], row["rows"]) == (str(values.type), len(values))
    told = [(v if v is None else float(v), None) for v in values.to_pylist()] if expected is None else expected
    long = unpack(packed)
    assert long.schema.equals(SIGNALS_RESULT)
    rows = [{**dict(zip(SIGNALS_RESULT.names, ("s", "c", "V", at, *told[at]), strict=True))} for at in range(len(told))]
    assert _rows(long) == [repr(item) for item in rows]
    assert _rows(_by_sql(packed)) == _rows(long)


def test_no_row_gives_no_packed_row(tmp_path: Path) -> None:
    assert _write(tmp_path, ("s", _batch(pa.array([], pa.float64())))).num_rows == 0
    assert unpack(PACKED_SCHEMA.empty_table()).equals(SIGNALS_RESULT.empty_table())
    assert _by_sql(PACKED_SCHEMA.empty_table()).num_rows == 0


def test_a_stream_of_times_alone_is_not_kept(tmp_path: Path) -> None:
    assert _write(tmp_path, ("s", pa.record_batch({"timestamp_ns": pa.array([1, 2])}))).num_rows == 0


def test_small_batches_share_a_chunk_and_signals_share_its_times(tmp_path: Path) -> None:
    batches = [
        ("s", pa.record_batch({"timestamp_ns": pa.array([i]), "a": pa.array([i]), "b": pa.array([str(i)])}))
        for i in range(50)
    ]
    packed = _write(tmp_path, *batches)
    assert packed.select(["signal", "rows"]).to_pylist() == [{"signal": name, "rows": 50} for name in (None, "a", "b")]
    assert unpack(packed)["timestamp_ns"].to_pylist() == [*range(50), *range(50)]


def test_rows_out_of_order_are_sorted_and_equal_times_stay_as_recorded(tmp_path: Path) -> None:
    packed = _write(tmp_path, ("s", _batch(pa.array([1, 2, 3, 4]), [7, 5, 7, 6])))
    assert unpack(packed)["value"].to_pylist() == [2.0, 4.0, 1.0, 3.0]
    packed = _write(tmp_path, ("s", _batch(pa.array([1, 2]), [0, 9])), ("t", _batch(pa.array([3]), [1])))
    assert unpack(packed)["stream"].to_pylist() == ["s", "s", "t"]


def test_chunks_of_two_logs_do_not_mix(tmp_path: Path) -> None:
    first = _write(tmp_path, ("s", _batch(pa.array([1.0, 2.0]), [10, 30])))
    second = _write(tmp_path, ("s", _batch(pa.array([3.0, 4.0]), [20, 40])))
    other = second.set_column(0, "ingest_id", pa.array([6] * len(second), pa.int64()))
    both = pa.concat_tables([other, first])
    assert unpack(both)["value"].to_pylist() == [1.0, 3.0, 2.0, 4.0]
    assert _rows(_by_sql(both)) == _rows(unpack(both))


def test_a_long_stream_lies_sorted_by_signal_in_row_groups_of_few(tmp_path: Path) -> None:
    count = 1 << 17
    names = [f"n{number:02d}" for number in range(40)]
    values = pa.array(np.arange(count, dtype=np.float64))
    whole = pa.record_batch([pa.array(np.arange(count)), *[values] * 40], ["timestamp_ns", *names])
    with SignalWriter(tmp_path, _TAG) as writer:
        for start in range(0, count, 1 << 16):
            writer.add("s", whole.slice(start, 1 << 16))
        files = [pq.ParquetFile(file) for file in writer.finish()]
    groups = [file.read_row_group(at, columns=["signal"]) for file in files for at in range(file.num_row_groups)]
    assert all(len(set(group["signal"].to_pylist())) <= 10 for group in groups)
    assert len(groups) >= 4
    first = files[0].metadata.row_group(0)
    (column,) = [first.column(at) for at in range(first.num_columns) if first.column(at).path_in_schema == "signal"]
    assert column.is_stats_set  # by which readers leave row groups out
    # Which of the two threads, each with a file of its own, wrote a row group is a matter of time.
    long = unpack(pa.concat_tables([file.read() for file in files])).sort_by(
        [("signal", "ascending"), ("timestamp_ns", "ascending")]
    )
    assert long.num_rows == 40 * count
    assert np.array_equal(long["value"].to_numpy().reshape(40, count), np.tile(np.arange(count), (40, 1)))


_COLUMNS = st.sampled_from(
    [pa.float64(), pa.float32(), pa.int64(), pa.uint64(), pa.int32(), pa.uint16(), pa.bool_(), pa.string()]
)


def _elements(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if pa.types.is_floating(kind):
        return st.floats(width=kind.bit_width)
    if pa.types.is_boolean(kind):
        return st.booleans()
    if pa.types.is_string(kind):
        return st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
    half = 1 << (kind.bit_width - 1)
    return st.integers(-half, half - 1) if pa.types.is_signed_integer(kind) else st.integers(0, 2 * half - 1)


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_whatever_is_recorded_comes_back_the_same_by_both_ways(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    batches = []
    for name in data.draw(st.lists(st.sampled_from("abc"), max_size=3, unique=True)):
        kind = data.draw(_COLUMNS)
        cells = data.draw(st.lists(st.none() | _elements(kind), max_size=6))
        batches.append(
            (name, _batch(pa.array(cells, kind), [86_400_000_000_000 * (i % 2) + i for i in range(len(cells))]))
        )
    packed = _write(tmp_path_factory.mktemp("w"), *batches)
    long = unpack(packed)
    assert _rows(_by_sql(packed)) == _rows(long)
    for name, batch in batches:
        own = {row["timestamp_ns"]: row for row in long.to_pylist() if row["stream"] == name}
        assert sorted(own) == sorted(batch.column("timestamp_ns").to_pylist())
        for at, cell in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            row = own[at]
            if cell is None or isinstance(cell, str):
                assert (row["value"], row["text"]) == (None, cell)
            elif isinstance(cell, float):
                assert repr(row["value"]) == repr(cell)
            else:
                assert int(row["value"] if row["text"] is None else row["text"]) == int(cell)

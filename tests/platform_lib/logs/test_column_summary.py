from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from platform_lib.logs.column_summary import BUCKETS, ColumnCounts, ColumnSummary, sparkline


def summaries(
    columns: dict[str, pa.Array], batch: int = 5, units: dict[str, str] | None = None
) -> dict[str, ColumnSummary]:
    rows = len(next(iter(columns.values())))
    fields = [pa.field("timestamp_ns", pa.int64())]
    fields += [
        pa.field(name, item.type, metadata={"unit": (units or {}).get(name, "")}) for name, item in columns.items()
    ]
    times = pa.array(np.arange(rows) * 10)
    table = pa.Table.from_arrays([times, *columns.values()], schema=pa.schema(fields))
    counts = ColumnCounts(table.schema, 0, rows * 10)
    for part in table.to_batches(max_chunksize=batch):
        counts.add(part)
    return {item.name: item for item in counts.result()}


def test_numbers_nulls_and_what_is_not_finite() -> None:
    values = pa.array([1.0, None, float("nan"), float("inf"), 5.0, -3.0])
    found = summaries({"v": values}, units={"v": "km/h"})["v"]
    assert (found.values, found.nulls, found.not_finite, found.unit) == (3, 1, 2, "km/h")
    assert (found.min, found.mean, found.max) == (-3.0, 1.0, 5.0)


def test_whole_numbers_stay_exact() -> None:
    found = summaries({"v": pa.array([2**63 - 1, -(2**63)], pa.int64()), "u": pa.array([2**64 - 1, 1], pa.uint64())})
    assert (found["v"].min, found["v"].max, found["u"].max) == (-(2**63), 2**63 - 1, 2**64 - 1)


def test_nested_columns_are_taken_apart() -> None:
    found = summaries(
        {
            "pose": pa.array([{"x": 1.0, "name": "a"}, None, {"x": 3.0, "name": "b"}]),
            "ranges": pa.array([[1, 2], None, []], pa.list_(pa.int32())),
            "fixed": pa.array([[1.0, 2.0], None, [3.0, 6.0]], pa.list_(pa.float64(), 2)),
            "blob": pa.array([b"abc", None, b""], pa.binary_view()),
            "flag": pa.array([True, False, True]),
            "nothing": pa.array([{}, {}, {}], pa.struct([])),
        },
        batch=2,
    )
    assert (found["pose.x"].mean, found["pose.x"].nulls, found["pose.name"].words) == (2.0, 1, ("a", "b"))
    assert (found["ranges[]"].values, found["ranges[]"].nulls, found["ranges[]"].max) == (2, 1, 2)
    assert (found["fixed[]"].values, found["fixed[]"].mean, found["fixed[]"].nulls) == (4, 3.0, 1)
    assert (found["blob"].min, found["blob"].max) == (0, 3)
    assert found["flag"].mean == pytest.approx(2 / 3)
    assert found["nothing"].values == 3


def test_words_are_few() -> None:
    found = summaries({"few": pa.array(["b", "a", "b", None]), "many": pa.array(["x", "y", "z", "w"])})
    assert (found["few"].words, found["few"].more_words) == (("b", "a"), False)
    many = summaries({"many": pa.array([f"w{number}" for number in range(40)])})["many"]
    assert (len(many.words), many.more_words) == (16, True)


def test_a_stream_without_rows_has_its_columns() -> None:
    found = summaries({"a": pa.array([], pa.float64()), "b": pa.array([], pa.list_(pa.int8()))})
    assert [(item.values, item.mean, item.type) for item in found.values()] == [(0, None, "double"), (0, None, "int8")]


def test_the_course_follows_time() -> None:
    found = summaries({"v": pa.array(np.repeat([1.0, 2.0, 3.0], BUCKETS))}, batch=10)["v"]
    assert found.course[0] == 1.0
    assert found.course[-1] == 3.0
    assert sparkline(found.course) == "▁" * (BUCKETS // 3) + "▅" * (BUCKETS // 3) + "█" * (BUCKETS // 3)


def test_sparklines_of_the_odd_cases() -> None:
    assert sparkline([None, None]) == ""
    assert sparkline([1.0, None, 2.0]) == "▁ █"
    assert sparkline([1.0, None, 2.0], plain=True).isascii()
    assert sparkline([4.0, 4.0 + 1e-15]) == "▄▄"  # rounding is no course
    assert sparkline([-1.7e308, 1.7e308]) == "▁█"
    assert sparkline([0.0, 1e-300]) == "▁█"

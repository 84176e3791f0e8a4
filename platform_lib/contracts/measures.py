"""What is measured of one stream: its times and its columns, as Arrow and numpy kernels (pure).

These run on every file that is ingested, so each is a pass over an array: as SQL windows over the unnested rows the checks
of times cost thirty times as much, those of values five times (docs/reference/contracts.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from platform_lib.contracts.model import Result, Rule, judge

Int64 = NDArray[np.int64]

SYNC_FEWEST = 20
"""Pairs below which a 99th percentile says nothing."""
_NS_PER_MS = 1e6
_NS_PER_S = 1e9
Found = tuple[float | str | None, str]


@dataclass(frozen=True, slots=True)
class ColumnData:
    """One column of a stream.

    Attributes:
        type: Its type in the log.
        unit: None where the log names none.
        values: As long as the stream's times, or chunks of that length together; None for nothing but nulls.
        steady: Whether type and unit are the same in all of its rows.
    """

    type: str
    unit: str | None
    values: pa.ChunkedArray | None
    steady: bool = True


@dataclass(frozen=True, slots=True)
class StreamData:
    """One stream of one file, or as much of it as its rules need.

    Attributes:
        name: Of the stream.
        times_ns: When each row was logged, as recorded, not sorted.
        stamps_ns: When each row was published or its measurement taken; None where the stream does not say.
        columns: Name -> column. One that is listed without values was not asked for.
    """

    name: str
    times_ns: Int64
    stamps_ns: Int64 | None = None
    columns: Mapping[str, ColumnData] = field(default_factory=dict)

    def at(self, row: int) -> str:
        """Say where a row is."""
        return f"{self.name} at {(int(self.times_ns[row]) - int(self.times_ns[0])) / _NS_PER_S:.3f} s"


def measure(rule: Rule, stream: StreamData, partner: StreamData | None = None) -> Result:
    """Hold one rule of a stream against it.

    Args:
        rule: Of kind ``stream``.
        stream: What it is of.
        partner: The stream that ``sensor_sync`` names; None where the file has none.
    """
    if rule.check == "present" and rule.column is None:
        return judge(rule, 1.0, stream.name)
    if rule.column is not None:
        column = stream.columns.get(rule.column)
        if column is None:
            # Its presence alone fails; what cannot be measured was not run.
            return judge(rule, 0.0 if rule.check == "present" else None, f"{stream.name} {rule.column}")
        figure, where = _COLUMN_MEASURES[rule.check](rule, stream, column)
        return judge(rule, figure, where or f"{stream.name} {rule.column}")
    if rule.check == "sensor_sync":
        figure, where = sensor_sync(stream, partner)
    else:
        figure, where = _STREAM_MEASURES[rule.check](rule, stream)
    return judge(rule, figure, where or stream.name)


# Of a stream's times ------------------------------------------------------------------------------------------------


def non_monotonic(rule: Rule, stream: StreamData) -> Found:
    """Count the rows whose time is before that of the row that precedes them; the same time twice is none.

    Readers that order a log by its own times (MCAP) leave nothing to see there, so the stamps count as well.
    """
    del rule
    series = [stream.times_ns] if stream.stamps_ns is None else [stream.times_ns, stream.stamps_ns]
    back = max((np.flatnonzero(times[1:] < times[:-1]) for times in series), key=len)
    return float(len(back)), stream.at(int(back[0]) + 1) if len(back) else ""


def gap(rule: Rule, stream: StreamData) -> Found:
    """Find the longest time in ms without a row, from the first to the last."""
    del rule
    if len(stream.times_ns) < 2:
        return None, ""
    steps = np.diff(stream.times_ns)
    if steps.min() < 0:
        steps = np.diff(np.sort(stream.times_ns))
        return float(steps.max()) / _NS_PER_MS, ""
    widest = int(steps.argmax())
    return float(steps[widest]) / _NS_PER_MS, stream.at(widest)


def dropout(rule: Rule, stream: StreamData) -> Found:
    """Find the share in percent of the rows that `rate_hz` promises over the recorded time and that are not there."""
    rate = rule.argument("rate_hz")
    if len(stream.times_ns) < 2 or not isinstance(rate, (int, float)) or rate <= 0:
        return None, ""
    span_s = float(stream.times_ns.max() - stream.times_ns.min()) / _NS_PER_S
    expected = span_s * rate + 1.0
    return 100.0 * max(0.0, 1.0 - len(stream.times_ns) / expected), ""


def clock_skew(rule: Rule, stream: StreamData) -> Found:
    """Find the 99th percentile in ms of what lies between a row's stamp and the time it was logged at."""
    del rule
    if stream.stamps_ns is None or len(stream.times_ns) == 0:
        return None, f"{stream.name}: no stamp beside the log's time"
    apart = np.abs(stream.times_ns - stream.stamps_ns)
    return float(np.percentile(apart, 99)) / _NS_PER_MS, stream.at(int(apart.argmax()))


def sensor_sync(stream: StreamData, partner: StreamData | None) -> Found:
    """Find the 99th percentile in ms of the time to the partner's nearest row.

    Only rows that have a partner count: one nearer than half the partner's usual period. A frame that is missing is a
    dropout, not a bad synchronisation.
    """
    if partner is None or len(partner.times_ns) < 2 or len(stream.times_ns) == 0:
        return None, ""
    other = np.sort(partner.times_ns)
    after = np.clip(np.searchsorted(other, stream.times_ns), 1, len(other) - 1)
    near = np.minimum(np.abs(other[after] - stream.times_ns), np.abs(other[after - 1] - stream.times_ns))
    paired = near[2 * near < np.median(np.diff(other))]
    if len(paired) < SYNC_FEWEST:
        return None, f"{len(paired)} pairs of {stream.name} and {partner.name}"
    return float(np.percentile(paired, 99)) / _NS_PER_MS, f"{len(paired)} of {len(near)} rows have a partner"


def row_count(rule: Rule, stream: StreamData) -> Found:
    """Count the rows."""
    del rule
    return float(len(stream.times_ns)), ""


# Of a column --------------------------------------------------------------------------------------------------------


def present(rule: Rule, stream: StreamData, column: ColumnData) -> Found:
    """Say that it is there."""
    del rule, stream, column
    return 1.0, ""


def type_of(rule: Rule, stream: StreamData, column: ColumnData) -> Found:
    """Name its type in the log."""
    del rule
    return column.type if column.steady else f"{column.type}, changing", stream.name


def unit_of(rule: Rule, stream: StreamData, column: ColumnData) -> Found:
    """Name its unit in the log."""
    del rule
    unit = "no unit" if column.unit is None else column.unit
    return unit if column.steady else f"{unit}, changing", stream.name


def null_values(rule: Rule, stream: StreamData, column: ColumnData) -> Found:
    """Count nulls."""
    del rule
    return float(len(stream.times_ns) if column.values is None else column.values.null_count), ""


def missing_values(rule: Rule, stream: StreamData, column: ColumnData) -> Found:
    """Count nulls, values that are not a number, and empty texts."""
    if column.values is None:
        return null_values(rule, stream, column)
    if _is_text(column.values):
        empty = pc.sum(pc.equal(column.values, "")).as_py() or 0
    else:
        empty = pc.sum(pc.is_nan(column.values)).as_py() or 0 if pa.types.is_floating(column.values.type) else 0
    return float(column.values.null_count + empty), ""


def invalid_values(rule: Rule, stream: StreamData, column: ColumnData) -> Found:
    """Count values outside the range, or that are none of the valid ones; a null is missing, not invalid."""
    if column.values is None or len(column.values) == 0:
        return 0.0, ""
    wrong = _outside(rule, column.values)
    count = pc.sum(wrong).as_py() or 0
    if not count:
        return 0.0, ""
    row = pc.index(wrong, value=True).as_py()
    value = column.values[row].as_py()
    return float(count), f"{value} in {rule.column}, {stream.at(row)}"


def _outside(rule: Rule, values: pa.ChunkedArray) -> pa.ChunkedArray:
    valid = rule.argument("validValues")
    if isinstance(valid, tuple):
        return pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=pa.array(valid, values.type))))
    low, high = rule.argument("minimum"), rule.argument("maximum")
    wrong = pc.is_nan(values) if pa.types.is_floating(values.type) else pc.is_null(values)  # nulls are let go below
    if isinstance(low, (int, float)):
        wrong = pc.or_(wrong, pc.less(values, low))
    if isinstance(high, (int, float)):
        wrong = pc.or_(wrong, pc.greater(values, high))
    return pc.and_(pc.is_valid(values), pc.fill_null(wrong, fill_value=False))


def stuck(rule: Rule, stream: StreamData, column: ColumnData) -> Found:
    """Find the longest time in s over which the very same value was logged, but the value it may rest at."""
    if column.values is None or len(column.values) < 2 or _is_text(column.values):
        return None, ""
    values = column.values.to_numpy()
    same = values[1:] == values[:-1]
    edges = np.flatnonzero(np.concatenate(([True], ~same, [True])))
    first, last = edges[:-1], edges[1:] - 1
    lasting = (stream.times_ns[last] - stream.times_ns[first]).astype(np.float64)
    rest = rule.argument("except")
    if isinstance(rest, (int, float)):
        lasting[values[first] == rest] = 0.0
    longest = int(lasting.argmax())
    where = f"{values[first[longest]]:g} in {rule.column}, {stream.at(int(first[longest]))}"
    return float(lasting[longest]) / _NS_PER_S, where


def _is_text(values: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_string(values.type) or pa.types.is_large_string(values.type))


_STREAM_MEASURES: dict[str, Callable[[Rule, StreamData], Found]] = {
    "non_monotonic": non_monotonic,
    "gap": gap,
    "dropout": dropout,
    "clock_skew": clock_skew,
    "rowCount": row_count,
}
_COLUMN_MEASURES: dict[str, Callable[[Rule, StreamData, ColumnData], Found]] = {
    "present": present,
    "type": type_of,
    "unit": unit_of,
    "nullValues": null_values,
    "missingValues": missing_values,
    "invalidValues": invalid_values,
    "stuck": stuck,
}

"""Packed rows of the signal table and the long rows that readers see (pure).

The signals of one chunk of a stream share their times, so a value costs its own bytes and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from platform_lib.lake.flatten import EXACT, Leaf, exact_texts
from platform_lib.lake.tables import PACKED_SCHEMA, SIGNALS_RESULT, TIMES, VALUE_LISTS

_NUMBER_LISTS = tuple(name for name in VALUE_LISTS.values() if name != "texts")
_ORDER = [("stream", "ascending"), ("signal", "ascending"), ("timestamp_ns", "ascending")]
KNOWN, UNKNOWN = "packed_known", "packed_unknown"
"""The packed rows of vehicles that are known, and of those that are not, as DuckDB has them."""


def _packed_sql(table: str) -> str:
    vehicle = "vehicle" if table == KNOWN else "NULL::VARCHAR AS vehicle"
    names = [vehicle if name == "vehicle" else name for name in PACKED_SCHEMA.names]
    return f"SELECT {', '.join(names)} FROM {table}"  # noqa: S608 - names of ours


def _long_sql(table: str) -> str:
    vehicle, same = ("vehicle", ", vehicle") if table == KNOWN else ("NULL::VARCHAR AS vehicle", "")
    return f"""
    SELECT ingest_id, drive_id, file_sha256, stream, v.signal, v.unit,
        unnest(t.times) AS timestamp_ns,
        unnest(coalesce(v.doubles, v.floats::DOUBLE[], v.longs::DOUBLE[], v.ints::DOUBLE[])) AS value,
        unnest(CASE WHEN v.inexact THEN
                list_transform(v.longs, lambda n: CASE WHEN n NOT BETWEEN {-EXACT} AND {EXACT} THEN n::VARCHAR END)
            ELSE v.texts END) AS text,
        day, {vehicle}, sensor_class
    FROM (SELECT * FROM {table} WHERE signal IS NOT NULL) v
    JOIN (SELECT * FROM {table} WHERE signal IS NULL) t
    USING (ingest_id, drive_id, file_sha256, stream, chunk, day, sensor_class{same})
    """  # noqa: S608 - names and two numbers of ours


def packed_sql(tables: Sequence[str]) -> str:
    """Return DuckDB's SQL from `KNOWN` and `UNKNOWN`, those of them that there are, to `PACKED_SCHEMA`."""
    return " UNION ALL ".join(map(_packed_sql, tables))


def long_sql(tables: Sequence[str]) -> str:
    """Return DuckDB's SQL from the same tables to `SIGNAL_SCHEMA`.

    Conditions on the columns that both sides are joined by, and on the signal, reach the scans. Unknown vehicles are a
    branch of their own because a null joins nothing: so ``vehicle = 'x'`` reaches both sides of one branch, and ends the other.
    """
    return " UNION ALL ".join(map(_long_sql, tables))


@dataclass(frozen=True, slots=True)
class Piece:
    """One packed row before it is written: a signal's values in one chunk of a stream, or the chunk's times.

    Attributes:
        signal: None for the times.
        chunk: Number of the chunk in its ingest.
        day: Days since 1970.
        scalars: Its other plain columns of `PACKED_SCHEMA`, by name.
        lists: Its list columns -> their elements.
    """

    signal: str | None
    chunk: int
    day: int
    scalars: Mapping[str, object]
    lists: Mapping[str, pa.Array]

    @property
    def nbytes(self) -> int:
        """Bytes of its elements in memory."""
        return sum(elements.nbytes for elements in self.lists.values())


def pieces(chunk: int, day: int, scalars: Mapping[str, object], times: pa.Array, found: Iterable[Leaf]) -> list[Piece]:
    """Turn one chunk of a stream into packed rows: its times, and a row for each signal.

    Args:
        chunk: Its number in the ingest.
        day: Days since 1970.
        scalars: What its rows share: ingest_id, drive_id, file_sha256, stream.
        times: Timestamps (int64, no null), at least one.
        found: Its signals, each as long as `times`.
    """
    edges = pc.min_max(times).as_py()
    shared = {**scalars, "rows": len(times), "start_ns": edges["min"], "last_ns": edges["max"]}
    return [Piece(None, chunk, day, shared, {TIMES: times}), *(_piece(chunk, day, shared, leaf) for leaf in found)]


def _piece(chunk: int, day: int, shared: Mapping[str, object], leaf: Leaf) -> Piece:
    lists = {VALUE_LISTS[values.type]: values for values in (leaf.numbers, leaf.text) if values is not None}
    inexact = "longs" in lists and _any_inexact(lists["longs"])
    scalars = {**shared, "unit": leaf.unit, "type": leaf.type, "inexact": inexact}
    return Piece(leaf.name, chunk, day, scalars, lists)


def _any_inexact(integers: pa.Array) -> bool:
    edges = pc.min_max(integers).as_py()
    return edges["min"] is not None and (edges["min"] < -EXACT or edges["max"] > EXACT)


def pack(rows: Sequence[Piece]) -> pa.Table:
    """Return packed rows as a table of `PACKED_SCHEMA`; elements are not copied."""
    columns = [
        _lists(field.type, [row.lists.get(field.name) for row in rows])
        if pa.types.is_list(field.type)
        else pa.array([_scalar(row, field.name) for row in rows], field.type)
        for field in PACKED_SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=PACKED_SCHEMA)


def _scalar(row: Piece, name: str) -> object:
    own = {"signal": row.signal, "chunk": row.chunk, "day": row.day}
    return own[name] if name in own else row.scalars.get(name)


def _lists(kind: pa.DataType, rows: list[pa.Array | None]) -> pa.ChunkedArray | pa.Array:
    if all(elements is None for elements in rows):
        return pa.nulls(len(rows), kind)
    parts = [
        pa.nulls(1, kind) if elements is None else pa.ListArray.from_arrays([0, len(elements)], elements, type=kind)
        for elements in rows
    ]
    return pa.chunked_array(parts, kind)


def unpack(packed: pa.Table) -> pa.Table:
    """Return the long rows of packed ones, sorted by stream, signal and time; rows of equal time as recorded.

    Args:
        packed: Of `PACKED_SCHEMA`, in any order; the times of every chunk are among them.
    """
    heads = packed.select(["ingest_id", "stream", "signal", "unit", "chunk", "start_ns", "inexact"]).to_pylist()
    times = {(head["ingest_id"], head["chunk"]): row for row, head in enumerate(heads) if head["signal"] is None}
    order = sorted(
        (row for row, head in enumerate(heads) if head["signal"] is not None),
        key=lambda row: [heads[row][name] for name in ("stream", "signal", "start_ns", "ingest_id", "chunk")],
    )
    tables = []
    for row in order:
        head = heads[row]
        at = packed[TIMES][times[head["ingest_id"], head["chunk"]]].values
        tables.append(_long(head, at, {name: packed[name][row].values for name in VALUE_LISTS.values()}))
    long = pa.concat_tables([SIGNALS_RESULT.empty_table(), *tables])
    return long if _is_sorted(heads, order, tables) else long.sort_by(_ORDER)


def _long(head: dict[str, object], times: pa.Array, lists: dict[str, pa.Array | None]) -> pa.Table:
    count = len(times)
    numbers = next((lists[name] for name in _NUMBER_LISTS if lists[name] is not None), None)
    texts = exact_texts(lists["longs"]) if head["inexact"] else lists["texts"]
    columns = [
        *(_constant(head[name], count) for name in ("stream", "signal", "unit")),
        times,
        pa.nulls(count, pa.float64()) if numbers is None else numbers.cast(pa.float64(), safe=False),
        pa.nulls(count, pa.string()) if texts is None else texts,
    ]
    return pa.Table.from_arrays(columns, schema=SIGNALS_RESULT)


def _constant(value: object, count: int) -> pa.Array:
    return pa.nulls(count, pa.string()) if value is None else pa.repeat(pa.scalar(value, pa.string()), count)


def _is_sorted(heads: list[dict[str, object]], order: list[int], tables: Iterable[pa.Table]) -> bool:
    """Whether the times of every signal's chunks, one after the other, never step back."""
    before: tuple[tuple[object, object], int] | None = None
    for row, table in zip(order, tables, strict=True):
        key = (heads[row]["stream"], heads[row]["signal"])
        at = table["timestamp_ns"].to_numpy()
        if np.any(at[1:] < at[:-1]) or (before is not None and before[0] == key and at[0] < before[1]):
            return False
        before = (key, int(at[-1]))
    return True

"""Reads what file rules need of the lake: times, and the columns that a rule measures, file by file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from platform_lib.catalog.model import LakeHead
from platform_lib.contracts.measures import ColumnData, Int64, StreamData
from platform_lib.errors import IntegrityError
from platform_lib.lake.store import Store
from platform_lib.lake.tables import PACKED_SCHEMA, SAMPLE_SCHEMA, TIMES, VALUE_LISTS

_STAMP = ("header.stamp.sec", "header.stamp.nanosec")
_HEADS = ["ingest_id", "stream", "signal", "unit", "type", "chunk", "rows"]
_LISTS = ["ingest_id", "stream", "signal", "chunk", TIMES, *VALUE_LISTS.values()]
_SAMPLES = ["ingest_id", "stream", "timestamp_ns", "publish_ns", "encoding", "pii_state"]
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What rules need of one file.

    Attributes:
        signals: Streams of signals -> names of the signals whose values are measured.
        samples: Streams kept as samples.
    """

    signals: Mapping[str, frozenset[str]]
    samples: frozenset[str]


def read_streams(store: Store, head: LakeHead, wanted: Mapping[int, Wanted]) -> Iterator[tuple[int, list[StreamData]]]:
    """Yield each ingest's streams, as far as rules need them.

    Args:
        store: The lake's stores.
        head: Their versions.
        wanted: Ingest -> what of it. All of it is held in memory at once: keep to some tens of files.

    Raises:
        IntegrityError: A file of the signal table lacks a column of its schema.
    """
    found: dict[int, list[StreamData]] = {ingest_id: [] for ingest_id in wanted}
    if any(item.signals for item in wanted.values()):
        for ingest_id, stream in _signal_streams(store, head, wanted):
            found[ingest_id].append(stream)
    if any(item.samples for item in wanted.values()):
        for ingest_id, stream in _sample_streams(store, head, wanted):
            found[ingest_id].append(stream)
    yield from found.items()


def _signal_streams(store: Store, head: LakeHead, wanted: Mapping[int, Wanted]) -> Iterator[tuple[int, StreamData]]:
    ids = [ingest_id for ingest_id, item in wanted.items() if item.signals]
    files = store.signal_files(head, ids)
    refuse_missing_columns(files)
    source = ds.dataset(files, schema=PACKED_SCHEMA, format="parquet")
    streams = sorted({name for item in wanted.values() for name in item.signals})
    values = sorted({name for item in wanted.values() for names in item.signals.values() for name in names})
    ours = ds.field("ingest_id").isin(ids) & ds.field("stream").isin(streams)
    heads = _by_stream(source.to_table(columns=_HEADS, filter=ours))
    kept = ds.field("signal").is_null() | ds.field("signal").isin([*values, *_STAMP])
    lists = _by_stream(source.to_table(columns=_LISTS, filter=ours & kept))
    for key, rows in heads.items():
        ingest_id, name = key
        if name in wanted[ingest_id].signals:
            yield ingest_id, _signal_stream(name, rows, lists[key], wanted[ingest_id].signals[name])


def refuse_missing_columns(files: Sequence[str]) -> None:
    """Refuse files that lack a column of the signal table: a scan would read it as nothing but nulls.

    Raises:
        IntegrityError: One does.
    """
    for path in files:
        lacking = set(PACKED_SCHEMA.names) - set(pq.read_schema(path).names)
        if lacking:
            raise IntegrityError(
                f"a file of the signal table lacks the column {', '.join(sorted(lacking))}",
                where=path,
                remedy="restore it, or ingest its log again into a new home",
            )


def _by_stream(table: pa.Table) -> dict[tuple[int, str], pa.Table]:
    """Split a table by ingest and stream."""
    keys = list(zip(table["ingest_id"].to_pylist(), table["stream"].to_pylist(), strict=True))
    rows: dict[tuple[int, str], list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        rows[key].append(number)
    return {key: table.take(pa.array(numbers)) for key, numbers in rows.items()}


def _signal_stream(name: str, heads: pa.Table, lists: pa.Table, values: Collection[str]) -> StreamData:
    chunks: dict[str | None, list[tuple[int, int]]] = defaultdict(list)
    for row, (signal, chunk) in enumerate(zip(lists["signal"].to_pylist(), lists["chunk"].to_pylist(), strict=True)):
        chunks[signal].append((chunk, row))
    times = _times(lists, chunks[None])
    columns = {"timestamp_ns": ColumnData("int64", "ns", pa.chunked_array([pa.array(times)]))}
    told: dict[str, set[tuple[str, str | None]]] = defaultdict(set)
    for row in heads.select(["signal", "type", "unit"]).to_pylist():
        if row["signal"] is not None:
            told[row["signal"]].add((row["type"], row["unit"]))
    for signal, kinds in told.items():
        kind, unit = sorted(kinds, key=str)[0]
        data = _values(lists, sorted(chunks[signal]), sorted(chunks[None])) if signal in values else None
        columns[signal] = ColumnData(kind, unit, data, steady=len(kinds) == 1)
    return StreamData(name, times, _stamps(lists, chunks, len(times)), columns)


def _times(lists: pa.Table, chunks: list[tuple[int, int]]) -> Int64:
    parts = [lists[TIMES][row].values.to_numpy(zero_copy_only=False) for _, row in sorted(chunks)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _values(lists: pa.Table, chunks: list[tuple[int, int]], times: list[tuple[int, int]]) -> pa.ChunkedArray:
    """Return a signal's values in the order of its stream's times."""
    parts: list[pa.Array] = []
    for (_, row), (_, timed) in zip(chunks, times, strict=True):
        held = [lists[name][row].values for name in VALUE_LISTS.values() if lists[name][row].is_valid]
        parts.append(held[0] if held else pa.nulls(len(lists[TIMES][timed].values)))
    kinds = {part.type for part in parts if not pa.types.is_null(part.type)}
    kind = kinds.pop() if len(kinds) == 1 else pa.float64()
    return pa.chunked_array([part.cast(kind, safe=False) for part in parts], kind)


def _stamps(lists: pa.Table, chunks: Mapping[str | None, list[tuple[int, int]]], count: int) -> Int64 | None:
    """Return when each message was stamped, from a ROS header's own signals; None without one."""
    if not all(name in chunks for name in _STAMP):
        return None
    seconds, rest = (_values(lists, sorted(chunks[name]), sorted(chunks[None])) for name in _STAMP)
    if len(seconds) != count or seconds.null_count or rest.null_count:
        return None
    stamps: Int64 = seconds.cast(pa.int64()).to_numpy() * _NS_PER_S + rest.cast(pa.int64()).to_numpy()
    return stamps


def _sample_streams(store: Store, head: LakeHead, wanted: Mapping[int, Wanted]) -> Iterator[tuple[int, StreamData]]:
    ids = [ingest_id for ingest_id, item in wanted.items() if item.samples]
    condition = f"ingest_id IN ({', '.join(map(str, ids))})"
    table = store.samples(head).to_table(columns=_SAMPLES, filter=condition)
    for ingest_id in ids:
        own = table.filter(pc.equal(table["ingest_id"], ingest_id))
        for name in sorted(wanted[ingest_id].samples & set(own["stream"].unique().to_pylist())):
            yield ingest_id, _sample_stream(name, own.filter(pc.equal(own["stream"], name)))


def _sample_stream(name: str, rows: pa.Table) -> StreamData:
    columns = {
        item.name: ColumnData(
            str(item.type),
            "ns" if item.name.endswith("_ns") else None,
            rows[item.name] if item.name in _SAMPLES else None,
        )
        for item in SAMPLE_SCHEMA
    }
    published = rows["publish_ns"]  # not every format keeps it
    stamps = None if published.null_count else published.to_numpy()
    return StreamData(name, rows["timestamp_ns"].to_numpy(), stamps, columns)

"""Reads what file rules need of the lake: times, and the columns that a rule measures, file by file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from platform_lib.catalog.model import LakeHead
from platform_lib.contracts.measures import ColumnData, Int64, StreamData
from platform_lib.errors import IntegrityError
from platform_lib.lake.lake import Lake
from platform_lib.lake.sample_reading import open_samples, visible_frames
from platform_lib.lake.signal_table import file_schema, parquet_dataset
from platform_lib.lake.store import Store
from platform_lib.lake.tables import PACKED_SCHEMA, SAMPLE_SCHEMA, TIMES, VALUE_LISTS
from platform_lib.privacy.frames import AdmittedPii

_STAMP = ("header.stamp.sec", "header.stamp.nanosec")
_HEADS = ["ingest_id", "stream", "signal", "unit", "type", "chunk", "rows"]
_TIMES = ["ingest_id", "stream", "chunk", TIMES]
_VALUES = ["ingest_id", "stream", "signal", "chunk", "rows", *VALUE_LISTS.values()]
_SAMPLES = ["ingest_id", "stream", "timestamp_ns", "publish_ns", "encoding", "pii_state"]
_NS_PER_S = 1_000_000_000
_BLURRED = str(AdmittedPii.BLURRED)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What rules need of one file.

    Attributes:
        signals: Streams of signals -> names of the signals whose values are measured.
        samples: Streams kept as samples.
    """

    signals: Mapping[str, frozenset[str]]
    samples: frozenset[str]


def read_streams(lake: Lake, head: LakeHead, wanted: Mapping[int, Wanted]) -> Iterator[tuple[int, list[StreamData]]]:
    """Yield each ingest's streams, as far as rules need them.

    Args:
        lake: Which.
        head: Its stores' versions.
        wanted: Ingest -> what of it. All of it is held in memory at once: keep to some tens of files.

    Raises:
        IntegrityError: A file of the signal table lacks a column of its schema.
    """
    found: dict[int, list[StreamData]] = {ingest_id: [] for ingest_id in wanted}
    if any(item.signals for item in wanted.values()):
        for ingest_id, stream in _signal_streams(lake.store, head, wanted):
            found[ingest_id].append(stream)
    if any(item.samples for item in wanted.values()):
        for ingest_id, stream in _sample_streams(lake, head, wanted):
            found[ingest_id].append(stream)
    yield from found.items()


def _signal_streams(store: Store, head: LakeHead, wanted: Mapping[int, Wanted]) -> Iterator[tuple[int, StreamData]]:
    ids = [ingest_id for ingest_id, item in wanted.items() if item.signals]
    files = store.signal_files(head, ids)
    refuse_missing_columns(files)
    source = parquet_dataset(files)
    streams = sorted({name for item in wanted.values() for name in item.signals})
    ours = ds.field("ingest_id").isin(ids) & ds.field("stream").isin(streams)
    heads = _by_stream(source.to_table(columns=_HEADS, filter=ours))
    # Each list column is read for itself: a row group of times holds values beside them, which cost as much again.
    times = _by_stream(source.to_table(columns=_TIMES, filter=ours & ds.field("signal").is_null()))
    measured = _measured(heads, wanted)
    values = {} if measured is None else _by_stream(source.to_table(columns=_VALUES, filter=ours & measured))
    for key, rows in heads.items():
        ingest_id, name = key
        if name in wanted[ingest_id].signals:
            yield ingest_id, _signal_stream(name, rows, times[key], values.get(key))


def _measured(heads: Mapping[tuple[int, str], pa.Table], wanted: Mapping[int, Wanted]) -> ds.Expression | None:
    """Return the condition on rows whose values are measured: signals that rules name, and stamps; None if there are none."""
    due: set[tuple[str, str]] = set()
    for (ingest_id, stream), rows in heads.items():
        names = set(rows["signal"].to_pylist())
        due |= {(stream, name) for name in wanted[ingest_id].signals.get(stream, ()) if name in names}
        due |= {(stream, name) for name in _STAMP} if names.issuperset(_STAMP) else set()
    if not due:
        return None
    of, named = sorted({stream for stream, _ in due}), sorted({name for _, name in due})
    return ds.field("stream").isin(of) & ds.field("signal").isin(named)


def refuse_missing_columns(files: Sequence[str]) -> None:
    """Refuse files that lack a column of the signal table: a scan would read it as nothing but nulls.

    Raises:
        IntegrityError: One does.
    """
    for path in files:
        lacking = set(PACKED_SCHEMA.names) - set(file_schema(path).names)
        if lacking:
            raise IntegrityError(
                f"a file of the signal table lacks the column {', '.join(sorted(lacking))}",
                where=path,
                remedy="restore it, or ingest its log again into a new home",
            )


def _by_stream(table: pa.Table) -> dict[tuple[int, str], pa.Table]:
    """Split a table by ingest and stream; of neighbouring rows nothing is copied, and those of a stream mostly are."""
    keys = list(zip(table["ingest_id"].to_pylist(), table["stream"].to_pylist(), strict=True))
    runs: dict[tuple[int, str], list[pa.Table]] = defaultdict(list)
    for key, run in groupby(range(len(keys)), key=keys.__getitem__):
        rows = list(run)
        runs[key].append(table.slice(rows[0], len(rows)))
    return {key: pa.concat_tables(parts) for key, parts in runs.items()}


def _signal_stream(name: str, heads: pa.Table, times: pa.Table, values: pa.Table | None) -> StreamData:
    at = _times(times)
    columns = {"timestamp_ns": ColumnData("int64", "ns", pa.chunked_array([pa.array(at)]))}
    told: dict[str, set[tuple[str, str | None]]] = defaultdict(set)
    for row in heads.select(["signal", "type", "unit"]).to_pylist():
        if row["signal"] is not None:
            told[row["signal"]].add((row["type"], row["unit"]))
    read = {} if values is None else _values(values)
    for signal, kinds in told.items():
        kind, unit = sorted(kinds, key=str)[0]
        columns[signal] = ColumnData(kind, unit, read.get(signal), steady=len(kinds) == 1)
    return StreamData(name, at, _stamps(read), columns)


def _times(table: pa.Table) -> Int64:
    chunks = table["chunk"].to_numpy()
    parts = [table[TIMES][int(row)].values.to_numpy(zero_copy_only=False) for row in np.argsort(chunks)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _values(table: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return each signal's values in the order of its stream's times."""
    rows: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for row, (signal, chunk) in enumerate(zip(table["signal"].to_pylist(), table["chunk"].to_pylist(), strict=True)):
        rows[signal].append((chunk, row))
    return {signal: _joined([_piece(table, row) for _, row in sorted(own)]) for signal, own in rows.items()}


def _piece(table: pa.Table, row: int) -> pa.Array:
    held = [table[name][row].values for name in VALUE_LISTS.values() if table[name][row].is_valid]
    return held[0] if held else pa.nulls(table["rows"][row].as_py())


def _joined(parts: list[pa.Array]) -> pa.ChunkedArray:
    kinds = {part.type for part in parts if not pa.types.is_null(part.type)}
    kind = kinds.pop() if len(kinds) == 1 else pa.float64()
    return pa.chunked_array([part.cast(kind, safe=False) for part in parts], kind)


def _stamps(values: Mapping[str, pa.ChunkedArray]) -> Int64 | None:
    """Return when each message was stamped, from a ROS header's own signals; None without one."""
    seconds, rest = (values.get(name) for name in _STAMP)
    if seconds is None or rest is None or seconds.null_count or rest.null_count:
        return None
    stamps: Int64 = seconds.cast(pa.int64()).to_numpy() * _NS_PER_S + rest.cast(pa.int64()).to_numpy()
    return stamps


def _sample_streams(lake: Lake, head: LakeHead, wanted: Mapping[int, Wanted]) -> Iterator[tuple[int, StreamData]]:
    ids = [ingest_id for ingest_id, item in wanted.items() if item.samples]
    table = open_samples(lake.catalog, lake.store, head, ids, _SAMPLES)
    frames, mixed = _frames(lake, ids, table.schema)
    table = pa.concat_tables([table, frames])
    for ingest_id in ids:
        own = table.filter(pc.equal(table["ingest_id"], ingest_id))
        for name in sorted(wanted[ingest_id].samples & set(own["stream"].unique().to_pylist())):
            rows = own.filter(pc.equal(own["stream"], name))
            yield ingest_id, _sample_stream(name, rows.sort_by("timestamp_ns") if name in mixed else rows)


def _frames(lake: Lake, ids: Sequence[int], schema: pa.Schema) -> tuple[pa.Table, set[str]]:
    """Return the frames that lie apart, since they may show people, and the streams of which they come in no order.

    They are raw until their log is blurred; then those alone count that were, as a dataset takes them: what cannot be decoded is
    a dropout.
    """
    parts = [item.cast(schema) for item in visible_frames(lake.catalog, lake.store, ids, _SAMPLES)]
    frames = pa.concat_tables([schema.empty_table(), *parts])
    done = frames.filter(pc.equal(frames["pii_state"], _BLURRED))["ingest_id"].unique()
    left = pc.and_(pc.is_in(frames["ingest_id"], done), pc.not_equal(frames["pii_state"], _BLURRED))
    return frames.filter(pc.invert(left)), set(frames["stream"].unique().to_pylist()) if len(done) else set()


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

"""What stays of a log of which a part is erased: its other rows, written anew as another ingest of the same content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from platform_lib.catalog.blurs import BlurRecord, commit_blur
from platform_lib.catalog.erasures import Erasures
from platform_lib.catalog.model import IngestRecord, LakeHead
from platform_lib.erasure.windows import Window, among
from platform_lib.lake.lake import Lake
from platform_lib.lake.partitions import Partition
from platform_lib.lake.place import arrow_path, fsync_files
from platform_lib.lake.signal_table import parquet_dataset
from platform_lib.lake.tables import PACKED_SCHEMA, SAMPLE_SCHEMA, TIMES, VALUE_LISTS
from platform_lib.lake.writer import WrittenFiles, describe, files_of, new_file, stored_files, write_rows
from platform_lib.privacy.zone import BLURRED_SCHEMA, FrameStore

ERASED_IN_PART = "a time window of it was erased"
_BATCH_ROWS = 64


@dataclass(slots=True)
class _Tally:
    """What was kept, by stream: rows, and the least and greatest time."""

    signals: dict[str, int]
    samples: dict[str, int]
    start_ns: dict[str, int]
    last_ns: dict[str, int]

    def saw(self, stream: str, first_ns: int, last_ns: int) -> None:
        self.start_ns[stream] = min(first_ns, self.start_ns.get(stream, first_ns))
        self.last_ns[stream] = max(last_ns, self.last_ns.get(stream, last_ns))


def keep_rest(lake: Lake, ingest_id: int, windows: Sequence[Window]) -> int:
    """Write what of an ingest lies outside the windows, and make it visible in its place, in one step.

    Returns:
        The new ingest's id; the old one's rows are still in the stores, and seen by nobody.
    """
    erasures = Erasures(lake.catalog.engine)
    view = lake.catalog.view()
    old = next(item for item in view.ingests if item.ingest_id == ingest_id)
    head = view.head or LakeHead(None, 0)
    new_id = erasures.begin_rest(old.key)
    tally = _Tally({}, {}, {}, {})
    written = WrittenFiles(
        _signals(lake, head, ingest_id, new_id, windows, tally),
        write_rows(lake.store.samples_uri, _samples(lake, head, ingest_id, new_id, windows, tally), SAMPLE_SCHEMA),
        _frames(lake.store.raw, ingest_id, new_id, windows, tally),
    )
    files = stored_files(written, lake.store.samples_uri)
    record = replace(_record(erasures.record(ingest_id), lake, ingest_id, new_id, tally), files=files)
    appended = lake.store.append([written])
    blurred = _keep_blurred(lake, ingest_id, new_id, windows)
    # One step: a kill between the two would leave the rest without its blurred frames, whose raw ones may have expired.
    lake.catalog.commit(
        appended, [record], also=None if blurred is None else lambda connection: commit_blur(connection, blurred)
    )
    return new_id


def _keep_blurred(lake: Lake, ingest_id: int, new_id: int, windows: Sequence[Window]) -> BlurRecord | None:
    """Write what of an ingest's blurred frames lies outside the windows; it counts once it is committed."""
    copied = lake.blurs.copy(ingest_id, new_id)
    if copied is None:
        return None
    store, (old_blur, new_blur) = lake.store.blurred, copied
    fragments = _frames(store, old_blur, new_blur, windows, None)
    store.append(fragments)
    regions = store.rows([new_blur], columns=["regions"])["regions"].to_pylist()
    files = describe([path for text in fragments for path in files_of(text, store.uri)], store.uri.parent)
    return BlurRecord(new_blur, frames=len(regions), regions=sum(regions), unreadable=0, files=files)


def _signals(
    lake: Lake, head: LakeHead, ingest_id: int, new_id: int, windows: Sequence[Window], tally: _Tally
) -> tuple[str, ...]:
    """Write the kept values, one Parquet file a partition."""
    files = lake.store.signal_files(head, [ingest_id])
    if not files:
        return ()
    packed = parquet_dataset(files).to_table(filter=ds.field("ingest_id") == ingest_id)
    places = {
        row["chunk"]: np.flatnonzero(~among(packed[TIMES][number].values.to_numpy(), windows))
        for number, row in enumerate(packed.select(["chunk", "signal"]).to_pylist())
        if row["signal"] is None
    }
    rows: dict[tuple[date, str | None, str], list[dict[str, object]]] = {}
    for batch in packed.to_batches(max_chunksize=_BATCH_ROWS):
        for row in batch.to_pylist():
            kept = places[row["chunk"]]
            if len(kept):
                place = (row["day"], row["vehicle"], row["sensor_class"])
                rows.setdefault(place, []).append(_cut(row, kept, new_id))
                _count_signal(rows[place][-1], tally)
    paths = []
    for (day, vehicle, sensor), found in rows.items():
        part = Partition((day - date(1970, 1, 1)).days, vehicle, sensor)
        path = new_file(lake.store.signals_data, part, new_id)
        name, system = arrow_path(path)
        table = pa.Table.from_pylist(_with_edges(found), PACKED_SCHEMA)
        pq.write_table(table, name, filesystem=system, compression="lz4", store_schema=False)
        paths.append(path)
    fsync_files(paths)
    return tuple(map(str, paths))


def _cut(row: dict[str, object], kept: np.ndarray[tuple[int], np.dtype[np.intp]], new_id: int) -> dict[str, object]:
    lists = {
        name: None if row[name] is None else [row[name][place] for place in kept]  # type: ignore[index]  # a list column
        for name in (TIMES, *VALUE_LISTS.values())
    }
    return {**row, **lists, "ingest_id": new_id, "rows": len(kept)}


def _with_edges(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Set each row's earliest and latest time by those of its chunk."""
    edges = {
        row["chunk"]: (min(row[TIMES]), max(row[TIMES]))  # type: ignore[call-overload]  # the times' own row has them
        for row in rows
        if row["signal"] is None
    }
    return [{**row, "start_ns": edges[row["chunk"]][0], "last_ns": edges[row["chunk"]][1]} for row in rows]


def _count_signal(row: dict[str, object], tally: _Tally) -> None:
    stream, times = str(row["stream"]), row[TIMES]
    if row["signal"] is not None:
        tally.signals[stream] = tally.signals.get(stream, 0) + int(str(row["rows"]))
    elif isinstance(times, list):
        tally.saw(stream, min(times), max(times))


def _samples(
    lake: Lake, head: LakeHead, ingest_id: int, new_id: int, windows: Sequence[Window], tally: _Tally
) -> Iterator[pa.RecordBatch]:
    scanner = lake.store.samples(head).scanner(filter=f"ingest_id = {ingest_id}", batch_size=_BATCH_ROWS)
    yield from _kept(scanner.to_batches(), "ingest_id", new_id, windows, tally)


def _frames(
    store: FrameStore, key: int, new_key: int, windows: Sequence[Window], tally: _Tally | None
) -> tuple[str, ...]:
    column = "ingest_id" if tally is not None else "blur_id"
    batches = _kept(store.batches([key], rows=_BATCH_ROWS), column, new_key, windows, tally)
    return write_rows(store.uri, batches, BLURRED_SCHEMA if tally is None else SAMPLE_SCHEMA)


def _kept(
    batches: Iterator[pa.RecordBatch], column: str, key: int, windows: Sequence[Window], tally: _Tally | None
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        rest = batch.filter(pa.array(~among(batch.column("timestamp_ns").to_numpy(), windows)))
        if not rest.num_rows:
            continue
        if tally is not None:
            for stream, time_ns in zip(rest["stream"].to_pylist(), rest["timestamp_ns"].to_pylist(), strict=True):
                tally.samples[stream] = tally.samples.get(stream, 0) + 1
                tally.saw(stream, time_ns, time_ns)
        place = rest.schema.get_field_index(column)
        yield rest.set_column(place, rest.schema.field(place), pa.repeat(pa.scalar(key, pa.int64()), rest.num_rows))


def _record(told: IngestRecord, lake: Lake, ingest_id: int, new_id: int, tally: _Tally) -> IngestRecord:
    """Describe the rest as an ingest of its own."""
    streams = []
    for item in lake.catalog.streams([ingest_id]).get(ingest_id, []):
        rows = {"signals": tally.signals, "samples": tally.samples}.get(item.kept_as, {}).get(item.stream, 0)
        first, last = tally.start_ns.get(item.stream), tally.last_ns.get(item.stream)
        stop = None if last is None else last + 1
        streams.append(replace(item, rows=rows, messages=item.messages, start_ns=first, stop_ns=stop))
    starts, lasts = tally.start_ns.values(), tally.last_ns.values()
    return replace(
        told,
        ingest_id=new_id,
        streams=tuple(streams),
        signal_rows=sum(tally.signals.values()),
        sample_rows=sum(tally.samples.values()),
        start_ns=min(starts, default=None),
        stop_ns=max(lasts) + 1 if lasts else None,
        problems=tuple(dict.fromkeys([*told.problems, ERASED_IN_PART])),
    )

"""Derive a drive's clips from what the lake holds of it: which windows it recorded, where it was, what its frames may show.

A clip is a window of 20 s. It is derived from stores and catalogue alone, so what a kill left undone is done by the next
call, and all of it can be done again.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from platform_lib.catalog.cells import cells_of
from platform_lib.catalog.clips import CLIP_NS, Clips, NewClip, TakenClip
from platform_lib.catalog.lineage import Lineage
from platform_lib.catalog.model import PII_STATES, LakeHead, LakeView, PiiState
from platform_lib.datasets.places import known_positions
from platform_lib.datasets.splits import STRATA
from platform_lib.lake.lake import Lake
from platform_lib.lake.route import POSITIONS, Positions, positions_in
from platform_lib.lake.sample_reading import visible_samples
from platform_lib.lake.signal_table import parquet_dataset
from platform_lib.lake.tables import SAMPLE_SCHEMA, TIMES
from platform_lib.privacy.frames import IMAGE_ENCODINGS

logger = logging.getLogger(__name__)

_E7 = 1e7
_LONGEST_VALUE = 60
_UNKNOWN = "unknown"
_BATCH_DRIVES = 64
Int64 = npt.NDArray[np.int64]


def refresh_clips(lake: Lake) -> int:
    """Derive the clips of every drive of which something changed, and note those of new datasets; return how many drives."""
    clips = Clips(lake.catalog.engine)
    done = 0
    due = clips.due()  # before the view: what changes in between makes a drive due again, under another mark
    for batch in _batches(due):
        view = lake.catalog.view(batch)
        ours: dict[str, list[int]] = defaultdict(list)
        for item in view.ingests:
            ours[item.drive_id].append(item.ingest_id)
        found = {item.drive_id: item for item in lake.catalog.drives(batch)}
        derived = derive(lake, view, {drive_id: ours[drive_id] for drive_id in found})
        for drive_id in batch:
            new, cells = derived.get(drive_id, ((), ()))
            odd = odd_cell(found[drive_id].labels) if drive_id in found else ""
            done += clips.replace(drive_id, due[drive_id], odd, new, cells)
    note_datasets(lake, clips)
    if done:
        logger.info("drives=%d their clips were derived", done)
    return done


def _batches(drives: Iterable[str]) -> Iterator[list[str]]:
    left = iter(drives)
    while batch := list(islice(left, _BATCH_DRIVES)):
        yield batch


def note_datasets(lake: Lake, clips: Clips) -> None:
    """Note from which clips each dataset's samples were taken; of one that is gone nothing can be noted any more."""
    places = Lineage(lake.catalog.engine).kind_of(unnoted := clips.unnoted_datasets())
    for digest, number in unnoted.items():
        uri = Path(places[digest][1]) / "samples.lance"
        if uri.is_dir():
            table = lance.dataset(str(uri)).to_table(columns=["drive_id", "timestamp_ns", "split", "slices"])
            clips.note_dataset(number, taken_clips(table))


def odd_cell(labels: Mapping[str, str]) -> str:
    """Return a drive's ODD cell: the labels that splits are balanced by, in their order."""
    return ", ".join(f"{axis}={labels.get(axis, _UNKNOWN)[:_LONGEST_VALUE]}" for axis in STRATA)


def taken_clips(table: pa.Table) -> list[TakenClip]:
    """Group a dataset's samples (drive_id, timestamp_ns, split, slices) by clip."""
    found: dict[tuple[str, int, str], tuple[int, set[str]]] = {}
    starts = table["timestamp_ns"].to_numpy() // CLIP_NS * CLIP_NS
    rows = zip(
        table["drive_id"].to_pylist(),
        starts.tolist(),
        table["split"].to_pylist(),
        table["slices"].to_pylist(),
        strict=True,
    )
    for drive_id, start_ns, split, slices in rows:
        count, tags = found.get((drive_id, start_ns, split), (0, set()))
        # The first slice is the weather, which the ODD cell says already.
        found[drive_id, start_ns, split] = (count + 1, tags | set(slices[1:]))
    return [
        TakenClip(drive_id, start_ns, split, count, tuple(sorted(tags)))
        for (drive_id, start_ns, split), (count, tags) in sorted(found.items())
    ]


def derive(
    lake: Lake, view: LakeView, drives: Mapping[str, Sequence[int]]
) -> dict[str, tuple[list[NewClip], list[int]]]:
    """Return of each drive its clips, in order of time, and every cell that it was in.

    Args:
        lake: Whose.
        view: What is visible of it.
        drives: Drive -> its ingests in that view. Their samples' times are held at once: keep to some tens.
    """
    head = view.head
    ids = [ingest_id for own in drives.values() for ingest_id in own]
    if head is None or not ids:
        return {}
    names = ["ingest_id", "timestamp_ns", "encoding", "pii_state"]
    empty = pa.schema([SAMPLE_SCHEMA.field(name) for name in names]).empty_table()
    samples = pa.concat_tables([empty, *visible_samples(lake.catalog, lake.store, head, ids, names)])
    found = {}
    for drive_id, own in drives.items():
        if own:
            rows = samples.filter(pc.is_in(samples["ingest_id"], pa.array(own, pa.int64())))
            found[drive_id] = _clips_of(lake, head, own, rows)
    return found


def _clips_of(lake: Lake, head: LakeHead, ids: Sequence[int], samples: pa.Table) -> tuple[list[NewClip], list[int]]:
    times = samples["timestamp_ns"].to_numpy()
    starts = np.union1d(_signal_windows(lake, head, ids), np.unique(times // CLIP_NS))
    is_frame = np.asarray(
        pc.is_in(samples["encoding"], pa.array(IMAGE_ENCODINGS)).to_numpy(zero_copy_only=False), np.bool_
    )
    states = samples["pii_state"].filter(pa.array(is_frame)).to_pylist()
    pii = least_safe(times[is_frame] // CLIP_NS, states)
    first, cells = _places(lake, head, ids)
    clips = []
    for window in starts.tolist():
        cell, latitude, longitude = first.get(window, (None, None, None))
        clips.append(NewClip(window * CLIP_NS, pii.get(window), cell, latitude, longitude))
    return clips, cells


def least_safe(windows: Int64, states: Sequence[PiiState]) -> dict[int, PiiState]:
    """Return the least safe state of the frames of each window."""
    found: dict[int, PiiState] = {}
    for window, state in sorted(set(zip(windows.tolist(), states, strict=True))):
        if window not in found or PII_STATES.index(state) < PII_STATES.index(found[window]):
            found[window] = state
    return found


def _signal_windows(lake: Lake, head: LakeHead, ids: Sequence[int]) -> Int64:
    """Return the windows in which any signal has a time: by the times themselves, since a chunk can have gaps."""
    files = lake.store.signal_files(head, ids)
    if not files:
        return np.empty(0, np.int64)
    source = parquet_dataset(files)
    ours = ds.field("ingest_id").isin(list(ids)) & ds.field("signal").is_null()
    found = [np.empty(0, np.int64)]
    for batch in source.to_batches(columns=[TIMES], filter=ours):
        found.append(np.unique(batch.column(0).flatten().to_numpy() // CLIP_NS))
    return np.unique(np.concatenate(found))


def _places(lake: Lake, head: LakeHead, ids: Sequence[int]) -> tuple[dict[int, tuple[int, int, int]], list[int]]:
    """Return window -> cell and first position (1e-7 degrees), and every cell, by the stream with the most positions."""
    best: Positions | None = None
    table = lake.signals_of(head, ids, signals=[name for names in POSITIONS for name in names])
    for names in POSITIONS:
        for item in positions_in(table, names):
            if best is None or len(item.times_ns) > len(best.times_ns):
                best = item
    if best is None:
        return {}, []
    known = known_positions(best.latitude_deg, best.longitude_deg)
    latitude, longitude = best.latitude_deg[known], best.longitude_deg[known]
    cells = cells_of(latitude, longitude)
    windows, place = np.unique(best.times_ns[known] // CLIP_NS, return_index=True)
    first = {
        int(window): (int(cells[at]), round(latitude[at] * _E7), round(longitude[at] * _E7))
        for window, at in zip(windows, place, strict=True)
    }
    return first, np.unique(cells).tolist()

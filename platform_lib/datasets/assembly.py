"""Put shards together: split, write in a fixed order, prove, describe."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import JsonValue

from platform_lib.datasets.model import SkippedDrive
from platform_lib.datasets.reader import SAMPLES, SPLIT_FILE, STATS_FILE
from platform_lib.datasets.shards import Shard
from platform_lib.datasets.splits import SPLITS, Split, SplitProof, assign_splits, check_disjoint, duplicate_groups
from platform_lib.datasets.statistics import DatasetStats, dataset_stats
from platform_lib.datasets.table import SCHEMA, fixed_array, with_split
from platform_lib.storage import publish_bytes

_ROWS_PER_FILE = 1 << 20


def assemble(shards: Sequence[Shard], folder: Path, *, seed: int) -> SplitProof:
    """Write ``samples.lance``, ``split.json`` and ``stats.json`` into `folder`.

    Rows are ordered by drive id, then by time, whatever order the shards were finished in.

    Raises:
        ContractError: Too few drives to split, or a row that must not get in.
    """
    ordered = sorted(shards, key=lambda shard: shard.drive_id)
    splits = assign_splits([shard.unit for shard in ordered], seed=seed)
    proof = _prove(ordered, splits, seed=seed)
    train = TrainingNumbers()
    reader = pa.RecordBatchReader.from_batches(SCHEMA, _rows(ordered, splits, train))
    lance.write_dataset(reader, str(folder / SAMPLES), mode="create", max_rows_per_file=_ROWS_PER_FILE)
    stats = train.statistics()
    publish_bytes(folder / SPLIT_FILE, (proof.model_dump_json(indent=2) + "\n").encode())
    publish_bytes(folder / STATS_FILE, (stats.model_dump_json(indent=2) + "\n").encode())
    return proof


class TrainingNumbers:
    """Collects what the statistics need while rows pass by: about 170 bytes a training sample."""

    def __init__(self) -> None:
        self._history: list[npt.NDArray[np.float32]] = []
        self._future: list[npt.NDArray[np.float32]] = []
        self._command: list[npt.NDArray[np.int8]] = []

    def add(self, table: pa.Table) -> None:
        """Take a copy of one drive's numbers; its file is closed when they are used."""
        self._history.append(fixed_array(table, "ego_history").copy())
        self._future.append(fixed_array(table, "future").copy())
        self._command.append(table["command"].to_numpy().copy())

    def statistics(self) -> DatasetStats:
        """Compute the statistics of everything added."""
        return dataset_stats(np.concatenate(self._history), np.concatenate(self._future), np.concatenate(self._command))


def _rows(shards: Sequence[Shard], splits: Mapping[str, Split], train: TrainingNumbers) -> Iterator[pa.RecordBatch]:
    """Yield all rows with their split; the training split's numbers are taken on the way."""
    for shard in shards:
        with pa.memory_map(shard.path) as source:
            table = with_split(pa.ipc.open_file(source).read_all(), splits[shard.drive_id])
            if splits[shard.drive_id] == "train":
                train.add(table)
            yield from table.to_batches(max_chunksize=256)


def _prove(shards: Sequence[Shard], splits: Mapping[str, Split], *, seed: int) -> SplitProof:
    members: dict[Split, list[Shard]] = {name: [] for name in SPLITS}
    for shard in shards:
        members[splits[shard.drive_id]].append(shard)
    drives = {name: frozenset(item.drive_id for item in members[name]) for name in SPLITS}
    content = {name: frozenset().union(*(item.content for item in members[name])) for name in SPLITS}
    return SplitProof(
        seed=seed,
        drives={name: tuple(sorted(drives[name])) for name in SPLITS},
        files={name: {item.drive_id: item.files for item in members[name]} for name in SPLITS},
        shared_drives=check_disjoint(drives, what="drives"),
        shared_content=check_disjoint(content, what="log files or images"),
        samples={name: sum(item.rows for item in members[name]) for name in SPLITS},
        slices={name: _total([item.slices for item in members[name]]) for name in SPLITS},
        pii_states={name: _total([item.pii_states for item in members[name]]) for name in SPLITS},
        duplicates=tuple(group for group in duplicate_groups([item.unit for item in shards]) if len(group) > 1),
        missing_labels={name: _missing(shards, members[name]) for name in SPLITS},
    )


def _missing(shards: Sequence[Shard], own: Sequence[Shard]) -> tuple[str, ...]:
    everywhere = {label for shard in shards for label in shard.unit.labels}
    return tuple(sorted(everywhere - {label for shard in own for label in shard.unit.labels}))


def _total(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for item in counts:
        total.update(item)
    return dict(sorted(total.items()))


def content_sha256(shards: Sequence[Shard], proof: SplitProof) -> str:
    """Digest what the rows say: the same logs and recipe give the same digest, whatever Lance names its files."""
    where = {drive_id: split for split in SPLITS for drive_id in proof.drives[split]}
    rows = sorted((shard.drive_id, where[shard.drive_id], shard.rows_sha256) for shard in shards)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def metrics_of(shards: Sequence[Shard], skipped: Sequence[SkippedDrive], proof: SplitProof) -> dict[str, JsonValue]:
    """Return what the manifest says of the build: every frame and every drive accounted for."""
    ordered = sorted(shards, key=lambda shard: shard.drive_id)
    return {
        "samples": {str(split): count for split, count in proof.samples.items()},
        "split_proof": proof.model_dump(mode="json"),
        "content_sha256": content_sha256(shards, proof),
        "drives": {"used": len(shards), "skipped": len(skipped)},
        "skipped_drives": [
            {"drive_id": item.drive_id, "reason": item.reason}
            for item in sorted(skipped, key=lambda item: item.drive_id)
        ],
        "frames": {
            "recorded": sum(shard.frames for shard in shards),
            "thinned": sum(shard.thinned for shard in shards),
            "dropped": dict(_total([shard.dropped for shard in shards])),
            "kept": sum(shard.rows for shard in shards),
        },
        "dropped_by_drive": {shard.drive_id: dict(shard.dropped) for shard in ordered if shard.dropped},
        "clocks": {shard.drive_id: shard.clock.document() for shard in ordered},
    }

"""Put shards together: split, write in a fixed order, prove, describe."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lance
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import JsonValue

from platform_lib.datasets.leakage import (
    Placement,
    Rows,
    place_drives,
    prove_near_duplicates,
    prove_places,
    prove_trips,
)
from platform_lib.datasets.model import SkippedDrive
from platform_lib.datasets.proof import Reason, SplitProof
from platform_lib.datasets.reader import SAMPLES, SPLIT_FILE, STATS_FILE
from platform_lib.datasets.shards import Shard, columns_of, reduced
from platform_lib.datasets.splits import SPLITS, Split, check_disjoint
from platform_lib.datasets.statistics import DatasetStats, dataset_stats
from platform_lib.datasets.table import SCHEMA, fixed_array, with_split
from platform_lib.errors import ContractError
from platform_lib.storage import publish_bytes

_ROWS_PER_FILE = 1 << 20
_LEFT_OUT: dict[Reason, str] = {
    "place": "place_in_another_split",
    "trip": "trip_in_another_split",
    "near_duplicate": "near_duplicate_in_another_split",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Which samples go where, decided and proven before anything is written.

    Attributes:
        shards: Ordered by drive id; what was left out is not in them any more.
        splits: Drive id -> split.
        emptied: Drives of which nothing is left, since a split before theirs has the same.
    """

    shards: tuple[Shard, ...]
    splits: Mapping[str, Split]
    emptied: tuple[SkippedDrive, ...]
    proof: SplitProof


def plan_splits(shards: Sequence[Shard], *, seed: int) -> Plan:
    """Divide drives, leave out what splits would share, and prove that nothing is shared.

    Raises:
        ContractError: Too few drives to split, or nothing is left of one split.
    """
    ordered = sorted(shards, key=lambda shard: shard.drive_id)
    rows = {shard.drive_id: _rows_of(shard) for shard in ordered}
    placement = place_drives([shard.unit for shard in ordered], rows, seed=seed)
    stayed: list[Shard] = []
    emptied: list[SkippedDrive] = []
    for shard in ordered:
        kept = placement.kept[shard.drive_id]
        reasons = {_LEFT_OUT[reason]: count for reason, count in placement.left_out[shard.drive_id].items() if count}
        rest = shard if kept.all() else reduced(shard, kept, reasons)
        if isinstance(rest, SkippedDrive):
            emptied.append(rest)
        else:
            stayed.append(rest)
    if missing := [name for name in SPLITS if not any(placement.split[item.drive_id] == name for item in stayed)]:
        raise ContractError(
            f"nothing is left of {missing[0]} once what it shares with other splits is left out",
            where="dataset",
            remedy="ingest drives of other places and days; `drivetrain --verbose dataset` names what is shared",
        )
    return Plan(tuple(stayed), placement.split, tuple(emptied), _prove(stayed, placement, seed=seed))


def _rows_of(shard: Shard) -> Rows:
    table = columns_of(shard, ("timestamp_ns", "geohash", "phash"))
    return Rows(
        vehicle=shard.vehicle,
        timestamp_ns=table["timestamp_ns"].to_numpy(),
        cells=tuple(table["geohash"].to_pylist()),
        prints=tuple(table["phash"].to_pylist()),
    )


def assemble(plan: Plan, folder: Path) -> None:
    """Write ``samples.lance``, ``split.json`` and ``stats.json`` into `folder`.

    Rows are ordered by drive id, then by time, whatever order the shards were finished in.

    Raises:
        ContractError: A row that must not get in.
    """
    train = TrainingNumbers()
    reader = pa.RecordBatchReader.from_batches(SCHEMA, _rows(plan.shards, plan.splits, train))
    lance.write_dataset(reader, str(folder / SAMPLES), mode="create", max_rows_per_file=_ROWS_PER_FILE)
    stats = train.statistics()
    publish_bytes(folder / SPLIT_FILE, (plan.proof.model_dump_json(indent=2) + "\n").encode())
    publish_bytes(folder / STATS_FILE, (stats.model_dump_json(indent=2) + "\n").encode())


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


def _prove(shards: Sequence[Shard], placement: Placement, *, seed: int) -> SplitProof:
    splits = placement.split
    members: dict[Split, list[Shard]] = {name: [] for name in SPLITS}
    for shard in shards:
        members[splits[shard.drive_id]].append(shard)
    drives = {name: frozenset(item.drive_id for item in members[name]) for name in SPLITS}
    content = {name: frozenset().union(*(item.content for item in members[name])) for name in SPLITS}
    rows = {shard.drive_id: _rows_of(shard) for shard in shards}
    left_out = _total([{str(why): n for why, n in of.items()} for of in placement.left_out.values()])
    return SplitProof(
        seed=seed,
        drives={name: tuple(sorted(drives[name])) for name in SPLITS},
        files={name: {item.drive_id: item.files for item in members[name]} for name in SPLITS},
        shared_drives=check_disjoint(drives, what="drives"),
        shared_content=check_disjoint(content, what="log files or images"),
        samples={name: sum(item.rows for item in members[name]) for name in SPLITS},
        slices={name: _total([item.slices for item in members[name]]) for name in SPLITS},
        pii_states={name: _total([item.pii_states for item in members[name]]) for name in SPLITS},
        duplicates=placement.groups,
        missing_labels={name: _missing(shards, members[name]) for name in SPLITS},
        links=placement.links,
        near_duplicates=prove_near_duplicates(rows, splits, left_out=left_out.get("near_duplicate", 0)),
        places=prove_places(rows, splits, left_out=left_out.get("place", 0)),
        trips=prove_trips(rows, splits, left_out=left_out.get("trip", 0)),
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


def metrics_of(plan: Plan, skipped: Sequence[SkippedDrive]) -> dict[str, JsonValue]:
    """Return what the manifest says of the build: every frame and every drive accounted for."""
    shards, proof = plan.shards, plan.proof
    skipped = [*skipped, *plan.emptied]
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
        "dropped_by_drive": {shard.drive_id: dict(shard.dropped) for shard in shards if shard.dropped},
        "clocks": {shard.drive_id: shard.clock.document() for shard in shards if shard.clock is not None},
    }

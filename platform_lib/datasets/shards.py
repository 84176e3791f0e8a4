"""One drive's samples on disk, before splits are known, and what the driver process needs to know of them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from platform_lib.catalog.model import Drive
from platform_lib.datasets.building import build_samples
from platform_lib.datasets.drive_clocks import DriveClock, summarise_clock
from platform_lib.datasets.model import BoolArray, DriveSamples, Drop, SampleRules, SkippedDrive
from platform_lib.datasets.sources import load_drive
from platform_lib.datasets.splits import STRATA, SplitUnit
from platform_lib.datasets.table import image_digests, rows_sha256, samples_table
from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.lake.lake import Lake
from platform_lib.privacy.decoding import decode_picture
from platform_lib.privacy.frames import AdmittedFrames
from platform_lib.storage import publish_file

# Not the drive's own name: that of a foreign drive may hold anything.
_FILE = "{}.arrow"


@dataclass(frozen=True, slots=True)
class Shard:
    """One drive's samples.

    Attributes:
        path: Arrow IPC file with the samples, without their split.
        rows_sha256: Digest of the rows' content.
        content: Digests of the log files and of the samples' images.
        slices: Slice -> samples.
        pii_states: State -> samples.
        clock: None where there was one recorder alone.
    """

    drive_id: str
    vehicle: str | None
    path: str
    rows: int
    rows_sha256: str
    files: tuple[str, ...]
    content: frozenset[str]
    labels: Mapping[str, str]
    slices: Mapping[str, int]
    pii_states: Mapping[str, int]
    frames: int
    thinned: int
    dropped: Mapping[str, int]
    clock: DriveClock | None

    @property
    def unit(self) -> SplitUnit:
        """What the split needs to know."""
        labels = frozenset(f"{name}={self.labels[name]}" for name in STRATA if self.labels.get(name))
        return SplitUnit(self.drive_id, labels, self.content)


def write_shard(lake: Lake, drive: Drive, rules: SampleRules, folder: Path) -> Shard | SkippedDrive:
    """Build one drive's samples and write them below `folder`; a drive that gives none is skipped with the reason."""
    try:
        loaded = load_drive(lake, drive)
        if isinstance(loaded, SkippedDrive):
            return loaded
        samples = build_samples(loaded.streams, rules)
    except (CorruptLog, UnsupportedLog) as error:
        return SkippedDrive(drive.drive_id, f"a stream cannot be decoded: {error.what}")
    if isinstance(samples, SkippedDrive):
        return samples
    if len(samples) == 0:
        counts = ", ".join(f"{reason} {count}" for reason, count in samples.dropped.items()) or "no frames"
        return SkippedDrive(drive.drive_id, f"no frame became a sample: {counts}")
    streams = loaded.streams
    return write_samples(samples, loaded.images, folder, files=streams.file_sha256, labels=streams.labels)


def write_samples(
    samples: DriveSamples,
    images: AdmittedFrames,
    folder: Path,
    *,
    files: tuple[str, ...],
    labels: Mapping[str, str],
) -> Shard | SkippedDrive:
    """Write one drive's samples to a file of its own in `folder`; of pictures that cannot be decoded none, and they are counted.

    Args:
        samples: At least one.
        images: All the drive's camera frames, as JPEG.
        folder: Where.
        files: Digests of the drive's log files.
        labels: The drive's metadata.
    """
    path = folder / _FILE.format(hashlib.sha256(samples.drive_id.encode()).hexdigest()[:32])
    table = samples_table(samples, images.data)
    shard = Shard(
        drive_id=samples.drive_id,
        vehicle=samples.vehicle,
        path=str(path),
        rows=0,
        rows_sha256="",
        files=files,
        content=frozenset(),
        labels=dict(labels),
        slices={},
        pii_states={},
        frames=samples.frames,
        thinned=samples.thinned,
        dropped=dict(samples.dropped),
        clock=None if samples.clock.model is None else summarise_clock(samples.clock),
    )
    kept = _decodable(table)
    if not kept.all():
        return _rest(shard, table, kept, {str(Drop.IMAGE): int(np.count_nonzero(~kept))}, path)
    _write(table, path)
    return _described(shard, table)


def _decodable(table: pa.Table) -> BoolArray:
    """Say which pictures (N,) can be decoded: those with a fingerprint were, and those without one are tried."""
    kept = np.array(table["phash"].is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
    for row in np.flatnonzero(~kept).tolist():
        kept[row] = decode_picture(table["image"][row].as_py(), cv2.IMREAD_COLOR) is not None
    return kept


def reduced(shard: Shard, kept: BoolArray, reasons: Mapping[str, int]) -> Shard | SkippedDrive:
    """Leave samples out of a shard that is written; return the shard of the rest, or that nothing is left.

    Args:
        shard: The drive's samples.
        kept: (N,) which of them stay.
        reasons: Reason -> samples left out.
    """
    with pa.memory_map(shard.path) as source:
        table = pa.ipc.open_file(source).read_all()
        return _rest(shard, table, kept, reasons, Path(shard.path).with_suffix(".reduced.arrow"))


def _rest(
    shard: Shard, table: pa.Table, kept: BoolArray, reasons: Mapping[str, int], path: Path
) -> Shard | SkippedDrive:
    if not kept.any():
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()) if count)
        return SkippedDrive(shard.drive_id, f"no frame became a sample: {told}")
    counts = dict(sorted((Counter(shard.dropped) + Counter(reasons)).items()))
    rest = table.filter(pa.array(kept))
    _write(rest, path)
    return _described(dataclasses.replace(shard, path=str(path), dropped=counts), rest)


def columns_of(shard: Shard, names: Sequence[str]) -> pa.Table:
    """Read some columns of a shard; the images stay on the disk."""
    with pa.memory_map(shard.path) as source:
        return pa.ipc.open_file(source).read_all().select(list(names)).combine_chunks()


def _write(table: pa.Table, path: Path) -> None:
    with (
        publish_file(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=256)


def _described(shard: Shard, table: pa.Table) -> Shard:
    """Return the shard with what its rows say."""
    names = (name for of in table["slices"].to_pylist() for name in of)
    return dataclasses.replace(
        shard,
        rows=len(table),
        rows_sha256=rows_sha256(table),
        content=frozenset({*shard.files, *image_digests(table["image"])}),
        slices=dict(sorted(Counter(names).items())),
        pii_states=dict(sorted(Counter(table["pii_state"].to_pylist()).items())),
    )

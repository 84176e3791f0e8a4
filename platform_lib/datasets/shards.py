"""One drive's samples on disk, before splits are known, and what the driver process needs to know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from platform_lib.catalog.model import Drive
from platform_lib.datasets.building import build_samples
from platform_lib.datasets.drive_clocks import DriveClock, summarise_clock
from platform_lib.datasets.model import DriveSamples, SampleRules, SkippedDrive
from platform_lib.datasets.sources import load_drive
from platform_lib.datasets.splits import STRATA, SplitUnit
from platform_lib.datasets.table import image_digests, rows_sha256, samples_table
from platform_lib.errors import CorruptLog, UnsupportedLog
from platform_lib.lake.lake import Lake
from platform_lib.storage import publish_file


@dataclass(frozen=True, slots=True)
class Shard:
    """One drive's samples.

    Attributes:
        path: Arrow IPC file with the samples, without their split.
        rows_sha256: Digest of the rows' content.
        content: Digests of the log files and of the samples' images.
        slices: Slice -> samples.
        pii_states: State -> samples.
    """

    drive_id: str
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
    clock: DriveClock

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
    images: pa.ChunkedArray,
    folder: Path,
    *,
    files: tuple[str, ...],
    labels: Mapping[str, str],
) -> Shard:
    """Write one drive's samples to ``folder/<drive id>.arrow``.

    Args:
        samples: At least one.
        images: JPEG bytes of all the drive's camera frames.
        folder: Where.
        files: Digests of the drive's log files.
        labels: The drive's metadata.
    """
    if samples.clock.model is None:
        raise ValueError(f"drive {samples.drive_id} has samples and no clock")
    table = samples_table(samples, images)
    path = folder / f"{samples.drive_id}.arrow"
    with (
        publish_file(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=256)
    return Shard(
        drive_id=samples.drive_id,
        path=str(path),
        rows=len(table),
        rows_sha256=rows_sha256(table),
        files=files,
        content=frozenset({*files, *image_digests(table["image"])}),
        labels=dict(labels),
        slices=dict(sorted(Counter(name for names in samples.slices for name in names).items())),
        pii_states=dict(sorted(Counter(str(state) for state in samples.pii_state).items())),
        frames=samples.frames,
        thinned=samples.thinned,
        dropped=dict(samples.dropped),
        clock=summarise_clock(samples.clock),
    )

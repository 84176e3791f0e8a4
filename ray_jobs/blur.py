"""Blurs raw frames, each once by one configuration, however often the command runs or is killed.

1. choose   ingests with raw frames that this configuration has not blurred      1 home : N ingests
2. begin    one blur id an ingest, in the catalogue                              1 : 1
3. blur     Ray tasks write Lance fragments                                      1 : 1
4. commit   Lance, then one PostgreSQL transaction                               1 : 1

As in ingest, tasks only write files, and this process alone commits, under the home's lock ``blur``; a task of a command
that was killed writes nothing once the next one has swept. A blur by another configuration takes the place of the older
one in the step that commits it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pyarrow as pa
import ray

from platform_lib.catalog.blurs import BlurRecord
from platform_lib.catalog.model import StoredFile
from platform_lib.errors import PlatformError
from platform_lib.home import Home
from platform_lib.lake.clips import refresh_clips
from platform_lib.lake.lake import Lake
from platform_lib.lake.place import located, told
from platform_lib.lake.writer import describe, files_of, write_rows
from platform_lib.lake.writers import Permit
from platform_lib.privacy.blurring import blur_frame
from platform_lib.privacy.config import BlurConfig
from platform_lib.privacy.detectors import Detector, make_detectors, provenance
from platform_lib.privacy.frames import AdmittedPii
from platform_lib.privacy.leftovers import sweep_blurs
from platform_lib.privacy.zone import BLURRED_SCHEMA, FrameStore
from ray_jobs.session import answer_of, local_ray

logger = logging.getLogger(__name__)

_ROWS = 32
"""Frames that a worker holds at once."""


class BlurError(PlatformError):
    """A worker died while it blurred."""


@dataclass(frozen=True, slots=True)
class _Job:
    blur_id: int
    ingest_id: int
    raw_uri: str
    blurred_uri: str


@dataclass(frozen=True, slots=True)
class _Blurred:
    """What a worker wrote; `unreadable` frames could not be decoded, and stay raw."""

    fragments: tuple[str, ...]
    files: tuple[StoredFile, ...]
    frames: int
    regions: int
    unreadable: int


@dataclass(slots=True)
class BlurReport:
    """What one blur did.

    Attributes:
        config_sha256: Detectors and parameters, by content.
        ingests: Log files whose frames were blurred by this run.
        skipped: Log files whose frames this configuration had blurred before.
        kept: Log files that stay as another configuration blurred them: some of their raw frames have expired.
        frames: Frames blurred by this run; those without a find keep their bytes.
        regions: Rectangles blurred.
        unreadable: Frames that could not be decoded; they stay raw.
        drives: Drives this run blurred frames of.
    """

    config_sha256: str
    ingests: int = 0
    skipped: int = 0
    kept: int = 0
    frames: int = 0
    regions: int = 0
    unreadable: int = 0
    drives: tuple[str, ...] = field(default=())


def blur(
    home: Home,
    config: BlurConfig,
    *,
    cpus: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> BlurReport:
    """Blur the raw frames of every committed ingest of `home`.

    Args:
        home: Whose lake.
        config: Detectors and parameters.
        cpus: CPUs for blurring; what this process may run on by default.
        on_progress: Called with ingests done and in all, at the beginning and after every commit.

    Raises:
        MissingPartError: A detector is not there.
        ConfigError: A detector cannot be loaded.
        BlurError: A worker died.
        HomeBusyError: Another blur on this home did not end within an hour.
    """
    how = provenance(config)
    make_detectors(config)  # what is wrong with one is said before anything is begun
    with Lake.turn(home, "blur") as lake:
        lake.store.mend_blurred()
        sweep_blurs(lake)
        lake.store.blurred.create()
        known = {item.ingest_id: item for item in lake.blurs.visible()}
        drives = {item.ingest_id: item.drive_id for item in lake.catalog.view().ingests}
        raw = {ingest_id: rows for ingest_id, rows in lake.store.raw.counts().items() if ingest_id in drives}
        other = sorted(key for key in raw if key not in known or known[key].config_sha256 != how.sha256)
        # With another configuration frames whose raw ones have expired would be lost.
        kept = [key for key in other if key in known and known[key].frames + known[key].unreadable > raw[key]]
        todo = [key for key in other if key not in kept]
        report = BlurReport(how.sha256, skipped=len(raw) - len(other), kept=len(kept))
        on_progress(0, len(todo))
        if todo:
            ids = lake.blurs.begin(todo, how.sha256, how.document)
            uris = (str(lake.store.raw.uri), str(lake.store.blurred.uri))
            jobs = [_Job(blur_id, ingest_id, *uris) for blur_id, ingest_id in zip(ids, todo, strict=True)]
            _blur_all(lake, home, jobs, config, cpus, report, on_progress)
            report.drives = tuple(sorted({drives[ingest_id] for ingest_id in todo}))
            sweep_blurs(lake)
            refresh_clips(lake)
    return report


def _blur_all(
    lake: Lake,
    home: Home,
    jobs: list[_Job],
    config: BlurConfig,
    cpus: int | None,
    report: BlurReport,
    on_progress: Callable[[int, int], None],
) -> None:
    permit = lake.store.blur_writers.begin()
    with local_ray(home, cpus):
        running = {_BLUR_ONE.remote(job, config, permit): job for job in jobs}
        while running:
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                job = running.pop(reference)
                done: _Blurred = answer_of(reference, died=_worker_died)
                lake.store.blurred.append(done.fragments)
                if lake.blurs.commit(BlurRecord(job.blur_id, done.frames, done.regions, done.unreadable, done.files)):
                    report.ingests += 1
                    report.frames += done.frames
                    report.regions += done.regions
                    report.unreadable += done.unreadable
                on_progress(len(jobs) - len(running), len(jobs))


def _worker_died(what: str) -> BlurError:
    return BlurError(
        what, where="blur", remedy="look at free memory, then run the command again: what was committed stays"
    )


@cache
def _detectors(config: BlurConfig) -> list[Detector]:
    """Load detectors once a worker."""
    return make_detectors(config)


def _blur_one(job: _Job, config: BlurConfig, permit: Permit) -> _Blurred:
    raw, uri = FrameStore(located(job.raw_uri), pa.schema([]), "ingest_id"), located(job.blurred_uri)
    counts = {"frames": 0, "regions": 0, "unreadable": 0}
    detectors = _detectors(config)
    with permit.used(), told(uri):
        batches = (
            blurred
            for batch in raw.batches([job.ingest_id], rows=_ROWS)
            if (blurred := _blur_batch(job, batch, detectors, config, counts)).num_rows
        )
        fragments = write_rows(uri, batches, BLURRED_SCHEMA)
        files = describe([path for text in fragments for path in files_of(text, uri)], uri.parent)
    return _Blurred(fragments, files, **counts)


_BLUR_ONE: Any = ray.remote(max_retries=0)(_blur_one)


def _blur_batch(
    job: _Job, batch: pa.RecordBatch, detectors: list[Detector], config: BlurConfig, counts: dict[str, int]
) -> pa.RecordBatch:
    rows = []
    for row in batch.to_pylist():
        done = blur_frame(row["data"], row["encoding"], detectors, config)
        if done is None:
            counts["unreadable"] += 1
            continue
        counts["frames"] += 1
        counts["regions"] += len(done.regions)
        changed = {
            "blur_id": job.blur_id,
            "data": done.data,
            "encoding": done.encoding,
            "pii_state": str(AdmittedPii.BLURRED),
            "regions": len(done.regions),
            "raw_sha256": hashlib.sha256(row["data"]).hexdigest(),
        }
        rows.append({**row, **changed})
    return pa.RecordBatch.from_pylist(rows, schema=BLURRED_SCHEMA)

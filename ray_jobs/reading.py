"""Reads logs as Ray tasks and commits what they give, in this process alone.

A batch of logs is one task: it writes files and says what it wrote. Contents that belong together (the files of a drive
that is reprocessed) are committed in one transaction, once all of them are read, or not at all.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from typing import Any

import ray

from platform_lib.catalog.grown import supersede
from platform_lib.catalog.model import Refusal
from platform_lib.contracts.document import read_contracts
from platform_lib.contracts.schema_gate import Read, SchemaGate
from platform_lib.errors import HomeError, PlatformError
from platform_lib.home import Home
from platform_lib.lake.grown import held_twice
from platform_lib.lake.intake import LogJob, Place, ReadOptions, Taken, take_in
from platform_lib.lake.lake import Lake
from platform_lib.lake.place import told
from platform_lib.lake.writer import stored_files
from platform_lib.lake.writers import Permit
from platform_lib.refusals import refused_by_system
from ray_jobs.arrivals import Content
from ray_jobs.ingest_report import Progress, Tally
from ray_jobs.memory_cap import MemoryCap
from ray_jobs.read_options import Chosen
from ray_jobs.session import local_ray

logger = logging.getLogger(__name__)

_BATCH_BYTES = (4 << 20, 256 << 20)  # least and most a task reads: starting one costs 1 ms, losing one its whole batch
_BATCH_FILES = 256
_BATCHES_PER_CPU = 4  # enough that the last ones end together

TOO_LARGE = "TooLargeLog"
"""Kind of a refusal that is not for good: with more memory the log can be read."""

_LANCE_NUMBER = re.compile(r"\(os error (\d+)\)")

Outcome = Taken | Refusal | PlatformError


@dataclass(frozen=True, slots=True)
class Ask:
    """One content to read.

    Attributes:
        group: Contents of one group are committed together or not at all; None for one that stands alone.
        accept_schema: Take it in though its streams are not what they were.
    """

    content: Content
    options: Chosen
    group: str | None = None
    accept_schema: bool = False


@dataclass(frozen=True, slots=True)
class _Batch:
    jobs: list[LogJob]
    options: ReadOptions


@dataclass(slots=True)
class _Group:
    """What is read of contents that belong together."""

    missing: int
    results: list[tuple[LogJob, Taken | Refusal]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Sink:
    """Where results go.

    Attributes:
        accepted: Ingests whose schemas may be new ones.
    """

    lake: Lake
    gate: SchemaGate
    groups: dict[int, tuple[str, _Group]]
    accepted: frozenset[int]
    recovering: frozenset[int]


@contextmanager
def ray_beside_output(home: Home, cpus: int | None) -> Iterator[None]:
    """Run Ray, or join it: what it tells of dead workers goes to standard error, since a command's answer is standard output."""
    with redirect_stdout(sys.stderr), local_ray(home, cpus):
        yield


def read_all(
    lake: Lake,
    home: Home,
    asks: Sequence[Ask],
    tally: Tally,
    *,
    cpus: int | None,
    on_progress: Callable[[Progress], None],
) -> None:
    """Read contents and commit them; `tally` and `on_progress` are told after every task.

    Raises:
        PlatformError: The options are wrong, the disk is full, the database or Ray ended. What is committed stays.
    """
    try:
        _read_all(lake, home, asks, tally, cpus, on_progress)
    except ray.exceptions.RayError as error:
        if isinstance(error, ray.exceptions.RayTaskError) and isinstance(error.cause, PlatformError):
            raise error.cause from None
        raise HomeError(
            f"Ray ended in the middle of the work: {str(error).strip().splitlines()[0]}",
            where=home.root,
            remedy="run the command again: what was committed is there, and what was not is done anew",
        ) from error


def _read_all(
    lake: Lake,
    home: Home,
    asks: Sequence[Ask],
    tally: Tally,
    cpus: int | None,
    on_progress: Callable[[Progress], None],
) -> None:
    workers = cpus or len(os.sched_getaffinity(0))
    place = Place(lake.store.signals_data, lake.store.samples_uri)
    cap = MemoryCap.among(workers, home)
    jobs = _begin(lake, asks)
    sink = _Sink(
        lake,
        SchemaGate(lake.catalog, read_contracts(home.root)),
        _groups(asks, jobs),
        frozenset(job.ingest_id for ask, job in zip(asks, jobs, strict=True) if ask.accept_schema),
        frozenset(job.ingest_id for ask, job in zip(asks, jobs, strict=True) if ask.options.read.recover),
    )
    waiting = list(reversed(_planned(asks, jobs, workers)))
    permit = lake.store.writers.begin()
    with ray_beside_output(home, workers):
        running: dict[ray.ObjectRef, _Batch] = {}
        while waiting or running:
            while waiting and len(running) < 2 * workers:  # the next batch is there when a worker is free
                batch = waiting.pop()
                running[_READ_BATCH.remote(batch.jobs, batch.options, place, cap, permit)] = batch
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                batch = running.pop(reference)
                outcomes = _outcomes(reference, batch, waiting, cap, tally)
                _settle(sink, list(zip(batch.jobs, outcomes, strict=False)), tally)
                on_progress(tally.progress)
    if not tally.lost_readers:
        lake.store.writers.end()


def _begin(lake: Lake, asks: Sequence[Ask]) -> list[LogJob]:
    keys = [item.content.key(item.options.sha256) for item in asks]
    return [
        LogJob(ingest_id, item.content.path, key, item.content.stamp)
        for ingest_id, item, key in zip(lake.catalog.begin(keys), asks, keys, strict=True)
    ]


def _groups(asks: Sequence[Ask], jobs: Sequence[LogJob]) -> dict[int, tuple[str, _Group]]:
    by_name: dict[str, _Group] = {}
    found: dict[int, tuple[str, _Group]] = {}
    for ask, job in zip(asks, jobs, strict=True):
        if ask.group is not None:
            group = by_name.setdefault(ask.group, _Group(0))
            group.missing += 1
            found[job.ingest_id] = (ask.group, group)
    return found


def _planned(asks: Sequence[Ask], jobs: Sequence[LogJob], workers: int) -> list[_Batch]:
    """Batch jobs; those that are read differently never share one."""
    by_options: dict[ReadOptions, list[LogJob]] = {}
    for ask, job in zip(asks, jobs, strict=True):
        by_options.setdefault(ask.options.read, []).append(job)
    return [_Batch(batch, options) for options, items in by_options.items() for batch in batches(items, workers)]


def batches(jobs: Sequence[LogJob], workers: int) -> list[list[LogJob]]:
    """Group jobs so that tasks are even, few, and bounded; the largest come first."""
    total = sum(job.stamp.bytes for job in jobs)
    size = min(max(total // (workers * _BATCHES_PER_CPU), _BATCH_BYTES[0]), _BATCH_BYTES[1])
    made: list[list[LogJob]] = []
    room = 0
    for job in sorted(jobs, key=lambda item: (-item.stamp.bytes, item.key.file_sha256)):
        if room < job.stamp.bytes or len(made[-1]) >= _BATCH_FILES:
            made.append([])
            room = size
        made[-1].append(job)
        room -= job.stamp.bytes
    return made


def _read_batch(
    jobs: list[LogJob], options: ReadOptions, place: Place, cap: MemoryCap, permit: Permit
) -> list[Outcome]:
    with permit.used(), cap.kept(jobs[0].ingest_id):
        return [_read_one(job, options, place) for job in jobs]


_READ_BATCH: Any = ray.remote(max_retries=0)(_read_batch)


def _read_one(job: LogJob, options: ReadOptions, place: Place) -> Outcome:
    try:
        with told(place.samples_uri):
            taken = take_in(job, options, place)
            if isinstance(taken, Refusal):
                return taken
            files = stored_files(taken.written, place.samples_uri)
        return replace(taken, record=replace(taken.record, files=files))
    except PlatformError as error:
        return error
    except OSError as error:  # no room, no right to write: not the log's fault
        return refused_by_system(_numbered(error), where=str(place.samples_uri.parent))


def _numbered(error: OSError) -> OSError:
    """Give an error its number back, which Lance keeps in its text alone."""
    found = _LANCE_NUMBER.search(str(error)) if error.errno is None else None
    return error if found is None else OSError(int(found[1]), os.strerror(int(found[1])))


def _outcomes(
    reference: ray.ObjectRef, batch: _Batch, waiting: list[_Batch], cap: MemoryCap, tally: Tally
) -> list[Outcome]:
    """Fetch a task's answer. A log that takes its worker down is found by reading its batch one by one."""
    try:
        return list(ray.get(reference))
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        tally.lost_readers += 1
        if len(batch.jobs) > 1:
            logger.warning("logs=%d their reader died; reading them one by one", len(batch.jobs))
            waiting.extend(replace(batch, jobs=[job]) for job in batch.jobs)
            return []
        key = batch.jobs[0].key
        if cap.was_passed(batch.jobs[0].ingest_id):
            reason = f"its reader took more than {cap.bytes >> 20:,} MiB of memory, its share of this machine"
            return [
                Refusal(
                    key, batch.options.recover, TOO_LARGE, reason, "ingest it with fewer --jobs, or on a larger machine"
                )
            ]
        reason = f"its reader died: {str(error).strip().splitlines()[0]}"
        remedy = "read it alone: `drivetrain log info`"
        return [Refusal(key, batch.options.recover, "WorkerCrashedError", reason, remedy)]


def _settle(sink: _Sink, results: Sequence[tuple[LogJob, Outcome]], tally: Tally) -> None:
    """Commit what stands alone and the groups that are whole now."""
    ready: list[tuple[LogJob, Taken]] = []
    refused: list[tuple[LogJob, Refusal]] = []
    for job, outcome in results:
        if isinstance(outcome, PlatformError):
            raise outcome
        tally.done += 1
        tally.done_bytes += job.stamp.bytes
        if job.ingest_id not in sink.groups:
            _sort(job, outcome, ready, refused)
            continue
        name, group = sink.groups[job.ingest_id]
        group.results.append((job, outcome))
        group.missing -= 1
        if not group.missing:
            _close(name, group, ready, refused, tally)
    _commit(sink, ready, refused, tally)


def _sort(
    job: LogJob,
    outcome: Taken | Refusal,
    ready: list[tuple[LogJob, Taken]],
    refused: list[tuple[LogJob, Refusal]],
) -> None:
    if isinstance(outcome, Taken):
        ready.append((job, outcome))
    else:
        refused.append((job, outcome))


def _close(
    name: str,
    group: _Group,
    ready: list[tuple[LogJob, Taken]],
    refused: list[tuple[LogJob, Refusal]],
    tally: Tally,
) -> None:
    """Take a whole group, or none of it: then its contents stay as they are in the lake."""
    taken: list[tuple[LogJob, Taken]] = []
    bad: list[tuple[LogJob, Refusal]] = []
    for job, outcome in group.results:
        _sort(job, outcome, taken, bad)
    if bad:
        job, refusal = bad[0]
        tally.left[name] = f"{tally.names[job.key.file_sha256]} is refused now: {refusal.reason}"
        refused += bad
    else:
        ready += taken


def _commit(
    sink: _Sink, read: Sequence[tuple[LogJob, Taken]], refused: list[tuple[LogJob, Refusal]], tally: Tally
) -> None:
    ready: list[tuple[LogJob, Taken]] = []
    for (job, item), judged in zip(read, sink.gate.judge([_read(sink, *pair) for pair in read]), strict=True):
        _sort(job, judged if isinstance(judged, Refusal) else replace(item, record=judged), ready, refused)
    if ready:
        head = sink.lake.store.append([item.written for _, item in ready])
        records = [item.record for _, item in ready]
        twice = held_twice(sink.lake, head, records)
        sink.lake.catalog.commit(
            head, records, also=lambda connection: supersede(connection, [item.ingest_id for item in twice])
        )
        for job, _ in ready:
            if count := sum(item.by == job.ingest_id for item in twice):
                tally.completed[tally.names[job.key.file_sha256]] = count
    sink.lake.catalog.refuse([refusal for _, refusal in refused])
    tally.records += [(job, item.record) for job, item in ready]
    for job, refusal in refused:
        name = tally.names[job.key.file_sha256]
        logger.info("file=%s quarantined: %s", name, refusal.reason)
        tally.refused.append((name, refusal))


def _read(sink: _Sink, job: LogJob, item: Taken) -> Read:
    return Read(item.record, job.key, job.ingest_id in sink.recovering, accepted=job.ingest_id in sink.accepted)

"""Reads drive logs into the lake, each content once, however often the command runs or is killed.

1. find     every log under the sources                                       1 source : N files
2. digest   every file by content; what is committed already is skipped      N files  : M contents
3. begin    one ingest id a content, in the catalogue                        1 : 1
4. read     Ray tasks write Parquet files and Lance fragments                1 batch  : many logs
5. commit   Iceberg, then Lance, then one PostgreSQL transaction             1 : 1 with batches
6. check    what was committed against its data contracts                    1 file : 1 row a contract

Tasks only write files. This process alone commits, under the home's lock ``ingest``; rows are seen once the last
transaction is in. What a kill leaves before that is invisible, and swept by the next ingest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

from platform_lib.catalog.coherence import doubt
from platform_lib.catalog.model import ContractRun, FileKey, FoundFile, IngestRecord, Refusal
from platform_lib.contracts.document import read_contracts
from platform_lib.contracts.files import check_files
from platform_lib.errors import ConfigError, CorruptLog, HomeBusyError, PlatformError, UnsupportedLog
from platform_lib.home import Home
from platform_lib.lake.intake import FileStamp, LogJob, Place, ReadOptions, Taken, storable, take_in
from platform_lib.lake.lake import Lake, LakeVersion
from platform_lib.lake.tables import SCHEMA_VERSION
from platform_lib.logs import READER_VERSION, find_logs
from platform_lib.logs.bus.database import database_files, split_tie
from platform_lib.logs.mdf_clock import parse_zone
from platform_lib.storage import sha256_file, sha256_tree
from ray_jobs.session import local_ray

logger = logging.getLogger(__name__)

_WAIT_FOR_OTHER_S = 3600.0
_BATCH_BYTES = (4 << 20, 256 << 20)  # least and most a task reads: starting one costs 1 ms, losing one its whole batch
_BATCH_FILES = 256
_BATCHES_PER_CPU = 4  # enough that the last ones end together
# What the same reader finds in the same bytes again; anything else (a crash, a change) is tried anew.
_FOR_GOOD = frozenset({CorruptLog.__name__, UnsupportedLog.__name__})
_MDF_MAGICS = (b"MDF     ", b"UnFinMF ")


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A log that was not taken in, and why."""

    path: str
    kind: str
    reason: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one ingest did.

    Attributes:
        found: Paths of logs under the sources.
        duplicates: How many of those have the content of another.
        ingested: Contents taken in by this run.
        skipped: Contents that were committed before.
        quarantined: What could not be read.
        recovered: Paths of damaged logs of which the rest was taken, with `recover`.
        drives: Drive ids that this run added to.
        streams: Streams kept.
        signal_rows: Rows added to the signal table.
        sample_rows: Samples added.
        raw_can_frames: Raw CAN frames that no database explains: they stay in their logs, `problems` names them.
        problems: What is missing of logs that were taken in, or was assumed: path -> sentences.
        contract_errors: Files that were checked now and break a data contract, so that their drives stay out of
            datasets: path -> sentences.
        contract_warnings: The same of warnings, which keep nothing out.
        drive_problems: Drives of these sources, named by their folder alone, that look like several: drive id -> why.
        lake: The lake's version afterwards.
        seconds: Wall time.
    """

    found: int
    duplicates: int
    ingested: int
    skipped: int
    quarantined: tuple[QuarantinedFile, ...]
    recovered: tuple[str, ...]
    drives: tuple[str, ...]
    streams: int
    signal_rows: int
    sample_rows: int
    raw_can_frames: int
    problems: dict[str, tuple[str, ...]]
    contract_errors: dict[str, tuple[str, ...]]
    contract_warnings: dict[str, tuple[str, ...]]
    drive_problems: dict[str, str]
    lake: LakeVersion
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an ingest is: `done` of `total` contents, and what has become of them."""

    done: int
    total: int
    rows: int
    quarantined: int


@dataclass(slots=True)
class _Tally:
    """What this run has committed so far."""

    total: int
    records: list[tuple[LogJob, IngestRecord]] = field(default_factory=list)
    refused: list[tuple[str, Refusal]] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        rows = sum(record.signal_rows + record.sample_rows for _, record in self.records)
        return Progress(len(self.records) + len(self.refused), self.total, rows, len(self.refused))


def ingest(
    home: Home,
    sources: Sequence[Path],
    *,
    dbc: Sequence[str] = (),
    recover: bool = False,
    timezone: str | None = None,
    cpus: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> IngestReport:
    """Read every drive log under `sources` into the lake of `home`, each content once.

    Args:
        home: Whose lake.
        sources: Files or folders.
        dbc: CAN databases or folders of them, each perhaps tied to a bus (``CAN2=body.dbc``). Logs that were read with
            others are read again; without any, logs stay as they were read.
        recover: Take what is whole of damaged logs.
        timezone: For headers that carry local time only.
        cpus: CPUs for reading; what this process may run on by default.
        on_progress: Called when it is known what there is to do, and after every commit.

    Raises:
        ConfigError: A source or database does not exist, holds no log, or cannot be parsed.
        HomeBusyError: Another ingest on this home did not end within an hour.
    """
    started = time.monotonic()
    options = ReadOptions(dbc=database_files(dbc), recover=recover, timezone=timezone)
    paths = find_logs(sources)
    if not paths:
        raise ConfigError(
            "no drive log in there", where=", ".join(map(str, sources)), remedy="name logs or their folder"
        )
    options_sha256 = _options_sha256(options)
    contracts = read_contracts(home.root)
    with _alone(home), Lake.open(home) as lake:
        lake.store.mend(lake.catalog.view().head)
        lake.store.create()
        _sweep(lake)
        contents, unreadable = _digest(paths, options_sha256, cpus)
        lake.catalog.note_files([item.found for item in contents])
        before = lake.version()
        todo, refused_before = _plan(lake, contents, options)
        tally = _Tally(total=len(todo) + len(refused_before), refused=refused_before)
        on_progress(tally.progress)
        if todo:
            _read_all(lake, home, _begin(lake, todo), options, cpus, tally, on_progress)
            _sweep(lake)
            _record_lineage(lake, home, before, tally)
        runs = check_files(lake, contracts)  # those too that a killed ingest left unchecked
        return _report(lake, paths, contents, unreadable, tally, runs, started)


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Hold the home's lock ``ingest``, waiting for another holder with a word about it."""
    with ExitStack() as held:
        try:
            held.enter_context(home.lock("ingest"))
        except HomeBusyError as busy:
            logger.warning("%s; waiting for it", busy.what)
            held.enter_context(home.lock("ingest", wait_s=_WAIT_FOR_OTHER_S))
        yield


def _sweep(lake: Lake) -> None:
    """Delete rows that nobody may see: of killed, refused and superseded ingests."""
    leftovers = lake.catalog.leftovers()
    if leftovers:
        logger.info("ingests=%d left rows or files behind; sweeping", len(leftovers))
        lake.catalog.forget(leftovers, lake.store.drop(leftovers))


# 2. digest ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Content:
    found: FoundFile
    path: Path
    stamp: FileStamp


def _digest(
    paths: Sequence[Path], options_sha256: str, cpus: int | None
) -> tuple[list[_Content], list[QuarantinedFile]]:
    """Digest every log; one entry a content, and the logs that cannot even be read."""
    by_digest: dict[str, list[tuple[Path, FileStamp]]] = {}
    unreadable: list[QuarantinedFile] = []
    with ThreadPoolExecutor(cpus or os.cpu_count()) as pool:  # hashing releases the interpreter lock
        for path, answer in zip(paths, pool.map(_digest_one, paths), strict=True):
            if isinstance(answer, OSError):
                reason = f"it cannot be read: {answer.strerror or answer}"
                unreadable.append(QuarantinedFile(str(path), "OSError", reason, "check its permissions and its disk"))
            else:
                by_digest.setdefault(answer[0], []).append((path, answer[1]))
    contents = []
    for digest, places in sorted(by_digest.items()):
        path, stamp = places[0]
        options = options_sha256 if _is_mdf(path) else _sha256("")
        key = FileKey(digest, READER_VERSION, SCHEMA_VERSION, options)
        names = tuple(storable(str(item.resolve())) for item, _ in places)
        contents.append(_Content(FoundFile(key, stamp.bytes, names), path, stamp))
    return contents, unreadable


def _digest_one(path: Path) -> tuple[str, FileStamp] | OSError:
    try:
        stamp = FileStamp.of(path)  # before the digest, so that a change after it shows
        return (sha256_tree(path) if path.is_dir() else sha256_file(path)), stamp
    except OSError as error:
        return error


def _is_mdf(path: Path) -> bool:
    """Whether databases and time zones have a say in what the log gives."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(8) in _MDF_MAGICS


def _options_sha256(options: ReadOptions) -> str:
    """Digest what else decides a log's rows: the databases' content, their buses, the zone."""
    parts: list[list[str]] = []
    for text in options.dbc:
        kind, bus, path, cluster = split_tie(text)
        if not path.is_file():
            raise ConfigError("no such CAN database", where=path, remedy="name a .dbc file, or CAN2=body.dbc")
        tie = "" if (kind, bus) == ("CAN", 0) else f"{kind}{bus or ''}"
        parts.append([f"{tie}#{cluster}" if cluster else tie, sha256_file(path)])
    if options.timezone is not None:
        parse_zone(options.timezone)  # a name that no log asks for is wrong all the same
    if not parts and options.timezone is None:
        return _sha256("")
    return _sha256(json.dumps([sorted(parts), options.timezone]))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _plan(
    lake: Lake, contents: Sequence[_Content], options: ReadOptions
) -> tuple[list[_Content], list[tuple[str, Refusal]]]:
    """Return what has to be read, and what was refused before and would be again."""
    committed = lake.catalog.committed()
    refused = {item.refusal.key.file_sha256: item.refusal for item in lake.catalog.quarantined()}
    todo: list[_Content] = []
    known: list[tuple[str, Refusal]] = []
    for item in contents:
        key = item.found.key
        taken, refusal = committed.get(key.file_sha256), refused.get(key.file_sha256)
        if taken is not None and _answers(taken.key, key, options):
            continue
        if refusal is not None and _answers(refusal.key, key, options) and _is_final(refusal, options):
            known.append((str(item.path), refusal))
        else:
            todo.append(item)
    return todo, known


def _answers(known: FileKey, asked: FileKey, options: ReadOptions) -> bool:
    """Whether what is known under one key is what reading under the other would give, or better."""
    if known.options_sha256 != asked.options_sha256 and not options.dbc and options.timezone is None:
        return True  # read with databases or a zone that are not given now: reading again would lose what they gave
    return known == asked


def _is_final(refusal: Refusal, options: ReadOptions) -> bool:
    return refusal.kind in _FOR_GOOD and (refusal.recover or not options.recover)


# 3. to 5. begin, read, commit ---------------------------------------------------------------------------------------


def _begin(lake: Lake, todo: Sequence[_Content]) -> list[LogJob]:
    ids = lake.catalog.begin([item.found.key for item in todo])
    return [LogJob(ingest_id, item.path, item.found.key, item.stamp) for ingest_id, item in zip(ids, todo, strict=True)]


def _read_all(
    lake: Lake,
    home: Home,
    jobs: Sequence[LogJob],
    options: ReadOptions,
    cpus: int | None,
    tally: _Tally,
    on_progress: Callable[[Progress], None],
) -> None:
    workers = cpus or len(os.sched_getaffinity(0))
    place = Place(lake.store.signals_data, lake.store.samples_uri)
    waiting = list(reversed(_batches(jobs, workers)))
    with local_ray(home, workers):
        running: dict[ray.ObjectRef, list[LogJob]] = {}
        while waiting or running:
            while waiting and len(running) < 2 * workers:  # the next batch is there when a worker is free
                batch = waiting.pop()
                running[_READ_BATCH.remote(batch, options, place)] = batch
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                batch = running.pop(reference)
                outcomes = _outcomes(reference, batch, waiting, recover=options.recover)
                _commit(lake, list(zip(batch, outcomes, strict=False)), tally)
                on_progress(tally.progress)


def _batches(jobs: Sequence[LogJob], workers: int) -> list[list[LogJob]]:
    """Group jobs so that tasks are even, few, and bounded; the largest come first."""
    total = sum(job.stamp.bytes for job in jobs)
    size = min(max(total // (workers * _BATCHES_PER_CPU), _BATCH_BYTES[0]), _BATCH_BYTES[1])
    batches: list[list[LogJob]] = []
    room = 0
    for job in sorted(jobs, key=lambda item: (-item.stamp.bytes, item.key.file_sha256)):
        if room < job.stamp.bytes or len(batches[-1]) >= _BATCH_FILES:
            batches.append([])
            room = size
        batches[-1].append(job)
        room -= job.stamp.bytes
    return batches


def _read_batch(batch: list[LogJob], options: ReadOptions, place: Place) -> list[Taken | Refusal | PlatformError]:
    outcomes: list[Taken | Refusal | PlatformError] = []
    for job in batch:
        try:
            outcomes.append(take_in(job, options, place))
        except PlatformError as error:
            outcomes.append(error)
    return outcomes


_READ_BATCH: Any = ray.remote(max_retries=0)(_read_batch)


def _outcomes(
    reference: ray.ObjectRef, batch: list[LogJob], waiting: list[list[LogJob]], *, recover: bool
) -> list[Taken | Refusal | PlatformError]:
    """Fetch a task's answer. A log that takes its worker down is found by reading its batch one by one."""
    try:
        return list(ray.get(reference))
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        if len(batch) > 1:
            logger.warning("logs=%d their reader died; reading them one by one", len(batch))
            waiting.extend([job] for job in batch)
            return []
        reason = f"its reader died: {str(error).strip().splitlines()[0]}"
        return [Refusal(batch[0].key, recover, "WorkerCrashedError", reason, "read it alone: `drivetrain log info`")]


def _commit(lake: Lake, results: Sequence[tuple[LogJob, Taken | Refusal | PlatformError]], tally: _Tally) -> None:
    taken: list[tuple[LogJob, Taken]] = []
    refused: list[tuple[str, Refusal]] = []
    for job, outcome in results:
        if isinstance(outcome, PlatformError):
            raise outcome
        if isinstance(outcome, Taken):
            taken.append((job, outcome))
        else:
            logger.info("file=%s quarantined: %s", job.path, outcome.reason)
            refused.append((str(job.path), outcome))
    if taken:
        head = lake.store.append([item.written for _, item in taken])
        lake.catalog.commit(head, [item.record for _, item in taken])
    lake.catalog.refuse([refusal for _, refusal in refused])
    tally.records += [(job, item.record) for job, item in taken]
    tally.refused += refused


# Afterwards ---------------------------------------------------------------------------------------------------------


def _record_lineage(lake: Lake, home: Home, before: LakeVersion, tally: _Tally) -> None:
    """Record the lake's new version as made from the one before and the files that this run added."""
    if not tally.records:
        return
    inputs = {f"file {job.key.file_sha256[:12]}": job.key.file_sha256 for job, _ in tally.records}
    if before.lance_version is not None:
        inputs["lake before"] = before.sha256
    lake.catalog.record_artefact("lake", lake.version().sha256, str(home.lake), inputs)


def _report(
    lake: Lake,
    paths: Sequence[Path],
    contents: Sequence[_Content],
    unreadable: Sequence[QuarantinedFile],
    tally: _Tally,
    runs: Sequence[ContractRun],
    started: float,
) -> IngestReport:
    records = [record for _, record in tally.records]
    streams = [item for record in records for item in record.streams]
    refused = [QuarantinedFile(path, item.kind, item.reason, item.remedy) for path, item in tally.refused]
    return IngestReport(
        found=len(paths),
        duplicates=len(paths) - len(unreadable) - len(contents),
        ingested=len(records),
        skipped=len(contents) - len(records) - len(refused),
        quarantined=tuple(sorted([*refused, *unreadable], key=lambda item: item.path)),
        recovered=tuple(sorted(str(job.path) for job, record in tally.records if record.recovered)),
        drives=tuple(sorted({record.drive.drive_id for record in records})),
        streams=sum(item.kept_as != "nothing" for item in streams),
        signal_rows=sum(record.signal_rows for record in records),
        sample_rows=sum(record.sample_rows for record in records),
        raw_can_frames=sum(record.unexplained_frames for record in records),
        problems=_problems(tally),
        contract_errors=_contract_findings(lake, runs, "error"),
        contract_warnings=_contract_findings(lake, runs, "warning"),
        drive_problems=_drive_problems(lake, contents),
        lake=lake.version(),
        seconds=time.monotonic() - started,
    )


def _contract_findings(lake: Lake, runs: Sequence[ContractRun], severity: str) -> dict[str, tuple[str, ...]]:
    told = [(run, item) for run in runs for item in run.findings if (item.severity, item.verdict) == (severity, "fail")]
    if not told:
        return {}
    digests = {item.ingest_id: item.key.file_sha256 for item in lake.catalog.view().ingests}
    paths = {file.file_sha256: file.paths[0] for drive in lake.drives() for file in drive.files}
    found: dict[str, tuple[str, ...]] = {}
    for run, item in told:
        path = paths[digests[run.ingest_id or 0]]
        found[path] = (*found.get(path, ()), f"{run.contract_id} {item.sentence}")
    return dict(sorted(found.items()))


def _drive_problems(lake: Lake, contents: Sequence[_Content]) -> dict[str, str]:
    ours = {item.found.key.file_sha256 for item in contents}
    doubts = {
        drive.drive_id: doubt(drive) for drive in lake.drives() if any(file.file_sha256 in ours for file in drive.files)
    }
    return {drive_id: why for drive_id, why in doubts.items() if why is not None}


def _problems(tally: _Tally) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for job, record in tally.records:
        of_streams = (
            f"{item.stream}: {item.problem}" for item in record.streams if item.problem and item.kind != "can"
        )
        told = (*record.problems, *of_streams)
        if told:
            found[str(job.path)] = told
    return dict(sorted(found.items()))

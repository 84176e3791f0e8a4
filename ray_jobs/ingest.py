"""Reads drive logs into the lake, each content once, however often the command runs or is killed.

1. find     every log under the sources                                       1 source : N files
2. digest   every file by content; what is committed already is skipped      N files  : M contents
3. begin    one ingest id a content, in the catalogue                        1 : 1
4. read     Ray tasks write Parquet files and Lance fragments                1 batch  : many logs
5. commit   Iceberg, then Lance, then one PostgreSQL transaction             1 : 1 with batches, or with drives
6. check    what was committed against its data contracts                    1 file : 1 row a contract
7. clips    windows of 20 s of each drive that changed                       1 drive : N rows

Tasks only write files. This process alone commits, under the home's lock ``ingest``; rows are seen once the last
transaction is in. What a kill leaves before that is invisible, and swept by the next ingest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path

from platform_lib.catalog.coherence import doubt
from platform_lib.catalog.erasures import Erasures, Tombstone, refusal_of
from platform_lib.catalog.grown import lies_within
from platform_lib.catalog.model import ContractRun, FileKey, Quarantined, Refusal, UsedOptions, VisibleIngest
from platform_lib.contracts.document import read_contracts
from platform_lib.contracts.files import check_files
from platform_lib.contracts.model import Contract
from platform_lib.errors import ConfigError, CorruptLog, HomeBusyError, UnsupportedLog
from platform_lib.home import Home
from platform_lib.lake.bucket import Patience
from platform_lib.lake.clips import refresh_clips
from platform_lib.lake.lake import Lake, LakeVersion
from platform_lib.lake.sweeping import prepare, sweep
from platform_lib.logs import find_logs
from platform_lib.logs.bytes_source import located
from platform_lib.privacy.leftovers import sweep_blurs
from ray_jobs.arrivals import (
    Arrived,
    Content,
    Found,
    Round,
    content_at,
    digest,
    fetch_rounds,
    fetched_before,
    find,
    forget_gone,
)
from ray_jobs.ingest_report import IngestReport, Progress, Tally, kept_streams
from ray_jobs.read_options import Chosen, choose, completed
from ray_jobs.reading import Ask, ray_beside_output, read_all
from ray_jobs.reprocessing import is_outdated, plan_drives

logger = logging.getLogger(__name__)

_PATIENCE = Patience()
# What the same reader finds in the same bytes again; anything else (a crash, a change) is tried anew.
_FOR_GOOD = frozenset({CorruptLog.__name__, UnsupportedLog.__name__})


def ingest(
    home: Home,
    sources: Sequence[Path | str],
    *,
    dbc: Sequence[str] = (),
    recover: bool = False,
    timezone: str | None = None,
    cpus: int | None = None,
    patience: Patience = _PATIENCE,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> IngestReport:
    """Read every drive log under `sources` into the lake of `home`, each content once.

    Args:
        home: Whose lake.
        sources: Files, folders, or ``s3://bucket/prefix``.
        dbc: CAN databases or folders of them, each perhaps tied to a bus (``CAN2=body.dbc``). Logs that were read with
            others are read again; without any, logs stay as they were read.
        recover: Take what is whole of damaged logs.
        timezone: For headers that carry local time only.
        cpus: CPUs for reading; what this process may run on by default.
        patience: How often a bucket is asked again.
        on_progress: Called when it is known what there is to do, and after every task.

    Raises:
        ConfigError: A source or database does not exist, holds no log, or cannot be parsed.
        HomeBusyError: Another ingest on this home did not end within an hour.
    """
    chosen = choose(dbc, recover=recover, timezone=timezone)
    arrived = find(sources, patience)
    if not arrived:
        raise ConfigError(
            "no drive log in there",
            where=", ".join(map(str, map(located, sources))),
            remedy="name logs or their folder",
        )
    with Lake.turn(home, "ingest") as lake:
        prepare(lake)
        forget_gone(lake.catalog, sources, arrived)
        return take_arrived(lake, home, arrived, chosen, cpus=cpus, patience=patience, on_progress=on_progress)


def take_arrived(
    lake: Lake,
    home: Home,
    arrived: Arrived,
    chosen: Chosen,
    *,
    cpus: int | None,
    patience: Patience,
    on_progress: Callable[[Progress], None],
) -> IngestReport:
    """Take in what was found, under the lock and after `prepare`; see `ingest`."""
    started = time.monotonic()
    contracts = read_contracts(home.root)
    contents, unreadable = digest(arrived.paths, cpus)
    known = fetched_before(lake.catalog, arrived.bucket_logs)
    erased = Erasures(lake.catalog.engine).erased_files()  # nobody erases while this one holds the lock
    to_read, _ = _plan(lake, list(known.values()), chosen, erased)
    again = {item.content.shown for item in to_read}
    to_fetch = [log for log in arrived.bucket_logs if log.uri not in known or log.uri in again]
    fetched = {log.uri for log in to_fetch}
    settled = {item.sha256: item for uri, item in known.items() if uri not in fetched}
    contents += [item for sha256, item in settled.items() if sha256 not in {one.sha256 for one in contents}]
    found = Found(len(arrived), contents, unreadable)
    tally = new_tally(())
    tally.coming, tally.coming_bytes = len(to_fetch), sum(log.bytes for log in to_fetch)
    with ExitStack() as held:
        if to_fetch:
            held.enter_context(ray_beside_output(home, cpus))  # for all rounds
        rounds = fetch_rounds(lake.catalog, home, to_fetch, found, patience)
        held.enter_context(closing(rounds))
        for item in chain([Round(0, 0, list(contents))], rounds):
            tally.coming -= item.logs
            tally.coming_bytes -= item.bytes
            _take_round(lake, home, item.contents, chosen, erased, tally, cpus, on_progress)
    return _report(lake, found, tally, contracts, started)


def _take_round(
    lake: Lake,
    home: Home,
    contents: Sequence[Content],
    chosen: Chosen,
    erased: Mapping[str, Tombstone],
    tally: Tally,
    cpus: int | None,
    on_progress: Callable[[Progress], None],
) -> None:
    tally.names |= {item.sha256: item.shown for item in contents}
    lake.catalog.note_files([item.found for item in contents if item.sha256 not in erased])
    asks, refused_before = _plan(lake, contents, chosen, erased)
    tally.refused += refused_before
    tally.done += len(refused_before)
    tally.total += len(refused_before)
    take(lake, home, asks, tally, cpus, on_progress)


def reprocess(
    home: Home,
    sources: Sequence[Path] = (),
    *,
    drives: Collection[str] = (),
    dbc: Sequence[str] = (),
    timezone: str | None = None,
    cpus: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> IngestReport:
    """Read drives again whose rows an older reader or schema gave; each drive's rows are replaced in one step.

    A drive of which a log is gone, or is refused now, stays as it was, whole, and the report says why.

    Args:
        home: Whose lake.
        sources: Where logs lie that are no longer where they were read; only drives that have one there are read
            again. By default every drive, from where its logs were.
        drives: Only these.
        dbc: CAN databases to read with; by default those that each log was read with.
        timezone: The same for headers that carry local time only.
        cpus: CPUs for reading; what this process may run on by default.
        on_progress: As for `ingest`.

    Raises:
        ConfigError: A source or database does not exist, there is no such drive.
        HomeBusyError: Another ingest on this home did not end within an hour.
    """
    started = time.monotonic()
    chosen = choose(dbc, recover=False, timezone=timezone)
    contracts = read_contracts(home.root)
    paths = find_logs(sources)
    with Lake.turn(home, "ingest") as lake:
        prepare(lake)
        contents, unreadable = digest(paths, cpus)
        erased = Erasures(lake.catalog.engine).erased_files()
        plan = plan_drives(lake.catalog, contents, drives=drives, chosen=chosen if chosen.any else None, erased=erased)
        tally = new_tally([item.content for item in plan.asks])
        tally.left |= plan.left
        take(lake, home, plan.asks, tally, cpus, on_progress)
        found = [item.content for item in plan.asks]
        return _report(lake, Found(len(found), found, unreadable), tally, contracts, started)


def retry(
    home: Home,
    held: Sequence[Quarantined],
    *,
    dbc: Sequence[str] = (),
    recover: bool = False,
    accept_schema: bool = False,
    timezone: str | None = None,
    cpus: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> IngestReport:
    """Read contents again that are in quarantine, whatever they were refused for.

    Args:
        home: Whose lake.
        held: Which ones; one whose log is gone stays there, and the report says so.
        dbc: CAN databases to read with; by default those that each was tried with.
        recover: Take what is whole of damaged logs.
        accept_schema: Take them in though their streams are not what they were: from then on that is a known version.
        timezone: For headers that carry local time only.
        cpus: CPUs for reading; what this process may run on by default.
        on_progress: As for `ingest`.
    """
    started = time.monotonic()
    chosen = choose(dbc, recover=recover, timezone=timezone)
    contracts = read_contracts(home.root)
    with Lake.turn(home, "ingest") as lake:
        prepare(lake)
        asks, left = _retried(lake, held, chosen, recover=recover)
        asks = [replace(item, accept_schema=accept_schema) for item in asks]
        tally = new_tally([item.content for item in asks])
        tally.left |= left
        take(lake, home, asks, tally, cpus, on_progress)
        found = [item.content for item in asks]
        return _report(lake, Found(len(found), found, []), tally, contracts, started)


def _retried(
    lake: Lake, held: Sequence[Quarantined], chosen: Chosen, *, recover: bool
) -> tuple[list[Ask], dict[str, str]]:
    """Return what is to be read again of what is in quarantine, and why the rest is not."""
    known, erased = lake.catalog.options(), Erasures(lake.catalog.engine).erased_files()
    asks: list[Ask] = []
    left: dict[str, str] = {}
    for item in held:
        key = item.refusal.key
        name = item.paths[0] if item.paths else key.file_sha256
        if key.file_sha256 in erased:
            left[name] = refusal_of(erased[key.file_sha256], key).reason
            continue
        content = content_at(item.paths, key.file_sha256)
        options = completed(chosen, known, key.options_sha256)
        if content is None or isinstance(options, str):
            left[name] = options if isinstance(options, str) else "it is no longer there"
        else:
            asks.append(Ask(content, options.recovering(recover=recover)))
    return asks, left


def _sweep_blurs(lake: Lake, home: Home) -> None:
    """Delete blurred frames of ingests that were replaced; a blur that is at work does so itself when it ends."""
    if lake.blurs.leftovers():
        with suppress(HomeBusyError), home.lock("blur"), lake.held("blur", wait_s=0.0):
            sweep_blurs(lake)


def _plan(
    lake: Lake, contents: Sequence[Content], chosen: Chosen, erased: Mapping[str, Tombstone]
) -> tuple[list[Ask], list[tuple[str, Refusal]]]:
    """Return what has to be read, and what was refused before and would be again."""
    committed = lake.catalog.committed([item.sha256 for item in contents])
    refused = {item.refusal.key.file_sha256: item.refusal for item in lake.catalog.quarantined()}
    used = lake.catalog.options()
    asks: list[Ask] = []
    known: list[tuple[str, Refusal]] = []
    for item in contents:
        if item.sha256 in erased:
            known.append((item.shown, refusal_of(erased[item.sha256], item.key(chosen.sha256))))
            continue
        taken, refusal = committed.get(item.sha256), refused.get(item.sha256)
        before = taken or refusal
        anew = None if before is None else _read_anew(item, before.key, chosen, used)
        if taken is not None and anew is None:
            continue
        if refusal is not None and _is_final(refusal, item, anew or chosen, used):
            known.append((item.shown, refusal))
        else:
            asks.append(Ask(item, anew or chosen))
    return asks, known


def _read_anew(item: Content, before: FileKey, chosen: Chosen, used: Mapping[str, UsedOptions]) -> Chosen | None:
    """Return what a log that was read before is to be read with now; None for as it was.

    Rows of an older reader do (`reprocess` replaces them). Databases or a zone that are not given now stay what they
    were: reading without them would lose what they gave.
    """
    if item.key(chosen.sha256).options_sha256 == before.options_sha256 or not chosen.any:
        return None
    options = completed(chosen, used, before.options_sha256)
    if isinstance(options, str):
        logger.warning("file=%s stays as it was read: %s", item.shown, options)
        return None
    return None if options.sha256 == before.options_sha256 else options


def _is_final(refusal: Refusal, item: Content, chosen: Chosen, used: Mapping[str, UsedOptions]) -> bool:
    if refusal.kind not in _FOR_GOOD or (chosen.read.recover and not refusal.recover):
        return False
    asked = item.key(chosen.sha256)
    same_reader = (refusal.key.reader_version, refusal.key.schema_version) == (
        asked.reader_version,
        asked.schema_version,
    )
    return same_reader and _read_anew(item, refusal.key, chosen, used) is None


def new_tally(contents: Sequence[Content]) -> Tally:
    """Return the tally of a run that has done nothing yet."""
    return Tally({item.sha256: item.shown for item in contents})


def take(
    lake: Lake,
    home: Home,
    asks: Sequence[Ask],
    tally: Tally,
    cpus: int | None,
    on_progress: Callable[[Progress], None],
) -> None:
    """Read and commit what is asked for, and record the lake's new version."""
    tally.total += len(asks)
    tally.total_bytes += sum(item.content.stamp.bytes for item in asks)
    on_progress(tally.progress)
    if not asks:
        return
    before = lake.version()
    for chosen in {item.options.sha256: item.options for item in asks}.values():
        if chosen.any:
            lake.catalog.note_options(chosen.sha256, chosen.used)
    read_all(lake, home, asks, tally, cpus=cpus, on_progress=on_progress)
    _let_go(lake, [job.key.file_sha256 for job, _ in tally.records])
    sweep(lake)
    _sweep_blurs(lake, home)
    _record_lineage(lake, home, before, tally)


def _let_go(lake: Lake, taken: Sequence[str]) -> None:
    """Let contents out of quarantine in whose place another one lies that was taken in: the copy that was complete."""
    held = lake.catalog.quarantined() if taken else []
    if not held:
        return
    names = [name for found in lake.catalog.paths(taken).values() for name in found]
    for item in held:
        if item.refusal.key.file_sha256 not in taken and lies_within(item.paths, names):
            lake.catalog.release(item.refusal.key.file_sha256, f"another content was taken in from {item.paths[0]}")


def _record_lineage(lake: Lake, home: Home, before: LakeVersion, tally: Tally) -> None:
    """Record the lake's new version as made from the one before and the files that this run added."""
    if not tally.records:
        return
    inputs = {f"file {job.key.file_sha256[:12]}": job.key.file_sha256 for job, _ in tally.records}
    if before.lance_version is not None:
        inputs["lake before"] = before.sha256
    lake.catalog.record_artefact("lake", lake.version().sha256, str(lake.store.root), inputs)


def _report(lake: Lake, found: Found, tally: Tally, contracts: Sequence[Contract], started: float) -> IngestReport:
    records = [record for _, record in tally.records]
    refused = tally.quarantined()
    runs = check_files(lake, contracts)  # those too that a killed ingest left unchecked
    refresh_clips(lake)  # and likewise
    ours = {item.sha256 for item in found.contents}
    visible = lake.catalog.committed(ours)
    return IngestReport(
        found=found.paths,
        duplicates=found.paths - len(found.unreadable) - len(found.contents),
        ingested=len(records),
        skipped=len(found.contents) - len(records) - len(refused),
        outdated=sum(is_outdated(visible[sha256].key) for sha256 in ours & visible.keys()),
        quarantined=tuple(sorted([*refused, *found.unreadable], key=lambda item: item.path)),
        unreadable=tuple(sorted({item.path for item in found.unreadable})),
        left=dict(sorted(tally.left.items())),
        completed=dict(sorted(tally.completed.items())),
        recovered=tuple(sorted(tally.names[job.key.file_sha256] for job, item in tally.records if item.recovered)),
        drives=tuple(sorted({record.drive.drive_id for record in records})),
        streams=kept_streams(records),
        signal_rows=sum(record.signal_rows for record in records),
        sample_rows=sum(record.sample_rows for record in records),
        raw_can_frames=sum(record.unexplained_frames for record in records),
        problems=tally.problems(),
        schema_changes=tally.schema_changes(),
        contract_errors=_contract_findings(lake, runs, "error"),
        contract_warnings=_contract_findings(lake, runs, "warning"),
        drive_problems=_drive_problems(lake, visible),
        lake=lake.version(),
        seconds=time.monotonic() - started,
    )


def _contract_findings(lake: Lake, runs: Sequence[ContractRun], severity: str) -> dict[str, tuple[str, ...]]:
    told = [(run, item) for run in runs for item in run.findings if (item.severity, item.verdict) == (severity, "fail")]
    if not told:
        return {}
    ingests = lake.catalog.ingests({run.ingest_id for run, _ in told if run.ingest_id is not None})
    drives = lake.catalog.drives(sorted({item.drive_id for item in ingests.values()}))
    paths = {file.file_sha256: file.paths[0] for drive in drives for file in drive.files}
    found: dict[str, tuple[str, ...]] = {}
    for run, item in told:
        path = paths[ingests[run.ingest_id or 0].key.file_sha256]
        found[path] = (*found.get(path, ()), f"{run.contract_id} {item.sentence}")
    return dict(sorted(found.items()))


def _drive_problems(lake: Lake, ours: Mapping[str, VisibleIngest]) -> dict[str, str]:
    named = sorted({item.drive_id for item in ours.values()})
    doubts = {drive.drive_id: doubt(drive) for drive in lake.catalog.drives(named)}
    return {drive_id: why for drive_id, why in doubts.items() if why is not None}

"""Follows folders and buckets: what arrives and has come to rest is ingested, until somebody ends it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Hashable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from platform_lib.errors import PlatformError
from platform_lib.home import Home
from platform_lib.lake.bucket import BucketLog, Patience
from platform_lib.lake.lake import Lake
from platform_lib.lake.sweeping import prepare
from platform_lib.logs.bytes_source import located
from ray_jobs.arrivals import Arrived, find
from ray_jobs.ingest import take_arrived
from ray_jobs.ingest_report import IngestReport, Progress
from ray_jobs.read_options import Chosen
from ray_jobs.reading import ray_beside_output
from ray_jobs.settling import Settling

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When a watch looks, and when it takes.

    Attributes:
        poll_s: Pause between two looks.
        settle_s: How long a log's length and time of change have to stay as they are before it is read: a copy that is
            under way grows. An object in a bucket appears whole, and is taken at once; a bag folder there settles too.
        until_idle_s: End when nothing has arrived for so long; None to go on until Ctrl-C.
    """

    poll_s: float = 5.0
    settle_s: float = 10.0
    until_idle_s: float | None = None


@dataclass(frozen=True, slots=True)
class WatchReport:
    """What a watch did.

    Attributes:
        rounds: How many times it ingested something.
        quarantined: Logs that were not taken in; one that was tried again for the same reason is counted once.
        contract_errors: Logs that break a data contract.
        interrupted: Whether it was ended in the middle of a round: what was committed stays, the rest is taken by the
            next watch.
        status: What the process that was told to end by a signal exits with: 0 after Ctrl-C, 128 and the signal's
            number after others.
    """

    rounds: int
    ingested: int
    skipped: int
    quarantined: int
    contract_errors: int
    signal_rows: int
    sample_rows: int
    interrupted: bool
    status: int
    seconds: float


def watch(
    home: Home,
    sources: Sequence[Path | str],
    chosen: Chosen,
    rhythm: Rhythm,
    *,
    cpus: int | None = None,
    patience: Patience | None = None,
    on_round: Callable[[IngestReport], None] = lambda _: None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> WatchReport:
    """Ingest what lies under the sources and what arrives there, until Ctrl-C or a signal to end.

    The lake is locked while a round is taken in, and free between rounds.

    Raises:
        ConfigError: A source does not exist when the watch begins.
    """
    started = time.monotonic()
    watched = Watched(sources, patience or Patience(), Settling(rhythm.settle_s, rhythm.poll_s))
    tale = Tale(on_round)
    status = 0
    busy_s = time.monotonic()
    with ExitStack() as servers:
        lake = servers.enter_context(Lake.open(home))
        try:
            while True:
                if ready := watched.ready():
                    tale.in_round = True
                    servers.enter_context(ray_beside_output(home, cpus))  # the first round starts it, the others join
                    with home.turn("ingest"), lake.held("ingest"):
                        prepare(lake)
                        report = take_arrived(
                            lake, home, ready, chosen, cpus=cpus, patience=watched.patience, on_progress=on_progress
                        )
                    watched.again(report.unreadable)
                    tale.add(report)
                if tale.told or watched.settling.waiting:
                    busy_s = time.monotonic()
                    tale.told = False
                if rhythm.until_idle_s is not None and time.monotonic() - busy_s >= rhythm.until_idle_s:
                    break
                time.sleep(rhythm.poll_s)
        except KeyboardInterrupt:
            pass
        except SystemExit as error:  # SIGTERM and SIGHUP, by which a supervisor ends what it started
            status = error.code if isinstance(error.code, int) else 1
    return tale.report(status, time.monotonic() - started)


@dataclass(slots=True)
class Tale:
    """What the rounds of a watch did, each thing told once."""

    on_round: Callable[[IngestReport], None]
    in_round: bool = False
    told: bool = False
    _reports: list[IngestReport] = field(default_factory=list)
    _reasons: dict[str, str] = field(default_factory=dict)

    def add(self, report: IngestReport) -> None:
        """Take a round; what cannot be read for the same reason as before is not told again."""
        self.in_round = False
        unreadable = frozenset(report.unreadable)
        fresh = tuple(
            item
            for item in report.quarantined
            if item.path not in unreadable or self._reasons.get(item.path) != item.reason
        )
        self._reasons |= {item.path: item.reason for item in fresh if item.path in unreadable}
        if report.ingested or report.skipped or fresh:
            self.told = True
            self._reports.append(replace(report, quarantined=fresh))
            self.on_round(self._reports[-1])

    def report(self, status: int, seconds: float) -> WatchReport:
        """Return what all of them did."""
        return WatchReport(
            rounds=len(self._reports),
            ingested=sum(item.ingested for item in self._reports),
            skipped=sum(item.skipped for item in self._reports),
            quarantined=sum(len(item.quarantined) for item in self._reports),
            contract_errors=sum(len(item.contract_errors) for item in self._reports),
            signal_rows=sum(item.signal_rows for item in self._reports),
            sample_rows=sum(item.sample_rows for item in self._reports),
            interrupted=self.in_round,
            status=status,
            seconds=seconds,
        )


@dataclass(slots=True)
class Watched:
    """The sources, looked at again and again. One that cannot be reached for a while holds up no other."""

    sources: Sequence[Path | str]
    patience: Patience
    settling: Settling
    _seen: dict[str, frozenset[str]] = field(default_factory=dict)
    _lost: dict[str, str] = field(default_factory=dict)

    def ready(self) -> Arrived | None:
        """Look; return what has come to rest since.

        Raises:
            ConfigError: At the first look a source is not there.
        """
        arrived, unseen = self._look()
        marks: dict[str, Hashable] = {}
        for path in arrived.paths:
            try:
                marks[str(path)] = mark_of(path)
            except OSError as error:
                if os.path.lexists(path):  # else it went away between the look and now
                    marks[str(path)] = error.errno
        marks |= {log.uri: log.mark for log in arrived.bucket_logs}
        whole = frozenset(log.uri for log in arrived.bucket_logs if log.folder is None)
        names = set(self.settling.look(marks, time.monotonic(), at_once=whole, unseen=unseen))
        if not names:
            return None
        return Arrived(
            [path for path in arrived.paths if str(path) in names],
            [log for log in arrived.bucket_logs if log.uri in names],
        )

    def again(self, names: Collection[str]) -> None:
        """Try these once more after a while: they could not be read."""
        for name in names:
            self.settling.failed(name, time.monotonic())

    def _look(self) -> tuple[Arrived, set[str]]:
        """Return what is there, and the names below sources that cannot be reached now."""
        paths: dict[Path, None] = {}
        logs: dict[str, BucketLog] = {}
        unseen: set[str] = set()
        for source in map(str, map(located, self.sources)):
            try:
                found = find([source], self.patience)
            except (PlatformError, OSError) as error:
                if source not in self._seen:
                    raise
                unseen |= self._seen[source]
                self._note_lost(source, str(error))
                continue
            self._note_back(source)
            paths |= dict.fromkeys(found.paths)
            logs |= {log.uri: log for log in found.bucket_logs}
            self._seen[source] = frozenset([*map(str, found.paths), *(log.uri for log in found.bucket_logs)])
        return Arrived(sorted(paths), [logs[uri] for uri in sorted(logs)]), unseen - set(map(str, paths)) - set(logs)

    def _note_lost(self, source: str, why: str) -> None:
        if self._lost.get(source) != why:
            logger.warning("source=%s cannot be looked at: %s; looking again every few seconds", source, why)
        self._lost[source] = why

    def _note_back(self, source: str) -> None:
        if self._lost.pop(source, None) is not None:
            logger.warning("source=%s can be looked at again", source)


def mark_of(path: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Return by what a change of a log shows: of each file its name, length, and times of change.

    The time at which a file's entry changed tells what length and modification time do not: another file put into its
    place with both kept, and rights given.

    Raises:
        OSError: A file went away, or may not be looked at.
    """
    items = [item for item in path.rglob("*") if item.is_file()] if path.is_dir() else [path]
    stats = [(str(item), item.stat()) for item in sorted(items)]
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats)

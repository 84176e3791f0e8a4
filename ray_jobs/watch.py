"""Follows folders and buckets: what arrives and has come to rest is ingested, until somebody ends it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.home import Home
from platform_lib.lake.bucket import Patience
from platform_lib.lake.intake import FileStamp
from platform_lib.lake.lake import Lake
from platform_lib.lake.sweeping import prepare
from ray_jobs.arrivals import Arrived, find
from ray_jobs.ingest import take_arrived
from ray_jobs.ingest_report import IngestReport, Progress
from ray_jobs.read_options import Chosen
from ray_jobs.reading import ray_beside_output

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
        interrupted: Whether Ctrl-C cut a round: what it had committed stays, the rest is taken by the next watch.
    """

    rounds: int
    ingested: int
    skipped: int
    quarantined: int
    signal_rows: int
    sample_rows: int
    interrupted: bool
    seconds: float


@dataclass(slots=True)
class Settling:
    """Tells which names have come to rest. A name is given once for each mark it rests at."""

    settle_s: float
    _since: dict[str, tuple[Hashable, float]] = field(default_factory=dict)
    _given: dict[str, Hashable] = field(default_factory=dict)

    def look(self, marks: Mapping[str, Hashable], now_s: float, *, at_once: frozenset[str] = frozenset()) -> list[str]:
        """Take what is there now: name -> mark by which a change shows; return the names that are ready."""
        self._since = {
            name: self._since[name] if name in self._since and self._since[name][0] == mark else (mark, now_s)
            for name, mark in marks.items()
        }
        ready = [
            name
            for name, (mark, since_s) in self._since.items()
            if self._given.get(name) != mark and (name in at_once or now_s - since_s >= self.settle_s)
        ]
        self._given = {name: mark for name, mark in self._given.items() if name in marks}
        self._given |= {name: marks[name] for name in ready}
        return ready

    def again(self, name: str) -> None:
        """Give a name once more though it has not changed."""
        self._given.pop(name, None)

    @property
    def waiting(self) -> int:
        """How many names have not come to rest."""
        return sum(self._given.get(name) != mark for name, (mark, _) in self._since.items())


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
    """Ingest what lies under the sources and what arrives there, until Ctrl-C.

    The lake is locked while a round is taken in, and free between rounds.

    Raises:
        ConfigError: A source does not exist when the watch begins.
    """
    started = time.monotonic()
    reports: list[IngestReport] = []
    interrupted = in_round = False
    settling = Settling(rhythm.settle_s)
    patience = patience or Patience()
    arrived = find(sources, patience)
    busy_s = time.monotonic()
    with ExitStack() as servers:
        lake = servers.enter_context(Lake.open(home))
        try:
            while True:
                ready = _ready(arrived, settling)
                if ready:
                    in_round = True
                    servers.enter_context(ray_beside_output(home, cpus))  # the first round starts it, the others join
                    with home.turn("ingest"), lake.held("ingest"):
                        prepare(lake)
                        report = take_arrived(
                            lake, home, ready, chosen, cpus=cpus, patience=patience, on_progress=on_progress
                        )
                    in_round = False
                    reports.append(report)
                    on_round(report)
                    for item in report.quarantined:
                        if item.kind == MissingPartError.__name__:  # the store did not give it
                            settling.again(item.path)
                if ready or settling.waiting:
                    busy_s = time.monotonic()
                if rhythm.until_idle_s is not None and time.monotonic() - busy_s >= rhythm.until_idle_s:
                    break
                time.sleep(rhythm.poll_s)
                arrived = _look_again(sources, patience, arrived)
        except KeyboardInterrupt:
            interrupted = in_round
    return WatchReport(
        rounds=len(reports),
        ingested=sum(item.ingested for item in reports),
        skipped=sum(item.skipped for item in reports),
        quarantined=sum(len(item.quarantined) for item in reports),
        signal_rows=sum(item.signal_rows for item in reports),
        sample_rows=sum(item.sample_rows for item in reports),
        interrupted=interrupted,
        seconds=time.monotonic() - started,
    )


def _look_again(sources: Sequence[Path | str], patience: Patience, before: Arrived) -> Arrived:
    """Look at the sources; one that cannot be reached for a while ends no watch."""
    try:
        return find(sources, patience)
    except ConfigError as error:
        logger.warning("%s; looking again later", error)
        return before


def _ready(arrived: Arrived, settling: Settling) -> Arrived | None:
    marks: dict[str, Hashable] = {}
    for path in arrived.paths:
        try:
            marks[str(path)] = FileStamp.of(path)
        except OSError:  # it went away between the look and now
            continue
    marks |= {log.uri: log.mark for log in arrived.bucket_logs}
    whole = frozenset(log.uri for log in arrived.bucket_logs if log.folder is None)
    names = set(settling.look(marks, time.monotonic(), at_once=whole))
    if not names:
        return None
    return Arrived(
        [path for path in arrived.paths if str(path) in names],
        [log for log in arrived.bucket_logs if log.uri in names],
    )

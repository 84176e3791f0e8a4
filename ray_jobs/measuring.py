"""What one core of this machine does when logs are taken in: the figures under the capacity model.

Simulated drives of two lengths are written, taken in and committed in a home of their own, by the code that ingest runs;
what a log costs whatever its size and what each byte adds are told apart by the two lengths.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from statistics import median

import ray
from sqlalchemy import func, select

from platform_lib.capacity.model import GB, Measured
from platform_lib.catalog.model import FileKey, FoundFile
from platform_lib.catalog.schema import METADATA
from platform_lib.errors import CorruptLog
from platform_lib.home import Home, open_home
from platform_lib.lake.intake import FileStamp, LogJob, Place, ReadOptions, Taken, take_in
from platform_lib.lake.lake import Lake
from platform_lib.lake.place import size_of
from platform_lib.lake.writer import data_files, stored_files
from platform_lib.scenario.can_bus import DBC_PATH
from platform_lib.scenario.drive_files import write_drive
from platform_lib.scenario.model import DriveSpec
from platform_lib.storage import sha256_file
from ray_jobs.read_options import NONE_SHA256
from ray_jobs.session import local_ray

_SHORT_S, _LONG_S = 4.0, 24.0
_ROUNDS = 3
_TASKS = 200
_START_NS = 1_780_300_800_000_000_000


@dataclass(frozen=True, slots=True)
class _Cost:
    """One drive taken in: both of its logs together, a round."""

    bytes: int
    core_s: float
    lake_bytes: int
    objects: int


def measure(scratch: Path) -> Measured:
    """Measure for about half a minute.

    Args:
        scratch: Where a home and drives may lie meanwhile.
    """
    with tempfile.TemporaryDirectory(prefix="capacity-", dir=scratch) as made:
        folder = Path(made)
        folder.chmod(0o711)  # as root, the database server runs as another account
        home = open_home(folder / "home", own_lake=True)
        logs = {length: _drive(folder / f"{length:g}", length) for length in (_SHORT_S, _LONG_S)}
        with Lake.open(home) as lake:
            lake.store.create()
            paths = [[*logs[_SHORT_S], *logs[_LONG_S]], *[[*logs[_SHORT_S]] * 2] * (_ROUNDS - 1)]
            numbers = count()
            rounds = [[_take(lake, path, next(numbers)) for path in some] for some in paths]
            commit_s, commit_s_per_file = split_commits([_commits(lake, taken) for taken in rounds], len(rounds[0]) - 1)
            rows_per_file = _rows(lake) / next(numbers)
            short, long = (_cost(lake, paths) for paths in logs.values())
        core_s_per_byte = max(1e-12, (long.core_s - short.core_s) / (long.bytes - short.bytes))
        files = len(logs[_SHORT_S])
        return Measured(
            core_s_per_gb=core_s_per_byte * GB,
            core_s_per_file=max(0.0, (short.core_s - short.bytes * core_s_per_byte) / files),
            lake_share=(long.lake_bytes - short.lake_bytes) / (long.bytes - short.bytes),
            objects_per_file=long.objects / files,
            rows_per_file=rows_per_file,
            commit_s=commit_s,
            commit_s_per_file=commit_s_per_file,
            dispatch_s=_dispatch_s(home),
        )


def _drive(folder: Path, duration_s: float) -> list[Path]:
    spec = DriveSpec(
        17, "capacity", f"s{duration_s:g}", _START_NS, duration_s=duration_s, weather="clear", event="lead"
    )
    folder.mkdir()
    write_drive(spec, folder / "drive", folder / "truth.parquet")
    return sorted((folder / "drive").iterdir())


def _take(lake: Lake, path: Path, number: int) -> Taken:
    """Take a log in, as if no other had its content."""
    key = FileKey(f"{number:02x}{sha256_file(path)[2:]}", "measured", 1, NONE_SHA256)
    stamp = FileStamp.of(path)
    lake.catalog.note_files([FoundFile(key, stamp.bytes, (str(path),))])
    (ingest_id,) = lake.catalog.begin([key])
    place = Place(lake.store.signals_data, lake.store.samples_uri)
    found = take_in(LogJob(ingest_id, path, key, stamp), ReadOptions(dbc=(str(DBC_PATH),)), place)
    if not isinstance(found, Taken):
        raise CorruptLog(found.reason, where=path, remedy="report it: the drive was written by this release")
    files = stored_files(found.written, lake.store.samples_uri)
    return replace(found, record=replace(found.record, files=files))


def _cost(lake: Lake, paths: Sequence[Path]) -> _Cost:
    """Take logs in again and again, none of it committed; the median round counts."""
    rounds = []
    for number in range(_ROUNDS):
        started = time.process_time()
        taken = [_take(lake, path, 100 + number) for path in paths]
        core_s = time.process_time() - started
        files = [file for item in taken for file in data_files(item.written, lake.store.samples_uri)]
        written = sum(size_of(file) or 0 for file in files)
        rounds.append(_Cost(sum(path.stat().st_size for path in paths), core_s, written, len(files)))
    return replace(rounds[0], core_s=median(item.core_s for item in rounds))


def _commits(lake: Lake, taken: Sequence[Taken]) -> tuple[float, float]:
    """Return how long a commit of the first log took, and one of all the others."""
    seconds = []
    for batch in (taken[:1], taken[1:]):
        started = time.monotonic()
        head = lake.store.append([item.written for item in batch])
        lake.catalog.commit(head, [item.record for item in batch])
        seconds.append(time.monotonic() - started)
    return seconds[0], seconds[1]


def split_commits(seconds: Sequence[tuple[float, float]], logs: int) -> tuple[float, float]:
    """Return what a commit takes without a log, and what each log of it adds.

    Of each kind the quickest counts: other work on the machine only ever makes one longer, and from one pair alone the
    first figure came out as nothing.

    Args:
        seconds: Commits of one log, and of `logs`.
        logs: Two or more.
    """
    one_s, many_s = (min(side) for side in zip(*seconds, strict=True))
    each_s = min(max(0.0, (many_s - one_s) / (logs - 1)), many_s / logs)
    return max(1e-4, one_s - each_s), each_s


def _rows(lake: Lake) -> int:
    with lake.catalog.engine.connect() as connection:
        return sum(
            connection.execute(select(func.count()).select_from(table)).scalar_one() for table in METADATA.sorted_tables
        )


def _dispatch_s(home: Home) -> float:
    """Hand out tasks that do nothing; return what each costs the driver."""
    with local_ray(home, 1):
        nothing = ray.remote(max_retries=0)(_nothing)
        ray.get([nothing.remote() for _ in range(_TASKS // 4)])
        started = time.monotonic()
        ray.get([nothing.remote() for _ in range(_TASKS)])
        return (time.monotonic() - started) / _TASKS


def _nothing() -> None:
    return None

"""Ingest under faults, as real processes: whatever dies and whenever, every row is there once afterwards.

One run: a few fresh logs, an ingest in a process of its own, one fault at a random moment. Then, in the tests' process: a
reader sees whole logs or none of each; the check finds nothing that it cannot mend; an undisturbed ingest completes the rest;
the check is clean.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import ray
from tiny_logs import ROWS, write_tiny_log

from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.home import Home, open_home
from platform_lib.lake.check import check_lake
from platform_lib.lake.lake import Lake
from ray_jobs.ingest import ingest
from ray_jobs.mending import mend
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_LOGS = 3
_LONGEST_S = 240.0
_SMALL_DISK_BYTES = (8 << 10, 16 << 10, 32 << 10)  # what is left on it: less than the files of a run
_FAULTS = ("driver", "worker", "PostgreSQL killed", "PostgreSQL restarted", "two at once", "disk full")
_TRACES = {
    "files": "signals/data/*/*.parquet",
    "samples": "samples.lance/data/*",
    "Iceberg": "signals/metadata/*.metadata.json",
    "Lance": "samples.lance/_versions/*",
}
_MOMENTS = ("at once", *_TRACES)

# Imports once and forks for every ingest, so that a run costs no start of Python.
_NURSERY = """
import json, os, signal, sys
from pathlib import Path
import ray
from platform_lib.home import open_home
from ray_jobs.ingest import ingest

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    task = json.loads(line)
    child = os.fork()
    if child:
        print("child", child, flush=True)
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    try:
        if task["ray"]:
            ray.init(address=task["ray"], log_to_driver=False, configure_logging=False)
        report = ingest(open_home(Path(task["home"])), [Path(task["logs"])], cpus=1)
        told = f"ingested {report.ingested}, skipped {report.skipped}, quarantined {len(report.quarantined)}"
        ray.shutdown()
    except BaseException as error:
        told = f"{type(error).__name__}: {error}"
    Path(task["told"]).write_text(told)
    os._exit(0)
"""


@dataclass
class Place:
    """One home that goes through many runs, and the processes that work on it."""

    folder: Path
    home: Home
    nursery: subprocess.Popen[str]
    drives: dict[str, int] = field(default_factory=dict)

    def start(self, logs: Path, *, own_ray: bool) -> psutil.Process:
        """Start an ingest in a process of its own."""
        task = {
            "home": str(self.home.root),
            "logs": str(logs),
            "ray": None if own_ray else ray.get_runtime_context().gcs_address,
            "told": str(self.folder / "told"),
        }
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        self.nursery.stdin.write(json.dumps(task) + "\n")
        self.nursery.stdin.flush()
        # Ray prints to the same stream when something of it died.
        line = next(line for line in self.nursery.stdout if line.startswith("child "))
        return psutil.Process(int(line.split()[1]))


@contextmanager
def _place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="drivetrain-test-"))
    folder.chmod(0o755)
    home = open_home(folder / "home")
    with local_ray(open_home(folder / "ray"), cpus=2), embedded_postgres(home):
        nursery = subprocess.Popen(
            [sys.executable, "-c", _NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            yield Place(folder, home, nursery)
        finally:
            nursery.kill()
            nursery.communicate()
            subprocess.run(["umount", "-q", str(home.lake)], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


def _run(place: Place, seed: int, fault: str) -> str:
    """One run; return what became of the disturbed ingest."""
    rng = random.Random(seed)  # noqa: S311 - seeded faults
    logs = place.folder / f"logs{seed}"
    rows = 40 * ROWS if fault == "disk full" else ROWS
    for number in range(_LOGS):
        write_tiny_log(logs / f"d{seed}n{number}" / "a.mcap", seed * _LOGS + number, rows=rows)
        place.drives[f"v_d{seed}n{number}"] = rows
    (place.folder / "told").unlink(missing_ok=True)
    with _disk(place.home, left_bytes=rng.choice(_SMALL_DISK_BYTES) if fault == "disk full" else None):
        moment = rng.choice(_MOMENTS)
        before = _written(place.home, moment) if moment in _TRACES else 0
        ingests = [place.start(logs, own_ray=fault == "head")]
        if fault == "two at once":
            ingests.append(place.start(logs, own_ray=False))
        with suppress(psutil.NoSuchProcess):
            _await(place.home, before, moment, ingests[0])
            time.sleep(rng.uniform(0.0, 0.3) if rng.random() < 0.5 else 0.0)
            _strike(fault, place, ingests[0], rng)
        for process in ingests:
            _wait_for(lambda process=process: not process.is_running())  # type: ignore[misc] # a default is a capture
    told = (place.folder / "told").read_text() if (place.folder / "told").exists() else "killed"
    assert fault != "disk full" or "space" in told, f"seed {seed}: the disk was large enough, {told}"
    _judge(place, whole=False)
    if rng.random() < 0.5:
        assert mend(place.home).clean, f"seed {seed}, {fault} at {moment}: not mended"
        _judge(place, whole=False)
    ingest(place.home, [logs], cpus=1)
    _judge(place, whole=True)
    return f"{fault} at {moment}: {told}"


def _judge(place: Place, *, whole: bool) -> None:
    """Look as a reader does: each log is there once, or not at all unless `whole`."""
    with Lake.open(place.home) as lake:
        signals = lake.query("SELECT drive_id, count(*) AS n, count(DISTINCT value) AS v FROM signals GROUP BY 1").table
        samples = lake.query("SELECT drive_id, count(*) AS n FROM samples GROUP BY 1").table
        seen = {
            row["drive_id"]: (
                row["n"],
                row["v"],
                dict(zip(*samples.to_pydict().values(), strict=True))[row["drive_id"]],
            )
            for row in signals.to_pylist()
        }
        assert all(counts == (place.drives[drive],) * 3 for drive, counts in seen.items()), seen
        if whole:
            assert seen.keys() == place.drives.keys()
            with place.home.turn("ingest"):
                assert check_lake(lake).findings == ()


@contextmanager
def _disk(home: Home, *, left_bytes: int | None) -> Iterator[None]:
    """Put the stores on a disk that soon is full, for the block; what is there afterwards goes on to the real one."""
    if left_bytes is None:
        yield
        return
    home.lake.mkdir(exist_ok=True)
    kept = home.root / "kept"
    shutil.copytree(home.lake, kept)
    used = sum(path.stat().st_blocks * 512 for path in home.lake.rglob("*"))
    size = used + left_bytes
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(home.lake)], check=False, capture_output=True
    )
    if mounted.returncode:
        shutil.rmtree(kept)
        pytest.skip("this account may not mount a small disk")
    shutil.copytree(kept, home.lake, dirs_exist_ok=True)
    try:
        yield
    finally:
        shutil.rmtree(kept)
        shutil.copytree(home.lake, kept)
        # A reader of the command that just ended may have a file open for some moments more.
        _wait_for(lambda: subprocess.run(["umount", "-q", str(home.lake)], check=False).returncode == 0)
        shutil.rmtree(home.lake)
        kept.rename(home.lake)


def _written(home: Home, step: str) -> int:
    """Count what a step of a commit has left in the lake's folder."""
    return sum(1 for _ in home.lake.glob(_TRACES[step]))


def _await(home: Home, before: int, moment: str, process: psutil.Process) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while moment in _TRACES and _written(home, moment) <= before and time.monotonic() < deadline:
        if not process.is_running():
            return
        time.sleep(0.005)


def _strike(fault: str, place: Place, driver: psutil.Process, rng: random.Random) -> None:
    match fault:
        case "driver" | "two at once":
            driver.kill()
        case "worker":
            _kill_one(("ray::IDLE", "ray::_read"), rng)
        case "head":
            _kill_one((rng.choice(("gcs_server", "raylet")),), rng, below=driver)
        case "PostgreSQL killed":
            _signal_server(place.home, signal.SIGKILL)
        case "PostgreSQL restarted":
            _signal_server(place.home, signal.SIGINT)
        case _:
            pass  # the disk fills by itself


def _kill_one(names: tuple[str, ...], rng: random.Random, below: psutil.Process | None = None) -> None:
    """Kill one of the processes below that are called so (Ray's agents are not: their node ends with them)."""
    found = [item for item in (below or psutil.Process()).children(recursive=True) if item.name().startswith(names)]
    if found:
        rng.choice(found).kill()


def _signal_server(home: Home, number: signal.Signals) -> None:
    with suppress(OSError, ValueError, IndexError):
        os.kill(int((home.postgres / "data" / "postmaster.pid").read_text().splitlines()[0]), number)


def _wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while not what():
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.01)


@pytest.mark.timeout(900)
def test_whatever_dies_every_row_is_there_once() -> None:
    with _place() as place:
        for seed, fault in enumerate(("driver", "worker", "PostgreSQL killed", "two at once", "disk full")):
            print(_run(place, seed, fault), flush=True)  # noqa: T201 - what happened, should one fail


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("block", range(10))  # each in a home of its own
def test_two_hundred_faults(block: int) -> None:
    with _place() as place:
        for seed in range(1000 + block * 21, 1000 + (block + 1) * 21):
            fault = "head" if seed % 21 == 20 else _FAULTS[seed % len(_FAULTS)]
            print(seed, _run(place, seed, fault), flush=True)  # noqa: T201 - a long series shows life

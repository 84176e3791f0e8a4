"""Ingest, blur and erasure beside each other, as real processes that are killed: no frame is lost, none comes back.

One run: fresh drives are taken in; then an ingest, a blur and an erasure start together in processes of their own and one
of them, or a worker, is killed at a random moment. Afterwards, undisturbed: the erasure is finished, logs are taken in,
frames are blurred. Then each drive that stays has every frame once and blurred, and of one that was erased no byte is left.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import ray
from camera_logs import CAMERA, write_camera_log

from platform_lib.catalog.erasures import Erasures
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.erasure.erasing import erase
from platform_lib.home import Home, open_home
from platform_lib.lake.lake import Lake
from platform_lib.privacy.config import BlurConfig, Cascade
from platform_lib.storage import sha256_file, walk_files
from ray_jobs.blur import blur
from ray_jobs.ingest import ingest
from ray_jobs.mending import check, mend
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CONFIG = BlurConfig(detectors=(Cascade(finds="face", cascade="haarcascade_frontalface_alt2.xml"),))
_FRAMES, _LONGEST_S = 3, 240.0
_VICTIMS = ("ingest", "blur", "erase", "worker")

# Imports once and forks for every command, so that a run costs no start of Python.
_NURSERY = """
import json, os, signal, sys
from pathlib import Path
import ray
from platform_lib.erasure.erasing import erase
from platform_lib.erasure.scope import make_scope
from platform_lib.home import open_home
from ray_jobs.blur import blur
from ray_jobs.ingest import ingest
from test_privacy_faults import CONFIG

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
        home = open_home(Path(task["home"]))
        if task["what"] != "erase":
            ray.init(address=task["ray"], log_to_driver=False, configure_logging=False)
        if task["what"] == "ingest":
            ingest(home, [Path(task["logs"])], cpus=1)
        elif task["what"] == "blur":
            blur(home, CONFIG, cpus=1)
        else:
            erase(home, make_scope(task["drive"], None, None, None), reason="request 4711", requested_by="x")
    except BaseException as error:
        print(task["what"], type(error).__name__, error, file=sys.stderr, flush=True)
    os._exit(0)
"""


@dataclass
class Place:
    """One home that goes through many runs, and what its drives hold."""

    logs: Path
    home: Home
    nursery: subprocess.Popen[str]
    pictures: dict[str, list[bytes]] = field(default_factory=dict)

    def record(self, name: str) -> None:
        """Write a log of a drive of that name."""
        rng = np.random.default_rng(int.from_bytes(name.encode(), "little"))
        frames = [cv2.resize(rng.integers(0, 256, (40, 60, 3), np.uint8), (240, 160)) for _ in range(_FRAMES)]
        self.pictures[f"v_{name}"] = [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames]
        write_camera_log(self._log(f"v_{name}"), name, "unknown", self.pictures[f"v_{name}"])

    def _log(self, drive: str) -> Path:
        return self.logs / f"{drive}.mcap"

    def start(self, what: str, drive: str) -> psutil.Process:
        """Start a command in a process of its own."""
        task = {
            "what": what,
            "home": str(self.home.root),
            "logs": str(self.logs),
            "drive": drive,
            "ray": ray.get_runtime_context().gcs_address,
        }
        assert self.nursery.stdin is not None
        assert self.nursery.stdout is not None
        self.nursery.stdin.write(json.dumps(task) + "\n")
        self.nursery.stdin.flush()
        line = next(line for line in self.nursery.stdout if line.startswith("child "))
        return psutil.Process(int(line.split()[1]))

    def erased(self, lake: Lake) -> set[str]:
        """Return the drives whose erasure was begun."""
        gone = Erasures(lake.catalog.engine).erased_files()
        return {drive for drive in self.pictures if sha256_file(self._log(drive)) in gone}


@contextmanager
def _place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="drivetrain-test-"))
    folder.chmod(0o755)
    (folder / "logs").mkdir()
    home = open_home(folder / "home")
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with local_ray(open_home(folder / "ray"), cpus=2), embedded_postgres(home):
        nursery = subprocess.Popen(
            [sys.executable, "-c", _NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
        try:
            yield Place(folder / "logs", home, nursery)
        finally:
            nursery.kill()
            nursery.communicate()
    shutil.rmtree(folder, ignore_errors=True)


def _at_work(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two questions
        return False


def _run(place: Place, seed: int, victim: str) -> str:
    rng = random.Random(seed)  # noqa: S311 - seeded faults
    name = f"seed-{seed:05d}"
    place.record(f"{name}-old")
    ingest(place.home, [place.logs], cpus=1)
    if rng.random() < 0.5:
        blur(place.home, CONFIG, cpus=1)
    place.record(f"{name}-new")
    going = rng.choice([drive for drive in place.pictures if drive.endswith("-old")])
    started = {what: place.start(what, going) for what in rng.sample(("ingest", "blur", "erase"), 3)}
    time.sleep(rng.uniform(0.0, 2.5))
    with suppress(psutil.NoSuchProcess):
        if victim == "worker":
            _kill_a_worker(rng)
        else:
            started[victim].kill()
    deadline = time.monotonic() + _LONGEST_S
    while any(_at_work(item) for item in started.values()):
        assert time.monotonic() < deadline, "it does not end"
        time.sleep(0.02)
    if rng.random() < 0.5:
        assert mend(place.home).clean
    erase(place.home, None, reason="-", requested_by="x")
    refused = {Path(item.path).stem: item.kind for item in ingest(place.home, [place.logs], cpus=1).quarantined}
    blur(place.home, CONFIG, cpus=1)
    return f"{victim}: {_judge(place, refused)} of {len(place.pictures)} drives erased"


def _kill_a_worker(rng: random.Random) -> None:
    names = ("ray::IDLE", "ray::_read", "ray::_blur")
    found = [item for item in psutil.Process().children(recursive=True) if item.name().startswith(names)]
    if found:
        rng.choice(found).kill()


def _judge(place: Place, refused: dict[str, str]) -> int:
    assert check(place.home, digests=True).found.findings == ()
    with Lake.open(place.home) as lake:
        erased = place.erased(lake)
        assert refused == dict.fromkeys(erased, "ErasedContent")
        assert {drive.drive_id for drive in lake.drives()} == place.pictures.keys() - erased
        for drive in place.pictures.keys() - erased:
            table = lake.samples(drive, CAMERA)
            assert table["timestamp_ns"].to_pylist() == [1000 + number for number in range(_FRAMES)]
            assert set(table["pii_state"].to_pylist()) == {"blurred"}
        assert {item.state for item in Erasures(lake.catalog.engine).tombstones()} <= {"done"}
    pieces = [re.escape(data[at : at + 24]) for drive in erased for data in place.pictures[drive] for at in (700, 1500)]
    pieces += [drive.encode() for drive in erased]
    wanted = re.compile(b"|".join(pieces or [b"(?!)"]))
    assert [path for path in walk_files(place.home.root) if wanted.search(path.read_bytes())] == []
    return len(erased)


@pytest.mark.timeout(900)
def test_whatever_dies_no_frame_is_lost_and_none_comes_back() -> None:
    with _place() as place:
        for seed, victim in enumerate(("blur", "worker", "erase")):
            print(_run(place, seed, victim), flush=True)  # noqa: T201 - what happened, should one fail


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("block", range(4))  # each in a home of its own
def test_a_hundred_faults(block: int) -> None:
    with _place() as place:
        for seed in range(1000 + block * 25, 1000 + (block + 1) * 25):
            print(seed, _run(place, seed, _VICTIMS[seed % len(_VICTIMS)]), flush=True)  # noqa: T201 - shows life

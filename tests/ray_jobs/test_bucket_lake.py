"""A lake in a bucket, over HTTP: one home, two homes, a store that misbehaves, writers that are killed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import psutil
import psycopg
import pytest
import ray
from faulty_store import BUCKET, FaultyStore, every_third, every_third_write, faulty_store
from sqlalchemy import text
from sqlalchemy.engine import make_url
from tiny_logs import ROWS, seen_rows, write_tiny_log

from platform_lib.catalog.addresses import libpq_uri
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.errors import HomeError, PlatformError
from platform_lib.home import Home, open_home
from platform_lib.lake import objects
from platform_lib.lake.lake import Lake
from platform_lib.lake.objects import ObjectPath
from ray_jobs.ingest import ingest, reprocess
from ray_jobs.mending import check, compact, expire, mend
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector; so do broken connections.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_LAKE = ObjectPath(BUCKET, "fleet")
# Imports once and forks for every ingest, so that a run costs no start of Python.
_NURSERY = """
import json, os, signal, sys
from pathlib import Path
import ray
from platform_lib.home import open_home
from ray_jobs.ingest import ingest

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    home, logs, address = json.loads(line)
    child = os.fork()
    if child:
        print("child", child, flush=True)
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    ray.init(address=address, log_to_driver=False, configure_logging=False)
    ingest(open_home(Path(home)), [Path(logs)], cpus=1)
    os._exit(0)
"""


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    with faulty_store(monkeypatch) as made:
        monkeypatch.setenv("DRIVETRAIN_LAKE", str(_LAKE))
        yield made


@pytest.fixture
def server(reachable_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database that every home of a test shares, by a socket as if it were another machine's."""
    with embedded_postgres(open_home(reachable_tmp / "server", own_lake=True)) as uri:
        monkeypatch.setenv("DRIVETRAIN_DATABASE_URL", uri.replace("postgresql+psycopg", "postgresql"))
        yield uri


def _drives(*names: str) -> dict[str, tuple[int, int, int]]:
    return {f"v_{name}": (ROWS, ROWS, ROWS) for name in names}


def test_the_lake_is_in_the_bucket_and_every_command_works_there(store: FaultyStore, reachable_tmp: Path) -> None:
    home = open_home(reachable_tmp / "home")
    logs = reachable_tmp / "logs"
    for number in range(1, 5):
        write_tiny_log(logs / f"s{number}" / "a.mcap", number)
    store.plan, store.plan_writes = every_third, every_third_write
    with local_ray(home, cpus=2), Lake.open(home) as lake:
        assert ingest(home, [logs]).ingested == 4
        assert ingest(home, [logs]).skipped == 4
        store.plan, store.plan_writes = lambda path, number: None, lambda method, path, number: None
        assert not home.lake.exists(), "nothing of it lies in the home"
        assert seen_rows(home) == _drives("s1", "s2", "s3", "s4")
        assert lake.query("SELECT count(*) AS n FROM signals").table["n"].to_pylist() == [4 * ROWS]
        assert lake.query("SELECT count(*) AS n FROM samples").table["n"].to_pylist() == [4 * ROWS]
        assert check(home, digests=True).found.findings == ()
        _break(store, lake)
        kinds = sorted(item.kind for item in check(home, digests=True).found.findings)
        assert kinds == ["damaged file", "lost file", "orphan", "orphan"]
        mended = mend(home, digests=True)
        assert (mended.clean, mended.read_again, mended.left) == (True, 2, {})
        assert seen_rows(home) == _drives("s1", "s2", "s3", "s4")
        with lake.catalog.engine.begin() as connection:
            connection.execute(text("UPDATE ingests SET reader_version = '0.1' WHERE ingest_id = 1"))
        reprocess(home)
        compacted = compact(home)
        assert compacted.signal_files < compacted.signal_files_before
        assert compacted.sample_files < compacted.sample_files_before
        assert expire(home, timedelta(0)).freed_bytes > 0
        assert seen_rows(home) == _drives("s1", "s2", "s3", "s4")
        assert check(home, digests=True).found.findings == ()


def _break(store: FaultyStore, lake: Lake) -> None:
    """Lose a file of one log, change a byte of another's, and leave what a killed writer leaves."""
    head = lake.catalog.head()
    assert head is not None
    first, second = sorted(lake.store.partitioned_files(head), key=lambda file: file.ingest_id or 0)[:2]
    objects.delete([ObjectPath.parse(first.path)])
    place = ObjectPath.parse(second.path)
    data = objects.get(place) or b""
    objects.put(place, data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
    store.put("fleet/signals/data/9-abc.parquet", b"cut short")
    store.client.create_multipart_upload(  # type: ignore[attr-defined] # boto3 has no types
        Bucket=BUCKET, Key="fleet/samples.lance/data/x.lance"
    )


def test_a_bucket_that_does_not_answer_is_no_damaged_lake(
    store: FaultyStore, server: str, reachable_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = open_home(reachable_tmp / "home")
    with Lake.open(home) as lake:
        lake.store.create()
        there = objects.listed(_LAKE)
    monkeypatch.setattr("time.sleep", lambda _: None)  # botocore's own waits
    store.plan = lambda path, number: "503" if path.endswith((".manifest", "/fleet")) else None
    with pytest.raises(PlatformError, match=r"bucket|S3"):
        mend(home)
    store.plan = lambda path, number: None
    assert objects.listed(_LAKE) == there, "nothing was taken for torn and deleted"
    assert check(home).found.findings == ()


def test_another_database_never_touches_the_lake(
    store: FaultyStore, server: str, reachable_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Lake.open(open_home(reachable_tmp / "home")) as lake:
        lake.store.create()
    there = objects.listed(_LAKE)
    monkeypatch.delenv("DRIVETRAIN_DATABASE_URL")
    with pytest.raises(HomeError, match=r"belongs to another database.*Remedy: set DRIVETRAIN_DATABASE_URL"):
        check(open_home(reachable_tmp / "stranger"))
    monkeypatch.setenv("DRIVETRAIN_LAKE", f"s3://{BUCKET}/taken")
    store.put("taken/somebody/s/data.csv", b"1,2")
    with pytest.raises(HomeError, match="no lake of ours"), Lake.open(open_home(reachable_tmp / "third")) as lake:
        lake.store.create()
    assert objects.listed(_LAKE) == there
    assert objects.get(ObjectPath(BUCKET, "taken/somebody/s/data.csv")) == b"1,2"


def test_two_homes_write_one_lake_in_turns(store: FaultyStore, server: str, reachable_tmp: Path) -> None:
    homes = [open_home(reachable_tmp / name) for name in ("one", "two")]
    for number in range(1, 4):
        write_tiny_log(reachable_tmp / "logs" / f"s{number}" / "a.mcap", number)
    with local_ray(open_home(reachable_tmp / "ray", own_lake=True), cpus=2):
        told: list[tuple[int, int]] = []
        with Lake.turn(homes[0], "ingest"):
            second = threading.Thread(target=_ingest_into, args=(homes[1], reachable_tmp / "logs", told))
            second.start()
            second.join(4.0)
            assert second.is_alive(), "it waits for the other machine's turn"
            assert told == []
        second.join()
        first = ingest(homes[0], [reachable_tmp / "logs"])
    assert told == [(3, 0)]
    assert (first.ingested, first.skipped) == (0, 3)
    assert [seen_rows(home) for home in homes] == [_drives("s1", "s2", "s3")] * 2
    assert check(homes[0], digests=True).found.findings == ()


def _ingest_into(home: Home, logs: Path, told: list[tuple[int, int]]) -> None:
    report = ingest(home, [logs])
    told.append((report.ingested, report.skipped))


def test_a_turn_that_was_lost_commits_nothing(store: FaultyStore, server: str, reachable_tmp: Path) -> None:
    home = open_home(reachable_tmp / "home")
    with Lake.turn(home, "ingest") as lake:
        lake.store.create()
        with psycopg.connect(libpq_uri(make_url(server)), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'drivetrain turn'"
            )
        with (
            pytest.raises(HomeError, match="was lost, so nothing more is committed"),
            lake.catalog.engine.begin() as it,
        ):
            it.execute(text("CREATE TABLE never (a int)"))
    with psycopg.connect(libpq_uri(make_url(server))) as admin:
        assert admin.execute("SELECT to_regclass('never')").fetchone() == (None,)


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 33), marks=pytest.mark.soak)])
def test_a_killed_command_leaves_nothing_that_is_seen_and_the_next_one_completes(
    store: FaultyStore, server: str, reachable_tmp: Path, seeds: range
) -> None:
    home = open_home(reachable_tmp / "home")
    names: list[str] = []
    outcomes: list[str] = []
    with local_ray(open_home(reachable_tmp / "ray", own_lake=True), cpus=2), _nursery() as nursery:
        for seed in seeds:
            rng = random.Random(seed)  # noqa: S311 - seeded faults
            logs = reachable_tmp / f"logs{seed}"
            for number in range(2):
                write_tiny_log(logs / f"d{seed}n{number}" / "a.mcap", seed * 2 + number)
                names.append(f"d{seed}n{number}")
            store.plan = every_third if seed % 2 else lambda path, number: None
            outcomes.append(_kill(store, nursery, home, logs, rng))
            store.plan = lambda path, number: None
            seen = seen_rows(home)
            assert all(counts == (ROWS, ROWS, ROWS) for counts in seen.values()), (seed, seen)
            if rng.random() < 0.3:
                assert mend(home).clean, (seed, outcomes)
            ingest(home, [logs], cpus=1)
            assert seen_rows(home) == _drives(*names), (seed, outcomes)
            assert check(home).found.findings == (), (seed, outcomes)
    assert outcomes.count("killed") >= len(seeds) // 2, outcomes


@contextmanager
def _nursery() -> Iterator[subprocess.Popen[str]]:
    nursery = subprocess.Popen(
        [sys.executable, "-c", _NURSERY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield nursery
    finally:
        nursery.kill()
        nursery.communicate()


def _kill(store: FaultyStore, nursery: subprocess.Popen[str], home: Home, logs: Path, rng: random.Random) -> str:
    """Ingest in a process of its own, and kill it once it and its workers wrote some objects."""
    before, after = sum(store.writes.values()), rng.randrange(0, 30)
    assert nursery.stdin is not None
    assert nursery.stdout is not None
    task = [str(home.root), str(logs), ray.get_runtime_context().gcs_address]
    nursery.stdin.write(json.dumps(task) + "\n")
    nursery.stdin.flush()
    line = next(line for line in nursery.stdout if line.startswith("child "))
    with suppress(psutil.NoSuchProcess):
        driver = psutil.Process(int(line.split()[1]))
        while driver.is_running() and sum(store.writes.values()) - before <= after:
            time.sleep(0.002)
        driver.kill()
        driver.wait(30.0)
        return "killed"
    return "ended"

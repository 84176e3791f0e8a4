"""Ingest from an object store that misbehaves, with real logs and a real Ray."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_store import BUCKET, Fault, FaultyStore, faulty_store
from tiny_logs import ROWS, seen_rows, write_tiny_log

from platform_lib.home import Home, open_home
from platform_lib.lake.bucket import Patience
from platform_lib.lake.lake import Lake
from ray_jobs.ingest import ingest
from ray_jobs.mending import check
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector; so does a broken connection.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_QUICK = Patience(tries=4, first_wait_s=0.001, longest_wait_s=0.01)
_PREFIX = f"s3://{BUCKET}/fleet"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStore]:
    with faulty_store(monkeypatch) as made:
        yield made


@pytest.fixture
def home(reachable_tmp: Path) -> Iterator[Home]:
    made = open_home(reachable_tmp / "home")
    with local_ray(made, cpus=2), Lake.open(made):
        yield made


def _flaky(path: str, number: int) -> Fault | None:
    """Every other answer is a fault, of a kind that depends on the path."""
    kinds: tuple[Fault, ...] = ("500", "503", "cut", "short", "closed")
    return kinds[(zlib.crc32(path.encode()) + number) % len(kinds)] if number % 2 == 0 else None


def test_every_log_is_there_whole_once_or_quarantined_with_the_reason(
    store: FaultyStore, home: Home, tmp_path: Path
) -> None:
    for number in range(1, 6):
        store.put(f"fleet/s{number}/a.mcap", write_tiny_log(tmp_path / f"s{number}" / "a.mcap", number))
    store.put("fleet/s1/again.mcap", tmp_path / "s1" / "a.mcap")
    store.plan = lambda path, number: "503" if path.endswith("s5/a.mcap") else _flaky(path, number)
    report = ingest(home, [_PREFIX], patience=_QUICK)
    assert (report.found, report.duplicates, report.ingested) == (6, 1, 4)
    (lost,) = report.quarantined
    assert lost.path == f"{_PREFIX}/s5/a.mcap"
    assert "SlowDown" in lost.reason
    assert seen_rows(home) == {f"v_s{number}": (ROWS, ROWS, ROWS) for number in range(1, 5)}
    with Lake.open(home) as lake:
        assert [item.uri for item in lake.catalog.unfetched()] == [lost.path]
        told = lake.query("SELECT paths, reason FROM quarantine").table
        assert told["paths"].to_pylist() == [[lost.path]]
        assert lake.drives()[0].files[0].paths == (f"{_PREFIX}/s1/a.mcap", f"{_PREFIX}/s1/again.mcap")
    assert list(home.scratch.iterdir()) == []
    store.plan = lambda path, number: None
    store.gets.clear()
    again = ingest(home, [_PREFIX], patience=_QUICK)
    assert (again.ingested, again.skipped, again.quarantined) == (1, 4, ())
    assert set(store.gets) == {f"/{BUCKET}", f"/{BUCKET}/fleet/s5/a.mcap"}, "what is known is not fetched again"
    assert seen_rows(home) == {f"v_s{number}": (ROWS, ROWS, ROWS) for number in range(1, 6)}
    assert check(home, digests=True).found.findings == ()


def test_what_could_not_be_fetched_and_is_deleted_is_listed_no_longer(
    store: FaultyStore, home: Home, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        store.put(f"fleet/s{number}/a.mcap", write_tiny_log(tmp_path / f"s{number}" / "a.mcap", number))
    store.plan = lambda path, number: "503" if path.endswith(("s2/a.mcap", "s3/a.mcap")) else None
    ingest(home, [_PREFIX], patience=_QUICK)
    store.client.delete_object(Bucket=BUCKET, Key="fleet/s2/a.mcap")  # type: ignore[attr-defined] # boto3 has no types
    ingest(home, [f"{_PREFIX}/s1"], patience=_QUICK)
    with Lake.open(home) as lake:
        assert [item.uri for item in lake.catalog.unfetched()] == [f"{_PREFIX}/s{n}/a.mcap" for n in (2, 3)]
        ingest(home, [_PREFIX], patience=_QUICK)
        assert [item.uri for item in lake.catalog.unfetched()] == [f"{_PREFIX}/s3/a.mcap"]

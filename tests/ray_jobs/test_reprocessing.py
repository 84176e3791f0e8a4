"""Reading drives again with a newer reader, with real logs and a real Ray."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from tiny_logs import ROWS, seen_rows, write_tiny_log
from typer.testing import CliRunner

from platform_lib.catalog.model import Quarantined
from platform_lib.errors import ConfigError
from platform_lib.home import Home, open_home
from platform_lib.lake.lake import Lake
from ray_jobs.commands.quarantine import app
from ray_jobs.ingest import ingest, reprocess
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def home(reachable_tmp: Path) -> Home:
    return open_home(reachable_tmp / "home")


@pytest.fixture(autouse=True)
def _servers(home: Home) -> Iterator[None]:
    """One Ray and one PostgreSQL for a test; what it runs joins them."""
    with local_ray(home, cpus=2), Lake.open(home):
        yield


def _grow_old(home: Home, *drives: str) -> None:
    """Say that an older reader gave the rows of these drives."""
    with Lake.open(home) as lake:
        engine = create_engine(lake.store.database_uri)
        with engine.begin() as connection:
            for drive in drives:
                connection.execute(text("UPDATE ingests SET reader_version = '1' WHERE drive_id = :d"), {"d": drive})
        engine.dispose()


def _ids(home: Home) -> dict[str, frozenset[int]]:
    with Lake.open(home) as lake:
        table = lake.query("SELECT DISTINCT drive_id, ingest_id FROM packed_signals").table
    pairs = list(zip(table["drive_id"].to_pylist(), table["ingest_id"].to_pylist(), strict=True))
    return {drive: frozenset(number for name, number in pairs if name == drive) for drive, _ in pairs}


def test_a_drive_that_an_older_reader_gave_is_replaced_in_one_step(home: Home, reachable_tmp: Path) -> None:
    logs = reachable_tmp / "logs"
    for number in range(3):
        write_tiny_log(logs / "s1" / f"{number}.mcap", number + 1)
    write_tiny_log(logs / "s2" / "a.mcap", 9)
    ingest(home, [logs])
    before, rows = _ids(home), seen_rows(home)
    _grow_old(home, "v_s1")
    again = ingest(home, [logs])
    assert (again.ingested, again.skipped, again.outdated) == (0, 4, 3), "an ordinary ingest leaves them, and says so"
    seen: list[dict[str, frozenset[int]]] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            seen.append(_ids(home))

    watcher = threading.Thread(target=watch)
    watcher.start()
    report = reprocess(home)
    ended.set()
    watcher.join()
    assert (report.ingested, report.outdated, report.left) == (3, 0, {})
    after = _ids(home)
    assert before["v_s1"].isdisjoint(after["v_s1"])
    assert before["v_s2"] == after["v_s2"]
    assert {item["v_s1"] for item in seen} <= {before["v_s1"], after["v_s1"]}, "the old or the new, never both or none"
    assert len(seen) > 1
    assert seen_rows(home) == rows == {"v_s1": (3 * ROWS, 3 * ROWS, 3 * ROWS), "v_s2": (ROWS, ROWS, ROWS)}
    assert reprocess(home).ingested == 0


def test_a_drive_that_cannot_be_read_again_as_a_whole_stays_as_it_was(home: Home, reachable_tmp: Path) -> None:
    logs = reachable_tmp / "logs"
    for number in range(2):
        write_tiny_log(logs / "s1" / f"{number}.mcap", number + 1)
        write_tiny_log(logs / "s2" / f"{number}.mcap", number + 3)
    ingest(home, [logs])
    before = _ids(home)
    _grow_old(home, "v_s1", "v_s2")
    moved = reachable_tmp / "elsewhere"
    moved.mkdir()
    shutil.move(logs / "s1" / "1.mcap", moved)
    with pytest.raises(ConfigError, match="no drive"):
        reprocess(home, drives=["v_s3"])
    report = reprocess(home)
    assert list(report.left) == ["v_s1"]
    assert "no longer there" in report.left["v_s1"]
    after = _ids(home)
    assert after["v_s1"] == before["v_s1"]
    assert after["v_s2"].isdisjoint(before["v_s2"])
    named = reprocess(home, [moved])
    assert (named.ingested, named.left) == (2, {})
    assert _ids(home)["v_s1"].isdisjoint(before["v_s1"])


def _quarantine(*arguments: str, home: Home, status: int = 0) -> dict[str, object]:
    result = CliRunner().invoke(app, [*arguments, "--home", str(home.root), "--json"], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return dict(json.loads(result.stdout))


def test_quarantine_is_listed_looked_into_retried_and_released(home: Home, reachable_tmp: Path) -> None:
    logs = reachable_tmp / "logs"
    cut = write_tiny_log(logs / "s1" / "cut.mcap", 1)
    cut.write_bytes(cut.read_bytes()[:-60])
    (logs / "s2").mkdir()
    (logs / "s2" / "noise.mcap").write_bytes(os.urandom(1000))
    ingest(home, [logs])
    listed = _quarantine("list", home=home)["quarantine"]
    assert isinstance(listed, list)
    assert sorted(Path(item["paths"][0]).name for item in listed) == ["cut.mcap", "noise.mcap"]
    shown = _quarantine("show", str(cut), home=home)
    assert shown["kind"] == "CorruptLog"
    assert str(shown["recoverable"]).startswith("takes 100 rows of 2 streams")
    noise = next(item for item in listed if "noise" in item["paths"][0])
    assert str(_quarantine("show", noise["content"][:8], home=home)["recoverable"]).startswith("takes nothing")
    with pytest.raises(ConfigError, match="not in quarantine"):
        _quarantine("show", "0000000000", home=home)
    again = _quarantine("retry", "--all", home=home, status=1)
    assert (again["ingested"], len(again["quarantined"])) == (0, 2)  # type: ignore[arg-type] # JSON
    taken = _quarantine("retry", str(cut), "--recover", home=home)
    assert (taken["ingested"], taken["recovered"]) == (1, [str(cut)])
    assert seen_rows(home)["v_s1"][0] == ROWS
    _quarantine("release", noise["content"][:8], "--note", "a test's noise", home=home)
    assert _quarantine("list", home=home)["quarantine"] == []
    with Lake.open(home) as lake:
        (gone,) = lake.catalog.releases()
        assert (gone.file_sha256, gone.note) == (noise["content"], "a test's noise")
        held: list[Quarantined] = lake.catalog.quarantined()
    assert held == []
    assert len(ingest(home, [logs]).quarantined) == 1, "it was judged anew"

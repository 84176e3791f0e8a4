"""`drivetrain ingest --watch`: what arrives is taken in when it is complete, and Ctrl-C ends it in order."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from accounts import as_nobody
from bags import write_bag
from ingest_reports import tiny_report
from rosbags.rosbag2 import StoragePlugin
from tiny_logs import ROWS, seen_rows, write_tiny_log

from platform_lib.errors import ConfigError
from platform_lib.home import Home, open_home
from platform_lib.lake.bucket import Patience
from platform_lib.lake.lake import Lake
from ray_jobs.arrivals import digest
from ray_jobs.ingest_report import IngestReport, QuarantinedFile
from ray_jobs.mending import check
from ray_jobs.settling import Settling
from ray_jobs.watch import Tale, Watched


def test_a_name_is_given_when_it_has_rested_and_again_when_it_changes() -> None:
    settling = Settling(settle_s=10.0)
    assert settling.look({"a": 1}, 0.0) == []
    assert settling.waiting == 1
    assert settling.look({"a": 2, "b": 1}, 9.0) == []
    assert settling.look({"a": 2, "b": 1}, 18.9) == []
    assert settling.look({"a": 2, "b": 1}, 19.0) == ["a", "b"]
    assert settling.look({"a": 2, "b": 1}, 40.0) == []
    assert settling.waiting == 0
    assert settling.look({"b": 2}, 41.0) == []
    assert settling.look({"a": 2, "b": 2}, 51.0) == ["b"], "a went away and came back: it has to rest again"
    assert settling.look({"a": 2, "b": 2}, 61.0) == ["a"]
    assert settling.look({"a": 2, "c": 1}, 63.0, at_once=frozenset({"c"})) == ["c"]


def test_what_could_not_be_read_is_given_again_ever_later_until_it_changes() -> None:
    settling = Settling(settle_s=1.0, retry_s=5.0)
    settling.look({"a": 1}, 0.0)
    given = []
    for second in range(1, 1000):
        if settling.look({"a": 1}, float(second)):
            given.append(second)
            settling.failed("a", float(second))
        assert settling.waiting == 0, "it holds up no --until-idle"
    assert given == [1, 6, 16, 36, 76, 156, 316, 616, 916]
    assert settling.look({"a": 2}, 1000.0) == []
    assert settling.look({"a": 2}, 1001.0) == ["a"]
    settling.failed("a", 1001.0)
    assert settling.look({"a": 2}, 1006.0) == ["a"], "a change begins anew"
    assert settling.look({"a": 2}, 9000.0) == [], "read at last"
    settling.failed("a", 9000.0)
    assert settling.look({}, 9001.0) == []
    assert settling.look({"a": 2}, 9100.0) == [], "gone and back, it rests first"


def test_what_cannot_be_seen_for_a_while_is_not_given_again() -> None:
    settling = Settling(settle_s=1.0)
    settling.look({"a": 1, "b": 1}, 0.0)
    assert settling.look({"a": 1, "b": 1}, 1.0) == ["a", "b"]
    assert settling.look({"b": 1}, 2.0, unseen={"a"}) == []
    assert settling.look({"a": 1, "b": 1}, 9.0) == []


def _look(watched: Watched) -> list[str]:
    ready = watched.ready()
    return [] if ready is None else [str(path) for path in ready.paths]


def test_a_log_that_gets_its_rights_is_given_again_and_so_is_one_put_in_its_place(tmp_path: Path) -> None:
    log = tmp_path / "a.mcap"
    log.write_bytes(b"1" * 100)
    log.chmod(0o000)
    watched = Watched([tmp_path], Patience(), Settling(0.0, retry_s=1000.0))
    assert _look(watched) == [str(log)]
    watched.again([str(log)])
    assert _look(watched) == []
    time.sleep(0.02)  # a tick of the file system's clock
    log.chmod(0o644)
    assert _look(watched) == [str(log)]
    stat = log.stat()
    other = tmp_path / "b.tmp"
    other.write_bytes(b"2" * 100)
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(log)
    assert _look(watched) == [str(log)], "same name, length and modification time, and another content"
    assert _look(watched) == []


def test_a_source_that_goes_away_holds_up_no_other_and_nothing_of_it_is_given_twice(tmp_path: Path) -> None:
    for name in ("one/a.mcap", "two/b.mcap"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(name.encode())
    watched = Watched([tmp_path / "one", tmp_path / "two"], Patience(), Settling(0.0))
    assert len(_look(watched)) == 2
    (tmp_path / "one").rename(tmp_path / "away")
    (tmp_path / "two" / "c.mcap").write_bytes(b"c")
    assert _look(watched) == [str(tmp_path / "two/c.mcap")]
    (tmp_path / "away").rename(tmp_path / "one")
    assert _look(watched) == []
    with pytest.raises(ConfigError, match="no such"):
        Watched([tmp_path / "three"], Patience(), Settling(0.0)).ready()


def test_what_leads_nowhere_and_what_is_closed_is_told_once_until_that_changes(reachable_tmp: Path) -> None:
    logs = reachable_tmp / "logs"
    (logs / "closed").mkdir(parents=True)
    write_tiny_log(logs / "closed" / "a.mcap", 1)
    (logs / "closed").chmod(0o000)
    (logs / "gone.mcap").symlink_to(logs / "nowhere")
    with as_nobody(logs):
        watched = Watched([logs], Patience(), Settling(0.0, retry_s=1000.0))
        ready = watched.ready()
        assert ready is not None
        contents, unreadable = digest(ready.paths, 1)
        assert contents == []
        assert {Path(item.path).name: item.reason for item in unreadable} == {
            "closed": "it cannot be read: Permission denied",
            "gone.mcap": "it cannot be read: No such file or directory",
        }
        watched.again([item.path for item in unreadable])
        assert _look(watched) == []
        (logs / "closed").chmod(0o755)
        assert _look(watched) == [str(logs / "closed" / "a.mcap")]


def test_a_round_that_brings_nothing_new_is_not_told() -> None:
    told: list[IngestReport] = []
    tale = Tale(told.append)
    held = QuarantinedFile("/l/a.mcap", "OSError", "it cannot be read: Permission denied", None)
    for reason in (held.reason, held.reason, "it cannot be read: Input/output error"):
        tale.add(tiny_report(quarantined=(replace(held, reason=reason),), unreadable=(held.path,)))
    refused = replace(held, kind="CorruptLog")
    tale.add(tiny_report(quarantined=(refused,)))
    tale.add(tiny_report(quarantined=(refused,)))
    assert len(told) == 4
    assert (tale.report(0, 1.0).quarantined, tale.report(0, 1.0).rounds) == (4, 4)


def _wait_for(what: Callable[[], bool], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)


def _drives(home: Home) -> set[str]:
    with Lake.open(home) as lake:
        return {item.drive_id for item in lake.drives()}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_logs_that_arrive_are_taken_when_their_copy_is_complete(reachable_tmp: Path) -> None:
    home, logs = open_home(reachable_tmp / "home"), reachable_tmp / "logs"
    write_tiny_log(logs / "s1" / "a.mcap", 1)
    whole = write_tiny_log(reachable_tmp / "s2" / "b.mcap", 2).read_bytes()
    told = reachable_tmp / "told.txt"
    arguments = ["ingest", "--watch", str(logs), "--home", str(home.root), "--json", "--poll", "0.2", "--settle", "2"]
    command = [sys.executable, "-m", "platform_lib.cli", *arguments, "--jobs", "1"]
    with told.open("w") as stderr:
        watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        try:
            _wait_for(lambda: "1 taken in" in told.read_text())
            copy = logs / "s2" / "b.mcap"
            copy.parent.mkdir()
            with copy.open("wb") as stream:
                for start in range(0, len(whole), len(whole) // 8):
                    stream.write(whole[start : start + len(whole) // 8])
                    stream.flush()
                    os.fsync(stream.fileno())
                    time.sleep(0.3)
            _wait_for(lambda: told.read_text().count("1 taken in") == 2)
            bag = write_bag(reachable_tmp / "made" / "bag", StoragePlugin.SQLITE3)
            (logs / "bag").mkdir()
            shutil.copy(bag / "bag.db3", logs / "bag")  # its metadata.yaml comes late, as from a recorder
            (logs / "s2" / "cut.mcap").write_bytes(whole[: len(whole) // 2])
            _wait_for(lambda: told.read_text().count("1 taken in") == 3 and "cut.mcap" in told.read_text())
            shutil.copy(bag / "metadata.yaml", logs / "bag")
            write_tiny_log(reachable_tmp / "s3" / "b.mcap", 3).replace(logs / "s2" / "cut.mcap")
            _wait_for(lambda: "completed" in told.read_text() and "v_s3" in _drives(home))
        finally:
            watching.send_signal(signal.SIGTERM)
            output, _ = watching.communicate(timeout=120)
    assert watching.returncode == 128 + signal.SIGTERM, told.read_text()
    report = json.loads(output)
    assert (report["ingested"], report["quarantined"], report["interrupted"]) == (5, 1, False)
    assert not (home.postgres / "data" / "postmaster.pid").exists()
    assert list(home.short.glob("r*")) == []
    with Lake.open(home):
        rows = dict.fromkeys(("v_s1", "v_s2", "v_s3"), (ROWS, ROWS, ROWS))
        assert seen_rows(home) == rows | {"bag": (20, 11, 0)}, "the bag's ten numbers and ten texts, once"
        assert check(home).clean
        with Lake.open(home) as lake:
            assert lake.catalog.quarantined() == []
            assert "cut.mcap" in lake.catalog.releases()[0].note

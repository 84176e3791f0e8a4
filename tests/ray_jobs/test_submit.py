"""Jobs on a real local cluster of two node processes, through Ray's Jobs API behind a token."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from platform_lib.errors import HomeError
from platform_lib.home import Home, open_home
from ray_jobs.job_log import LogCopy, lines_of
from ray_jobs.job_records import State, job_folders, read_job
from ray_jobs.local_cluster import cluster_file, jobs_client, living_cluster

ROOT = Path(__file__).resolve().parents[2]


def test_a_log_is_brought_once_whatever_restarts_and_read_to_its_end(tmp_path: Path):
    session, folder = tmp_path / "session", tmp_path / "job"
    (session / "logs").mkdir(parents=True)
    folder.mkdir()
    source = session / "logs" / "job-driver-x-1.log"
    source.write_text("one\ntw")
    copy = LogCopy(folder, session, "x-1")
    copy.bring()
    source.write_text("one\ntwo\nthree")
    LogCopy(folder, session, "x-1").bring()  # another keeper goes on where the first was
    (session / "logs" / "worker-1-0200-99.err").write_text("said by a worker\n")
    LogCopy(folder, session, "x-1").finish("0200")
    assert list(lines_of(folder, follow=True, over=lambda: True)) == ["one", "two", "three"]
    assert (folder / "workers" / "worker-1-0200-99.err").read_text() == "said by a worker\n"


def drivetrain(home: Home, *arguments: str) -> dict[str, object]:
    command = [sys.executable, "-W", "ignore", "-m", "platform_lib.cli", *arguments, "--home", str(home.root), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment())
    found: dict[str, object] = json.loads(done.stdout)
    return found


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(ROOT / place) for place in ("tests/builders", "docs/examples", "")),
    }


def test_nothing_is_launched_before_the_price_is_accepted(tmp_path: Path):
    home = open_home(tmp_path / "home")
    told = drivetrain(home, "submit", "train", "slow_training:slow", "--run", "r")
    assert "the price is to be accepted" in str(told["error"])
    assert job_folders(home) == []
    assert living_cluster(home) is None
    told = drivetrain(home, "submit", "train", "slow_training:slow", "--run", "r", "--dataset", "x", "--yes")
    assert "brings its own data" in str(told["error"])
    told = drivetrain(home, "submit", "train", "planner_tiny", "--run", "r", "--dataset", "x", "--yes")
    assert "no dataset 'x'" in str(told["error"])


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_submit_sleep_cancel_resume_and_read_the_log_when_the_cluster_is_gone(reachable_tmp: Path):
    home = open_home(reachable_tmp / "home")
    try:
        told = drivetrain(home, "submit", "train", "slow_training:slow", "--run", "r", "--nodes", "2", "--yes")
        job = str(told["job"])
        assert told["price"] == {"where": "this machine", "usd_per_hour": None}
        _check_token(home)
        _await(lambda: (home.runs / "r" / "curve.jsonl").exists())
        assert drivetrain(home, "jobs", "cancel", job)["job"] == job
        _await(lambda: read_job(job_folders(home)[0])[1].state is State.STOPPED)
        assert drivetrain(home, "jobs", "resume", "r")["attempts"] == 2
        lines = drivetrain(home, "jobs", "logs", "--follow", job)["lines"]
        assert any("slow" in str(line) for line in lines)  # type: ignore[attr-defined]  # a list
    finally:
        drivetrain(home, "jobs", "stop-cluster")
    assert living_cluster(home) is None
    assert list(home.short.glob("r*")) == []
    (line,) = drivetrain(home, "jobs", "list")["jobs"]  # type: ignore[misc]  # a list
    assert (line["state"], line["epochs"], line["attempts"]) == ("succeeded", 4, 2)
    assert drivetrain(home, "jobs", "logs", job)["lines"] == lines
    events = [json.loads(text)["event"] for text in (home.runs / "r" / "events.jsonl").read_text().splitlines()]
    assert "resumed" in events


def _check_token(home: Home) -> None:
    """Two nodes, each of which and the Jobs API ask for the token that only this user can read."""
    cluster = living_cluster(home)
    assert cluster is not None
    assert cluster.file.nodes == 2
    assert stat.S_IMODE(cluster_file(home).stat().st_mode) == 0o600
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{cluster.file.address}/api/jobs/", timeout=30)  # noqa: S310 - loopback
    with pytest.raises(HomeError):
        jobs_client(cluster.file.address, "0" * 64).list_jobs()


def _await(ready: object, longest_s: float = 600.0) -> None:
    deadline = time.monotonic() + longest_s
    while not ready():  # type: ignore[operator]  # a function
        assert time.monotonic() < deadline
        time.sleep(0.1)

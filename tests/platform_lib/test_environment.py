"""What other programs' variables may not do to the parts that a command starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from platform_lib.environment import leave_out_foreign

FOREIGN = {"RAY_ADDRESS": "ray://x", "RAY_raylet_start_wait_time_s": "x", "PYTHONOPTIMIZE": "2"}
LIBPQ = {"PGSERVICE": "nope", "PGHOSTADDR": "127.0.0.1", "PGOPTIONS": "-c foo=bar", "PGTZ": "bogus", "PGPASSWORD": "x"}
KEPT = {
    "PATH": "/bin",
    "DRIVETRAIN_HOME": "/h",
    "AWS_PROFILE": "p",
    "PGX": "1",
    "PYTHONPATH": "/p",
    "OMP_NUM_THREADS": "2",
}


def test_a_job_of_a_cluster_keeps_that_clusters_variables() -> None:
    left = {**FOREIGN, "DRIVETRAIN_JOB": "run-1"}
    assert leave_out_foreign(left, own_server=True) == ["PYTHONOPTIMIZE"]
    assert left["RAY_ADDRESS"] == FOREIGN["RAY_ADDRESS"]


def test_only_what_is_foreign_goes() -> None:
    environment = {**FOREIGN, **LIBPQ, **KEPT}
    del environment["PGX"]
    left = dict(environment)
    assert sorted(leave_out_foreign(left, own_server=True)) == sorted([*FOREIGN, *LIBPQ])
    assert left == {name: KEPT[name] for name in KEPT if name != "PGX"}
    for_another = dict(environment)
    leave_out_foreign(for_another, own_server=False)
    assert LIBPQ.items() <= for_another.items()


@pytest.mark.parametrize(("value", "stays"), [("1", True), ("4,2", True), ("abc", False), ("0", False), ("", False)])
def test_a_number_of_threads_that_is_none_goes(value: str, stays: bool) -> None:
    environment = {"OMP_NUM_THREADS": value}
    leave_out_foreign(environment, own_server=True)
    assert ("OMP_NUM_THREADS" in environment) == stays


@pytest.mark.slow
def test_a_command_on_the_lake_works_whatever_they_say(reachable_tmp: Path) -> None:
    odd = {**os.environ, **FOREIGN, **LIBPQ, "OMP_NUM_THREADS": "abc"}
    sources = str(Path(__file__).parents[1] / "builders")
    write = (
        f"import sys; sys.path.insert(0, {sources!r}); from tiny_logs import write_tiny_log; from pathlib import Path; "
    )
    subprocess.run(
        [sys.executable, "-c", write + f"write_tiny_log(Path({str(reachable_tmp / 'a.mcap')!r}), 1)"], check=True
    )
    home = str(reachable_tmp / "home")
    for arguments in (["ingest", str(reachable_tmp / "a.mcap")], ["drives"]):
        command = [sys.executable, "-m", "platform_lib.cli", *arguments, "--home", home, "--json"]
        done = subprocess.run(command, env=odd, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

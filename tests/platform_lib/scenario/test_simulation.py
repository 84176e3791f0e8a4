"""Simulating a fleet: published whole, skipped when done, refused over something else."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from platform_lib.errors import ConfigError, HomeBusyError
from platform_lib.scenario import simulation
from platform_lib.scenario.simulation import simulate_fleet
from platform_lib.storage import sha256_tree


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> simulation.Simulated:
    return simulate_fleet(
        tmp_path_factory.mktemp("fleet") / "drives", drives=2, seed=7, duration_s=2.0, broken=True, jobs=1
    )


def test_what_is_written(first: simulation.Simulated) -> None:
    names = first.manifest.metrics["names"]
    assert isinstance(names, list)
    assert len(names) == 2
    found = sorted(path.name for path in first.out.iterdir() if not path.name.startswith("."))
    assert found == sorted([*map(str, names), "broken", "vehicle.dbc"])
    assert sorted(path.name for path in first.truth.glob("*.parquet")) == [
        f"{name}.parquet" for name in sorted(map(str, names))
    ]
    assert not list(first.out.rglob("*.parquet"))
    assert first.manifest.kind == "drives"
    assert list(first.out.parent.glob(".tmp-*")) == []


def test_a_finished_artefact_is_skipped_and_a_changed_one_is_not(first: simulation.Simulated, tmp_path: Path) -> None:
    again = simulate_fleet(first.out, drives=2, seed=7, duration_s=2.0, broken=True)
    assert again.skipped
    assert again.manifest == first.manifest
    out = tmp_path / "drives"
    done = simulate_fleet(out, drives=1, seed=7, duration_s=2.0, jobs=1)
    assert not done.skipped
    (out / "vehicle.dbc").write_text("changed")
    mended = simulate_fleet(out, drives=1, seed=7, duration_s=2.0, jobs=1)
    assert not mended.skipped
    assert mended.manifest.outputs == done.manifest.outputs


@pytest.mark.slow
def test_neither_processes_nor_place_change_the_bytes(first: simulation.Simulated, tmp_path: Path) -> None:
    other = simulate_fleet(tmp_path / "elsewhere", drives=2, seed=7, duration_s=2.0, broken=True, jobs=2)
    assert sha256_tree(other.out) == sha256_tree(first.out)
    assert sha256_tree(other.truth) == sha256_tree(first.truth)


@pytest.mark.parametrize("suffix", ["", ".truth"])
def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path, suffix: str) -> None:
    foreign = tmp_path / f"drives{suffix}"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="did not write"):
        simulate_fleet(tmp_path / "drives", drives=1, seed=7, duration_s=2.0, jobs=1)
    assert (foreign / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("wrong", [{"drives": 0}, {"drives": -1}, {"seed": -1}, {"jobs": 0}, {"drives": 10**9}])
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, int]) -> None:
    numbers = {"drives": 1, "seed": 7, "jobs": 1} | wrong
    with pytest.raises(ConfigError):
        simulate_fleet(tmp_path / "drives", **numbers)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "drives").write_text("")
    with pytest.raises(ConfigError, match="not a folder"):
        simulate_fleet(tmp_path / "drives", drives=1, seed=7)


def test_two_at_once_do_not_mix(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(HomeBusyError):
            simulate_fleet(tmp_path / "drives", drives=1, seed=7)
    finally:
        os.close(descriptor)


@pytest.mark.slow
def test_a_kill_leaves_nothing_behind_that_counts(tmp_path: Path, first: simulation.Simulated) -> None:
    out = tmp_path / "drives"
    command = [sys.executable, "-m", "platform_lib.cli", "simulate", "--out", str(out), "--drives", "40", "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".tmp-*/dt-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=20)
    _, alive = psutil.wait_procs(children, timeout=20)
    # A child that nobody reaps in a container is dead all the same.
    assert [item for item in alive if item.status() != psutil.STATUS_ZOMBIE] == []
    assert not out.exists()
    stranger = tmp_path / ".tmp-0123456789ab-other"
    stranger.mkdir()
    simulate_fleet(out, drives=2, seed=7, duration_s=2.0, broken=True, jobs=1)
    assert sha256_tree(out) == sha256_tree(first.out)
    assert [path.name for path in tmp_path.glob(".tmp-*")] == [stranger.name]


@pytest.mark.slow
def test_the_command_prints_one_document(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "platform_lib.cli",
        "simulate",
        "--out",
        str(tmp_path / "d"),
        "--drives",
        "1",
        "--json",
    ]
    written = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)
    assert (written["skipped"], written["drives"]) == (False, 1)
    assert json.loads(subprocess.run(command, check=True, capture_output=True, timeout=120).stdout)["skipped"] is True
    command[command.index("1")] = "0"
    refused = subprocess.run(command, check=False, capture_output=True, timeout=120)
    assert refused.returncode == 1
    assert "error" in json.loads(refused.stdout)

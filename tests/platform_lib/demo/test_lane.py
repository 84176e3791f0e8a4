"""Stages beside others: in order within their lane, told in their turn, ended with the demo."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from platform_lib.demo.runner import run_stage
from platform_lib.demo.stage_process import StageError, lane
from platform_lib.demo.stages import Stage


def stage(name: str, *argv: str, tmp_path: Path) -> Stage:
    return Stage(title=name, argv=argv, writes=tmp_path / name, why="to see")


def simulate(name: str, *, drives: int, tmp_path: Path) -> Stage:
    return stage(name, "simulate", "--out", str(tmp_path / name), "--drives", str(drives), tmp_path=tmp_path)


@pytest.mark.slow
def test_a_lane_runs_in_order_beside_the_caller_and_is_told_in_its_turn(tmp_path, capfd):
    first, second = simulate("one", drives=1, tmp_path=tmp_path), simulate("two", drives=1, tmp_path=tmp_path)
    with lane(tmp_path / "lane") as beside:
        begun = beside.begin([first, second])
        run_stage(stage("front", "doctor", tmp_path=tmp_path), number=1, total=3)
        told_before = capfd.readouterr().err
        outcomes = [
            run_stage(item, number=number, total=3, begun=begun[item.writes])
            for number, item in enumerate((first, second), start=2)
        ]
    told = capfd.readouterr().err
    assert "simulating" not in told_before
    assert told.index("2/3") < told.index("simulating 1/1") < told.index("3/3")
    assert told.count("beside the stages above") == 2
    assert [outcome.result["drives"] for outcome in outcomes] == [1, 1]
    assert (tmp_path / "one").stat().st_mtime_ns < (tmp_path / "two").stat().st_mtime_ns
    assert not (tmp_path / "lane").exists()


def test_a_failure_is_told_in_its_turn_and_what_needs_it_does_not_begin(tmp_path):
    broken = stage("broken", "verify", str(tmp_path / "no-bundle"), tmp_path=tmp_path)
    after = simulate("after", drives=1, tmp_path=tmp_path)
    with lane(tmp_path / "lane") as beside:
        begun = beside.begin([broken, after])
        with pytest.raises(StageError, match="bundle"):
            run_stage(broken, number=1, total=2, begun=begun[broken.writes])
        with pytest.raises(StageError, match="the stage before it failed"):
            run_stage(after, number=2, total=2, begun=begun[after.writes])
    assert not after.writes.exists()


def test_what_still_runs_ends_with_the_block(tmp_path):
    ours = psutil.Process()
    before = {child.pid for child in ours.children()}
    running: list[psutil.Process] = []

    def fail_in_front() -> None:
        stages = [simulate("long", drives=400, tmp_path=tmp_path), simulate("next", drives=1, tmp_path=tmp_path)]
        with lane(tmp_path / "lane") as beside:
            beside.begin(stages)
            while not running:
                running.extend(item for item in ours.children() if item.pid not in before)
                time.sleep(0.05)
            raise RuntimeError("the front fails")

    with pytest.raises(RuntimeError, match="the front fails"):
        fail_in_front()
    _, alive = psutil.wait_procs(running, timeout=30)
    assert alive == []
    assert not (tmp_path / "next").exists()


def test_a_temporary_folder_too_deep_for_sockets_is_refused_before_the_first_stage(tmp_path):
    deep = tmp_path / ("deep" * 15)
    deep.mkdir()
    command = [sys.executable, "-m", "platform_lib.cli", "demo", "--drives", "12", "--home", str(tmp_path / "home")]
    done = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(deep)}, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "too long for sockets" in done.stderr
    assert "TMPDIR" in done.stderr
    assert not (tmp_path / "home" / "drives").exists()

"""A stage's refusal, crash or kill reaches the person with the command to run alone; nothing is swallowed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import handoff_sources as sources
import psutil
import pytest

from platform_lib.demo.runner import _was_skipped, run_stage
from platform_lib.demo.stage_process import StageError
from platform_lib.demo.stages import Stage


def stage(*argv: str, tmp_path: Path) -> Stage:
    return Stage(title="a stage", argv=argv, writes=tmp_path / "out", why="to see")


def test_a_refusal_keeps_what_where_and_remedy(tmp_path):
    with pytest.raises(StageError) as caught:
        run_stage(stage("verify", str(tmp_path / "no-bundle"), tmp_path=tmp_path), number=1, total=1)
    assert "drivetrain verify" in str(caught.value.where)
    assert str(tmp_path / "no-bundle") in str(caught.value.where)


def test_a_usage_error_says_which_command_to_run_alone(tmp_path):
    with pytest.raises(StageError, match="No such option"):
        run_stage(stage("verify", "--no-such-option", tmp_path=tmp_path), number=1, total=1)


def test_the_outcome_carries_the_commands_document(tmp_path):
    outcome = run_stage(stage("doctor", tmp_path=tmp_path), number=1, total=1)
    assert outcome.command == "drivetrain doctor"
    assert outcome.result
    assert outcome.seconds > 0


PARENT = """
import sys
from pathlib import Path
from platform_lib.demo.runner import run_stage
from platform_lib.demo.stages import Stage
out = sys.argv[1]
run_stage(Stage("long", ("simulate", "--out", out, "--drives", "400"), Path(out), "w"), number=1, total=1)
"""


def test_a_stage_ends_when_the_demo_is_killed(tmp_path):
    demo = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path / "drives")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not (stages := psutil.Process(demo.pid).children()) or not stages[0].children():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    family = [stages[0], *stages[0].children(recursive=True)]
    demo.send_signal(signal.SIGKILL)
    demo.wait()
    _, alive = psutil.wait_procs(family, timeout=30)
    assert [process.pid for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


@pytest.mark.parametrize(
    ("result", "skipped"),
    [
        ({"skipped": True}, True),
        ({"skipped": False}, False),
        ({}, False),
        ({"skipped": 12, "ingested": 0}, True),
        ({"skipped": 12, "ingested": 1}, False),
        ({"skipped": 0, "ingested": 0}, False),
    ],
)
def test_work_found_done_is_told_from_work_done(result, skipped):
    assert _was_skipped(result) is skipped


def test_a_gate_that_rejects_is_an_outcome_and_one_that_cannot_judge_is_not(tmp_path):
    places = sources.write_sources(tmp_path)
    strict = tmp_path / "strict.yaml"
    written = sources.DEFAULT_THRESHOLDS.read_text()
    strict.write_text(written.replace("max_ade_increase_m: 0.10", "max_ade_increase_m: 0.01"))

    def judged_by(thresholds: Path):
        evidence = ("--evaluation", places.evaluation, "--compressed-evaluation", places.compressed)
        folders = ("--compile", places.compiled, "--dataset", places.dataset, "--out", places.gates)
        argv = ("gate", *map(str, (*evidence, *folders)), "--thresholds", str(thresholds))
        return run_stage(stage(*argv, tmp_path=tmp_path), number=1, total=1)

    assert judged_by(strict).rejected
    assert not judged_by(sources.DEFAULT_THRESHOLDS).rejected
    strict.write_text("nonsense: 1")
    with pytest.raises(StageError):
        judged_by(strict)

"""What a run writes about itself: cut back to where it resumes; and how often it may begin anew."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from platform_lib.models.divergence import DivergedError
from platform_lib.models.fitting import EpochRecord, StepRecord
from ray_jobs.attempts import TrainingError, begin_attempt, clear_attempts, stop_for_good, stopped_by
from ray_jobs.hang_guard import HangGuard, take_stacks
from ray_jobs.interruption import SAVE_NOW
from ray_jobs.training_journal import Journal, read_lines


def journal(run: Path, rank: int = 0) -> Journal:
    guard = HangGuard(run, rank=rank, limit_s=0)
    return Journal(run, rank=rank, guard=guard, begun=lambda step: None, report=lambda record: None)


def test_steps_are_cut_back_to_where_it_resumes_also_in_the_middle_of_a_line(tmp_path: Path):
    one = journal(tmp_path)
    one.resumed(0, ())
    for step in range(1, 6):
        one.stepped(StepRecord(step, 0.5, "x"))
    one.close()
    with (tmp_path / "steps.jsonl").open("a") as stream:
        stream.write('{"step": 6, "lo')
    assert len(read_lines(tmp_path / "steps.jsonl")) == 5
    other = journal(tmp_path)
    other.resumed(3, ("checkpoint x was passed over: cut",))
    other.stepped(StepRecord(4, 0.25, "y"))
    other.close()
    assert [line["loss"] for line in read_lines(tmp_path / "steps.jsonl")] == [0.5, 0.5, 0.5, 0.25]
    assert [event["event"] for event in read_lines(tmp_path / "events.jsonl")] == ["checkpoint-passed-over", "resumed"]


def test_only_rank_0_writes(tmp_path: Path):
    other = journal(tmp_path, rank=1)
    other.resumed(2, ("x",))
    other.stepped(StepRecord(3, 0.5, "x"))
    other.epoch_ended(EpochRecord(1, 3, 0.5, {}, "", 0.1), [])
    other.close()
    assert list(tmp_path.iterdir()) == []


def test_a_state_is_wanted_until_it_is_saved(tmp_path: Path):
    one = journal(tmp_path)
    one.resumed(0, ())
    assert not one.state_wanted()
    (tmp_path / SAVE_NOW).touch()
    assert one.state_wanted()
    one.saved(1)
    assert not one.state_wanted()
    one.close()


def test_it_may_begin_anew_while_it_gets_on_and_three_times_at_one_step(tmp_path: Path):
    for step in (0, 0, 5, 5, 5):
        begin_attempt(tmp_path, step)
    with pytest.raises(TrainingError, match="ended 3 times after step 5"):
        begin_attempt(tmp_path, 5)
    clear_attempts(tmp_path)
    begin_attempt(tmp_path, 5)


def test_the_error_that_stops_a_run_is_raised_as_it_was(tmp_path: Path):
    assert stopped_by(tmp_path) is None
    stop_for_good(tmp_path, DivergedError("step 3", where="training", remedy="lower"))
    found = stopped_by(tmp_path)
    assert isinstance(found, DivergedError)
    assert (found.what, found.remedy) == ("step 3", "lower")


HANGS = """
import sys, time
from pathlib import Path
from ray_jobs.hang_guard import HangGuard
guard = HangGuard(Path(sys.argv[1]), rank=1, limit_s=float(sys.argv[2]))
def stuck():
    time.sleep(60)
for step in range(3):
    guard.beat(step)
    time.sleep(0.01)
if sys.argv[3] == "hang":
    stuck()
guard.stop()
"""


@pytest.mark.parametrize("how", ["hang", "go on"])
def test_a_process_that_hangs_ends_and_leaves_its_stacks(tmp_path: Path, how: str):
    command = [sys.executable, "-c", HANGS, str(tmp_path), "2", how]
    done = subprocess.run(command, check=False, timeout=60, cwd=Path(__file__).resolve().parents[2])
    if how == "hang":
        assert done.returncode != 0
        (found,) = take_stacks(tmp_path)
        assert "in stuck" in found.read_text()
        assert take_stacks(tmp_path) == []
    else:
        assert done.returncode == 0
        assert list(tmp_path.iterdir()) == []


def test_lines_are_json(tmp_path: Path):
    one = journal(tmp_path)
    one.resumed(0, ())
    one.epoch_ended(record := EpochRecord(1, 3, 0.5, {"val_error_m": 0.25}, "abc", 0.1), [record])
    one.close()
    assert json.loads((tmp_path / "curve.jsonl").read_text()) == {
        "epoch": 1,
        "step": 3,
        "train_loss": 0.5,
        "val_error_m": 0.25,
        "order_sha256": "abc",
        "seconds": 0.1,
    }

"""Training under faults, as real processes: whatever dies and at whichever step, the result is that of an undisturbed run.

One run: a training whose steps take a tenth of a second, and kill -9 of its worker, of the process that drives Ray, of Ray's
head, or of the command itself, at random steps. Then every step's loss and the order of samples up to it, the curve and the
weights are compared bit by bit with a fit that never saw Ray, and what each kill cost is counted.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from slow_training import STEPS, slow

from platform_lib.datasets.shuffle import Part
from platform_lib.home import Home, open_home
from platform_lib.models.checkpoint import torch_bytes
from platform_lib.models.fitting import Fit, Silent, StepRecord, seeded
from ray_jobs.training_journal import read_lines

pytestmark = pytest.mark.slow
_BUILDERS = Path(__file__).resolve().parents[1] / "builders"
_EVERY_STEPS = 5
_LONGEST_S = 600.0
_TARGETS = ("worker", "driver", "head", "command")


class _Heard(Silent):
    def __init__(self) -> None:
        self.steps: list[StepRecord] = []

    def stepped(self, record: StepRecord) -> None:
        self.steps.append(record)


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[list[dict[str, object]], list[dict[str, object]], bytes]:
    """Steps, curve and weights of a fit in this very process."""
    config = slow()
    seeded(config.fit)
    learner = config.planner.learner(None)
    learner._config = type(learner._config)(hidden=learner._config.hidden)  # without the pause
    batches = config.source.batches(batch=config.fit.batch, seed=config.fit.seed, part=Part())
    done, heard = Fit(learner, config.fit, train=batches, folder=tmp_path_factory.mktemp("fit"), identity=""), _Heard()
    done.run(heard)
    steps = [{"step": s.step, "loss": s.loss, "order_sha256": s.order_sha256} for s in heard.steps]
    return steps, [_timeless(record.line()) for record in done.records], torch_bytes(done.network.state_dict())


def _timeless(line: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in line.items() if name != "seconds"}


@pytest.fixture
def home(reachable_tmp: Path) -> Home:
    return open_home(reachable_tmp / "home")


def start(home: Home, recipe: str, *options: str) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-W", "ignore", "-m", "platform_lib.cli", "train", f"slow_training:{recipe}", "--run", "r"),
        *("--home", str(home.root), "--json", *options),
    ]
    places = [_BUILDERS, _BUILDERS.parents[1] / "docs" / "examples", Path.cwd()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def _steps(run: Path) -> int:
    try:
        return (run / "steps.jsonl").read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def _victims(target: str, command: psutil.Process, home: Home) -> list[psutil.Process]:
    if target == "command":
        return [command]
    if target == "driver":
        return [child for child in command.children() if child.name().startswith("python")]
    below = command.children(recursive=True)
    if target == "head":
        return [child for child in below if child.name() == "gcs_server"]
    return [child for child in below if "RayTrainWorker" in _title(child)]


def _title(process: psutil.Process) -> str:
    """Return a process's command; Ray retitles its workers, and some end while they are looked at."""
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""


def _await_step(step: int, command: subprocess.Popen[str], home: Home) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while _steps(home.runs / "r") < step:
        assert command.poll() is None, f"it ended before step {step}"
        assert time.monotonic() < deadline, f"step {step} was not reached"
        time.sleep(0.01)


def _signal_at(step: int, target: str, command: subprocess.Popen[str], home: Home, number: signal.Signals) -> int:
    """Send a signal when so many steps are taken; return how many there were."""
    _await_step(step, command, home)
    victims = _victims(target, psutil.Process(command.pid), home)
    assert victims
    there = _steps(home.runs / "r")
    for victim in victims:
        victim.send_signal(number)
    return there


def _kill_at(step: int, target: str, command: subprocess.Popen[str], home: Home) -> int | None:
    """Kill when so many steps are taken; return how many there were, or None where the run ended before."""
    run, deadline = home.runs / "r", time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline:
        if command.poll() is not None:
            return None
        if _steps(run) >= step:
            for victim in _victims(target, psutil.Process(command.pid), home):
                victim.kill()
                return _steps(run)
        time.sleep(0.01)
    raise AssertionError(f"step {step} was not reached")


def _series(home: Home, kills: list[tuple[str, int]], undisturbed: tuple[object, ...]) -> int:
    """Train under kills; return how many of them hit a training that was at work."""
    run, hit = home.runs / "r", 0
    options = ("--checkpoint-every-steps", str(_EVERY_STEPS), "--hang-s", "0")
    command = start(home, "slow", *options)
    for target, ahead in kills:
        before = len(read_lines(run / "events.jsonl"))
        there = _kill_at(min(_steps(run) + ahead, STEPS - 3), target, command, home)
        if there is None:
            break
        hit += 1
        if target == "command":
            command.communicate(timeout=_LONGEST_S)
            command = start(home, "slow", *options)
        resumed = _await_resumption(run, before, command)
        assert there - resumed <= _EVERY_STEPS, f"a kill of the {target} at step {there} cost more than an interval"
    printed, errors = command.communicate(timeout=_LONGEST_S)
    assert command.returncode == 0, printed + errors
    steps, curve, weights = undisturbed
    assert read_lines(run / "steps.jsonl") == steps
    assert [_timeless(line) for line in read_lines(run / "curve.jsonl")] == curve
    assert torch_bytes(torch.load(run / "weights.pt", weights_only=True)["state"]) == weights
    assert json.loads(printed)["metrics"]["interruptions"] >= hit
    return hit


def _await_resumption(run: Path, before: int, command: subprocess.Popen[str]) -> int:
    """Return the step that training went on after; 0 where it began anew."""
    deadline = time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline:
        told = [event for event in read_lines(run / "events.jsonl")[before:] if event["event"] == "resumed"]
        if told:
            return int(str(told[-1]["step"]))
        if command.poll() is not None:
            return STEPS
        time.sleep(0.02)
    raise AssertionError("training did not go on")


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_worker_driver_and_head_killed_in_one_run_and_nothing_is_different(home, undisturbed):
    assert _series(home, [("worker", 8), ("head", 9), ("driver", 9)], undisturbed) == 3
    events = [event["event"] for event in read_lines(home.runs / "r" / "events.jsonl")]
    assert events.count("driver-lost") == 2


def _whole(home: Home, command: subprocess.Popen[str], undisturbed: tuple[object, ...]) -> None:
    printed, errors = command.communicate(timeout=_LONGEST_S)
    assert command.returncode == 0, printed + errors
    steps, curve, weights = undisturbed
    run = home.runs / "r"
    assert read_lines(run / "steps.jsonl") == steps
    assert [_timeless(line) for line in read_lines(run / "curve.jsonl")] == curve
    assert torch_bytes(torch.load(run / "weights.pt", weights_only=True)["state"]) == weights


_NO_STATE = ("--checkpoint-every-steps", "1000", "--hang-s", "0")  # but the last: what a notice does not save is lost


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("target", ["worker", "driver", "command"])
def test_sigterm_saves_at_that_step_and_nothing_is_done_twice(home, undisturbed, target):
    run = home.runs / "r"
    command = start(home, "slow", *_NO_STATE)
    before = _signal_at(9, target, command, home, signal.SIGTERM)
    if target == "command":
        printed, _ = command.communicate(timeout=_LONGEST_S)
        assert command.returncode == 128 + signal.SIGTERM, printed
        taken = _steps(run)
        command = start(home, "slow", *_NO_STATE)
    resumed = _await_resumption(run, 0, command)
    saved = [
        int(str(event["step"])) for event in read_lines(run / "events.jsonl") if event["event"] == "saved-on-notice"
    ]
    assert saved == [resumed]
    if target == "worker":
        assert before <= resumed <= before + 3, "the step at work, or the one after"
    else:  # the driver hears it within a second, ten steps here; of those none is lost
        assert before <= resumed
    if target == "command":
        assert taken == resumed, "no step was taken that was lost"
    _whole(home, command, undisturbed)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_nodes_notice_then_kill_9_loses_no_step(home, undisturbed, tmp_path, monkeypatch):
    notice, run = tmp_path / "notice", home.runs / "r"
    monkeypatch.setenv("DRIVETRAIN_INTERRUPTION_NOTICE", str(notice))
    command = start(home, "slow", *_NO_STATE)
    _await_step(9, command, home)
    hook = [sys.executable, "-m", "ray_jobs.interruption", "--wait-s", "120"]
    told = subprocess.run(hook, check=True, capture_output=True, text=True, timeout=200, cwd=Path.cwd())
    assert "1 of 1 training processes saved their state" in told.stderr
    there = _steps(run)
    time.sleep(1.0)
    assert _steps(run) == there, "it holds"
    notice.rename(tmp_path / "taken-back")
    for victim in _victims("worker", psutil.Process(command.pid), home):
        victim.kill()
    assert there <= _await_resumption(run, 0, command) <= there + 3
    _whole(home, command, undisturbed)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_kill_9_without_a_notice_loses_what_was_not_saved(home):
    """The planted fault of the tests above: nothing but the notice saves there."""
    command = start(home, "slow", *_NO_STATE)
    _signal_at(9, "worker", command, home, signal.SIGKILL)
    run, deadline = home.runs / "r", time.monotonic() + _LONGEST_S
    while _steps(run) >= 9 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _steps(run) < 9, "it began anew"
    command.terminate()
    command.communicate(timeout=_LONGEST_S)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("recipe", ["slow_ddp", "slow_fsdp"])
def test_one_of_two_processes_killed_and_nothing_is_different(reachable_tmp: Path, recipe: str) -> None:
    options = ("--checkpoint-every-steps", str(_EVERY_STEPS), "--hang-s", "0")
    found = []
    for name in ("whole", "killed"):
        home = open_home(reachable_tmp / name)
        command = start(home, recipe, *options)
        if name == "killed":
            assert _kill_at(13, "worker", command, home) is not None
        printed, errors = command.communicate(timeout=_LONGEST_S)
        assert command.returncode == 0, printed + errors
        run = home.runs / "r"
        weights = torch_bytes(torch.load(run / "weights.pt", weights_only=True)["state"])
        found.append((read_lines(run / "steps.jsonl"), weights))
    assert len(found[0][0]) == STEPS
    assert found[0] == found[1]
    assert json.loads(printed)["metrics"]["interruptions"] >= 1


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("seed", range(10))
def test_fifty_seeded_kills(home, undisturbed, seed):
    chooser = random.Random(seed)  # noqa: S311 - no secret
    kills = [(chooser.choice(_TARGETS), chooser.randrange(6, 12)) for _ in range(5)]
    # A kill that comes after the end counts for nothing: five of 48 steps leave room for all.
    assert _series(home, kills, undisturbed) >= 4


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_process_that_hangs_is_ended_started_again_and_named(home, tmp_path, monkeypatch):
    monkeypatch.setenv("DRIVETRAIN_TEST_MARKER", str(tmp_path / "hung"))
    command = start(home, "hangs_once", "--checkpoint-every-steps", "4", "--hang-s", "30")
    printed, errors = command.communicate(timeout=_LONGEST_S)
    assert command.returncode == 0, printed + errors
    run = home.runs / "r"
    events = {str(event["event"]): event for event in read_lines(run / "events.jsonl")}
    assert "its stacks are in hung-1.txt" in str(events["hung"]["text"])
    assert "its stacks are in hung-1.txt" in errors
    assert "time.sleep" in (run / "hung-1.txt").read_text() or "in loss" in (run / "hung-1.txt").read_text()
    assert events["resumed"]["step"] == 8


@pytest.mark.timeout(900)
@pytest.mark.soak
def test_a_worker_that_dies_at_the_same_step_again_and_again_stops_the_run(home):
    command = start(home, "dies_always", "--checkpoint-every-steps", "2")
    printed, _ = command.communicate(timeout=_LONGEST_S)
    assert command.returncode == 1
    assert "ended 3 times after step 0" in json.loads(printed)["error"]["what"]


@pytest.mark.timeout(900)
@pytest.mark.soak
def test_a_loss_that_is_no_number_ends_the_command_with_step_samples_and_remedy(home):
    command = start(home, "no_number", "--checkpoint-every-steps", "2")
    printed, _ = command.communicate(timeout=_LONGEST_S)
    assert command.returncode == 1
    error = json.loads(printed)["error"]
    assert error["kind"] == "DivergedError"
    assert "step 7: the loss is nan" in error["what"]
    assert error["what"].count("bend-") == 8
    assert "learning rate" in error["remedy"]
    assert len([event for event in read_lines(home.runs / "r" / "events.jsonl") if event["event"] == "resumed"]) == 0

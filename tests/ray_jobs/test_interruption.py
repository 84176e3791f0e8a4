"""Notices of an end: each is answered with a saved state, and nothing is done after it that would be lost."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ray_jobs import interruption
from ray_jobs.hang_guard import HangGuard
from ray_jobs.interruption import (
    AT_WORK,
    NOTICE_VARIABLE,
    SAVE_NOW,
    TERMINATED,
    Notices,
    answer_of,
    forget_notices,
    give_notice,
    listen,
    save_before_the_end,
)
from ray_jobs.training_journal import Journal, read_lines


@pytest.fixture
def notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "notice"
    monkeypatch.setenv(NOTICE_VARIABLE, str(path))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def listening() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    listen()
    yield
    signal.signal(signal.SIGTERM, before)
    interruption._terminated.clear()
    interruption._working.clear()


def test_a_nodes_notice_is_answered_once_and_it_holds_until_it_is_taken_back(run: Path, notice: Path):
    told: list[str] = []
    one, other = Notices(run, rank=0, hold_s=60.0), Notices(run, rank=1, hold_s=60.0)
    one.begin()
    assert answer_of(notice, os.getpid()).read_text() == "trains\n"
    assert not one.wanted()
    notice.touch()
    assert one.wanted()
    assert other.wanted(), "whichever process lies on that node"
    threading.Timer(0.3, notice.unlink).start()
    begun = time.monotonic()
    one.saved(7, told.append)
    assert 0.2 < time.monotonic() - begun < 30
    assert answer_of(notice, os.getpid()).read_text() == "saved 7\n"
    assert "about to go: the state after step 7 is saved" in told[0]
    assert not one.wanted()
    one.end()
    assert not answer_of(notice, os.getpid()).exists()


def test_a_false_alarm_costs_the_hold_and_no_more(run: Path, notice: Path):
    beats: list[None] = []
    one = Notices(run, rank=0, hold_s=0.2, beat=lambda: beats.append(None))
    one.begin()
    notice.touch()
    one.saved(3, lambda text: None)
    assert beats
    assert not one.wanted(), "the same notice is answered once"
    one.end()


def test_whoever_gives_a_notice_waits_for_every_training_process(run: Path, notice: Path):
    one = Notices(run, rank=0, hold_s=0.0)
    assert give_notice(notice, wait_s=5.0) == {}
    notice.unlink()
    one.begin()
    assert give_notice(notice, wait_s=0.1) == {os.getpid(): "trains"}, "one that does not save in time is not said to"
    threading.Timer(0.2, one.saved, (9, lambda text: None)).start()
    assert give_notice(notice, wait_s=30.0) == {os.getpid(): "saved 9"}
    one.end()
    gone = answer_of(notice, 2**22 + 1)  # no such process
    gone.write_text("trains\n")
    assert give_notice(notice, wait_s=30.0) == {}


def test_the_hook_wants_a_place_for_the_notice():
    environment = {name: value for name, value in os.environ.items() if name != NOTICE_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-m", "ray_jobs.interruption"],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 2
    assert f"{NOTICE_VARIABLE} names no file" in done.stderr


def test_sigterm_while_it_trains_saves_and_ends(run: Path, listening: None):
    left: list[int] = []
    told: list[str] = []
    one = Notices(run, rank=0, leave=left.append)
    one.begin()
    os.kill(os.getpid(), signal.SIGTERM)
    assert one.wanted()
    one.saved(4, told.append)
    assert left == [TERMINATED]
    assert told == ["SIGTERM: the state after step 4 is saved, and this process ends"]
    assert not (run / AT_WORK).exists()


def test_sigterm_while_it_holds_ends_it_without_another_step(run: Path, listening: None):
    left: list[int] = []
    told: list[str] = []
    one = Notices(run, rank=0, hold_s=60.0, leave=left.append)
    one.begin()
    (run / SAVE_NOW).write_text("hold\n")
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    begun = time.monotonic()
    one.saved(6, told.append)
    assert time.monotonic() - begun < 30
    assert left == [TERMINATED]
    assert told == ["save-now: the state after step 6 is saved; no step is taken for 60 s"]


def test_sigterm_while_it_does_not_train_ends_as_ever(listening: None):
    with pytest.raises(SystemExit, match=str(TERMINATED)):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_command_that_ends_waits_for_the_state_and_not_for_one_that_is_not_at_work(run: Path):
    assert not save_before_the_end(run, wait_s=60.0), "nothing trains"
    one = Notices(run, rank=0, hold_s=0.1)
    one.begin()
    threading.Timer(0.2, one.saved, (5, lambda text: None)).start()
    assert save_before_the_end(run, wait_s=60.0)
    assert not save_before_the_end(run, wait_s=0.1), "one that takes too long is not waited for for ever"
    assert not (run / SAVE_NOW).exists()
    (run / AT_WORK).write_text(f"{socket.gethostname()}\n{2**22 + 1}-1\n")
    assert not save_before_the_end(run, wait_s=60.0), "its process was killed"
    (run / SAVE_NOW).write_text("hold\n")
    forget_notices(run)
    assert not one.wanted()


def test_the_journal_tells_of_a_notice_and_goes_on_after_a_plain_save_now(run: Path):
    journal = Journal(
        run, rank=0, guard=HangGuard(run, rank=0, limit_s=0), begun=lambda step: None, report=lambda record: None
    )
    journal.resumed(0, ())
    (run / SAVE_NOW).touch()
    begun = time.monotonic()
    journal.saved(2)
    assert time.monotonic() - begun < 10, "it does not hold"
    (event,) = read_lines(run / "events.jsonl")
    assert (event["event"], event["step"]) == ("saved-on-notice", 2)
    journal.close()
    assert [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()] == []

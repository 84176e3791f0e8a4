from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from edge_compile.messages import Message
from edge_compile.worker import Limits, WorkerStoppedError, run_worker
from platform_lib.errors import CompileError, ContractError

# A worker module as a worker process finds it: by name, on the path.
WORKER = """
import os, signal, subprocess, sys, time
from pathlib import Path
from edge_compile.messages import Message
from platform_lib.errors import ContractError

class Answer(Message):
    text: str

def serve(request):
    word = request.decode()
    print("noise on standard output")
    print("noise on standard error", file=sys.stderr)
    Path("side-file").touch()
    if "refuse" in word:
        raise ContractError("not today", where="here", remedy="tomorrow")
    if "crash" in word:
        raise RuntimeError("the tool broke")
    if "full" in word:
        raise OSError(28, "No space left on device")
    if "segv" in word:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "die" in word:
        os.kill(os.getpid(), signal.SIGKILL)
    if "hang" in word:
        child = subprocess.Popen(["sleep", "600"])
        Path("pids").write_text(f"{os.getpid()} {child.pid}")
        time.sleep(600)
    if "grow" in word:
        block = bytearray(300 << 20)
        time.sleep(600)
    return Answer(text=os.getcwd())
"""


class Ask(Message):
    word: str


class Answer(Message):
    text: str


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "toy_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def ask(scratch: Path, word: str, limits: Limits | None = None) -> Answer:
    log = scratch.parent / "tools.log"
    return run_worker("toy_worker", Ask(word=word), Answer, scratch=scratch, log=log, limits=limits or Limits())


def test_an_answer_comes_back_and_the_noise_goes_to_the_log(scratch: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask(scratch, "hello").text == str(scratch)
    assert "noise on standard error" in (scratch.parent / "tools.log").read_text()
    assert capfd.readouterr() == ("", "")
    assert (scratch / "side-file").exists()


def test_a_refusal_keeps_its_kind_and_words(scratch: Path) -> None:
    with pytest.raises(ContractError) as caught:
        ask(scratch, "refuse")
    assert (caught.value.what, caught.value.where, caught.value.remedy) == ("not today", "here", "tomorrow")


def test_a_crash_says_what_the_tool_said_last(scratch: Path) -> None:
    with pytest.raises(CompileError, match="RuntimeError: the tool broke"):
        ask(scratch, "crash")


def test_a_crash_of_a_tools_library_is_its_verdict_on_this_model_alone(scratch: Path) -> None:
    with pytest.raises(CompileError, match=r"toy_worker crashed \(SIGSEGV\)") as caught:
        ask(scratch, "segv")
    assert not isinstance(caught.value, WorkerStoppedError)  # so that the other precisions are still made


def test_a_killed_worker_is_a_stop_not_a_verdict(scratch: Path) -> None:
    with pytest.raises(WorkerStoppedError, match="SIGKILL"):
        ask(scratch, "die")


def test_the_time_limit_takes_the_workers_children_too(scratch: Path) -> None:
    with pytest.raises(WorkerStoppedError, match="longer than 3 s"):
        ask(scratch, "hang", Limits(time_s=3.0))
    assert all(gone(int(pid)) for pid in (scratch / "pids").read_text().split())


def test_the_memory_limit_stops_it(scratch: Path) -> None:
    with pytest.raises(WorkerStoppedError, match="more than 200 MiB"):
        ask(scratch, "grow", Limits(memory_bytes=200 << 20))


def test_a_worker_dies_with_its_parent(scratch: Path) -> None:
    code = (
        "from pathlib import Path; from edge_compile.messages import Message\n"
        "from edge_compile.worker import Limits, run_worker\n"
        "class Ask(Message):\n    word: str\n"
        f"run_worker('toy_worker', Ask(word='hang'), Ask, scratch=Path({str(scratch)!r}), "
        f"log=Path({str(scratch.parent / 'tools.log')!r}), limits=Limits())"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    pids = scratch / "pids"
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    worker, grandchild = map(int, pids.read_text().split())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until(lambda: gone(worker))
    os.kill(grandchild, signal.SIGKILL)  # the toy's own child; no tool of ours starts one


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(condition) -> None:
    deadline_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_full_disk_says_nothing_about_the_model(scratch: Path) -> None:
    with pytest.raises(WorkerStoppedError, match="toy_worker found no space left on the disk") as caught:
        ask(scratch, "full")
    assert "free some disk space" in str(caught.value.remedy)

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from platform_lib.catalog.liveness import ProcessIdentity, orderly_termination


def test_this_process_is_alive_and_survives_writing_and_parsing() -> None:
    identity = ProcessIdentity.current()
    assert identity.alive
    assert ProcessIdentity.parse(str(identity)) == identity


def test_a_reused_number_is_not_its_former_owner() -> None:
    assert not ProcessIdentity(os.getpid(), "1").alive


@pytest.mark.parametrize("text", ["", "12", "12-", "-5", "x-5", "12_7"])
def test_unfinished_text_names_nobody(text: str) -> None:
    assert ProcessIdentity.parse(text) is None


def test_an_ended_process_is_dead_even_before_it_is_reaped() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = ProcessIdentity.of(child.pid)
        assert identity is not None
        assert identity.alive
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and still a zombie
        assert not identity.alive


def test_termination_becomes_an_orderly_exit_and_is_given_back() -> None:
    with pytest.raises(SystemExit) as ending, orderly_termination():
        signal.raise_signal(signal.SIGTERM)
    assert ending.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_somebody_else_stays() -> None:
    mine = lambda *_: None  # noqa: E731
    before = signal.signal(signal.SIGHUP, mine)
    try:
        with orderly_termination():
            assert signal.getsignal(signal.SIGHUP) is mine
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_may_use_it() -> None:
    seen: list[object] = []

    def run() -> None:
        with orderly_termination():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.SIG_DFL]

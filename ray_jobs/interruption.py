"""An interruption that was announced: the state is saved after the step at work, and no step is taken that would be lost.

| who says it | how | what a training process does |
|---|---|---|
| somebody, or the command that is asked to end | the file ``save-now`` in the run's folder; with the word ``hold`` in it | saves; holds |
| the node (Kubernetes' hook before a pod ends) | the file that ``DRIVETRAIN_INTERRUPTION_NOTICE`` names | saves and holds |
| anybody | SIGTERM to the training process | saves and ends; it is started again, elsewhere if its node is gone |

Holding means that no further step is taken for two minutes, or until a notice of the node is taken back.
``python -m ray_jobs.interruption`` gives the node's notice, and waits until every training process there has saved.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil

from platform_lib.catalog.liveness import ProcessIdentity
from platform_lib.storage import publish_bytes

_LOG = logging.getLogger(__name__)
SAVE_NOW = "save-now"
"""A file of this name in a run's folder makes it save its state after the step that it is at."""
NOTICE_VARIABLE = "DRIVETRAIN_INTERRUPTION_NOTICE"
"""Names the file whose being there says that this node is about to go."""
AT_WORK = "at-work"
"""In a run's folder while rank 0 takes steps: where it runs."""
HOLD_S = 120.0  # Source: EC2 User Guide, "Spot Instance interruption notices", two minutes
ASK_S = 60.0
_HOLD, _SAVED, _TRAINS = "hold", "saved", "trains"
_LOOK_S = 0.05
TERMINATED = 128 + signal.SIGTERM

_terminated = threading.Event()
_working = threading.Event()


def listen() -> None:
    """Take SIGTERM as a notice while this process trains; to be called by its main thread, as Python wants it."""
    before = signal.getsignal(signal.SIGTERM)

    def hear(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends it at once
        if _working.is_set():
            _terminated.set()
        elif callable(before):
            before(number, frame)
        else:
            raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, hear)


class Notices:
    """What one training process hears of its end.

    Args:
        run: The run's folder.
        rank: This process; rank 0 alone obeys ``save-now``.
        beat: Called while it holds, so that nobody takes it for hung.
        hold_s: How long at most.
        leave: How it ends after SIGTERM.
    """

    def __init__(
        self,
        run: Path,
        *,
        rank: int,
        beat: Callable[[], None] = lambda: None,
        hold_s: float = HOLD_S,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self._run, self._rank, self._beat, self._hold_s, self._leave = run, rank, beat, hold_s, leave
        named = os.environ.get(NOTICE_VARIABLE)
        self._notice = Path(named) if named else None
        self._answered: tuple[int, int] | None = None

    def begin(self) -> None:
        """Say that this process trains."""
        _working.set()
        if self._rank == 0:
            told = f"{socket.gethostname()}\n{ProcessIdentity.current()}\n"
            publish_bytes(self._run / AT_WORK, told.encode())
        if self._notice is not None:
            publish_bytes(answer_of(self._notice, os.getpid()), f"{_TRAINS}\n".encode())

    def wanted(self) -> bool:
        """Whether a state is to be saved at once."""
        return _terminated.is_set() or self._asked() or self._noticed() is not None

    def saved(self, step: int, tell: Callable[[str], None]) -> None:
        """Answer every notice there is, the state after `step` being on the disk; hold, or end, where that was asked.

        Args:
            step: The step.
            tell: Told what is answered, before anybody who waits for it.
        """
        asked, notice, told = self._asked(), self._noticed(), f"the state after step {step} is saved"
        if _terminated.is_set():
            tell(f"SIGTERM: {told}, and this process ends")
            self.end()
            self._leave(TERMINATED)
            return
        hold = notice is not None or (asked and self._is_to_hold())
        if hold:
            told += f"; no step is taken for {self._hold_s:g} s"
        if notice is not None and self._notice is not None:
            tell(f"this node is about to go: {told}")
            self._answered = notice
            publish_bytes(answer_of(self._notice, os.getpid()), f"{_SAVED} {step}\n".encode())
        elif asked:
            tell(f"{SAVE_NOW}: {told}")
        if asked:
            (self._run / SAVE_NOW).unlink(missing_ok=True)
        if hold:
            self._wait(until_taken_back=notice is not None)

    def end(self) -> None:
        """Say that it trains no longer."""
        _working.clear()
        if self._rank == 0:
            (self._run / AT_WORK).unlink(missing_ok=True)
        if self._notice is not None:
            answer_of(self._notice, os.getpid()).unlink(missing_ok=True)

    def _wait(self, *, until_taken_back: bool) -> None:
        deadline = time.monotonic() + self._hold_s
        while time.monotonic() < deadline and not _terminated.is_set():
            self._beat()
            if until_taken_back and self._noticed(answered=True) is None:
                return
            time.sleep(_LOOK_S)
        if _terminated.is_set():  # nothing was done since the state was saved
            self.end()
            self._leave(TERMINATED)

    def _is_to_hold(self) -> bool:
        try:
            return (self._run / SAVE_NOW).read_text().strip() == _HOLD
        except OSError:
            return False

    def _asked(self) -> bool:
        return self._rank == 0 and (self._run / SAVE_NOW).exists()

    def _noticed(self, *, answered: bool = False) -> tuple[int, int] | None:
        """Return the mark of the node's notice; of one that was answered already only if asked."""
        if self._notice is None:
            return None
        try:
            stat = self._notice.stat()
        except OSError:
            return None
        mark = (stat.st_ino, stat.st_mtime_ns)
        return mark if answered or mark != self._answered else None


def forget_notices(run: Path) -> None:
    """Clear what an earlier command left of its end."""
    for name in (SAVE_NOW, AT_WORK):
        (run / name).unlink(missing_ok=True)


def save_before_the_end(run: Path, *, wait_s: float = ASK_S) -> bool:
    """Have a training that is about to be ended save its state; return whether it did.

    Args:
        run: Its folder.
        wait_s: How long to wait for the step at work and the state.
    """
    if not _is_at_work(run):
        return False
    asked = run / SAVE_NOW
    publish_bytes(asked, f"{_HOLD}\n".encode())
    deadline = time.monotonic() + wait_s
    while time.monotonic() < deadline:
        if not asked.exists():
            return True
        if not _is_at_work(run):
            break
        time.sleep(_LOOK_S)
    asked.unlink(missing_ok=True)
    return False


def _is_at_work(run: Path) -> bool:
    try:
        host, _, identity = (run / AT_WORK).read_text().strip().partition("\n")
    except OSError:
        return False
    known = ProcessIdentity.parse(identity)
    return host != socket.gethostname() or (known is not None and known.alive)


def answer_of(notice: Path, pid: int) -> Path:
    """Say where a training process answers a node's notice."""
    return notice.with_name(f"{notice.name}.{pid}")


def give_notice(notice: Path, *, wait_s: float) -> dict[int, str]:
    """Tell the training processes of this node that it is about to go; return what each has answered in time."""
    notice.touch()
    deadline = time.monotonic() + wait_s
    while True:
        answers = _answers(notice)
        if all(text.startswith(_SAVED) for text in answers.values()) or time.monotonic() >= deadline:
            return answers
        time.sleep(_LOOK_S)


def _answers(notice: Path) -> dict[int, str]:
    found = {}
    for path in notice.parent.glob(f"{notice.name}.[0-9]*"):
        pid = int(path.suffix[1:])
        with suppress(FileNotFoundError):
            if psutil.pid_exists(pid):
                found[pid] = path.read_text().strip()
    return found


def main() -> NoReturn:
    """Give this node's notice and wait; what the hook before a pod's end runs."""
    parser = argparse.ArgumentParser(prog="python -m ray_jobs.interruption", description=__doc__.split("\n")[0])
    parser.add_argument("--wait-s", type=float, default=60.0, help="how long to wait for the states")
    options = parser.parse_args()
    named = os.environ.get(NOTICE_VARIABLE)
    if not named:
        parser.exit(2, f"{NOTICE_VARIABLE} names no file: no training process would hear it\n")
    answers = give_notice(Path(named), wait_s=options.wait_s)
    late = [pid for pid, text in answers.items() if not text.startswith(_SAVED)]
    parser.exit(
        1 if late else 0, f"{len(answers) - len(late)} of {len(answers)} training processes saved their state\n"
    )


if __name__ == "__main__":
    main()

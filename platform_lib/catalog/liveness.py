"""Which process is meant: a process id with its start time, so that a reused number is never mistaken for its owner."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import psutil


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, for all time.

    Attributes:
        pid: Process id.
        started: Opaque start mark: clock ticks since boot on Linux (unlike the epoch time, no clock step moves it).
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Identify the live process `pid`; None if there is none, or only its zombie is left."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid=pid, started=_start_mark(process))
        except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
            return None

    @classmethod
    def current(cls) -> ProcessIdentity:
        """Identify this process."""
        return cls(pid=os.getpid(), started=_start_mark(psutil.Process()))

    @classmethod
    def parse(cls, text: str) -> ProcessIdentity | None:
        """Read what `str()` of an identity wrote; None if a kill left the text unfinished."""
        pid, separator, started = text.strip().partition("-")
        return cls(pid=int(pid), started=started) if separator and pid.isdecimal() and started else None

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessIdentity.of(self.pid) == self

    def __str__(self) -> str:
        return f"{self.pid}-{self.started}"


def _start_mark(process: psutil.Process) -> str:
    stat = Path(f"/proc/{process.pid}/stat")
    if stat.exists():
        # Field 22 of proc(5), counted after the parenthesised name, which may hold spaces and parentheses itself.
        return stat.read_text().rpartition(")")[2].split()[19]
    return f"{process.create_time():.2f}"


@contextmanager
def orderly_termination() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit (status 128 + number) in the block, so that what was started is stopped.

    Does nothing off the main thread, or where somebody else has already taken the signal.
    """
    taken: dict[signal.Signals, signal.Handlers] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _exit)
                taken[number] = signal.SIG_DFL
    try:
        yield
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


def _exit(number: int, frame: FrameType | None) -> None:
    del frame
    raise SystemExit(128 + number)

"""Work that outlives its own process: done in a child, and begun anew when the child dies, as long as it gets on.

Ray ends the process of its driver, without a word, when the cluster's head dies. So the driver is a child of the command.
"""

from __future__ import annotations

import logging
import os
import pickle
import select
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import IO, Any, TypeVar

import ray

from platform_lib.catalog.liveness import orderly_termination
from platform_lib.errors import PlatformError
from platform_lib.processes import end_with_parent

_LOG = logging.getLogger(__name__)
HEAD_LOST = 75  # Source: sysexits.h, EX_TEMPFAIL
_MOST_WITHOUT_PROGRESS = 3
_LISTEN_S = 0.5
T = TypeVar("T")
_PARENT: list[int] = []
"""Of a child at work: whose it is."""


class DriverLostError(PlatformError):
    """The process that drives Ray died again and again."""


@dataclass(frozen=True, slots=True)
class _Answer:
    value: Any = None
    error: BaseException | None = None


def supervised(work: Callable[[], T], *, progress: Callable[[], str], died: Callable[[str], None]) -> T:
    """Do `work` in a child process; when that dies, begin anew, unless three times nothing came of it.

    In a process that has threads or Ray already (a notebook, a job in a cluster), the work is done there and then.

    Args:
        work: Resumes what an earlier, dead child left.
        progress: Says where the work stands: a text that changes when it got on.
        died: Told how a child died, before it is begun anew.

    Raises:
        DriverLostError: It dies and gets nowhere.
    """
    if ray.is_initialized() or threading.active_count() > 1 or not hasattr(os, "fork"):
        return work()
    without, before = 0, progress()
    while True:
        with orderly_termination():  # or SIGTERM would leave the child alone, with nobody to wait for what it saves
            answer = _in_child(work)
        if isinstance(answer, _Answer):
            if answer.error is not None:
                raise answer.error
            value: T = answer.value
            return value
        now = progress()
        without, before = (without + 1 if now == before else 1), now
        if without >= _MOST_WITHOUT_PROGRESS:
            raise DriverLostError(
                f"the process that drives the training {answer}, {without} times without getting to a next checkpoint",
                where="training",
                remedy="look at free memory and disk, then run the same command again: it goes on from its checkpoint",
            )
        died(f"the process that drives the training {answer}; it goes on from the last checkpoint")


def is_orphan() -> bool:
    """Whether this process does a command's work, and the command is gone."""
    return bool(_PARENT) and os.getppid() != _PARENT[0]


def _in_child(work: Callable[[], Any]) -> _Answer | str:
    """Return the child's answer, or how it died without one."""
    parent = os.getpid()
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lance warns of every fork; this process has used none of its threads
        child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(work, writing, parent)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as stream:
        try:
            data = _all_of(stream)
            status = _ended(child)
        except BaseException:  # Ctrl-C, or the end of this command: the child stops what it started first
            os.kill(child, signal.SIGTERM)
            _ended(child)
            raise
    if data:
        answer: _Answer = pickle.loads(data)  # noqa: S301 - see the import
        return answer
    if status == HEAD_LOST:
        return "lost Ray's head"
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"


def _all_of(stream: IO[bytes]) -> bytes:
    """Read to the end, and hear signals meanwhile.

    A library that hears Ctrl-C too has the kernel go on with a read as if nothing had come; a poll always returns.
    """
    found = b""
    while True:
        if select.select([stream], [], [], _LISTEN_S)[0]:
            some = stream.read(1 << 16)
            if not some:
                return found
            found += some


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _be_child(work: Callable[[], Any], writing: int, parent: int) -> None:
    """Work and answer; never return into what the parent was doing."""
    status = 1
    try:
        # Ctrl-C reaches the whole group; the parent hands it on, once.
        signal.signal(signal.SIGINT, _pass)
        signal.signal(signal.SIGTERM, _end)
        _PARENT[:] = [parent]
        end_with_parent(sent=signal.SIGTERM, parent=parent)
        answer = _answer(work)
        with os.fdopen(writing, "wb") as stream:
            stream.write(pickle.dumps(answer))
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - whatever it is: this process must not go on as its parent
        traceback.print_exc()
    finally:
        try:
            for printed in (sys.stdout, sys.stderr):
                with suppress(Exception):  # whoever read them may be gone
                    printed.flush()
        finally:
            # The interpreter's own end has met threads of Ray that still ran, and would run the parent's exits again.
            os._exit(status)


def _answer(work: Callable[[], Any]) -> _Answer:
    try:
        return _Answer(value=work())
    except Exception as error:  # noqa: BLE001 - raised again by the parent
        if not isinstance(error, PlatformError):
            _LOG.info("the training's driver failed", exc_info=True)
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 - whether the parent can read it
        except Exception:  # noqa: BLE001 - an error that cannot be sent is sent as its text
            return _Answer(error=PlatformError(f"{type(error).__name__}: {error}"))
        return _Answer(error=error)


def _pass(number: int, frame: FrameType | None) -> None:
    del number, frame


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    signal.signal(number, _pass)  # once
    raise SystemExit(128 + number)

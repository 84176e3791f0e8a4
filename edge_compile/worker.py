"""Runs a heavy tool in a process of its own: with limits, its noise in a log, and dead when its parent is."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from edge_compile.messages import Message
from platform_lib import errors
from platform_lib.errors import CompileError, PlatformError
from platform_lib.storage import publish_bytes

_LOGGER = logging.getLogger(__name__)
_POLL_S = 0.05
_GONE_S = 10.0  # how long a killed tool's children are waited for
# Less than this left on the disk after a failure: the failure is the disk's. A full disk lets no tool say so itself.
_FULL_BYTES = 1 << 20
_DISK_FULL = 74  # a worker's exit status for a full disk; EX_IOERR of sysexits.h
# What ends a process that did something wrong itself, unlike a kill from outside.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_RESULT = "result.json"
_FAILURE = "failure.json"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker process may use.

    Attributes:
        time_s: Wall-clock time.
        memory_bytes: Resident memory of the process and its children.
    """

    time_s: float = 900.0
    memory_bytes: int = 8 << 30


class WorkerStoppedError(CompileError):
    """A worker that was killed or ran over its limits: what it would have found is unknown."""


class _Failure(Message):
    """A refusal of ours, raised inside the worker."""

    kind: str
    what: str
    where: str | None
    remedy: str | None


_Request = TypeVar("_Request", bound=Message)
_Answer = TypeVar("_Answer", bound=Message)


def run_worker(
    module: str,
    request: Message,
    answer: type[_Answer],
    *,
    scratch: Path,
    log: Path,
    limits: Limits,
    watch: Callable[[], None] | None = None,
) -> _Answer:
    """Have ``module.serve`` answer a request in a new process.

    Args:
        module: Dotted name of a module with ``serve(request: bytes) -> Message``.
        request: What to do.
        answer: The type of the answer.
        scratch: An empty folder, the worker's current folder: whatever a tool drops there stays there.
        log: Where the worker's standard output and error are appended.
        limits: What it may use.
        watch: Called twenty times a second while it runs.

    Raises:
        CompileError: The tool failed.
        WorkerStoppedError: It was killed, or ran over a limit.
        PlatformError: It refused, saying why.
    """
    (scratch / "request.json").write_text(request.model_dump_json())
    command = [sys.executable, "-P", "-m", "edge_compile.worker_main", module, "request.json", str(os.getpid())]
    started_s = time.monotonic()
    with log.open("ab") as stream:
        stream.write(f"== {module} {type(request).__name__}\n".encode())
        stream.flush()
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )
        try:
            status = _watch(process, limits, watch, deadline_s=started_s + limits.time_s)
        finally:
            _stop(process)
    _LOGGER.info("worker=%s pid=%s status=%s seconds=%.1f", module, process.pid, status, time.monotonic() - started_s)
    if status == 0 and (scratch / _RESULT).is_file():
        return answer.model_validate_json((scratch / _RESULT).read_bytes())
    raise _explain(module, status, scratch, log)


def end_for_a_full_disk() -> None:
    """End a worker that could not write: there is no place left to say it in words."""
    raise SystemExit(_DISK_FULL)


def write_answer(answer: Message) -> None:
    """End a worker well; without this its exit counts as a failure."""
    publish_bytes(Path(_RESULT).absolute(), answer.model_dump_json().encode())


def write_refusal(error: PlatformError) -> None:
    """End a worker with an error of ours, which the parent raises again."""
    failure = _Failure(kind=type(error).__name__, what=error.what, where=error.where, remedy=error.remedy)
    publish_bytes(Path(_FAILURE).absolute(), failure.model_dump_json().encode())


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    # A caller's warnings-as-errors is not meant for the vendor's tools; their warnings go to the log.
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONWARNINGS": "default"}


def _watch(
    process: subprocess.Popen[bytes], limits: Limits, watch: Callable[[], None] | None, *, deadline_s: float
) -> int:
    while True:
        if watch is not None:
            watch()
        try:
            return process.wait(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline_s:
                raise WorkerStoppedError(
                    f"took longer than {limits.time_s:g} s and was stopped",
                    remedy="raise the time limit (Limits), or run fewer samples on the emulator (--emulator-samples)",
                ) from None
            used = _resident_bytes(process.pid)
            if used > limits.memory_bytes:
                raise WorkerStoppedError(
                    f"used {used >> 20} MiB, more than {limits.memory_bytes >> 20} MiB, and was stopped",
                    remedy="raise the memory limit (Limits), or calibrate with fewer samples",
                ) from None


def _resident_bytes(pid: int) -> int:
    total = 0
    try:
        worker = psutil.Process(pid)
        for process in (worker, *worker.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        return total
    return total


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    family = _family(process.pid)
    os.killpg(process.pid, signal.SIGKILL)  # it leads its own group, so this takes its children too
    process.wait()
    # The kernel ends the children in its own time; what runs next is to have the memory and the files they held.
    deadline_s = time.monotonic() + _GONE_S
    while any(_runs(member) for member in family) and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _explain(module: str, status: int, scratch: Path, log: Path) -> PlatformError:
    refusal = scratch / _FAILURE
    if refusal.is_file():
        found = _Failure.model_validate_json(refusal.read_bytes())
        kind = getattr(errors, found.kind, CompileError)
        error: PlatformError = kind(found.what, where=found.where, remedy=found.remedy)
        return error
    name = module.rpartition(".")[2]
    if status == _DISK_FULL or shutil.disk_usage(scratch).free < _FULL_BYTES:
        return WorkerStoppedError(
            f"{name} found no space left on the disk",
            where=scratch.parent.parent,
            remedy="free some disk space, or name an --out on another disk; nothing was published",
        )
    if -status in _CRASHES:
        return CompileError(
            f"{name} crashed ({signal.Signals(-status).name})",
            remedy="the tool's own fault: try another precision or target, or leave the layer it worked on outside the model",
        )
    if status < 0:
        return WorkerStoppedError(
            f"{name} was killed by {signal.Signals(-status).name}",
            remedy="run the command again; if it was the kernel's memory killer, free memory first",
        )
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return CompileError(f"{name} failed: {lines[-1][:400] if lines else 'it said nothing'}")

"""One stage's process, in its turn or begun earlier, beside other stages."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import JsonValue

from platform_lib.console import ERR
from platform_lib.demo.stages import Stage
from platform_lib.errors import PlatformError
from platform_lib.processes import PARENT_VARIABLE

# A stage that takes this long on the demo's small data hangs; the whole demo is meant to take six minutes.
STAGE_LIMIT_S = 1800.0


class StageError(PlatformError):
    """A stage refused or crashed; the stages before it are kept and will be skipped next time."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a stage's command printed as its JSON document, and how long it took."""

    result: dict[str, JsonValue]
    seconds: float


def command_line(stage: Stage) -> str:
    """Return the command line a person would type for a stage."""
    return shlex.join(("drivetrain", *stage.argv))


def is_rejection(result: object) -> bool:
    """Whether a document is the gate's verdict against a model."""
    return isinstance(result, dict) and result.get("state") == "rejected"


class StageProcess:
    """A stage's command, started.

    Args:
        stage: Whose.
        said: Where its progress goes; by default where this process's own does.
    """

    def __init__(self, stage: Stage, said: IO[str] | None = None) -> None:
        self._stage, self._command = stage, command_line(stage)
        self._started_s = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own command line, no shell
            [sys.executable, "-m", "platform_lib.cli", *stage.argv, "--json"],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
        )

    def finish(self) -> Finished:
        """Wait for its end; when that is interrupted the process is ended too.

        Raises:
            StageError: The command did not end with status 0, took over half an hour, or printed no JSON document.
        """
        process = self._process
        try:
            output, _ = process.communicate(timeout=STAGE_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise StageError(
                f"no end after {STAGE_LIMIT_S:.0f} s", where=self._command, remedy="run it alone with -v"
            ) from error
        finally:
            self.stop()
        seconds = time.monotonic() - self._started_s
        try:
            result = json.loads(output)
        except ValueError:
            result = None
        if process.returncode != 0 and not is_rejection(result):
            raise _refused(result, self._command, process.returncode)
        if not isinstance(result, dict):
            raise StageError(
                "printed no JSON document", where=self._command, remedy="run it alone to see what it prints"
            )
        return Finished(result, seconds)

    def stop(self) -> None:
        """End it if it runs."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


class Begun:
    """A stage that runs beside others, or waits for the one before it in its lane."""

    def __init__(self, future: Future[Finished], said: Path) -> None:
        self._future, self._said = future, said

    def finish(self) -> Finished:
        """Wait for its end, and print what it said of its progress.

        Raises:
            StageError: As of `StageProcess.finish`.
        """
        try:
            return self._future.result()
        finally:
            ERR.print(self._said.read_text(errors="replace").rstrip("\n"), markup=False, highlight=False)


class Lane:
    """Runs stages one after another beside the caller's own. Get one from `lane`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="stages")
        self._running: StageProcess | None = None
        self._ended = threading.Event()

    def begin(self, stages: Sequence[Stage]) -> dict[Path, Begun]:
        """Begin stages of which each needs the one before; return what each writes -> the stage as begun."""
        begun = {}
        before: Future[Finished] | None = None
        for stage in stages:
            said = self._folder / f"{len(list(self._folder.iterdir()))}.txt"
            said.touch()
            before = self._pool.submit(self._run, stage, said, before)
            begun[stage.writes] = Begun(before, said)
        return begun

    def _run(self, stage: Stage, said: Path, before: Future[Finished] | None) -> Finished:
        if before is not None and before.exception() is not None:
            raise StageError("the stage before it failed", where=command_line(stage), remedy="see there")
        if self._ended.is_set():
            raise CancelledError
        with said.open("w") as stream:
            self._running = StageProcess(stage, stream)
            if self._ended.is_set():  # between the two lines above
                self._running.stop()
            return self._running.finish()

    def end(self) -> None:
        """End what runs, begin nothing more."""
        self._ended.set()
        running = self._running
        if running is not None:
            running.stop()
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def lane(folder: Path) -> Iterator[Lane]:
    """Run stages beside the block; what still runs at its end, or at an error, is ended.

    Args:
        folder: Where what they say of their progress is kept meanwhile; it is the lane's alone.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of a demo that was killed
    folder.mkdir(parents=True)
    made = Lane(folder)
    try:
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


def _refused(result: object, command: str, status: int) -> StageError:
    said = result.get("error") if isinstance(result, dict) else None
    if isinstance(said, dict):
        where = f"{said.get('where')}, in: {command}" if said.get("where") else command
        return StageError(str(said.get("what")), where=where, remedy=said.get("remedy"))
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return StageError(
        f"the stage {how}", where=command, remedy="run that command alone with -v, then run the demo again"
    )

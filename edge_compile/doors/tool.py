"""Runs a maker's program in a scratch folder, under a time limit, its words kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_compile.worker import WorkerStoppedError
from platform_lib.errors import CompileError, ConfigError
from platform_lib.storage import sha256_file


@dataclass(frozen=True, slots=True)
class Tool:
    """One program.

    Attributes:
        path: Where it is.
        sha256: Of its file: what ran is told from what is said to have run.
    """

    path: Path
    sha256: str


def find_tool(name: str, given: Path | None, *, search_path: str | None = None) -> Tool | None:
    """Return a program: the one that was given, else the one on PATH, None where there is none.

    Raises:
        ConfigError: The one that was given is no program.
    """
    found = str(given) if given is not None else shutil.which(name, path=search_path)
    if found is None:
        return None
    path = Path(found).absolute()  # not resolved: a Python of an environment is a link, and knows its own by it
    if not path.is_file() or not os.access(path, os.X_OK):
        raise ConfigError("is no program", where=found, remedy=f"name {name} with --compiler, or put it on PATH")
    return Tool(path, sha256_file(path))


def run_tool(tool: Path, arguments: Sequence[str], *, scratch: Path, log: Path, time_s: float) -> str:
    """Run a program with `scratch` as its folder and return what it printed, both streams together.

    Raises:
        CompileError: It ended with a status other than 0; the message has its last words.
        WorkerStoppedError: It took longer than `time_s` and was stopped, its children with it.
    """
    name, said = tool.name, scratch / f"{tool.name}.log"
    with said.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - the program that was asked for
            [str(tool), *arguments],
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=time_s)
        except subprocess.TimeoutExpired:
            raise WorkerStoppedError(
                f"{name} took longer than {time_s:g} s and was stopped", remedy="raise the time limit (Limits)"
            ) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    text = said.read_text(errors="replace")
    with log.open("a") as stream_text:
        stream_text.write(f"$ {name} {' '.join(arguments)}\n{text}\n")
    if status != 0:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        errors = [line for line in lines if "[E]" in line or "rror" in line] or lines
        raise CompileError(f"{name} ended with status {status}: {errors[-1][:300] if errors else 'it said nothing'}")
    return text

"""Runs the sides of one work in turn, round after round, and takes the medians."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.bench.side import Digests, Parts, Task
from tests.bench.verdict import Line, Measured
from tests.bench.works import Work

ROOT = Path(__file__).resolve().parents[2]
ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


class BenchError(Exception):
    """A side failed, so there is nothing to compare."""


class Worker:
    """One side's process."""

    def __init__(self, factory: str, task: Task) -> None:
        self._factory = factory
        command = [
            sys.executable,
            "-m",
            "tests.bench.worker",
            factory,
            json.dumps(dataclasses.asdict(task), default=str),
        ]
        environment = os.environ | dict.fromkeys(ONE_THREAD, str(task.threads)) | {"PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def ready(self) -> None:
        """Wait until the side is warm."""
        self._read()

    def run(self) -> dict[str, Any]:
        """Run once; return times, peak and parts."""
        return self._ask("run")

    def check(self) -> Digests:
        """Return what the side reads."""
        found: Digests = self._ask("check")["check"]
        return found

    def _ask(self, request: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise BenchError(f"{self._factory} ended") from error
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"{self._factory} ended with status {self._process.wait()}; what it said stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def measure(work: Work, task: Task, rounds: int) -> list[Line]:
    """Compare every side of a work; one line a peer."""
    factories = {"ours": work.ours, **{peer.name: peer.factory for peer in work.peers}, "floor": work.floor}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in factories}
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-", dir=task.scratch)))
        workers: dict[str, Worker] = {}
        for name, factory in factories.items():
            own = dataclasses.replace(task, scratch=scratch / name.replace(" ", "-"))
            workers[name] = stack.enter_context(Worker(factory, own))
        for worker in workers.values():
            worker.ready()
        for _ in range(rounds):
            for name, worker in workers.items():
                runs[name].append(worker.run())
        digests = {name: workers[name].check() for name in factories if name != "floor"}
    clock = "cpu_s" if task.threads == 1 else "wall_s"
    sides = {name: _median(found, clock) for name, found in runs.items()}
    parts = _parts([found["parts"] for found in runs["floor"]])
    bottom = min(found["parts"]["inflate"] or found["parts"]["read"] for found in runs["floor"])
    return [
        Line(
            key=work.key,
            work=work.name,
            peer=peer.name,
            unit="CPU s" if task.threads == 1 else "wall s",
            required_ratio=peer.ratio,
            ours=sides["ours"],
            theirs=sides[peer.name],
            floor=sides["floor"].value,
            bottom=bottom / task.threads,
            parts=parts,
            differences=differences(digests["ours"], digests[peer.name]),
            compared=len(digests["ours"]),
        )
        for peer in work.peers
    ]


def _median(runs: Sequence[dict[str, Any]], clock: str) -> Measured:
    return Measured(
        statistics.median(run[clock] for run in runs), int(statistics.median(run["peak_bytes"] for run in runs))
    )


def _parts(runs: Sequence[Parts]) -> Parts:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def differences(ours: Digests, theirs: Digests) -> tuple[str, ...]:
    """Name what the two read differently; empty for the same rows and values in the same order."""
    names = sorted(ours.keys() | theirs.keys())
    return tuple(
        f"{name}: {ours.get(name, 'missing')} against {theirs.get(name, 'missing')}"
        for name in names
        if ours.get(name) != theirs.get(name)
    )

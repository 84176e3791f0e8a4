"""Watches a run from the process that drives Ray: progress, MLflow, events for people, and whether Ray's head still lives."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from platform_lib.catalog.liveness import ProcessIdentity
from platform_lib.console import Task
from platform_lib.tracking.mlflow_store import Point, TrackedRun
from ray_jobs.hang_guard import take_stacks
from ray_jobs.supervision import HEAD_LOST
from ray_jobs.training_journal import CURVE, EVENTS, read_lines, tell_event
from ray_jobs.worker_gauge import GaugeReader

_LOG = logging.getLogger(__name__)
_POLL_S = 0.2
_MACHINE_EVERY_S = 15.0
NOT_METRICS = frozenset({"epoch", "step", "seconds", "order_sha256"})
"""Of a line of the curve: what MLflow is not told as a figure."""
INTERRUPTIONS = ("resumed", "hung", "driver-lost")
"""Events that say that training was not left alone."""


class Follower:
    """Follows the growing curve while Ray trains: moves the progress bar, tells MLflow, says what happens.

    Args:
        folder: The run's.
        bar: Its progress.
        tracked: Its record.
    """

    def __init__(self, folder: Path, bar: Task, tracked: TrackedRun) -> None:
        self._folder, self._bar, self._tracked = folder, bar, tracked
        self._seen = 0
        self._told = len(read_lines(folder / EVENTS))
        self._sizes: dict[str, int] = {}
        self._gauges = GaugeReader(folder)
        self._head = _head()
        self._machine_s = time.monotonic()
        self._stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure is not None and error is None:
            raise self._failure
        self._say_events()
        if error is None:
            self._look()
            self._tracked.log_system(self._gauges.take())

    def _follow(self) -> None:
        try:
            while not self._stop.wait(_POLL_S):
                self._leave_without_head()
                self._look()
                self._say_events()
                self._measure_machine()
        except Exception as error:  # noqa: BLE001 - handed over to the main thread, which raises it
            self._failure = error

    def _leave_without_head(self) -> None:
        """End this process at once when the head is gone: Ray would do so, without a word, a minute later."""
        # One that was killed is this process's child, and stays in the table until it is waited for.
        if self._head is not None and ProcessIdentity.of(self._head.pid) is None:
            os._exit(HEAD_LOST)

    def _look(self) -> None:
        if not self._grew(CURVE):
            return
        records: list[dict[str, Any]] = read_lines(self._folder / CURVE)
        if len(records) <= self._seen:
            return
        now_ms = time.time_ns() // 1_000_000
        self._tracked.log(
            [
                Point(
                    int(record["step"]),
                    now_ms,
                    {name: value for name, value in record.items() if name not in NOT_METRICS},
                )
                for record in records
            ]
        )
        last = records[-1]
        note = f"loss {last['train_loss']:.3f}"
        if "val_ade_m" in last:
            note += f", validation ADE {last['val_ade_m']:.2f} m"
        self._bar.advance(len(records) - self._seen, note=note)
        self._seen = len(records)

    def _say_events(self) -> None:
        for path in take_stacks(self._folder):
            tell_event(
                self._folder,
                "hung",
                f"no step came for too long: the process was ended and is started again; its stacks are in {path.name}",
            )
        if not self._grew(EVENTS):
            return
        events = read_lines(self._folder / EVENTS)
        for event in events[self._told :]:
            _LOG.warning("run=%s %s", self._folder.name, event["text"])
        self._told = len(events)

    def _grew(self, name: str) -> bool:
        try:
            stat = (self._folder / name).stat()
        except FileNotFoundError:
            return False
        now = stat.st_mtime_ns
        grew, self._sizes[name] = self._sizes.get(name) != now, now
        return grew

    def _measure_machine(self) -> None:
        """Keep what the machine did beside the curve; over the run, not by step."""
        if time.monotonic() - self._machine_s < _MACHINE_EVERY_S:
            return
        self._machine_s = time.monotonic()
        now_ms = time.time_ns() // 1_000_000
        driver = {
            "system/driver/node_cpu_share": psutil.cpu_percent() / 100,
            "system/driver/node_memory_bytes": float(psutil.virtual_memory().used),
        }
        self._tracked.log_system([(now_ms, driver), *self._gauges.take()])


def _head() -> psutil.Process | None:
    """Return the head's process where this process started it."""
    return next((item for item in psutil.Process().children() if item.name() == "gcs_server"), None)

"""One side in a process of its own: it is told its work in a line of JSON, and answers each request with one.

``python -m tests.bench.worker MODULE:FUNCTION TASK`` imports, does the work once to be warm, and says ``ready``. Then
``run`` gives the time and the peak memory of one more run, ``check`` what it read.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tests.bench.side import Side, Task


def main(factory: str, task_json: str) -> None:
    """Serve requests from standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    task = _task(json.loads(task_json))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-task.threads :])
    module, _, function = factory.partition(":")
    side: Side = getattr(importlib.import_module(module), function)(task)
    if "pyarrow" in sys.modules:  # it counts cores by itself
        sys.modules["pyarrow"].set_cpu_count(task.threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _timed(side, task, 0)
        base_bytes = _idle_bytes()
        _answer(answers, {"ready": True})
        for request in sys.stdin:
            _answer(answers, _timed(side, task, base_bytes) if request.strip() == "run" else {"check": side.check()})


def _answer(stream: Any, document: dict[str, Any]) -> None:
    stream.write(json.dumps(document) + "\n")
    stream.flush()


def _task(values: dict[str, Any]) -> Task:
    database = values["database"]
    return Task(
        Path(values["log"]),
        values["threads"],
        Path(values["scratch"]),
        tuple(values["topics"]),
        None if database is None else Path(database),
    )


def _timed(side: Side, task: Task, base_bytes: int) -> dict[str, Any]:
    shutil.rmtree(task.scratch, ignore_errors=True)
    task.scratch.mkdir(parents=True)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again here
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    parts = side.run()
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    peak_bytes = _status_bytes("VmHWM") - base_bytes
    return {"cpu_s": cpu_s, "wall_s": wall_s, "peak_bytes": peak_bytes, "parts": parts}


def _idle_bytes() -> int:
    """Return what the process holds between runs: the interpreter, and whatever the work imports."""
    gc.collect()
    gc.freeze()  # what was imported is not looked through again, on no side
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    ctypes.CDLL(None).malloc_trim(0)
    return _status_bytes("VmRSS")


def _status_bytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    main(*sys.argv[1:])

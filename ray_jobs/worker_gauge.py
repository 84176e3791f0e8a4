"""What each training process uses while it trains: CPU, memory, and its GPU where it has one; lines beside the run's curve.

Processes may run on machines that do not reach the tracking store: they write, and the process that drives them tells the store.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import torch

EVERY_S = 15.0
_PATTERN = "system-rank-*.jsonl"


class WorkerGauge:
    """Measures this process and its machine in a thread, from entering to leaving.

    Args:
        run: The run's folder.
        rank: This process.
        device: Where it trains.
        every_s: How often; once at the end in any case.
    """

    def __init__(self, run: Path, *, rank: int, device: torch.device, every_s: float = EVERY_S) -> None:
        self._path = run / f"system-rank-{rank}.jsonl"
        self._rank, self._device, self._every_s = rank, device, every_s
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._measure, name="worker-gauge", daemon=True)

    def __enter__(self) -> Self:
        self._process.cpu_percent()  # what is measured is measured since the call before
        psutil.cpu_percent()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _measure(self) -> None:
        while not self._stop.wait(self._every_s):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        line = {
            "time_ms": time.time_ns() // 1_000_000,
            "rank": self._rank,
            "host": socket.gethostname(),
            "metrics": self._metrics(),
        }
        with suppress(OSError):  # a full disk ends a training by itself, and better
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                os.write(descriptor, f"{json.dumps(line)}\n".encode())
            finally:
                os.close(descriptor)

    def _metrics(self) -> dict[str, float]:
        found = {
            "process_cpu_cores": self._process.cpu_percent() / 100,
            "process_memory_bytes": float(self._process.memory_info().rss),
            "node_cpu_share": psutil.cpu_percent() / 100,
            "node_memory_bytes": float(psutil.virtual_memory().used),
        }
        return found | gpu_metrics(self._device)


def gpu_metrics(device: torch.device) -> dict[str, float]:
    """Return what a GPU does now: its memory, and where NVIDIA's library is there, how busy it is; empty for a CPU."""
    if device.type != "cuda":
        return {}
    free, total = torch.cuda.mem_get_info(device)
    found = {
        "gpu_memory_bytes": float(total - free),
        "process_gpu_memory_bytes": float(torch.cuda.memory_reserved(device)),
    }
    with suppress(Exception):  # NVIDIA's library is no part of PyTorch; without it the share is not told
        found["gpu_busy_share"] = torch.cuda.utilization(device) / 100
    return found


class GaugeReader:
    """Hands out what all processes of a run wrote since it was last asked."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._read: dict[str, int] = {}

    def take(self) -> list[tuple[int, dict[str, float]]]:
        """Return (UTC milliseconds, name -> value); names say the rank, as MLflow's page of system metrics takes them."""
        found = []
        for path in sorted(self._run.glob(_PATTERN)):
            with path.open("rb") as stream:
                stream.seek(self._read.get(path.name, 0))
                data = stream.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read[path.name] = self._read.get(path.name, 0) + len(whole)
            for text in whole.splitlines():
                with suppress(ValueError):  # one that a kill cut
                    line: dict[str, Any] = json.loads(text)
                    prefix = f"system/rank-{line['rank']}"
                    metrics = {f"{prefix}/{name}": value for name, value in line["metrics"].items()}
                    found.append((int(line["time_ms"]), metrics))
        return found

"""Try each heavy part once, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from platform_lib.doctor.model import Finding

_LIMIT_S = 90.0
_PROBES = {
    "postgresql": "ingest, drives, query, dataset, train, demo",
    "ray": "ingest, dataset, train, demo",
    "torch": "train, evaluate, demo",
    "qnn": "compile for Qualcomm targets, demo",
}


def check_deep() -> Iterator[Finding]:
    """Try every part that `platform_lib.doctor.probe` knows; some seconds each."""
    for name, disables in _PROBES.items():
        yield run_probe(name, disables)


def run_probe(name: str, disables: str, limit_s: float = _LIMIT_S) -> Finding:
    """Run one probe and judge by what it answered; past `limit_s` it is ended with everything it started."""
    command = [sys.executable, "-m", "platform_lib.doctor.probe", name]
    remedy = f"see why: {' '.join(command)}; reinstall with `make clean install`"
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            answer, complaint = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            detail = f"no answer within {limit_s:g} s"
            return Finding("deep", name, "missing", detail, disables, remedy, demo=True)
    if process.returncode == 0:
        return Finding("deep", name, "ok", answer.strip().splitlines()[-1], demo=True)
    lines = complaint.strip().splitlines() or [f"ended with status {process.returncode}"]
    return Finding("deep", name, "missing", lines[-1], disables, remedy, demo=True)

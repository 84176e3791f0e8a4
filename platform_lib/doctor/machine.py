"""The machine: cores, memory, disk, clock."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil

from platform_lib.doctor.model import Finding

_GIB = 1 << 30
# What `drivetrain demo` needs on a 2-core machine with room to spare; less is refused rather than found out halfway.
_DEMO_DISK_BYTES = 2 * _GIB
_DEMO_MEMORY_BYTES = 3 * _GIB
_WISHED_MEMORY_BYTES = 6 * _GIB
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def check_machine(home: Path) -> Iterator[Finding]:
    """Judge what the demo needs of this machine; `home` says on which disk."""
    yield _cores()
    yield _memory()
    yield judge_disk(home, shutil.disk_usage(_existing(home)).free)
    yield judge_clock(time.time(), _newest_source_s())


def judge_disk(place: Path, free_bytes: int) -> Finding:
    """Judge the free space where the home is or will be."""
    detail = f"{free_bytes / _GIB:.1f} GiB free for {place}"
    if free_bytes >= _DEMO_DISK_BYTES:
        return Finding("machine", "disk", "ok", detail, demo=True)
    needed = f"the demo, which needs {_DEMO_DISK_BYTES // _GIB} GiB"
    return Finding("machine", "disk", "missing", detail, needed, "free some space, or name another --home", demo=True)


def judge_clock(now_s: float, newest_source_s: float) -> Finding:
    """Judge the clock against the installed code: what is dated before the code that writes it is dated wrongly."""
    shown = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
    if now_s < newest_source_s - 86_400:
        detail = f"{shown} is before the installed code was written"
        return Finding("machine", "clock", "warning", detail, remedy="set the clock; manifests and signatures carry it")
    return Finding("machine", "clock", "ok", shown)


def _cores() -> Finding:
    cores = len(os.sched_getaffinity(0))
    if cores < 2:
        remedy = "give it 2 cores or more; the demo then takes minutes, not a quarter of an hour"
        return Finding("machine", "cores", "warning", f"{cores}", remedy=remedy)
    return Finding("machine", "cores", "ok", f"{cores} usable")


def _memory() -> Finding:
    limit = _CGROUP_LIMIT.read_text().strip() if _CGROUP_LIMIT.is_file() else "max"
    total = min(psutil.virtual_memory().total, int(limit) if limit.isdigit() else 1 << 62)
    free = min(psutil.virtual_memory().available, total)
    detail = f"{free / _GIB:.1f} of {total / _GIB:.1f} GiB available"
    if free < _DEMO_MEMORY_BYTES:
        needed = f"the demo, which needs {_DEMO_MEMORY_BYTES // _GIB} GiB"
        return Finding("machine", "memory", "missing", detail, needed, "stop other programs, or take more", demo=True)
    if free < _WISHED_MEMORY_BYTES:
        remedy = "stop other programs if a command is killed for memory"
        return Finding("machine", "memory", "warning", detail, remedy=remedy)
    return Finding("machine", "memory", "ok", detail, demo=True)


def _newest_source_s() -> float:
    return max(path.stat().st_mtime for path in Path(__file__).resolve().parents[1].glob("*.py"))


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())

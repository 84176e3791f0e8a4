from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from platform_lib.home import open_home
from ray_jobs.memory_cap import MemoryCap

_READER = """
import sys, time
from pathlib import Path
from ray_jobs.memory_cap import MemoryCap
with MemoryCap(int(sys.argv[2]), Path(sys.argv[1])).kept(7):
    held = bytearray(300 << 20)
    time.sleep(float(sys.argv[3]))
print("read")
"""


def _read(notes: Path, cap_bytes: int, seconds: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _READER, str(notes), str(cap_bytes), str(seconds)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_reader_that_passes_its_cap_ends_and_says_why_once(tmp_path: Path) -> None:
    ended = _read(tmp_path, 200 << 20, 60.0)
    assert (ended.returncode, ended.stdout) == (1, "")
    cap = MemoryCap(200 << 20, tmp_path)
    assert not cap.was_passed(8)
    assert cap.was_passed(7)
    assert not cap.was_passed(7)


def test_a_reader_below_it_is_left_alone(tmp_path: Path) -> None:
    assert _read(tmp_path, 2 << 30, 0.2).stdout == "read\n"
    assert list(tmp_path.iterdir()) == []


def test_the_machine_is_divided_among_readers(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    one, many = MemoryCap.among(1, home), MemoryCap.among(1000, home)
    assert one.bytes < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert many.bytes == 1 << 30

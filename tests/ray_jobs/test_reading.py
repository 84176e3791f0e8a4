"""What reading in Ray tasks owes to the command around it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from platform_lib.home import open_home

_READERS_DIE = """
import os, sys, time
from pathlib import Path
import ray
from platform_lib.home import open_home
from ray_jobs.reading import ray_beside_output

with ray_beside_output(open_home(Path(sys.argv[1])), 1):
    try:
        ray.get(ray.remote(max_retries=0)(lambda: os._exit(1)).remote())
    except ray.exceptions.WorkerCrashedError:
        time.sleep(2)  # Ray tells it from a thread of its own
print("the answer")
"""


@pytest.mark.slow
def test_what_ray_says_of_a_dead_reader_is_not_mixed_into_the_answer(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _READERS_DIE, str(open_home(tmp_path / "home").root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the answer\n"
    assert "worker died" in done.stderr

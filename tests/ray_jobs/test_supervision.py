"""A command whose driver dies begins it anew, as long as it gets on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, signal, sys
from pathlib import Path
from platform_lib.errors import ConfigError
from ray_jobs.supervision import DriverLostError, supervised
folder, how = Path(sys.argv[1]), sys.argv[2]
def work():
    number = len(list(folder.iterdir()))
    if how == "gets on" and number < 4:
        (folder / str(number)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "stuck":
        os._exit(75)
    if how == "refuses":
        raise ConfigError("no", where="here", remedy="none")
    if how == "exits":
        print("not by the parent a second time")
    return number
heard = []
try:
    print("value", supervised(work, progress=lambda: str(len(list(folder.iterdir()))), died=heard.append))
except (ConfigError, DriverLostError) as error:
    print(type(error).__name__, error)
print(len(heard), heard[-1:] )
"""


def run(folder: Path, how: str) -> list[str]:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(folder), how]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, cwd=Path(__file__).resolve().parents[2]
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("gets on", ["value 4", "4 ['the process that drives the training was killed by signal 9"]),
        ("stuck", ["DriverLostError training: the process that drives the training lost Ray's head, 3 times", "2 ["]),
        ("refuses", ["ConfigError here: no. Remedy: none", "0 []"]),
        ("exits", ["not by the parent a second time", "value 0", "0 []"]),
    ],
)
def test_a_dead_driver_is_begun_anew(tmp_path: Path, how: str, expected: list[str]):
    told = run(tmp_path, how)
    assert len(told) == len(expected)
    for line, beginning in zip(told, expected, strict=True):
        assert line.startswith(beginning)

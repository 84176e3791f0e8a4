"""An interrupt in the middle of an import ends the program once the import is through."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "kept":
    from platform_lib.interrupts import keep_interrupts
    keep_interrupts()
import swallowing
print("went on", flush=True)
time.sleep(5)
"""


@pytest.mark.parametrize(("how", "status", "said"), [("kept", -signal.SIGINT, ""), ("lost", 0, "went on")])
def test_an_interrupt_that_an_import_swallows_is_lost_unless_it_is_kept(
    tmp_path: Path, how: str, status: int, said: str
) -> None:
    (tmp_path / "swallowing.py").write_text(
        textwrap.dedent(
            """
            import time
            try:
                print("importing", flush=True)
                time.sleep(0.5)
            except BaseException:
                pass
            """
        )
    )
    program = _PROGRAM if how == "kept" else _PROGRAM.replace("time.sleep(5)", "")
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "importing\n"
        running.send_signal(signal.SIGINT)
        rest = running.stdout.read()
    assert (running.returncode, rest.strip() if how == "lost" else "") == (status, said)
    assert how == "lost" or rest in {"", "went on\n"}

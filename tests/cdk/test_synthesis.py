"""Synthesis as a program of its own: quiet, and fast enough to be waited for."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

# Processor time, so that a busy machine fails nothing. On two idle cores it is about what one waits.
_LIMIT_S = 10.0
_PROGRAM = """
import sys
from datetime import date
from pathlib import Path
from cdk.config import load_environment
from cdk.synthesis import synthesise
synthesise(load_environment("prod", today=date(2026, 11, 30)), Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_the_full_set_is_synthesised_within_ten_seconds_and_says_nothing(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    # jsii's banner about Node.js comes on standard error.
    assert done.stdout == done.stderr == ""
    spent_s = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    assert spent_s < _LIMIT_S, f"{spent_s:.1f} s"

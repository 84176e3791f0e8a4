"""The drill: measured against the environment's own promise; a loss, a difference or too long a time fails it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from cdk.config import load_environment
from cdk.operating.restore_drill import Drill, Promise, promise_of
from platform_lib.home import open_home

PROMISE = Promise("metadata", rto_min=240.0, rpo_min=60.0)
GOOD = Drill(PROMISE, rows=9, tables=3, size_bytes=1 << 30, backup_min=1, restore_min=2, differences=(), made_up_rows=0)


def test_the_promise_is_the_environments() -> None:
    assert promise_of(load_environment("prod", today=date(2026, 11, 30))) == PROMISE


def test_equal_and_in_time_passes_and_says_how_much_would_be() -> None:
    assert GOOD.passes
    assert GOOD.dump_gib_within_rto == pytest.approx(120.0)


@pytest.mark.parametrize(
    "fault",
    [{"differences": ("table a is missing",)}, {"rows": 0}, {"restore_min": 241.0}],
    ids=["differs", "empty", "late"],
)
def test_a_fault_fails_it(fault: dict[str, object]) -> None:
    assert not replace(GOOD, **fault).passes  # type: ignore[arg-type]


def test_too_little_tells_no_speed() -> None:
    assert replace(GOOD, size_bytes=1000).dump_gib_within_rto is None


@pytest.fixture
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="drivetrain-drill-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


def _drill(home: Path, rows: int) -> dict[str, object]:
    command = [sys.executable, "-m", "platform_lib.cli", "infra", "drill", "--env", "prod", "--home", str(home)]
    done = subprocess.run([*command, "--rows", str(rows), "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_the_command_destroys_a_copy_and_brings_it_back(scratch: Path) -> None:
    home = open_home(scratch / "home")
    found = _drill(home.root, 2000)
    assert (found["passes"], found["differences"]) == (True, [])
    assert int(str(found["rows"])) >= 2000
    assert float(str(found["restore_min"])) < 1.0
    # The home's own data were read, and nothing else: no row of the drill is in them.
    assert not any("drill_rows" in path.read_text(errors="replace") for path in home.logs.glob("*.log"))


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_series_of_sizes_is_restored_equal_each_time(scratch: Path) -> None:
    seen = []
    chance = random.Random(20261130)  # noqa: S311 - a series, not a secret
    for number in range(8):
        rows = chance.choice([1, 1000, 50_000, 400_000])
        found = _drill(open_home(scratch / f"home-{number}").root, rows)
        seen.append((rows, found["size_bytes"], found["restore_min"]))
        assert found["differences"] == []
    assert len(seen) == 8

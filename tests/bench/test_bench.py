"""The benchmark judges itself: every line is there, and a measurement that cannot be true fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.own_tables import OWN_TABLES
from tests.bench.works import STORE_KEY, WORKS, Peer, Work

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("ours", "peer", "outcome", "status"),
    [
        ("honest", "slow", "holds: ratio", 0),
        ("slow", "honest", "NOT MET", 0),
        ("impossible", "slow", "BEATS ITS FLOOR", 1),
        ("mistaken", "slow", "WRONG VALUES", 1),
    ],
)
def test_a_line_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ours: str, peer: str, outcome: str, status: int
) -> None:
    monkeypatch.setenv("DRIVETRAIN_BENCH", str(tmp_path))
    monkeypatch.setenv("DRIVETRAIN_BENCH_MB", "1")
    (tmp_path / "v2-1mb").mkdir()
    (tmp_path / "v2-1mb" / "any.log").touch()
    here = "tests.bench.planted"
    other = Peer("planted", f"{here}:{peer}", 2)
    work = Work("planted", "planted", "any.log", f"{here}:{ours}", (other,), f"{here}:floor")
    found = tmp_path / "found.json"
    assert main(["--only", "planted", "--rounds", "1", "--json", str(found)], works=(work,)) == status
    assert [line["outcome"] for line in json.loads(found.read_text())["lines"]] == [outcome]


@pytest.mark.slow
def test_every_line_is_measured_and_every_value_is_the_peers(tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    environment = os.environ | {"DRIVETRAIN_BENCH": str(tmp_path), "DRIVETRAIN_BENCH_MB": "2"}
    keys = ",".join(sorted({work.key for work in WORKS} | {STORE_KEY}))  # the studies run with `make soak`
    command = [sys.executable, "-m", "tests.bench", "--only", keys, "--rounds", "1", "--json", str(found)]
    done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)
    assert found.exists(), done.stdout + done.stderr
    lines = json.loads(found.read_text())["lines"]
    # So few bytes measure nothing: a line may seem to beat its floor, and then has to fail.
    assert done.returncode == int(any(line["outcome"] == "BEATS ITS FLOOR" for line in lines)), done.stdout
    expected = [(work.key, peer.name) for work in WORKS for peer in work.peers]
    assert [(line["key"], line["peer"]) for line in lines] == [*expected, (STORE_KEY, "that topic's chunks")]
    assert all(line["compared"] and not line["differences"] for line in lines)
    assert all(f"| {line['work']} " in done.stdout for line in lines)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_study_runs_at_a_small_size(tmp_path: Path) -> None:
    environment = os.environ | {"DRIVETRAIN_BENCH": str(tmp_path), "DRIVETRAIN_BENCH_MB": "2"}
    for study in (table.key for table in OWN_TABLES if table.small):
        command = [sys.executable, "-m", "tests.bench", "--only", study, "--rounds", "1"]
        done = subprocess.run(command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "| " in done.stdout, study

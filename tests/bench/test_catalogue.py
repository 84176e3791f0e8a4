"""The ten questions at full size, in `make soak`: a million drives, ten million files, a hundred million clips."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

import pytest

from tests.bench.catalog_latency import Latency, latency_table, measure_fleet
from tests.bench.fleet import Fleet
from tests.bench.fleet_rows import FULL_DRIVES


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def test_a_question_is_slow_by_its_99th_of_100_and_says_little_without_rows() -> None:
    quick = Latency("q", 300, 0.001, 0.049, 0.2, 0.06, 1.0, ())
    assert quick.holds
    assert not dataclasses.replace(quick, p99_s=0.051).holds
    assert not dataclasses.replace(quick, rows=0.0).holds


@pytest.mark.soak
def test_ten_questions_of_a_hundred_million_clips_take_less_than_50_ms() -> None:
    """Takes some 40 GB of the disk, deleted afterwards; ``DRIVETRAIN_CATALOGUE_REPORT`` names a file for the plans."""
    with tempfile.TemporaryDirectory(prefix="drivetrain-fleet-", ignore_cleanup_errors=True) as root:
        Path(root).chmod(0o755)
        found = measure_fleet(Path(root), Fleet(FULL_DRIVES), _tell)
    _tell(latency_table(found))
    report = os.environ.get("DRIVETRAIN_CATALOGUE_REPORT")
    if report:
        Path(report).write_text(json.dumps(dataclasses.asdict(found), indent=2))
    assert [item.question for item in found.latencies if not item.holds] == []

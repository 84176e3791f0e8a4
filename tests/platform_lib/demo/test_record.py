"""A stage that was skipped keeps the time that making its artefact took, and only for that very artefact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from platform_lib.demo.record import Record
from platform_lib.demo.runner import StageOutcome

MADE = StageOutcome(
    title="Train",
    command="drivetrain train",
    seconds=88.0,
    made_in_s=88.0,
    skipped=False,
    digest="d1",
    path="runs/demo",
    result={"skipped": False},
)
SKIPPED = replace(MADE, seconds=1.0, made_in_s=None, skipped=True)


def test_a_skipped_stage_keeps_its_time_over_later_runs(tmp_path: Path) -> None:
    path = tmp_path / "stages.json"
    Record(path).add(MADE)
    assert Record(path).add(SKIPPED).made_in_s == 88.0
    assert Record(path).add(SKIPPED).made_in_s == 88.0


def test_another_artefact_has_no_known_time(tmp_path: Path) -> None:
    path = tmp_path / "stages.json"
    Record(path).add(MADE)
    assert Record(path).add(replace(SKIPPED, digest="d2")).made_in_s is None


@pytest.mark.parametrize("content", [b"", b"[{}]", b"\xff\x00"])
def test_a_broken_record_loses_times_only(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "stages.json"
    path.write_bytes(content)
    assert Record(path).add(SKIPPED).made_in_s is None
    assert Record(path).add(MADE).made_in_s == 88.0

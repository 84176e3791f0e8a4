"""What `drivetrain erase` tells people."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from platform_lib.catalog.erasures import Tombstone
from platform_lib.erasure.commands import _show
from platform_lib.erasure.erasing import ErasureReport, Proof

_NOW = datetime(2026, 6, 1, tzinfo=UTC)
_REPORT = ErasureReport(
    dry_run=False,
    drives=("car-0001",),
    gone=("car-0001",),
    files=1,
    files_in_part=0,
    datasets=(),
    marked=(),
    sharing=(),
    sharing_samples={"/lidar/points": ("car-0002", "car-0003")},
    pieces={"searched": 30, "shared": 4, "samples": 12, "samples_without": 2},
    unplaced=(),
    logs_outside=(),
    exports_outside=(),
    tombstone=Tombstone(1, "0", "x", "y", "done", {}, _NOW, _NOW),
    proof=Proof((), ("bundles/b/evidence.json",), 10, 31),
)


def _said(report: ErasureReport, capsys: pytest.CaptureFixture[str]) -> str:
    _show(report)
    told = capsys.readouterr()
    return " ".join((told.out + told.err).split())


def test_a_name_that_stays_in_a_signed_file_is_no_contradiction(capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(_REPORT, capsys)
    assert "nothing stays of car-0001, but the name in 1 file of signed bundles" in said
    assert "the name, and nothing else: bundles/b/evidence.json; a signed file is not changed" in said
    without = _said(replace(_REPORT, proof=Proof((), (), 10, 31)), capsys)
    assert "signed" not in without
    assert "nothing stays of car-0001" in without


def test_other_samples_are_not_called_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    said = _said(_REPORT, capsys)
    assert "same samples of /lidar/points (no pictures)" in said
    assert "same pictures" not in said
    assert "30 pieces of 12 samples and frames" in said
    assert "4 other pieces stay" in said
    assert "2 of the samples have no piece" in said

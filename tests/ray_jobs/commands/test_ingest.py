"""What a person is told of an ingest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ingest_reports import tiny_report

from platform_lib.errors import ConfigError
from ray_jobs.commands.ingest import note, print_report
from ray_jobs.ingest_report import IngestReport, Progress, QuarantinedFile
from ray_jobs.read_options import choose

_LOCAL = "the header's start is local time without a zone; it is taken as UTC"


def _report(problems: dict[str, tuple[str, ...]], drive_problems: dict[str, str]) -> IngestReport:
    return tiny_report(
        found=3,
        ingested=2,
        outdated=4,
        left={"x": "its log is gone"},
        quarantined=(QuarantinedFile("/l/[b].mcap", "CorruptLog", "cut\x1b[2J", "fetch it again"),),
        completed={"/l/bag": 2},
        drives=("l",),
        streams=2,
        signal_rows=10,
        raw_can_frames=1234,
        problems=problems,
        schema_changes={"/l/c.mf4": ("CAN1/X: version 2",)},
        drive_problems=drive_problems,
    )


def test_what_was_assumed_or_left_is_said_once_for_all_logs_it_holds_for(capsys: pytest.CaptureFixture[str]) -> None:
    many = {f"/l/{i}.mf4": (_LOCAL,) for i in range(100)}
    print_report(
        _report({"/l/a.mf4": ("group 'x': 7 CAN frames are in no database",), **many}, {"l": "they are years apart"})
    )
    lines = capsys.readouterr().out.splitlines()
    assert f"note 100 logs, /l/0.mf4 the first: {_LOCAL}" in lines
    assert "note /l/a.mf4: group 'x': 7 CAN frames are in no database" in lines
    assert "note drive l: they are years apart" in lines
    assert "quarantined /l/[b].mcap: cut\\x1b[2J. Remedy: fetch it again" in lines
    assert "left as it was, drive x: its log is gone" in lines
    assert "completed /l/bag: its rows replace those of 2 readings from before it was complete" in lines
    assert "new schema /l/c.mf4: CAN1/X: version 2" in lines
    assert any(line.startswith("note 4 logs were read by an older reader") for line in lines)
    assert any("CAN frames no database explains" in line and "1,234" in line for line in lines)


def test_many_different_notes_are_cut_and_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(_report({f"/l/{i}.mf4": (f"sentence {i}",) for i in range(25)}, {}))
    out = capsys.readouterr().out
    assert out.count("\nnote ") == 22  # with what was left to an older reader, and the frames that no database explains
    assert "5 more notes: --json lists them" in out


def test_a_folder_of_databases_is_known_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    files = [tmp_path / "all" / name for name in ("a.dbc", "b.arxml")]
    for path in files:
        path.write_text(path.name)

    def digest(*named: object) -> str:
        return choose(list(map(str, named)), recover=False, timezone=None).sha256

    assert digest(tmp_path / "all") == digest(*files) == digest(*(f"CAN={path}" for path in files))
    assert digest(f"CAN2={tmp_path / 'all'}") == digest(*(f"CAN2={path}" for path in files)) != digest(*files)
    assert digest(files[0]) != digest(*files)
    with pytest.raises(ConfigError, match="no such CAN database"):
        digest(tmp_path / "none.dbc")


def test_a_file_that_breaks_its_contract_is_named_with_what_follows(capsys: pytest.CaptureFixture[str]) -> None:
    told = tuple(f"ego-motion imu.r{i}: 7 ms, has to be <= 5" for i in range(5))
    print_report(replace(_report({}, {}), contract_errors={"/l/a.mcap": told}, contract_warnings={"/l/b.mcap": ("x",)}))
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("contract broken /l/a.mcap: ego-motion imu.r0") for line in lines)
    assert not any("blur frames" in line for line in lines)
    raw = {"/l/a.mcap": ("camera-samples front_camera.pii_state.valid: 7 rows, has to be = 0",)}
    print_report(replace(_report({}, {}), contract_errors=raw))
    assert "`drivetrain blur frames`" in capsys.readouterr().out
    assert any(line.endswith("(and 2 more); its drive stays out of datasets") for line in lines)
    assert any("1 logs with warnings of their contracts" in line for line in lines)


def test_progress_tells_bytes_speed_what_is_left_and_what_was_quarantined() -> None:
    half = Progress(done=1, total=2, done_bytes=5_000_000, total_bytes=10_000_000, rows=1000, quarantined=1)
    assert note(half, 10.0) == "5 MB of 10 MB, 1,000 rows, 100 rows/s, 0:00:10 left, 1 quarantined"
    small_ones_to_come = Progress(50, 100, 10_000_000, 10_000_000, 1000, 0)
    assert "0:00:03 left" in note(small_ones_to_come, 10.0)
    assert note(Progress(0, 2, 0, 10_000_000, 0, 0), 0.0) == "0 bytes of 10 MB, 0 rows, 0 quarantined"

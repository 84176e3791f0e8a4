from __future__ import annotations

import time
from pathlib import Path

from platform_lib.doctor.machine import check_machine, judge_clock, judge_disk


def test_this_machine_can_run_the_demo(tmp_path: Path) -> None:
    found = {finding.name: finding for finding in check_machine(tmp_path / "not" / "made")}
    assert set(found) == {"cores", "memory", "disk", "clock"}
    assert found["clock"].status == "ok"


def test_a_full_disk_blocks_the_demo(tmp_path: Path) -> None:
    assert judge_disk(tmp_path, 1 << 30).blocks_demo
    assert judge_disk(tmp_path, 4 << 30).status == "ok"


def test_a_clock_before_the_code_was_written_is_told() -> None:
    now = time.time()
    assert judge_clock(now, now - 1).status == "ok"
    finding = judge_clock(0.0, now)
    assert finding.status == "warning"
    assert finding.detail.startswith("1970-01-01")

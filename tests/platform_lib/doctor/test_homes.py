from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from platform_lib.doctor.homes import check_home, held_locks
from platform_lib.doctor.model import Finding
from platform_lib.home import open_home


def _by_name(root: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_home(root)}


def test_a_sound_home(tmp_path: Path) -> None:
    root = open_home(tmp_path / "home").root
    assert {finding.status for finding in check_home(root)} == {"ok"}


def test_a_home_that_does_not_exist_yet_is_fine_and_stays_absent(tmp_path: Path) -> None:
    root = tmp_path / "new" / "home"
    assert {finding.status for finding in check_home(root)} == {"ok"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("marker", [None, "{", json.dumps({"layout_version": 99})])
def test_a_folder_that_is_no_home_of_ours_blocks_the_demo(tmp_path: Path, marker: str | None) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    if marker is not None:
        (tmp_path / "home.json").write_text(marker)
    assert _by_name(tmp_path)["home"].blocks_demo


def test_a_home_below_a_file_blocks_the_demo(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert _by_name(tmp_path / "file" / "home")["writable"].blocks_demo


def test_a_read_only_place_blocks_the_demo() -> None:
    if not os.statvfs("/sys").f_flag & os.ST_RDONLY and os.access("/sys", os.W_OK):
        pytest.skip("no read-only file system to look at")
    assert _by_name(Path("/sys/home"))["writable"].blocks_demo


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    with home.lock("demo"), home.lock("lake"):
        assert held_locks(home.root / "locks") == {"demo": os.getpid(), "lake": os.getpid()}
        assert _by_name(home.root)["locks"].status == "warning"
    assert held_locks(home.root / "locks") == {}
    assert _by_name(home.root)["locks"].status == "ok"


def test_a_long_temporary_folder_blocks_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("deep" * 20)))
    assert _by_name(tmp_path)["sockets"].blocks_demo


def test_a_server_whose_command_is_gone_is_an_orphan(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    program = tmp_path / "raylet.py"
    program.write_text("import ctypes, time\nctypes.CDLL(None).prctl(15, b'raylet', 0, 0, 0)\ntime.sleep(60)\n")
    # A shell that ends at once leaves the server to process 1, as a kill -9 of its command does.
    launcher = f"python3 {program} {home.short_path}/ray </dev/null >/dev/null 2>&1 & echo $!"
    done = subprocess.run(["bash", "-c", launcher], capture_output=True, text=True, check=True)
    process = int(done.stdout)
    try:
        until = time.monotonic() + 10
        while _by_name(home.root)["orphans"].status == "ok" and time.monotonic() < until:
            time.sleep(0.05)
        finding = _by_name(home.root)["orphans"]
        assert finding.status == "warning"
        assert f"raylet (process {process})" in finding.detail
        assert _by_name(tmp_path / "another")["home"].status == "ok"
    finally:
        os.kill(process, 9)

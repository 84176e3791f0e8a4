from __future__ import annotations

import json
import os
import subprocess
import sys
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


LEAVES_SERVERS = """
import os, signal, sys
from pathlib import Path
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.home import open_home
from ray_jobs.session import local_ray
home = open_home(Path(sys.argv[1]))
with embedded_postgres(home), local_ray(home, cpus=1):
    print("up", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""
CLEARS_THEM = """
import sys
from pathlib import Path
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.home import open_home
from ray_jobs.session import local_ray
home = open_home(Path(sys.argv[1]))
with embedded_postgres(home), local_ray(home, cpus=1):
    pass
"""


@pytest.mark.slow
def test_servers_of_a_killed_command_are_orphans_until_the_next_command(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    command = [sys.executable, "-c", LEAVES_SERVERS, str(home.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert _by_name(home.root)["orphans"].detail == "none", "they are in use"
        process.communicate("die\n")
    try:
        finding = _by_name(home.root)["orphans"]
        assert finding.status == "warning"
        assert "PostgreSQL (process " in finding.detail
        assert f"Ray session {home.short_path}" in finding.detail
    finally:
        subprocess.run([sys.executable, "-c", CLEARS_THEM, str(home.root)], check=True, capture_output=True)
    assert _by_name(home.root)["orphans"].detail == "none"


def test_what_is_no_ticket_and_no_pid_file_is_no_orphan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    home = open_home(tmp_path / "home")
    (home.postgres / "data").mkdir(parents=True)
    (home.postgres / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert _by_name(home.root)["orphans"].detail == "none", "that process is another program"
    (home.short / "r1").mkdir()
    (home.short / "r1" / "driver").write_text("half")
    assert "Ray session" in _by_name(home.root)["orphans"].detail

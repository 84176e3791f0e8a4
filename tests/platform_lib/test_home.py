"""Which folder is the home, which is refused, and who may work in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from platform_lib.errors import ConfigError, HomeBusyError, HomeError
from platform_lib.home import LAYOUT_VERSION, Home, find_home, layout_version, open_home

# Takes the lock, optionally starts a child in the named way, says both process numbers, then sleeps.
HOLDER = """
import os, subprocess, sys, time
from pathlib import Path
from platform_lib.home import open_home
with open_home(Path(sys.argv[1])).lock("demo"):
    child = 0
    if sys.argv[2] == "program":
        child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, close_fds=False).pid
    if sys.argv[2] == "fork":
        child = os.fork()
        if child == 0:
            os.close(1)
            time.sleep(60)
            os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


def _holder(root: Path, child: str = "none") -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(root), child], stdout=subprocess.PIPE)
    assert process.stdout is not None
    number = int(process.stdout.readline())
    process.stdout.close()
    return process, number


def _kill(process: subprocess.Popen[bytes], child: int) -> None:
    process.kill()
    process.wait()
    if child:
        os.kill(child, signal.SIGKILL)


def test_lookup_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIVETRAIN_HOME", str(tmp_path / "environment"))
    work = tmp_path / "work" / "deep"
    work.mkdir(parents=True)
    (tmp_path / "work" / ".drivetrain").mkdir()
    assert find_home(tmp_path / "option", start=work) == tmp_path / "option"
    assert find_home(start=work) == tmp_path / "environment"
    monkeypatch.setenv("DRIVETRAIN_HOME", "")
    assert find_home(start=work) == tmp_path / "work" / ".drivetrain"
    (tmp_path / "work" / ".drivetrain").rmdir()
    monkeypatch.chdir(work)
    assert find_home() == work / ".drivetrain"
    assert not (work / ".drivetrain").exists(), "asking makes nothing"


def test_a_home_is_made_once_and_found_again(tmp_path: Path) -> None:
    root = tmp_path / "home"
    assert open_home(root) == open_home(root) == Home(root=root)
    assert layout_version(root) == LAYOUT_VERSION


@pytest.mark.parametrize(
    "marker", ["", "{", "[]", "{}", '{"layout_version": "1"}', '{"layout_version": true}', '{"layout_version": 1.0}']
)
def test_a_broken_marker_is_refused(tmp_path: Path, marker: str) -> None:
    (tmp_path / "home.json").write_text(marker)
    with pytest.raises(HomeError, match="marker cannot be read"):
        open_home(tmp_path)


def test_another_layout_version_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text(json.dumps({"layout_version": LAYOUT_VERSION + 1}))
    with pytest.raises(HomeError, match=f"version {LAYOUT_VERSION + 1}.*Remedy: use the release"):
        open_home(tmp_path)


def test_a_home_of_the_release_before_is_refused_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text(json.dumps({"layout_version": LAYOUT_VERSION - 1}))
    with pytest.raises(HomeError, match="ingest its logs there anew"):
        open_home(tmp_path)


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(HomeError, match="not a drivetrain home"):
        open_home(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(HomeError, match="cannot be made"):
        open_home(tmp_path / "home")


def test_what_a_killed_first_use_left_does_not_keep_the_home_from_being_made(tmp_path: Path) -> None:
    (tmp_path / ".tmp-0123456789ab-home.json").write_text("")
    assert open_home(tmp_path).root == tmp_path


def test_two_processes_never_hold_one_lock(tmp_path: Path) -> None:
    process, child = _holder(tmp_path / "home")
    try:
        home = open_home(tmp_path / "home")
        with pytest.raises(HomeBusyError, match=rf"process {process.pid}\b.*Remedy"), home.lock("demo"):
            pass
        with home.lock("another name"):
            pass
    finally:
        _kill(process, child)


def test_readers_share_a_lock_and_keep_a_writer_out(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    with home.lock("dataset-demo", shared=True), home.lock("dataset-demo", shared=True):
        with pytest.raises(HomeBusyError, match="dataset-demo"), home.lock("dataset-demo"):
            pass
    with home.lock("dataset-demo"), pytest.raises(HomeBusyError), home.lock("dataset-demo", shared=True):
        pass


def test_waiting_for_a_lock_gives_up_at_its_time_limit(tmp_path: Path) -> None:
    process, child = _holder(tmp_path / "home")
    try:
        start = time.monotonic()
        with pytest.raises(HomeBusyError), open_home(tmp_path / "home").lock("demo", wait_s=0.3):
            pass
        assert 0.3 <= time.monotonic() - start < 5
    finally:
        _kill(process, child)


@pytest.mark.parametrize("child", ["none", "program", "fork"])
def test_a_killed_holder_releases_the_lock_whatever_it_had_started(tmp_path: Path, child: str) -> None:
    process, number = _holder(tmp_path / "home", child)
    process.kill()
    process.wait()
    try:
        # A fork that was scheduled late lets go of its copy when it first runs.
        with open_home(tmp_path / "home").lock("demo", wait_s=20.0):
            assert (tmp_path / "home" / "locks" / "demo.lock").read_text() == f"{os.getpid()}\n"
    finally:
        if number:
            os.kill(number, signal.SIGKILL)


def test_a_forked_child_that_ends_does_not_release_its_parents_lock(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from platform_lib.home import open_home
home = open_home(Path(sys.argv[1]))
with home.lock("demo"):
    if os.fork() == 0:
        raise SystemExit(0)  # unwinds the `with` in the child
    os.wait()
    second = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", sys.argv[2], sys.argv[1]])
    raise SystemExit(second)
"""
    asks = """
import sys
from pathlib import Path
from platform_lib.errors import HomeBusyError
from platform_lib.home import open_home
try:
    with open_home(Path(sys.argv[1])).lock("demo"):
        raise SystemExit(3)
except HomeBusyError:
    raise SystemExit(0)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "home"), asks], check=False)
    assert done.returncode == 0, "3 = a second process got the lock while its holder was alive"


def test_a_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    home = open_home(tmp_path / "home")
    with pytest.raises(RuntimeError), home.lock("demo"):
        raise RuntimeError
    with home.lock("demo"):
        pass


def test_a_home_that_vanished_is_an_error_for_people(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="cannot be locked"), Home(root=tmp_path / "gone").lock("demo"):
        pass


def test_the_socket_folder_is_short_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    home = Home(root=tmp_path / ("long" * 40))
    assert home.short == home.short_path
    assert home.short.stat().st_mode & 0o777 == 0o700
    assert len(home.short.name) < 40
    assert home.short != Home(root=tmp_path / "other").short


@pytest.mark.parametrize("planted", ["link", "open", "file"])
def test_a_planted_socket_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    home = Home(root=tmp_path / "home")
    if planted == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        home.short_path.symlink_to(tmp_path / "elsewhere")
    elif planted == "open":
        home.short_path.mkdir()
        home.short_path.chmod(0o777)
    else:
        home.short_path.write_text("")
    with pytest.raises(HomeError, match="this user alone"):
        _ = home.short


def test_a_reading_command_makes_no_home(tmp_path):
    with pytest.raises(HomeError, match="nothing to read"):
        open_home(tmp_path / "typo", make=False)
    assert not (tmp_path / "typo").exists()
    open_home(tmp_path / "typo")
    assert open_home(tmp_path / "typo", make=False).root == tmp_path / "typo"


@pytest.mark.parametrize("named", ["~nobody-of-that-name/x", "a\nb", "\udcff\udcfe"])
def test_a_name_that_cannot_be_written_down_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    with pytest.raises(HomeError, match=r"no folder|no text"):
        find_home(Path(named) if named.startswith("~") else tmp_path / named)
    monkeypatch.setenv("DRIVETRAIN_HOME", named)
    with pytest.raises(HomeError) as refused:
        find_home()
    assert refused.value.where == "DRIVETRAIN_HOME"


def test_a_current_folder_that_was_deleted_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.delenv("DRIVETRAIN_HOME", raising=False)
    gone.rmdir()
    with pytest.raises(HomeError, match="deleted"):
        find_home()
    monkeypatch.chdir(tmp_path)


def test_a_home_never_changes_its_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = open_home(tmp_path / "own")
    (own.lake / "signals").mkdir(parents=True)
    monkeypatch.setenv("DRIVETRAIN_LAKE", "s3://bucket/fleet")
    with pytest.raises(HomeError, match=r"own/lake, and DRIVETRAIN_LAKE names s3://bucket/fleet.*Remedy: unset"):
        open_home(tmp_path / "own")
    assert open_home(tmp_path / "short", own_lake=True).bucket_lake is None
    made = open_home(tmp_path / "fleet", make=False)  # there is something to read: the lake
    assert open_home(tmp_path / "fleet").bucket_lake == made.bucket_lake == "s3://bucket/fleet"
    monkeypatch.setenv("DRIVETRAIN_LAKE", "s3://bucket/other")
    with pytest.raises(HomeError, match=r"lake is s3://bucket/fleet, and DRIVETRAIN_LAKE names s3://bucket/other"):
        open_home(tmp_path / "fleet")
    monkeypatch.delenv("DRIVETRAIN_LAKE")
    assert open_home(tmp_path / "fleet").bucket_lake == "s3://bucket/fleet"


@pytest.mark.parametrize(
    "text",
    ["/data/lake", "s3://", "s3://UPPER/x", "s3://bucket//x", "s3://bucket/a/../b", "s3://bucket/a?b", "gs://b/x"],
)
def test_a_place_that_is_no_lake_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DRIVETRAIN_LAKE", text)
    with pytest.raises(ConfigError, match=r"no place for a lake.*Remedy: write s3://bucket/prefix"):
        open_home(tmp_path / "home")
    assert not (tmp_path / "home").exists()

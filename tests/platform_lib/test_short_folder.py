"""Who may have a short folder, and when it is swept."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from platform_lib.short_folder import make_short_folder, short_path, sweep_short_folders


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def _nobody(folder: Path) -> bool:
    del folder
    return False


def test_a_folder_goes_with_its_home_and_not_before(temporary: Path, home: Path) -> None:
    folder = make_short_folder(home)
    (folder / "left").write_text("by a kill")
    other = make_short_folder(home, "pg-", open_to_all=True)
    assert (folder.stat().st_mode & 0o777, other.stat().st_mode & 0o777) == (0o700, 0o755)
    sweep_short_folders(_nobody)
    assert folder.exists()
    home.rmdir()
    sweep_short_folders(_nobody)
    assert list(temporary.iterdir()) == []


def test_who_holds_a_folder_keeps_it(temporary: Path, home: Path) -> None:
    folder = make_short_folder(home)
    home.rmdir()
    sweep_short_folders(lambda asked: asked == folder)
    assert folder.exists()
    with (folder / "belongs-to").open() as marker:
        fcntl.flock(marker, fcntl.LOCK_SH)  # it is being made at this moment
        sweep_short_folders(_nobody)
    assert folder.exists()
    sweep_short_folders(_nobody)
    assert list(temporary.iterdir()) == []


def test_what_a_kill_while_making_left_is_swept(temporary: Path, home: Path) -> None:
    short_path(home).mkdir(mode=0o700)
    sweep_short_folders(_nobody)
    assert list(temporary.iterdir()) == []
    short_path(home).mkdir(mode=0o700)
    (short_path(home) / "belongs-to").touch()
    sweep_short_folders(_nobody)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("planted", ["another account's", "a file", "a link", "of an earlier release", "not a path"])
def test_what_is_not_ours_is_left_alone(temporary: Path, tmp_path: Path, home: Path, planted: str) -> None:
    folder = make_short_folder(home)
    home.rmdir()
    if planted == "another account's":
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(folder, 65534, 65534)
    elif planted == "of an earlier release":
        (folder / "belongs-to").rename(folder / "socket")
    elif planted == "not a path":
        (folder / "belongs-to").write_text("home")
    else:
        folder.rename(tmp_path / "elsewhere")
        if planted == "a link":
            folder.symlink_to(tmp_path / "elsewhere")
        else:
            folder.write_text("")
    sweep_short_folders(_nobody)
    assert [path.name for path in temporary.iterdir()] == [folder.name]
    assert planted != "a link" or (tmp_path / "elsewhere" / "belongs-to").exists()


def test_a_folder_made_while_others_sweep_is_there_afterwards(temporary: Path, home: Path) -> None:
    done = threading.Event()

    def sweep() -> None:
        while not done.is_set():
            sweep_short_folders(_nobody)

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(200):
            home.rmdir()  # now and then a sweep falls in here, and takes the folder of the former home
            home.mkdir()
            folder = make_short_folder(home)
            (folder / str(number)).touch()
            assert (folder / "belongs-to").read_text() == str(home)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert [path.name for path in temporary.iterdir()] == [short_path(home).name]

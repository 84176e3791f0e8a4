"""Who may write: the readers of the run at work, not those of one that was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from platform_lib.errors import HomeBusyError, HomeError
from platform_lib.home import Home, open_home
from platform_lib.lake import writers as module
from platform_lib.lake.writers import Permit, Writers


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = open_home(tmp_path / "home")
    home.lake.mkdir()
    return home


def _write_until_killed(permit: Permit, told: str) -> None:
    with permit.used():
        Path(told).touch()
        signal.pause()


def test_a_mark_stays_until_the_run_ends(home: Home) -> None:
    writers = Writers(home)
    assert not writers.unfinished
    with writers.begin().used():
        assert writers.unfinished
    assert Writers(home).unfinished  # as the command after a kill sees it
    writers.end()
    assert not writers.unfinished


def test_a_reader_of_a_former_run_may_not_write(home: Home) -> None:
    former = Writers(home).begin()
    Writers(home).end()
    with pytest.raises(HomeError, match="has ended"), former.used():
        pytest.fail("it writes beside nobody")
    Writers(home).begin()
    with pytest.raises(HomeError, match="has ended"), former.used():
        pytest.fail("it writes beside another run")


def test_a_sweep_waits_for_readers_of_a_former_run(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT_FOR_READERS_S", 0.2)
    told = tmp_path / "writes"
    reader = multiprocessing.get_context("spawn").Process(
        target=_write_until_killed, args=(Writers(home).begin(), str(told))
    )
    reader.start()
    try:
        while not told.exists():
            assert reader.is_alive()
        with pytest.raises(HomeBusyError, match=str(reader.pid)), Writers(home).barred():
            pytest.fail("it sweeps what is being written")
    finally:
        os.kill(reader.pid or 0, signal.SIGKILL)
        reader.join()
    with Writers(home).barred():
        assert Writers(home).unfinished

"""How a run stops for good: counted, told to the command, and told also where the disk is full."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from platform_lib import storage
from platform_lib.errors import PlatformError
from platform_lib.models.divergence import DivergedError
from platform_lib.refusals import refused_by_system
from ray_jobs import attempts
from ray_jobs.attempts import TrainingError, begin_attempt, clear_attempts, no_room, release, stop_for_good, stopped_by

QUOTA_BYTES = 100 << 10


@pytest.fixture
def small_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder hold 100 KiB, as a disk of that size would."""

    def publish(path: Path, data: bytes) -> None:
        used = sum(item.stat().st_size for item in path.parent.iterdir() if item.is_file())
        if used + len(data) > QUOTA_BYTES:
            raise OSError(errno.ENOSPC, "No space left on device")
        storage.publish_bytes(path, data)

    monkeypatch.setattr(attempts, "publish_bytes", publish)


@pytest.mark.usefixtures("small_disk")
def test_why_it_stopped_finds_room_on_a_full_disk(tmp_path: Path) -> None:
    clear_attempts(tmp_path)
    free = QUOTA_BYTES - sum(item.stat().st_size for item in tmp_path.iterdir())
    (tmp_path / "state.pt").write_bytes(bytes(free))
    with pytest.raises(OSError, match="No space left") as full:
        begin_attempt(tmp_path, 3)
    assert no_room(full.value)
    stop_for_good(tmp_path, refused_by_system(full.value, where="run"))
    found = stopped_by(tmp_path)
    assert type(found) is PlatformError
    assert (found.what, found.where) == ("No space left on device", "run")
    assert "free some disk space and run the command again" in str(found.remedy)


@pytest.mark.usefixtures("small_disk")
def test_without_the_room_set_aside_it_could_not_be_said(tmp_path: Path) -> None:
    clear_attempts(tmp_path)
    release(tmp_path)
    (tmp_path / "state.pt").write_bytes(bytes(QUOTA_BYTES))
    with pytest.raises(OSError, match="No space left"):
        stop_for_good(tmp_path, TrainingError("x", where="run"))
    assert stopped_by(tmp_path) is None


def test_other_errors_of_the_system_are_not_a_full_disk() -> None:
    assert not no_room(ConnectionResetError(errno.ECONNRESET, "of another process"))
    assert not no_room(ValueError())
    assert no_room(OSError(errno.EROFS, "Read-only file system"))


def test_the_fourth_beginning_at_one_step_is_refused_and_forgotten_by_the_next_command(tmp_path: Path) -> None:
    for _ in range(attempts.MOST_AT_ONE_STEP):
        begin_attempt(tmp_path, 7)
    with pytest.raises(TrainingError, match="ended 3 times after step 7") as refused:
        begin_attempt(tmp_path, 7)
    begin_attempt(tmp_path, 8)
    stop_for_good(tmp_path, refused.value)
    assert type(stopped_by(tmp_path)) is TrainingError
    assert json.loads((tmp_path / "events.jsonl").read_text())["event"] == "stopped"
    clear_attempts(tmp_path)
    assert stopped_by(tmp_path) is None
    stop_for_good(tmp_path, DivergedError("no number", where="step 4", remedy="look"))
    assert type(stopped_by(tmp_path)) is DivergedError

"""A compile, its kit, and a stand-in board."""

from __future__ import annotations

from pathlib import Path

import pytest
from boards import ADB, SSH, Board, Compiled, executable, write_compile

from edge_compile.device.kit import make_kit
from platform_lib.handoff.keys import SigningKey, ensure_signing_key
from platform_lib.home import Home, open_home


@pytest.fixture
def compiled(tmp_path: Path) -> Compiled:
    return write_compile(tmp_path / "compiled")


@pytest.fixture
def kit(compiled: Compiled, tmp_path: Path) -> Path:
    make_kit(compiled.folder, None, compiled.frozen, tmp_path / "kit")
    return tmp_path / "kit"


@pytest.fixture
def board(compiled: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    folder = tmp_path / "board"
    executable(folder / "programs" / "ssh", SSH.format())
    executable(folder / "programs" / "adb", ADB)
    found = Board(folder, compiled)
    found.machine("aarch64")
    monkeypatch.setenv("BOARD", str(folder))
    monkeypatch.setenv("PATH", f"{folder / 'programs'}:/usr/bin:/bin")
    return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return open_home(tmp_path / "home")


@pytest.fixture
def key(home: Home) -> SigningKey:
    return ensure_signing_key(home)

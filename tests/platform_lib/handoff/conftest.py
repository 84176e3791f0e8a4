"""One real bundle, built and signed once; each test that harms it gets a copy of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from handoff_sources import write_sources

from edge_compile.bundle import build_bundle
from platform_lib.handoff.keys import PublicKey, ensure_signing_key
from platform_lib.home import Home, open_home


@dataclass(frozen=True, slots=True)
class Signed:
    """A bundle, the home that signed it, and the key to verify it with."""

    folder: Path
    home: Home
    key: PublicKey


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    root = tmp_path_factory.mktemp("handoff")
    home = open_home(root / "home")
    places = write_sources(root)
    build_bundle(places, root / "bundle", home)
    return Signed(root / "bundle", home, ensure_signing_key(home).public)


@pytest.fixture
def signed(_built: Signed, tmp_path: Path) -> Signed:
    shutil.copytree(_built.folder, tmp_path / "bundle")
    return Signed(tmp_path / "bundle", _built.home, _built.key)

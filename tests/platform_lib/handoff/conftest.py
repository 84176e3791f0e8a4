"""One real package, built and signed once; each test that harms it gets a copy of its own."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_compile.bundle import build_bundle
from platform_lib.handoff.keys import PublicKey, ensure_signing_key
from platform_lib.home import Home, open_home


@dataclass(frozen=True, slots=True)
class Signed:
    """A package, the home that signed it, and the key to verify it with."""

    folder: Path
    home: Home
    key: PublicKey


def _sources() -> Any:
    path = Path(__file__).resolve().parents[2] / "handoff_sources.py"
    spec = importlib.util.spec_from_file_location("handoff_sources", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    root = tmp_path_factory.mktemp("handoff")
    home = open_home(root / "home")
    places = _sources().write_sources(root)
    build_bundle(places, root / "package", home)
    return Signed(root / "package", home, ensure_signing_key(home).public)


@pytest.fixture
def signed(_built: Signed, tmp_path: Path) -> Signed:
    shutil.copytree(_built.folder, tmp_path / "package")
    return Signed(tmp_path / "package", _built.home, _built.key)

"""Environments synthesised once for all tests."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from synthesised_stacks import Synthesised, synthesise_into

from cdk.config import ENVIRONMENTS, load_environment

# A day on which every exception of the environments still stands.
TODAY = date(2026, 11, 30)


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Synthesised:
    """The emulated environment."""
    return synthesise_into(tmp_path_factory.mktemp("local"), load_environment("local", today=TODAY))


@pytest.fixture(scope="session")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Synthesised:
    """The environment of one region."""
    return synthesise_into(tmp_path_factory.mktemp("dev"), load_environment("dev", today=TODAY))


@pytest.fixture(scope="session")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Synthesised:
    """The environment of two regions."""
    return synthesise_into(tmp_path_factory.mktemp("prod"), load_environment("prod", today=TODAY))


@pytest.fixture
def environments(tmp_path: Path) -> Path:
    """A folder with a copy of every environment file, to be spoilt."""
    for path in ENVIRONMENTS.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text())
    return tmp_path

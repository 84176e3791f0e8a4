"""A small dataset, as the tests of the jobs have it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("jobs_conftest", Path(__file__).parents[2] / "ray_jobs" / "conftest.py")


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished dataset of 60 frames."""
    assert _SPEC is not None
    assert _SPEC.loader is not None
    module = importlib.util.module_from_spec(_SPEC)
    _SPEC.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("dataset") / "small"
    module.make_dataset(folder)
    return folder

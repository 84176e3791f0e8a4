"""What every test may rely on."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test, and no program a test starts, ever finds the developer's own home folder."""
    monkeypatch.setenv("DRIVETRAIN_HOME", str(tmp_path / "home"))

"""What every test may rely on."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Run in the background of a shell that ignores Ctrl-C, the tests would hand that on to every program they interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test, and no program a test starts, ever finds the developer's own home folder."""
    monkeypatch.setenv("DRIVETRAIN_HOME", str(tmp_path / "home"))


@pytest.fixture
def reachable_tmp() -> Iterator[Path]:
    """A folder that another user can reach: run by root PostgreSQL is one, and pytest closes its own folders."""
    with tempfile.TemporaryDirectory(prefix="drivetrain-test-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)

"""MLflow's page on a home's runs: up with the database, and both down with the command."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from platform_lib.home import open_home


def _health(port: int) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return None


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_page_answers_and_leaves_nothing_behind(reachable_tmp: Path):
    home = open_home(reachable_tmp / "home")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "-m", "platform_lib.cli", "train", "page", "--port", str(port)]
    page = subprocess.Popen([*command, "--home", str(home.root)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 600
    while _health(port) is None:
        assert page.poll() is None
        assert time.monotonic() < deadline
        time.sleep(1.0)
    assert _health(port) == "OK"
    page.send_signal(signal.SIGTERM)
    _, told = page.communicate(timeout=120)
    assert page.returncode == 128 + signal.SIGTERM
    assert f"MLflow on http://127.0.0.1:{port}" in told
    assert _health(port) is None
    assert not (home.postgres / "data" / "postmaster.pid").exists()

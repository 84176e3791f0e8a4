"""`drivetrain lake compact`: fewer files, the same rows, whatever dies; with real stores and real kills."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tiny_logs import ROWS, seen_rows, write_tiny_log
from typer.testing import CliRunner

from platform_lib.erasure.erasing import erase
from platform_lib.erasure.scope import make_scope
from platform_lib.home import Home, open_home
from platform_lib.lake.lake import Lake
from ray_jobs.commands.lake import app
from ray_jobs.ingest import ingest
from ray_jobs.mending import check, compact, expire
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
_LOGS = 5
_ALL = {f"v_s{number}": (ROWS, ROWS, ROWS) for number in range(_LOGS)}
_KILLED_BEFORE = {
    "signals": "platform_lib.lake.store.Store.replace_signals",
    "samples": "platform_lib.lake.store.Store.compact_samples",
    "naming": "platform_lib.catalog.catalog.Catalog.rewrite",
}
_KILL = """
import importlib, os, signal, sys
from pathlib import Path
from platform_lib.home import open_home
from ray_jobs.mending import compact

module, owner, name = sys.argv[2].rsplit(".", 2)
setattr(getattr(importlib.import_module(module), owner), name, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
compact(open_home(Path(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    import shutil
    import tempfile

    made = Path(tempfile.mkdtemp(prefix="drivetrain-test-"))
    with local_ray(open_home(made / "ray"), cpus=2):
        yield
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def home(reachable_tmp: Path, ray: None) -> Iterator[Home]:
    """A lake of five drives, taken in one by one."""
    del ray
    made = open_home(reachable_tmp / "home")
    with Lake.open(made):
        for number in range(_LOGS):
            ingest(made, [write_tiny_log(reachable_tmp / "logs" / f"s{number}" / "a.mcap", number)])
        yield made


def _files(home: Home) -> tuple[int, int]:
    """Data files that readers see, of signals and of samples."""
    with Lake.open(home) as lake:
        head = lake.catalog.view().head
        assert head is not None
        found = lake.store.inventory(head)
        return len(found.signals), len(found.fragments)


def _clean(home: Home) -> bool:
    report = check(home, digests=True).found
    return report.findings == () and report.without_digest == 0


def test_files_become_few_and_rows_stay_what_they_are(home: Home) -> None:
    with Lake.open(home) as lake:
        version = lake.version().sha256
        before = (
            [lake.signals(drive).to_pydict() for drive in _ALL],
            [lake.samples(d, "/blob").to_pydict() for d in _ALL],
        )
    assert _files(home) == (_LOGS, _LOGS)
    told = CliRunner().invoke(app, ["compact", "--home", str(home.root), "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout) == {
        "signal_files_before": _LOGS,
        "signal_files": 1,
        "sample_files_before": _LOGS,
        "sample_files": 1,
    }
    assert _files(home) == (1, 1)
    assert seen_rows(home) == _ALL
    assert _clean(home)
    with Lake.open(home) as lake:
        assert lake.version().sha256 == version
        after = (
            [lake.signals(drive).to_pydict() for drive in _ALL],
            [lake.samples(d, "/blob").to_pydict() for d in _ALL],
        )
    assert after == before
    assert compact(home).signal_files_before == 1
    old = list((home.lake / "signals" / "data").rglob("*.parquet"))
    assert len(old) == _LOGS + 1  # readers of the old version still have theirs
    expire(home, timedelta(0))
    assert len(list((home.lake / "signals" / "data").rglob("*.parquet"))) == 1
    assert seen_rows(home) == _ALL
    assert _clean(home)


def test_a_drive_is_erased_out_of_files_that_it_shares(home: Home, reachable_tmp: Path) -> None:
    compact(home)
    erase(home, make_scope("v_s2", None, None, None), reason="request 1", requested_by="x")
    rest = {drive: counts for drive, counts in _ALL.items() if drive != "v_s2"}
    assert seen_rows(home) == rest
    assert _clean(home)
    ingest(home, [write_tiny_log(reachable_tmp / "logs" / "s9" / "a.mcap", 9)])
    compact(home)
    assert _files(home) == (1, 1)
    assert seen_rows(home) == {**rest, "v_s9": (ROWS, ROWS, ROWS)}
    assert _clean(home)


@pytest.mark.parametrize("step", _KILLED_BEFORE)
def test_killed_at_any_step_the_next_command_finishes_it(home: Home, reachable_tmp: Path, step: str) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", _KILL, str(home.root), _KILLED_BEFORE[step]], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert seen_rows(home) == _ALL
    report = ingest(home, [reachable_tmp / "logs"])
    assert (report.ingested, report.skipped) == (0, _LOGS)
    assert seen_rows(home) == _ALL
    assert _clean(home)
    compact(home)
    assert _files(home) == (1, 1)
    assert seen_rows(home) == _ALL
    assert _clean(home)

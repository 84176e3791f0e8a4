"""Ingest with real logs, a real Ray and real kills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_logs import ROWS, seen_rows, write_tiny_log

from platform_lib.catalog.clips import Clips
from platform_lib.errors import ConfigError
from platform_lib.home import Home, open_home
from platform_lib.lake.lake import Lake
from platform_lib.lake.writers import Writers
from ray_jobs.ingest import ingest
from ray_jobs.ingest_report import IngestReport, Progress
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_DBC = 'VERSION ""\nBS_:\nBU_: ECU\nBO_ 1 Speed: 8 ECU\n SG_ v : 0|16@1+ (0.1,0) [0|0] "m/s" ECU\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another account may pass through: as root, the database server runs as one."""
    made = Path(tempfile.mkdtemp(prefix="drivetrain-test-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def home(folder: Path) -> Home:
    return open_home(folder / "home")


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """One Ray for the tests that do not kill it; `ingest` joins it."""
    made = Path(tempfile.mkdtemp(prefix="drivetrain-test-"))
    with local_ray(open_home(made / "ray"), cpus=2):
        yield
    shutil.rmtree(made, ignore_errors=True)


def _outcome(report: IngestReport) -> tuple[int, int, int]:
    return report.ingested, report.skipped, len(report.quarantined)


@pytest.mark.usefixtures("ray")
def test_each_content_is_taken_in_once_whatever_its_name_and_however_often(home: Home, folder: Path) -> None:
    logs = folder / "logs"
    first = write_tiny_log(logs / "s1" / "a.mcap", 1)
    write_tiny_log(logs / "s2" / "b.mcap", 2)
    shutil.copy(first, logs / "s2" / "copy of a.mcap")
    seen: list[Progress] = []
    report = ingest(home, [logs], on_progress=seen.append)
    assert (report.found, report.duplicates) == (3, 1)
    assert _outcome(report) == (2, 0, 0)
    assert (report.signal_rows, report.sample_rows, report.drives) == (2 * ROWS, 2 * ROWS, ("v_s1", "v_s2"))
    assert (seen[0].done, seen[0].total, seen[0].rows, seen[0].done_bytes) == (0, 2, 0, 0)
    assert (seen[-1].done, seen[-1].rows, seen[-1].quarantined) == (2, 4 * ROWS, 0)
    assert seen[-1].done_bytes == seen[-1].total_bytes == first.stat().st_size * 2
    expected = {"v_s1": (ROWS, ROWS, ROWS), "v_s2": (ROWS, ROWS, ROWS)}
    assert seen_rows(home) == expected
    again = ingest(home, [logs, first])
    assert _outcome(again) == (0, 2, 0)
    assert again.lake == report.lake
    with Lake.open(home) as lake:
        drive = lake.drives()[0]
        assert [Path(path).name for path in drive.files[0].paths] == ["a.mcap", "copy of a.mcap"]
        assert set(lake.catalog.ancestors(report.lake.sha256).values()) == {"log"}
    write_tiny_log(logs / "s3" / "c.mcap", 3)
    third = ingest(home, [logs])
    assert _outcome(third) == (1, 2, 0)
    assert seen_rows(home) == {**expected, "v_s3": (ROWS, ROWS, ROWS)}
    with Lake.open(home) as lake:
        assert report.lake.sha256 in lake.catalog.ancestors(third.lake.sha256)


@pytest.mark.usefixtures("ray")
def test_files_of_a_killed_reader_are_swept_by_the_next_ingest(home: Home, folder: Path) -> None:
    log = write_tiny_log(folder / "s1" / "a.mcap", 1)
    ingest(home, [log])
    left = home.lake / "samples.lance" / "data" / "half-written.lance"
    left.touch()
    assert _outcome(ingest(home, [log])) == (0, 1, 0)
    assert left.exists()  # nothing says that a run was killed, and looking through all files takes long in a large lake
    Writers(home).begin()  # what a killed run leaves
    assert _outcome(ingest(home, [log])) == (0, 1, 0)
    assert not left.exists()
    assert not Writers(home).unfinished


@pytest.mark.usefixtures("ray")
def test_what_cannot_be_read_is_quarantined_and_the_rest_goes_on(home: Home, folder: Path) -> None:
    logs = folder / "logs"
    write_tiny_log(logs / "s1" / "a.mcap", 1)
    cut = write_tiny_log(logs / "s2" / "cut.mcap", 2)
    cut.write_bytes(cut.read_bytes()[:-60])
    (logs / "s2" / "empty.mf4").touch()
    (logs / "s2" / "noise.mcap").write_bytes(os.urandom(1000))
    report = ingest(home, [logs])
    assert _outcome(report) == (1, 0, 3)
    assert {Path(item.path).name for item in report.quarantined} == {"cut.mcap", "empty.mf4", "noise.mcap"}
    assert all(item.reason for item in report.quarantined)
    with Lake.open(home) as lake:
        assert len(lake.catalog.quarantined()) == 3
        assert lake.catalog.leftovers() == []
    again = ingest(home, [logs])
    assert _outcome(again) == (0, 1, 3)
    rescued = ingest(home, [logs], recover=True)
    assert rescued.recovered == (str(cut),)
    assert rescued.problems[str(cut)]
    assert len(rescued.quarantined) == 2
    assert seen_rows(home)["v_s2"][0] == ROWS  # only the end of the file was gone
    assert _outcome(ingest(home, [logs])) == (0, 2, 2)


@pytest.mark.usefixtures("ray")
def test_a_source_that_is_not_there_or_holds_nothing_is_refused(home: Home, folder: Path) -> None:
    (folder / "nothing").mkdir()
    log = write_tiny_log(folder / "s1" / "a.mcap", 1)
    for sources, options in (
        ([folder / "none"], {}),
        ([folder / "nothing"], {}),
        ([log], {"dbc": ["none.dbc"]}),
        ([log], {"timezone": "No/Zone"}),
    ):
        with pytest.raises(ConfigError):
            ingest(home, sources, **options)


@pytest.mark.usefixtures("ray")
def test_a_log_of_a_folder_alone_belongs_to_the_drive_of_that_name(home: Home, folder: Path) -> None:
    report = ingest(home, [write_tiny_log(folder / "night drive" / "a.mcap", 1, metadata=False)])
    assert report.drives == ("night drive",)
    assert report.drive_problems == {}
    with Lake.open(home) as lake:
        (drive,) = lake.drives()
        assert (drive.vehicle, drive.session, drive.pii_state) == (None, "night drive", "unknown")


@pytest.mark.usefixtures("ray")
def test_logs_of_one_folder_that_lie_years_apart_are_told_each_time(home: Home, folder: Path) -> None:
    write_tiny_log(folder / "found" / "a.mcap", 1, metadata=False)
    write_tiny_log(folder / "found" / "b.mcap", 2, metadata=False, start_ns=50 * 365 * 86_400 * 10**9)
    write_tiny_log(folder / "named" / "c.mcap", 3)
    for _ in range(2):
        report = ingest(home, [folder])
        assert list(report.drive_problems) == ["found"]
        assert "years" in report.drive_problems["found"]


@pytest.mark.usefixtures("ray")
def test_other_databases_read_mdf_logs_anew_and_none_leaves_them(home: Home, folder: Path) -> None:
    drives = Path(__file__).resolve().parents[2] / "../shared/data/logs/mdf4/test_batch.mf4"
    if not drives.exists():
        pytest.skip("the real logs of shared/data are not here")
    log = folder / "s1" / "real.mf4"
    log.parent.mkdir()
    shutil.copy(drives, log)
    (folder / "a.dbc").write_text(_DBC)
    assert _outcome(ingest(home, [log])) == (1, 0, 0)
    rows = _counts_of_signals(home)
    assert _outcome(ingest(home, [log], dbc=[str(folder / "a.dbc")])) == (1, 0, 0)
    assert _counts_of_signals(home) == rows  # replaced, not added
    assert _outcome(ingest(home, [log], dbc=[str(folder / "a.dbc")])) == (0, 1, 0)
    assert _outcome(ingest(home, [log])) == (0, 1, 0)
    assert _outcome(ingest(home, [log], timezone="Europe/Berlin")) == (1, 0, 0)
    assert _outcome(ingest(home, [log], dbc=[str(folder / "a.dbc")], timezone="Europe/Berlin")) == (0, 1, 0)
    assert _outcome(ingest(home, [log], dbc=[str(folder / "a.dbc")])) == (0, 1, 0)  # the zone stays what it was


def _counts_of_signals(home: Home) -> int:
    with Lake.open(home) as lake:
        return int(lake.query("SELECT count(*) AS n FROM signals").table["n"][0].as_py())


_KILLED = """
import os, sys
from pathlib import Path
import lance
from platform_lib.catalog.catalog import Catalog
from platform_lib.home import open_home
from platform_lib.lake.store import Store
from ray_jobs.ingest import ingest

def die(*_, **__):
    os.kill(os.getpid(), 9)

def die_after(act):
    def wrapped(*arguments, **options):
        act(*arguments, **options)
        die()
    return wrapped

moment = sys.argv[3]
if moment == "files written":
    Store.append = die
elif moment == "Iceberg appended":
    lance.LanceDataset.commit = staticmethod(die)
elif moment == "Lance appended":
    Catalog.commit = die
elif moment == "first batch committed":
    Catalog.commit = die_after(Catalog.commit)
elif moment == "all committed":
    Store.drop = die
ingest(open_home(Path(sys.argv[1])), [Path(sys.argv[2])], cpus=2)
"""


@pytest.mark.timeout(600)
def test_killed_at_any_moment_and_run_again_every_row_is_there_once(home: Home, folder: Path) -> None:
    logs = folder / "logs"
    for seed in range(1, 7):
        write_tiny_log(logs / f"s{seed}" / "a.mcap", seed)
    for moment in ("files written", "Iceberg appended", "Lance appended", "first batch committed"):
        command = [sys.executable, "-c", _KILLED, str(home.root), str(logs), moment]
        killed = subprocess.run(command, capture_output=True, text=True, start_new_session=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        rows = seen_rows(home)
        assert set(rows.values()) <= {(ROWS, ROWS, ROWS)}  # whole drives or nothing
        assert (len(rows) > 0) == (moment == "first batch committed")
    report = json.loads(_command("ingest", str(logs), "--home", str(home.root), "--json", "--strict"))
    assert report["ingested"] + report["skipped"] == 6
    assert report["quarantined"] == []
    assert seen_rows(home) == {f"v_s{seed}": (ROWS, ROWS, ROWS) for seed in range(1, 7)}
    with Lake.open(home) as lake:
        assert lake.catalog.leftovers() == []
        # Clips too: of drives that a killed ingest committed, and of those that the last one did.
        assert Clips(lake.catalog.engine).due() == {}
        assert lake.query("SELECT count(DISTINCT drive_id) FROM clips").table[0][0].as_py() == 6
        view = lake.catalog.view()
        assert view.head is not None
        assert len(lake.store.signal_files(view.head)) == 6
        assert lake.store.samples(view.head).count_rows() == 6 * ROWS
        on_disk = {str(path) for path in lake.store.signals_data.rglob("*.parquet")}
        assert on_disk >= set(lake.store.signal_files(view.head))
    drives = json.loads(_command("drives", "--home", str(home.root), "--json"))["drives"]
    assert sorted(drive["session"] for drive in drives) == [f"s{seed}" for seed in range(1, 7)]
    answer = json.loads(
        _command("query", "SELECT count(*) AS n, 0.0/0.0 AS x FROM signals", "--home", str(home.root), "--json")
    )
    assert answer["rows"] == [[6 * ROWS, None]]


def _command(*arguments: str) -> str:
    command = [sys.executable, "-m", "platform_lib.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_batches_are_even_bounded_and_complete(tmp_path: Path) -> None:
    from platform_lib.catalog.model import FileKey
    from platform_lib.lake.intake import FileStamp, LogJob
    from ray_jobs.reading import batches

    job = LogJob(0, tmp_path, FileKey("0", "1", 1, "0"), FileStamp(1 << 20, 0))
    jobs = [replace(job, ingest_id=i, stamp=FileStamp((i % 7) << 20, 0)) for i in range(500)]
    made = batches(jobs, workers=2)
    assert sorted(item.ingest_id for batch in made for item in batch) == list(range(500))
    sizes = [sum(item.stamp.bytes for item in batch) for batch in made]
    assert max(sizes) <= max(sum(sizes) // 8, 4 << 20)
    assert [len(batch) for batch in batches([replace(job, stamp=FileStamp(1 << 40, 0))] * 3, workers=2)] == [1, 1, 1]


_INTERRUPTED = """
import os, signal, sys
from platform_lib.catalog.catalog import Catalog
from platform_lib.cli import main

commit = Catalog.commit

def commit_and_interrupt(*arguments, **options):
    commit(*arguments, **options)
    os.kill(os.getpid(), signal.SIGINT)

Catalog.commit = commit_and_interrupt
main()
"""


@pytest.mark.timeout(600)
def test_interrupted_it_says_so_stops_what_it_started_and_two_at_once_finish_it(home: Home, folder: Path) -> None:
    logs = folder / "logs"
    for seed in range(1, 4):
        write_tiny_log(logs / f"s{seed}" / "a.mcap", seed)
    arguments = ["ingest", str(logs), "--home", str(home.root), "--json", "--jobs", "1"]
    interrupted = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED, *arguments], capture_output=True, text=True, check=False
    )
    assert interrupted.returncode == 128 + signal.SIGINT, interrupted.stderr
    error = json.loads(interrupted.stdout)["error"]
    assert "files were done, and stay" in error["what"]
    assert "run the same command again" in error["remedy"]
    assert not (home.postgres / "data" / "postmaster.pid").exists()
    assert list(home.short.glob("r*")) == []
    command = [sys.executable, "-m", "platform_lib.cli", *arguments]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    reports = [json.loads(child.communicate()[0]) for child in both]
    assert [child.returncode for child in both] == [0, 0]
    assert all(report["ingested"] + report["skipped"] == 3 for report in reports)
    assert min(report["ingested"] for report in reports) == 0, "each content is read by one of them alone"
    assert seen_rows(home) == {f"v_s{seed}": (ROWS, ROWS, ROWS) for seed in range(1, 4)}

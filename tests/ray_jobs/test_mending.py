"""`drivetrain lake check`: every kind of damage is planted, found and mended, with real files and a real Ray."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tiny_logs import ROWS, seen_rows, write_tiny_log
from typer.testing import CliRunner

from platform_lib.home import Home, open_home
from platform_lib.lake.lake import Lake
from ray_jobs.commands.lake import app
from ray_jobs.ingest import ingest
from ray_jobs.mending import check, expire, mend
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_ROWS = {f"v_s{number}": (ROWS, ROWS, ROWS) for number in (1, 2, 3)}


@pytest.fixture
def home(reachable_tmp: Path) -> Iterator[Home]:
    """A lake of three drives; its servers run as long as the test does."""
    made = open_home(reachable_tmp / "home")
    with local_ray(made, cpus=2), Lake.open(made):
        for number in (1, 2, 3):
            write_tiny_log(reachable_tmp / "logs" / f"s{number}" / "a.mcap", number)
        ingest(made, [reachable_tmp / "logs"])
        yield made


def _kinds(home: Home, *, digests: bool = False) -> set[str]:
    return {item.kind for item in check(home, digests=digests).found.findings}


def _files(home: Home, drive: str) -> tuple[Path, Path]:
    """The Parquet and the Lance file of a drive."""
    with Lake.open(home) as lake:
        number = next(item.ingest_id for item in lake.catalog.view().ingests if item.drive_id == drive)
        paths = [home.lake / path for path, (_, owner) in lake.catalog.lake_files().items() if owner == number]
    parquet, lance = sorted(paths, key=lambda path: path.suffix, reverse=True)
    return parquet, lance


def test_what_no_version_names_is_found_and_deleted(home: Home) -> None:
    whole = check(home, digests=True)
    assert whole.clean
    assert (whole.found.ingests, whole.found.files, whole.found.digests, whole.found.without_digest) == (3, 6, 6, 0)
    planted = [
        home.lake / "signals" / "data" / "day=1970-01-01" / "99-abc.parquet",
        home.lake / "signals" / "metadata" / "snap-1-0-abc.avro",
        home.lake / "samples.lance" / "data" / "abc.lance",
        home.lake / "samples.lance" / "_versions" / "7.manifest#1",
    ]
    for path in planted:
        path.write_bytes(b"left by a kill")
    with Lake.open(home) as lake:
        key = lake.catalog.view().ingests[0].key
        lake.catalog.begin([key])
    report = check(home)
    assert {item.where for item in report.found.findings if item.kind == "orphan"} == set(map(str, planted))
    assert {item.kind for item in report.found.findings} == {"orphan", "unfinished"}
    assert all(path.exists() for path in planted), "a check changes nothing"
    mended = mend(home)
    assert mended.clean
    assert not any(path.exists() for path in planted)
    assert seen_rows(home) == _ROWS
    assert _kinds(home, digests=True) == set()


def test_rows_whose_files_are_lost_or_damaged_are_read_again(home: Home, reachable_tmp: Path) -> None:
    parquet, _ = _files(home, "v_s1")
    parquet.unlink()
    _, lance = _files(home, "v_s2")
    lance.write_bytes(lance.read_bytes()[:-10])
    flipped, _ = _files(home, "v_s3")
    content = bytearray(flipped.read_bytes())
    content[100] ^= 1
    flipped.write_bytes(content)
    assert _kinds(home) == {"lost file"}
    assert _kinds(home, digests=True) == {"lost file", "damaged file"}
    log = reachable_tmp / "logs" / "s1" / "a.mcap"
    shutil.move(log, reachable_tmp / "a.mcap")
    failed = CliRunner().invoke(app, ["check", "--repair", "--digests", "--home", str(home.root), "--json"])
    assert failed.exit_code == 1, failed.output
    document = json.loads(failed.stdout)
    assert (document["clean"], document["read_again"]) == (False, 2)
    assert list(document["left"]) == [str(log)]
    shutil.move(reachable_tmp / "a.mcap", log)
    assert mend(home).clean
    assert seen_rows(home) == _ROWS
    passed = CliRunner().invoke(app, ["check", "--digests", "--home", str(home.root)])
    assert passed.exit_code == 0, passed.output
    assert "no findings" in passed.stdout


def test_old_versions_go_and_what_is_visible_stays(home: Home, reachable_tmp: Path) -> None:
    before = _files(home, "v_s1")
    before[0].unlink()
    assert mend(home).clean, "its log was read again, which leaves versions that name the old files"
    assert before[1].exists()
    assert expire(home, timedelta(hours=1)).sample_versions == 0
    report = expire(home, timedelta(0))
    assert report.signal_versions > 0
    assert report.sample_versions > 0
    assert report.freed_bytes > 0
    assert not before[1].exists()
    assert check(home, digests=True).clean
    assert seen_rows(home) == _ROWS
    write_tiny_log(reachable_tmp / "logs" / "s4" / "a.mcap", 4)
    assert ingest(home, [reachable_tmp / "logs"]).ingested == 1
    assert seen_rows(home) == {**_ROWS, "v_s4": (ROWS, ROWS, ROWS)}
    assert check(home).clean

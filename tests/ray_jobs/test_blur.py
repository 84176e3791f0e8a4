"""Blurring with a real Ray, real cascades and a real kill: each frame once, and no way in for a raw one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest
from camera_logs import write_camera_log
from drawn_people import background, face, jpeg, paste

from platform_lib.catalog.blurs import BlurRecord
from platform_lib.catalog.model import Refusal
from platform_lib.catalog.postgres import embedded_postgres
from platform_lib.contracts.document import contract_paths, read_contract
from platform_lib.contracts.files import check_files
from platform_lib.datasets.shards import Shard
from platform_lib.datasets.sources import CAMERA_TOPIC, OBJECTS_TOPIC, load_drive
from platform_lib.erasure.erasing import erase
from platform_lib.erasure.scope import make_scope
from platform_lib.errors import ContractError, HomeError, IntegrityError
from platform_lib.home import Home, open_home
from platform_lib.lake.lake import Lake
from platform_lib.lake.writer import describe, files_of, write_rows
from platform_lib.manifest import Input, Step
from platform_lib.privacy.config import DEFAULT
from platform_lib.privacy.leftovers import sweep_blurs
from platform_lib.privacy.retention import expire_raw
from platform_lib.privacy.zone import BLURRED_SCHEMA
from platform_lib.storage import walk_files
from ray_jobs.blur import _blur_one, _Job, blur
from ray_jobs.dataset import _blur_metrics
from ray_jobs.ingest import ingest, reprocess, retry
from ray_jobs.mending import check, mend
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FRAMES = 6


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Frames with one drawn face each; the last cannot be decoded."""
    rng, found = np.random.default_rng(3), []
    for number, frame in enumerate(background(FRAMES - 1)):
        paste(frame, face(44, rng), 40 + 20 * number, 60)
        found.append(jpeg(frame))
    return [*found, b"\xff\xd8\xff no picture \xff\xd9"]


@pytest.fixture(scope="module", autouse=True)
def running_ray() -> Iterator[None]:
    """One Ray for all tests of the module: starting it takes longer than most."""
    with tempfile.TemporaryDirectory(prefix="drivetrain-test-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        with local_ray(open_home(Path(made) / "ray"), cpus=2):
            yield


@pytest.fixture
def home(reachable_tmp: Path, pictures: list[bytes]) -> Iterator[Home]:
    for session, state in (("seen", "present"), ("unsaid", "unknown"), ("empty", "none_present")):
        write_camera_log(reachable_tmp / "logs" / f"{session}.mcap", session, state, [*pictures, session.encode() * 50])
    made = open_home(reachable_tmp / "home")
    with embedded_postgres(made):
        ingest(made, [reachable_tmp / "logs"])
        yield made


def _states(lake: Lake) -> dict[tuple[str, str], int]:
    rows = lake.query("select drive_id, pii_state, count(*) n from samples group by all").table.to_pylist()
    return {(row["drive_id"], row["pii_state"]): row["n"] for row in rows}


def _broken(lake: Lake, folder: Path) -> dict[str, list[str]]:
    """Hold every file that is due against the contract on cameras, as if it bound all vehicles; return what is broken."""
    (path,) = (item for item in contract_paths(None) if item.name.startswith("camera-samples"))
    everywhere = folder / path.name
    everywhere.write_text(path.read_text().replace("[dt-*]", "['*']"))
    check_files(lake, [read_contract(everywhere)])
    ingests = {item.ingest_id: item.drive_id for item in lake.catalog.view().ingests}
    return {
        ingests[run.ingest_id or 0]: [
            item.sentence for item in run.findings if item.is_error and "pii_state" in item.rule
        ]
        for run in lake.catalog.contract_runs(ingest_ids=list(ingests))
        if run.contract_id == "camera-samples"
    }


def test_raw_frames_come_in_by_no_way_and_blurred_ones_once(
    home: Home, pictures: list[bytes], reachable_tmp: Path
) -> None:
    with Lake.open(home) as lake:
        drives = {item.drive_id: item for item in lake.drives()}
        for drive_id in ("v_seen", "v_unsaid"):  # the Lance table, the lake's reader, the dataset's reader
            assert lake.store.samples(lake.catalog.view().head).count_rows(filter=f"drive_id = '{drive_id}'") == 0
            assert lake.samples(drive_id, CAMERA_TOPIC).num_rows == 0
            skipped = load_drive(lake, drives[drive_id])
            assert "may show people" in skipped.reason
        assert "data" not in lake.query("select * from samples").table.column_names  # SQL gives no bytes at all
        assert lake.samples("v_empty", CAMERA_TOPIC).num_rows == FRAMES + 1
        assert OBJECTS_TOPIC in load_drive(lake, drives["v_empty"]).reason  # its frames are no obstacle
        assert _states(lake) == {("v_seen", "present"): 7, ("v_unsaid", "unknown"): 7, ("v_empty", "none_present"): 7}
        before = lake.version()
        told = _broken(lake, reachable_tmp)
        assert "7 rows, has to be = 0 (present in pii_state" in told["v_seen"][0]
        assert told["v_empty"] == []

    report = blur(home, DEFAULT)
    assert (report.ingests, report.skipped, report.unreadable) == (2, 0, 4)
    assert report.frames == 2 * (FRAMES - 1)
    assert report.regions >= report.frames
    again = blur(home, DEFAULT)
    assert (again.ingests, again.skipped, again.frames) == (0, 2, 0)
    with Lake.open(home) as lake:
        assert _states(lake) == {
            ("v_seen", "blurred"): 5,
            ("v_seen", "present"): 2,
            ("v_unsaid", "blurred"): 5,
            ("v_unsaid", "unknown"): 2,
            ("v_empty", "none_present"): 7,
        }
        table = lake.samples("v_seen", CAMERA_TOPIC)
        assert table["timestamp_ns"].to_pylist() == [1000 + n for n in range(5)]
        assert set(table["pii_state"].to_pylist()) == {"blurred"}
        assert set(table["message_type"].to_pylist()) == {"sensor_msgs/msg/CompressedImage"}
        assert not set(table["data"].to_pylist()) & set(pictures)
        assert lake.version().sha256 != before.sha256  # datasets are built anew
        # What contracts found before does not keep the drives out, nor do the frames that cannot be decoded.
        assert _broken(lake, reachable_tmp) == {"v_seen": [], "v_unsaid": [], "v_empty": []}
        first = {item.blur_id for item in lake.blurs.visible()}

    other = blur(home, DEFAULT.model_copy(update={"margin": 0.5}))  # takes the place of the first
    assert (other.ingests, other.frames) == (2, 10)
    with Lake.open(home) as lake:
        assert _states(lake)["v_seen", "blurred"] == 5
        assert not first & {item.blur_id for item in lake.blurs.visible()}
        assert lance.dataset(str(lake.store.blurred.uri)).count_rows() == 10


def test_killed_in_the_middle_each_frame_is_there_once(home: Home) -> None:
    command = [sys.executable, "-m", "platform_lib.cli", "blur", "frames", "--home", str(home.root), "--json"]
    for wait_s in (4.0, 8.0):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        time.sleep(wait_s)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["ingests"] + told["skipped"] == 2
    with Lake.open(home) as lake:
        assert _states(lake)["v_seen", "blurred"] == _states(lake)["v_unsaid", "blurred"] == 5
        visible = [item.blur_id for item in lake.blurs.visible()]
        assert (
            lance.dataset(str(lake.store.blurred.uri)).count_rows(filter=f"blur_id NOT IN ({visible[0]}, {visible[1]})")
            == 0
        )


def test_a_worker_of_a_killed_blur_writes_nothing_once_the_next_has_swept(home: Home) -> None:
    with Lake.open(home) as lake:
        (ingest_id, *_) = sorted(lake.store.raw.held())
        lake.store.blurred.create()
        (blur_id,) = lake.blurs.begin([ingest_id], "c0ffee", {})
        job = _Job(blur_id, ingest_id, str(lake.store.raw.uri), str(lake.store.blurred.uri))
        permit = lake.store.blur_writers.begin()
        assert _blur_one(job, DEFAULT, permit).frames == FRAMES - 1  # the command is killed before it commits that
        assert [item.kind for item in check(home).found.findings] == ["unfinished", "orphan"]
        assert blur(home, DEFAULT).ingests == 2
        before = set(walk_files(home.lake))
        with pytest.raises(HomeError, match="has ended"):
            _blur_one(job, DEFAULT, permit)
        assert set(walk_files(home.lake)) == before
        assert check(home, digests=True).clean


def test_a_check_sees_what_is_wrong_with_blurred_frames_and_they_are_blurred_again(home: Home) -> None:
    blur(home, DEFAULT)
    whole = check(home, digests=True)
    assert whole.clean
    with Lake.open(home) as lake:
        one, other = lake.blurs.visible()
        files = {lake.store.blurred.keys_in([path]).pop(): path for _, of in lake.store.blurred.files() for path in of}
    assert whole.found.files == whole.found.digests == 1 + 2 + 2  # samples, raw and blurred frames
    orphan = home.lake / "blurred.lance" / "data" / "left.lance"
    orphan.write_bytes(b"left by a kill")
    assert [(item.kind, item.where) for item in check(home).found.findings] == [("orphan", str(orphan))]
    assert mend(home).clean

    content = bytearray(files[one.blur_id].read_bytes())
    content[200] ^= 1
    files[one.blur_id].write_bytes(content)
    files[other.blur_id].write_bytes(b"cut short")
    assert {item.kind for item in check(home).found.findings} == {"lost file", "wrong count"}
    assert {item.kind for item in check(home, digests=True).found.findings} == {
        "lost file",
        "wrong count",
        "damaged file",
    }
    mended = mend(home, digests=True)
    assert (mended.clean, mended.blur_again, mended.read_again, mended.left) == (True, 2, 0, {})
    assert blur(home, DEFAULT).ingests == 2
    with Lake.open(home) as lake:
        assert _states(lake)["v_seen", "blurred"] == _states(lake)["v_unsaid", "blurred"] == 5

        lake.store.blurred.delete(f"blur_id = {lake.blurs.visible()[0].blur_id} AND timestamp_ns = 1002")
        assert [item.kind for item in check(home).found.findings] == ["wrong count"]
        lake.blurs.forget([lake.blurs.visible()[1].blur_id])
        assert {item.kind for item in check(home).found.findings} == {"wrong count", "unknown rows"}
    assert mend(home).clean
    assert blur(home, DEFAULT).ingests == 2
    assert check(home, digests=True).clean

    # Frames of the same number, which name other raw ones than those beside them.
    with Lake.open(home) as lake:
        store, item = lake.store.blurred, lake.blurs.visible()[0]
        (blur_id,) = lake.blurs.begin([item.ingest_id], "c0ffee", {})
        rows = store.rows([item.blur_id], columns=BLURRED_SCHEMA.names).to_pylist()
        rows = [{**row, "blur_id": blur_id, "raw_sha256": rows[0]["raw_sha256"]} for row in rows]
        written = write_rows(store.uri, iter([pa.RecordBatch.from_pylist(rows, BLURRED_SCHEMA)]), BLURRED_SCHEMA)
        store.append(written)
        made = describe([path for one in written for path in files_of(one, store.uri)], store.uri.parent)
        lake.blurs.commit(BlurRecord(blur_id, len(rows), 0, 1, made))
        sweep_blurs(lake)
    assert check(home).clean
    (finding,) = check(home, digests=True).found.findings
    assert (finding.kind, finding.where, finding.what[:2]) == ("damaged file", f"blur {blur_id}", "4 ")
    assert mend(home, digests=True).clean

    with Lake.open(home) as lake:  # a raw frames' file that is lost does not stand in the way of reading its log again
        lost = next(path for _, of in lake.store.raw.files() for path in of)
    lost.unlink()
    mended = mend(home)
    assert (mended.clean, mended.read_again) == (True, 1)
    assert blur(home, DEFAULT).ingests == 2


def test_rows_that_were_written_past_the_lake_enter_no_dataset(home: Home) -> None:
    """A raw frame put by hand, with Lance itself, into the place of a blurred one, and beside samples that need no blur."""
    blur(home, DEFAULT)
    with Lake.open(home) as lake:
        whole = lake.samples("v_seen", CAMERA_TOPIC)
        item = next(item for item in lake.blurs.visible() if item.drive_id == "v_seen")
        raw = lake.store.raw.rows([item.ingest_id], columns=["data"], condition="timestamp_ns = 1002")["data"][
            0
        ].as_py()
        table = lance.dataset(str(lake.store.blurred.uri))
        where = f"blur_id = {item.blur_id} AND timestamp_ns = 1002"
        row = table.to_table(filter=where).to_pylist()[0] | {"data": raw}
        table.delete(where)
        lance.write_dataset(pa.Table.from_pylist([row], BLURRED_SCHEMA), str(lake.store.blurred.uri), mode="append")
        with pytest.raises(IntegrityError, match="1 blurred frames lie in files that no blur wrote"):
            lake.samples("v_seen", CAMERA_TOPIC)
        assert lake.samples("v_unsaid", CAMERA_TOPIC).num_rows == 5
        sweep_blurs(lake)  # what every ingest, blur and erasure begins with makes it none of ours
        assert [item.kind for item in check(home).found.findings] == ["damaged file"]
        assert mend(home).clean
        assert lake.samples("v_seen", CAMERA_TOPIC).num_rows == 0
        blur(home, DEFAULT)
        assert lake.samples("v_seen", CAMERA_TOPIC).equals(whole)
        _check_configuration(home, lake)

        (empty,) = [item.ingest_id for item in lake.catalog.view().ingests if item.drive_id == "v_empty"]
        samples = lance.dataset(str(lake.store.samples_uri))
        row = samples.to_table(filter=f"ingest_id = {empty} AND timestamp_ns = 1002").to_pylist()[0] | {"data": raw}
        lance.write_dataset(pa.Table.from_pylist([row], samples.schema), str(lake.store.samples_uri), mode="append")
        assert lake.samples("v_empty", CAMERA_TOPIC).num_rows == FRAMES + 1  # readers' version is another
        write_camera_log(home.root.parent / "more" / "later.mcap", "later", "none_present", [raw])
        ingest(home, [home.root.parent / "more"])  # its commit takes the row up
        with pytest.raises(IntegrityError, match="1 pictures lie in files that no ingest wrote"):
            lake.samples("v_empty", CAMERA_TOPIC)
        assert "wrong count" in {item.kind for item in check(home).found.findings}
        assert mend(home).clean
        assert lake.samples("v_empty", CAMERA_TOPIC).num_rows == FRAMES + 1


def _check_configuration(home: Home, lake: Lake) -> None:
    """A dataset names the configuration its samples were blurred by, and none that ended while it was built."""
    item = next(item for item in lake.blurs.visible() if item.drive_id == "v_seen")
    shard = Shard("v_seen", None, "", 1, "", (item.file_sha256,), frozenset(), {}, {}, {"blurred": 1}, 1, 0, {}, None)
    now, before = (
        Step("dataset", inputs={"lake": Input(sha256=digest, uri="lake")}, config={}, modules=())
        for digest in (lake.version().sha256, "0" * 64)
    )
    assert _blur_metrics(home, now, [shard]) == {"blur": {"config_sha256": [item.config_sha256], "recall": None}}
    with pytest.raises(ContractError, match="the lake changed while"):
        _blur_metrics(home, before, [shard])


def test_frames_whose_raw_ones_have_expired_stay_as_they_were_blurred_until_the_log_is_read_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    blur(home, DEFAULT)
    assert expire_raw(home, now_ns=1003, days=0).frames == 6
    report = blur(home, DEFAULT.model_copy(update={"margin": 0.5}))
    assert (report.ingests, report.kept) == (0, 2)
    with Lake.open(home) as lake:
        assert _states(lake)["v_seen", "blurred"] == 5
    assert check(home, digests=True).clean
    monkeypatch.setattr("ray_jobs.reprocessing.READER_VERSION", "99.0")
    assert reprocess(home).ingested == 3
    assert check(home).clean
    with Lake.open(home) as lake:
        assert lake.store.blurred.held() == set()
        assert lake.samples("v_seen", CAMERA_TOPIC).num_rows == 0


def test_what_was_erased_in_part_is_left_alone_by_everything_that_reads_logs_again(
    home: Home, reachable_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = reachable_tmp / "logs" / "seen.mcap"
    erase(home, make_scope("v_seen", "1001", "1003", None), reason="request 4711", requested_by="x")
    monkeypatch.setattr("ray_jobs.reprocessing.READER_VERSION", "99.0")
    again = reprocess(home)
    assert again.ingested == 2
    assert "erased" in again.left["v_seen"]
    with Lake.open(home) as lake:
        key = next(item.key for item in lake.catalog.view().ingests if item.drive_id == "v_seen")
        lake.catalog.refuse([Refusal(key, recover=False, kind="CorruptLog", reason="planted", remedy=None)])
        held = lake.catalog.quarantined()
        owned = next(i.ingest_id for i in lake.catalog.view().ingests if i.drive_id == "v_seen")
        (raw,) = [path for path, (_, owner) in lake.catalog.lake_files().items() if owner == owned]
    assert list(retry(home, held, recover=True).left) == [str(log)]
    (home.lake / raw).unlink()
    mended = mend(home)
    assert not mended.clean
    assert "erased" in mended.left[str(log)]
    with Lake.open(home) as lake:
        times = lake.store.raw.rows(sorted(lake.store.raw.held()), columns=["timestamp_ns", "drive_id"]).to_pylist()
        assert not [row for row in times if row["drive_id"] == "v_seen" and 1001 <= row["timestamp_ns"] < 1003]


def test_what_was_erased_is_not_ingested_again_and_the_command_says_so(home: Home, reachable_tmp: Path) -> None:
    erased = erase(home, make_scope("v_seen", None, None, None), reason="request 4711", requested_by="x")
    assert erased.sharing == ("v_empty", "v_unsaid")  # the same pictures, but for the last
    assert erased.proof is not None
    assert erased.proof.files == ()
    again = ingest(home, [reachable_tmp / "logs"])
    assert (again.ingested, again.skipped) == (0, 2)
    (refused,) = again.quarantined
    assert (Path(refused.path).name, refused.kind) == ("seen.mcap", "ErasedContent")
    assert "erasure 1" in refused.reason
    (reachable_tmp / "logs" / "seen.mcap").rename(reachable_tmp / "logs" / "renamed.mcap")
    assert len(ingest(home, [reachable_tmp / "logs"]).quarantined) == 1
    with Lake.open(home) as lake:
        assert [item.drive_id for item in lake.drives()] == ["v_empty", "v_unsaid"]
        assert "seen" not in json.dumps(lake.query("select * from files").table.to_pylist(), default=str)

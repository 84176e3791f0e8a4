"""Blurring with a real Ray, real cascades and a real kill: each frame once, and no way in for a raw one."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import lance
import numpy as np
import pytest
from drawn_people import background, face, jpeg, paste
from mcap.writer import CompressionType, Writer

from platform_lib.datasets.sources import CAMERA_TOPIC, OBJECTS_TOPIC, load_drive
from platform_lib.erasure.erasing import erase
from platform_lib.erasure.scope import make_scope
from platform_lib.home import Home, open_home
from platform_lib.lake.lake import Lake
from platform_lib.privacy.config import DEFAULT
from ray_jobs.blur import blur
from ray_jobs.ingest import ingest
from ray_jobs.session import local_ray

pytestmark = [
    pytest.mark.slow,
    # Ray leaves some of its own files and sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FRAMES = 6
_CDR = b"\x00\x01\x00\x00"
_DEFINITION = (
    "std_msgs/Header header\nstring format\nuint8[] data\n"
    + "=" * 80
    + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
    + "=" * 80
    + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec"
)


def _write(path: Path, session: str, state: str, pictures: list[bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        writer = Writer(stream, compression=CompressionType.NONE)
        writer.start(profile="ros2")
        writer.add_metadata("drive", {"vehicle": "v", "session": session, "pii_state": state})
        schema = writer.register_schema("sensor_msgs/msg/CompressedImage", "ros2msg", _DEFINITION.encode())
        camera = writer.register_channel(CAMERA_TOPIC, "cdr", schema)
        for number, data in enumerate(pictures):
            head = struct.pack("<iI", 1, 2) + struct.pack("<I", 4) + b"cam\0" + struct.pack("<I", 5) + b"jpeg\0\0\0\0"
            writer.add_message(camera, 1000 + number, _CDR + head + struct.pack("<I", len(data)) + data, 1000 + number)
        writer.finish()


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Frames with one drawn face each; the last cannot be decoded."""
    rng, found = np.random.default_rng(3), []
    for number, frame in enumerate(background(FRAMES - 1)):
        paste(frame, face(44, rng), 40 + 20 * number, 60)
        found.append(jpeg(frame))
    return [*found, b"\xff\xd8\xff no picture \xff\xd9"]


@pytest.fixture
def home(reachable_tmp: Path, pictures: list[bytes]) -> Iterator[Home]:
    for session, state in (("seen", "present"), ("unsaid", "unknown"), ("empty", "none_present")):
        _write(reachable_tmp / "logs" / f"{session}.mcap", session, state, [*pictures, session.encode() * 50])
    made = open_home(reachable_tmp / "home")
    with local_ray(made, cpus=2):
        ingest(made, [reachable_tmp / "logs"])
        yield made


def _states(lake: Lake) -> dict[tuple[str, str], int]:
    rows = lake.query("select drive_id, pii_state, count(*) n from samples group by all").table.to_pylist()
    return {(row["drive_id"], row["pii_state"]): row["n"] for row in rows}


def test_raw_frames_come_in_by_no_way_and_blurred_ones_once(home: Home, pictures: list[bytes]) -> None:
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

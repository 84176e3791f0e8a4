"""What one drive's files hold, read by the reference libraries; and that the broken ones are broken."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from asammdf import MDF
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.stream_reader import CRCValidationError
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader
from zstandard import ZstdError

from platform_lib.scenario.can_bus import DBC_TEXT
from platform_lib.scenario.clocks import Clock
from platform_lib.scenario.drive_files import TRUTH_KEY, write_broken, write_drive
from platform_lib.scenario.message_types import FIELDS, schema_text
from platform_lib.scenario.model import DriveSpec
from platform_lib.scenario.vehicle_bus import STEERING_RATIO

SPEC = DriveSpec(
    seed=11, vehicle="dt-009", session="2026-06-01T08-00-00Z-0042", start_ns=1_780_300_800_000_000_000,
    duration_s=6.0, weather="rain", event="lead",
)  # fmt: skip


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drive")
    write_drive(SPEC, root / "logs", root / "truth.parquet")
    return root


@pytest.fixture(scope="module")
def truth(drive: Path) -> dict[str, np.ndarray[Any, Any]]:
    table = pq.read_table(drive / "truth.parquet")
    return {name: table[name].to_numpy() for name in table.column_names}


@pytest.fixture(scope="module")
def about(drive: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(pq.read_schema(drive / "truth.parquet").metadata[TRUTH_KEY])
    return found


@pytest.fixture(scope="module")
def messages(drive: Path) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    with (drive / "logs" / "sensors.mcap").open("rb") as stream:
        reader = make_reader(stream, decoder_factories=[DecoderFactory()], validate_crcs=True)
        for item in reader.iter_decoded_messages():
            found.setdefault(item.channel.topic, []).append((item.message.log_time, item.decoded_message))
    return found


def test_topics_have_their_rates(messages: dict[str, list[tuple[int, Any]]], about: dict[str, Any]) -> None:
    counts = {topic: len(items) for topic, items in messages.items()}
    assert counts.pop("/camera/front/image/compressed") == 60 - len(about["lost_camera_ns"])
    assert counts.pop("/lidar/points") == 30 - len(about["lost_lidar_ns"])
    assert counts == {
        "/camera/front/camera_info": 6, "/imu": 600, "/gnss": 60, "/odom": 300, "/tf": 150, "/tf_static": 1,
        "/route/command": 60, "/ground_truth/objects": 60,
    }  # fmt: skip


def test_odometry_and_imu_equal_the_truth(
    messages: dict[str, list[tuple[int, Any]]], truth: dict[str, np.ndarray[Any, Any]]
) -> None:
    times = np.array([time for time, _ in messages["/odom"]])
    rows = np.searchsorted(truth["timestamp_ns"], times)
    assert (truth["timestamp_ns"][rows] == times).all()
    poses = [(m.pose.pose.position.x, m.pose.pose.position.y, m.twist.twist.linear.x) for _, m in messages["/odom"]]
    expected = np.stack([truth["x_m"], truth["y_m"], truth["v_mps"]], axis=1)[rows]
    assert np.array_equal(np.array(poses), expected)
    yaw_rate = np.array([m.angular_velocity.z for _, m in messages["/imu"]])
    assert np.abs(yaw_rate - truth["yaw_rate_rps"]).max() < 0.012
    assert messages["/odom"][0][1].child_frame_id == "base_link"


def test_pictures_and_sweeps_can_be_decoded(messages: dict[str, list[tuple[int, Any]]]) -> None:
    _, image = messages["/camera/front/image/compressed"][5]
    assert cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR).shape == (192, 384, 3)
    _, cloud = messages["/lidar/points"][3]
    assert len(cloud.data) == cloud.row_step == cloud.width * cloud.point_step
    assert [field.name for field in cloud.fields] == ["x", "y", "z", "intensity"]
    kinds = {item.kind for _, array in messages["/ground_truth/objects"] for item in array.objects}
    assert "vehicle" in kinds


def test_rosbags_reads_the_same(drive: Path, messages: dict[str, list[tuple[int, Any]]]) -> None:
    counts: dict[str, int] = {}
    with AnyReader([drive / "logs" / "sensors.mcap"]) as reader:
        for connection, _, raw in reader.messages():
            counts[connection.topic] = counts.get(connection.topic, 0) + 1
            if counts[connection.topic] == 1:
                reader.deserialize(raw, connection.msgtype)
    assert counts == {topic: len(items) for topic, items in messages.items()}


def test_the_log_says_whose_it_is(drive: Path) -> None:
    with (drive / "logs" / "sensors.mcap").open("rb") as stream:
        reader = make_reader(stream)
        assert reader.get_header().profile == "ros2"
        (record,) = reader.iter_metadata()
    assert (record.name, record.metadata["vehicle"], record.metadata["pii_state"]) == (
        "drive",
        "dt-009",
        "none_present",
    )
    with MDF(drive / "logs" / "can.mf4") as mdf:
        for text in ('<e name="vehicle">dt-009</e>', '<e name="pii_state">none_present</e>'):
            assert text in mdf.header.comment


def test_can_signals_equal_the_truth_once_the_clock_is_taken_out(
    drive: Path, truth: dict[str, np.ndarray[Any, Any]], about: dict[str, Any], tmp_path: Path
) -> None:
    dbc = tmp_path / "vehicle.dbc"
    dbc.write_text(DBC_TEXT)
    with MDF(drive / "logs" / "can.mf4") as mdf:
        header_ns = mdf.header.abs_time
        decoded = mdf.extract_bus_logging({"CAN": [(str(dbc), 0)]})
        speed, angle = decoded.get("WheelSpeedRearLeft"), decoded.get("SteeringWheelAngle")
        gear, page = decoded.get("Gear"), decoded.get("PackVoltage")
        torque = mdf.get("motor_torque")
        decoded.close()
    assert set(gear.samples.tolist()) == {b"D"}
    assert 360.0 < page.samples.min() <= page.samples.max() < 420.0
    assert torque.unit == "N.m"
    assert len(speed.samples) == 600 - about["lost_can_frames"]["WheelSpeeds"]
    stamps = header_ns + np.round(speed.timestamps * 1e9).astype(np.int64)
    reference = true_times(stamps, about)
    at = (reference - SPEC.start_ns) / 1e9
    grid = (truth["timestamp_ns"] - SPEC.start_ns) / 1e9
    expected = np.interp(at, grid, truth["v_mps"] - 0.8 * truth["yaw_rate_rps"])
    assert np.abs(speed.samples / 3.6 - expected).max() < 0.08
    # Taken at face value, the recorder's times would be wrong by its offset.
    assert abs(np.median(stamps - reference) / 1e9 - about["mdf_clock"]["offset_s"]) < 0.001
    at = (true_times(header_ns + np.round(angle.timestamps * 1e9).astype(np.int64), about) - SPEC.start_ns) / 1e9
    wheels = np.interp(at, grid, np.degrees(truth["steer_rad"]) * STEERING_RATIO)
    assert np.abs(angle.samples - wheels).max() < 0.2


def true_times(stamps: np.ndarray[Any, Any], about: dict[str, Any]) -> np.ndarray[Any, Any]:
    clock = Clock(about["mdf_clock"]["offset_s"], about["mdf_clock"]["drift_ppm"], 0.0)
    late = clock.exact_ns(stamps, about["mdf_clock"]["origin_ns"]) - stamps
    return stamps - late


def test_broken_files_are_broken(drive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    write_broken(drive / "logs", broken)
    assert sorted(path.name for path in broken.iterdir()) == [
        "bit_flipped.mcap", "empty.mf4", "truncated.mcap", "truncated.mf4",
    ]  # fmt: skip
    with pytest.raises(McapError):
        read_all((broken / "truncated.mcap").read_bytes())
    with pytest.raises((ZstdError, CRCValidationError)):
        read_all((broken / "bit_flipped.mcap").read_bytes())
    assert read_all((drive / "logs" / "sensors.mcap").read_bytes()) > 1000
    assert (broken / "empty.mf4").stat().st_size == 0
    flipped, sound = (broken / "bit_flipped.mcap").read_bytes(), (drive / "logs" / "sensors.mcap").read_bytes()
    assert sum(bin(a ^ b).count("1") for a, b in zip(flipped, sound, strict=True)) == 1
    whole = (drive / "logs" / "can.mf4").stat().st_size
    assert 0 < (broken / "truncated.mf4").stat().st_size < whole


def read_all(data: bytes) -> int:
    return sum(1 for _ in make_reader(io.BytesIO(data), validate_crcs=True).iter_messages())


def test_another_process_writes_the_same_bytes(drive: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from platform_lib.scenario.drive_files import write_drive;"
        "from platform_lib.scenario.model import DriveSpec;"
        f"spec = {SPEC!r}; root = Path(sys.argv[1]); write_drive(spec, root / 'logs', root / 'truth.parquet')"
    )
    # Another time zone, hash seed and set of BLAS kernels: none may leak into the files.
    environment = {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "4711", "OPENBLAS_CORETYPE": "Nehalem", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env=environment, timeout=120)
    for name in ("logs/can.mf4", "logs/sensors.mcap", "truth.parquet"):
        one, two = (hashlib.sha256((root / name).read_bytes()).hexdigest() for root in (drive, tmp_path))
        assert one == two, name


def test_schemas_are_closed() -> None:
    for name in FIELDS:
        text = schema_text(name)
        for line in text.splitlines():
            first = line.split()[0].partition("[")[0] if line else ""
            if "/" in first:
                assert f"MSG: {first}\n" in text

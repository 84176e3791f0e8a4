"""Write one drive: the vehicle's MF4, the sensors' MCAP, and the truth kept apart from both."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from platform_lib.errors import IntegrityError
from platform_lib.scenario.clocks import Clock, draw_clock
from platform_lib.scenario.mcap_writer import Lost, write_mcap
from platform_lib.scenario.mdf_writer import write_mdf
from platform_lib.scenario.model import DriveSpec
from platform_lib.scenario.recording import Recording, record
from platform_lib.scenario.vehicle_bus import Frames, bus_frames, measured_groups

CAN_FILE = "can.mf4"
SENSOR_FILE = "sensors.mcap"
TRUTH_KEY = b"drivetrain.truth"


@dataclass(frozen=True, slots=True)
class Written:
    """What one drive came to."""

    name: str
    log_bytes: int
    lost_can_frames: int
    lost_camera_frames: int
    lost_sweeps: int
    distance_m: float


def write_drive(spec: DriveSpec, folder: Path, truth: Path) -> Written:
    """Simulate a drive and write its logs into `folder` (made here) and its truth to the file `truth`.

    The same spec gives the same bytes, in any process.
    """
    recording = record(spec)
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, 5]))
    clock = draw_clock(rng)
    frames = bus_frames(spec, recording, clock, rng)
    groups = measured_groups(spec, recording, clock, rng)
    folder.mkdir()
    write_mdf(folder / CAN_FILE, spec, clock, frames, groups)
    lost = write_mcap(folder / SENSOR_FILE, spec, recording, rng)
    _write_truth(truth, spec, recording, clock, frames, lost)
    return Written(
        name=spec.name,
        log_bytes=sum(path.stat().st_size for path in folder.iterdir()),
        lost_can_frames=sum(frames.lost.values()),
        lost_camera_frames=len(lost.frames_ns),
        lost_sweeps=len(lost.sweeps_ns),
        distance_m=float(np.hypot(np.diff(recording.x_m), np.diff(recording.y_m)).sum()),
    )


def _write_truth(path: Path, spec: DriveSpec, recording: Recording, clock: Clock, frames: Frames, lost: Lost) -> None:
    """Write the ego at 100 Hz on the reference clock; the file's metadata says what the recorders did to time."""
    frame = np.clip(np.searchsorted(recording.frame_s, recording.time_s + 1e-6, side="right") - 1, 0, None)
    columns = {
        "timestamp_ns": spec.start_ns + np.round(recording.time_s * 1e9).astype(np.int64),
        "x_m": recording.x_m,
        "y_m": recording.y_m,
        "yaw_rad": recording.yaw_rad,
        "v_mps": recording.v_mps,
        "accel_mps2": recording.accel_mps2,
        "yaw_rate_rps": recording.yaw_rate_rps,
        "steer_rad": recording.steer_rad,
        "lane_offset_m": recording.lane_offset_m,
        "command": recording.command[frame],
    }
    about = {
        "spec": asdict(spec),
        "mdf_clock": asdict(clock) | {"origin_ns": spec.start_ns},
        "lost_can_frames": dict(frames.lost),
        "lost_camera_ns": list(lost.frames_ns),
        "lost_lidar_ns": list(lost.sweeps_ns),
    }
    table = pa.table(columns).replace_schema_metadata({TRUTH_KEY: json.dumps(about, sort_keys=True).encode()})
    pq.write_table(table, path, compression="zstd")


def write_broken(source: Path, folder: Path) -> None:
    """Damage the logs of one drive in the four ways that occur most.

    Args:
        source: A sound drive's folder.
        folder: Made here; gets ``truncated.mcap``, ``bit_flipped.mcap``, ``empty.mf4`` and ``truncated.mf4``.

    Raises:
        IntegrityError: The sound MCAP has no chunk to flip a bit in.
    """
    folder.mkdir()
    sensors, can = (source / SENSOR_FILE).read_bytes(), (source / CAN_FILE).read_bytes()
    (folder / "truncated.mcap").write_bytes(sensors[: len(sensors) * 3 // 5])
    flipped = bytearray(sensors)
    flipped[_inside_a_chunk(source / SENSOR_FILE)] ^= 0x10
    (folder / "bit_flipped.mcap").write_bytes(flipped)
    (folder / "empty.mf4").write_bytes(b"")
    (folder / "truncated.mf4").write_bytes(can[: len(can) * 3 // 5])


def _inside_a_chunk(path: Path) -> int:
    """Return the offset of a byte in the middle of the middle chunk's records."""
    from mcap.reader import make_reader

    with path.open("rb") as stream:
        summary = make_reader(stream).get_summary()
    if summary is None or not summary.chunk_indexes:
        raise IntegrityError("the MCAP has no chunk index", where=path)
    chunk = summary.chunk_indexes[len(summary.chunk_indexes) // 2]
    return int(chunk.chunk_start_offset + chunk.chunk_length - chunk.compressed_size // 2)

"""The nuScenes layout: tables of JSON, pictures in folders, poses in the map's frame.

Source of the layout: nuScenes schema, https://github.com/nutonomy/nuscenes-devkit/blob/master/docs/schema_nuscenes.md,
2026-11-20.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from platform_lib.datasets.exchange.model import ImportOptions, Trajectory
from platform_lib.datasets.exchange.parquet_source import read_below
from platform_lib.datasets.geometry import ego_from_odom, yaw_from_quaternion
from platform_lib.datasets.model import Detections, FloatArray, Int64Array
from platform_lib.errors import ConfigError, IntegrityError, MissingPartError
from platform_lib.refusals import first_problem
from platform_lib.timeline import Series, interpolate

CAMERA = "CAM_FRONT"
# South-west corner of each map. Source: nuScenes devkit, scripts/export_poses.py, REFERENCE_COORDINATES, 2026-11-20.
_MAP_ORIGIN_DEG = {
    "boston-seaport": (42.336849169438615, -71.05785369873047),
    "singapore-onenorth": (1.2882100868743724, 103.78475189208984),
    "singapore-hollandvillage": (1.2993652317780957, 103.78217697143555),
    "singapore-queenstown": (1.2782562240223188, 103.76741409301758),
}
_METRES_PER_DEGREE = 111_320.0
_KINDS = {"vehicle": "vehicle", "human": "pedestrian"}
_POSE_GAP_NS = 1_000_000_000

_Micros = Annotated[int, Field(ge=0, le=2**63 // 1000)]
_Point = tuple[FiniteFloat, FiniteFloat, FiniteFloat]
_Turn = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class _Row(BaseModel):
    # The tables hold more than is read here, and each release adds to them.
    model_config = ConfigDict(extra="ignore", frozen=True)

    token: str


class _Scene(_Row):
    name: str
    log_token: str


class _Sample(_Row):
    timestamp: _Micros
    scene_token: str


class _SampleData(_Row):
    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    timestamp: _Micros
    filename: str


class _Pose(_Row):
    timestamp: _Micros
    translation: _Point
    rotation: _Turn


class _Calibrated(_Row):
    sensor_token: str


class _Sensor(_Row):
    channel: str


class _Log(_Row):
    vehicle: str
    location: str


class _Annotation(_Row):
    sample_token: str
    instance_token: str
    translation: _Point
    size: _Point
    rotation: _Turn


class _Instance(_Row):
    category_token: str


class _Category(_Row):
    name: str


_AnyRow = TypeVar("_AnyRow", bound=_Row)


class _Tables:
    """The tables that are read, by token."""

    def __init__(self, folder: Path) -> None:
        self.folder = find_tables(folder)
        self.scenes = self._read("scene", _Scene)
        self.samples = self._read("sample", _Sample)
        self.data = self._read("sample_data", _SampleData)
        self.poses = self._read("ego_pose", _Pose)
        self.calibrated = self._read("calibrated_sensor", _Calibrated)
        self.sensors = self._read("sensor", _Sensor)
        self.logs = self._read("log", _Log)
        self.annotations = self._read("sample_annotation", _Annotation)
        self.instances = self._read("instance", _Instance)
        self.categories = self._read("category", _Category)

    def _read(self, name: str, kind: type[_AnyRow]) -> dict[str, _AnyRow]:
        path = self.folder / f"{name}.json"
        try:
            rows: list[_AnyRow] = TypeAdapter(list[kind]).validate_json(path.read_bytes())  # type: ignore[valid-type]  # a type made here
        except FileNotFoundError as error:
            raise MissingPartError(f"no table {name}.json", where=self.folder, remedy="fetch all tables") from error
        except ValidationError as error:
            raise IntegrityError(
                f"not a nuScenes table: {first_problem(error)}", where=path, remedy="fetch this table again"
            ) from error
        return {row.token: row for row in rows}


def find_tables(folder: Path) -> Path:
    """Return the folder of the tables.

    Raises:
        MissingPartError: There is none, or several.
    """
    found = sorted(path.parent for path in folder.glob("v1.0-*/scene.json"))
    if len(found) != 1:
        raise MissingPartError(
            f"{len(found)} folders v1.0-*/ with a scene.json",
            where=folder,
            remedy="name the folder that holds one of v1.0-trainval, v1.0-mini, ... beside samples/ and sweeps/",
        )
    return found[0]


def trajectories(folder: Path, options: ImportOptions) -> Iterator[Trajectory]:
    """Yield every scene.

    Raises:
        MissingPartError: A table is missing.
        IntegrityError: A table is not one, names a row that is not there, or a picture is missing.
        ConfigError: There is no such camera.
    """
    tables = _Tables(folder)
    camera = options.camera or CAMERA
    by_scene: dict[str, list[_SampleData]] = defaultdict(list)
    boxes: dict[str, list[_Annotation]] = defaultdict(list)
    try:
        channels = {token: tables.sensors[row.sensor_token].channel for token, row in tables.calibrated.items()}
        _refuse_unknown(camera, channels.values())
        for data in tables.data.values():
            by_scene[tables.samples[data.sample_token].scene_token].append(data)
        for box in tables.annotations.values():
            boxes[box.sample_token].append(box)
        for scene in sorted(tables.scenes.values(), key=lambda scene: scene.name):
            frames = [data for data in by_scene[scene.token] if channels[data.calibrated_sensor_token] == camera]
            yield _trajectory(tables, scene, by_scene[scene.token], frames, boxes, folder, options)
    except KeyError as error:
        raise IntegrityError(
            f"no row with the token {error}", where=tables.folder, remedy="fetch all tables"
        ) from error


def _refuse_unknown(camera: str, channels: Collection[str]) -> None:
    if camera not in channels:
        raise ConfigError(
            f"no channel {camera!r}; there are {', '.join(sorted(set(channels)))}",
            where="--camera",
            remedy="name one of them",
        )


def _trajectory(
    tables: _Tables,
    scene: _Scene,
    all_data: list[_SampleData],
    frames: list[_SampleData],
    boxes: dict[str, list[_Annotation]],
    folder: Path,
    options: ImportOptions,
) -> Trajectory:
    frames = sorted({data.timestamp: data for data in frames}.values(), key=lambda data: data.timestamp)
    poses = {tables.poses[data.ego_pose_token].timestamp: tables.poses[data.ego_pose_token] for data in all_data}
    times = np.array(sorted(poses), dtype=np.int64)
    place = np.array([poses[int(time)].translation[:2] for time in times], dtype=np.float64).reshape(-1, 2)
    turned = np.array([poses[int(time)].rotation for time in times], dtype=np.float64).reshape(-1, 4)
    pose = np.column_stack([place, yaw_from_quaternion(turned[:, [1, 2, 3, 0]])])  # theirs is w, x, y, z
    log = tables.logs[scene.log_token]
    samples = sorted(
        (row for row in tables.samples.values() if row.scene_token == scene.token), key=lambda s: s.timestamp
    )
    return Trajectory(
        drive_id=scene.name,
        vehicle=log.vehicle,
        frame_ns=np.array([data.timestamp for data in frames], dtype=np.int64) * 1000,  # theirs are microseconds
        image=lambda frame: read_below(folder, frames[frame].filename, where=scene.name),
        pii_state=(options.declared(None, where=scene.name),) * len(frames),
        pose_ns=times * 1000,
        pose=pose,
        position=_position(log.location, place),
        detections=_detections(tables, samples, boxes, times * 1000, pose),
    )


def _position(location: str, place_m: FloatArray) -> FloatArray | None:
    """Return latitude and longitude in degrees of points on a map whose corner is known."""
    if location not in _MAP_ORIGIN_DEG:
        return None
    south, west = _MAP_ORIGIN_DEG[location]
    east_m = _METRES_PER_DEGREE * np.cos(np.radians(south))
    return np.column_stack([south + place_m[:, 1] / _METRES_PER_DEGREE, west + place_m[:, 0] / east_m])


def _detections(
    tables: _Tables, samples: list[_Sample], boxes: dict[str, list[_Annotation]], pose_ns: Int64Array, pose: FloatArray
) -> Detections | None:
    """Return the annotated boxes in the ego frame of their sample's time; None where nothing was annotated."""
    if not samples or not any(boxes[sample.token] for sample in samples):
        return None
    message_ns = np.array([sample.timestamp for sample in samples], dtype=np.int64) * 1000
    ego = interpolate(
        Series.of(pose_ns, np.column_stack([pose[:, :2], np.unwrap(pose[:, 2])])), message_ns, max_gap_ns=_POSE_GAP_NS
    ).values
    tracks = {token: number for number, token in enumerate(sorted(tables.instances))}
    rows, message, track, kind = [], [], [], []
    for number, sample in enumerate(samples):
        for box in boxes[sample.token]:
            yaw = yaw_from_quaternion(np.array([box.rotation])[:, [1, 2, 3, 0]])[0]
            at = ego_from_odom(ego[number], np.array([*box.translation[:2], yaw]))
            width_m, length_m, _ = box.size
            rows.append((*at.tolist(), length_m, width_m, 0.0))  # no speed: it is not used
            message.append(number)
            track.append(tracks[box.instance_token])
            name = tables.categories[tables.instances[box.instance_token].category_token].name.partition(".")[0]
            kind.append(_KINDS.get(name, name))
    return Detections(
        message_ns=message_ns,
        message=np.array(message, dtype=np.intp),
        track=np.array(track, dtype=np.int64),
        kind=np.array(kind, dtype=np.object_),
        box=np.array(rows, dtype=np.float64).reshape(-1, 6),
    )

"""A drive as a file to look at and to drive again: MCAP with Foxglove's messages, which Foxglove and Rerun open.

It holds what a viewer needs (the scene from above, the ego, its plan, the camera's last moments) and what it takes to
repeat the drive: the world's seed and settings in the metadata, and the controls of every step.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from platform_lib.errors import CorruptLog
from platform_lib.scenario.foxglove import descriptors, message_class
from platform_lib.scenario.model import (
    EGO_CENTRE_AHEAD_M,
    EGO_HEIGHT_M,
    EGO_LENGTH_M,
    EGO_WIDTH_M,
    STEP_S,
    Control,
    DriveSpec,
    EgoState,
    ObjectBox,
)
from platform_lib.scenario.recording import JPEG_QUALITY
from platform_lib.scenario.road import GRID_M, HALF_WIDTH_M, LANE_WIDTH_M
from platform_lib.scenario.world import World

METADATA = "episode"
TOPICS = {
    "/scene": "foxglove.SceneUpdate",
    "/tf": "foxglove.FrameTransform",
    "/ego": "foxglove.PoseInFrame",
    "/plan": "foxglove.PosesInFrame",
    "/camera": "foxglove.CompressedImage",
    "/log": "foxglove.Log",
    "/control": "drivetrain.Control",
}
FILMED_S, FILMED_EVERY = 3.0, 2
"""The camera's part: its last seconds, every second step."""
_WORLD, _EGO = "world", "ego"
_KINDS = {
    "ego": (0.21, 0.65, 1.0),
    "vehicle": (0.85, 0.35, 0.25),
    "pedestrian": (1.0, 0.75, 0.1),
    "traffic_light_red": (0.9, 0.1, 0.1),
    "traffic_light_green": (0.1, 0.75, 0.3),
}
_Message = tuple[int, str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the file says of the drive: who drove, what went wrong, and how far the expert came there."""

    planner: str
    what: str
    expert_progress_m: float


@dataclass(frozen=True, slots=True)
class Replay:
    """What a file holds: the world, the (T, 2) controls and what became of it."""

    spec: DriveSpec
    controls: NDArray[np.float64]
    outcome: Outcome


def replay_bytes(
    spec: DriveSpec, controls: NDArray[np.float64], plans_m: NDArray[np.float32], outcome: Outcome
) -> bytes:
    """Drive a world again with (T, 2) controls and return the file; `plans_m` (T, 6, 2) is what was planned meanwhile.

    The same arguments give the same bytes.
    """
    stream = io.BytesIO()
    writer = Writer(stream, compression=CompressionType.ZSTD, enable_data_crcs=True)
    writer.start(profile="", library="drivetrain evaluate")
    schemas = {name: writer.register_schema(name, "protobuf", descriptors()) for name in sorted(set(TOPICS.values()))}
    channels = {topic: writer.register_channel(topic, "protobuf", schemas[name]) for topic, name in TOPICS.items()}
    for stamp_ns, topic, message in _messages(spec, controls, plans_m, outcome):
        writer.add_message(channels[topic], stamp_ns, message.SerializeToString(deterministic=True), stamp_ns)
    writer.add_metadata(
        METADATA,
        {
            "seed": str(spec.seed), "vehicle": spec.vehicle, "session": spec.session, "start_ns": str(spec.start_ns),
            "duration_s": repr(spec.duration_s), "weather": spec.weather, "event": spec.event,
            "planner": outcome.planner, "what": outcome.what, "expert_progress_m": repr(outcome.expert_progress_m),
            "pii_state": "none_present",
        },
    )  # fmt: skip
    writer.finish()
    return stream.getvalue()


def read_replay(path: Path) -> Replay:
    """Read what it takes to drive again.

    Raises:
        CorruptLog: It is no file of a drive.
    """
    control = message_class("drivetrain.Control")
    try:
        with path.open("rb") as stream:
            reader = make_reader(stream, validate_crcs=True)
            told = {record.name: record.metadata for record in reader.iter_metadata()}[METADATA]
            rows = [control.FromString(m.data) for _, _, m in reader.iter_messages(topics=["/control"])]
        spec = DriveSpec(
            seed=int(told["seed"]), vehicle=told["vehicle"], session=told["session"], start_ns=int(told["start_ns"]),
            duration_s=float(told["duration_s"]), weather=told["weather"], event=told["event"],
        )  # fmt: skip
        outcome = Outcome(told["planner"], told["what"], float(told["expert_progress_m"]))
    except (KeyError, ValueError, McapError) as error:
        raise CorruptLog(
            f"it is no recording of a simulated drive ({error})", where=path, remedy="evaluate the run again"
        ) from error
    values = np.array([(row.accel_mps2, row.steer_rad) for row in rows], dtype=np.float64).reshape(-1, 2)
    return Replay(spec, values, outcome)


def _messages(
    spec: DriveSpec, controls: NDArray[np.float64], plans_m: NDArray[np.float32], outcome: Outcome
) -> Iterator[_Message]:
    world = World(spec)
    filmed_from = len(controls) - round(FILMED_S / STEP_S)
    yield _stamp_ns(spec, 0), "/scene", _road(world, _stamp_ns(spec, 0))
    for tick in range(len(controls) + 1):
        stamp_ns, ego = _stamp_ns(spec, tick), world.ego
        yield stamp_ns, "/tf", _transform(ego, stamp_ns)
        yield (
            stamp_ns,
            "/ego",
            _new("foxglove.PoseInFrame", stamp_ns, frame_id=_WORLD, pose=_pose(ego.x_m, ego.y_m, ego.yaw_rad)),
        )
        yield stamp_ns, "/scene", _scene(ego, world.objects(within_m=80.0), stamp_ns)
        if tick < len(plans_m):
            yield stamp_ns, "/plan", _plan(plans_m[tick], stamp_ns)
        if tick >= filmed_from and (tick - filmed_from) % FILMED_EVERY == 0:
            yield stamp_ns, "/camera", _picture(world, stamp_ns)
        if tick == len(controls):
            level = 4 if outcome.what != "nothing" else 2
            text = f"{outcome.planner}: {outcome.what}"
            yield stamp_ns, "/log", _new("foxglove.Log", stamp_ns, level=level, message=text, name=spec.name)
            return
        accel, steer = controls[tick].tolist()
        yield stamp_ns, "/control", _new("drivetrain.Control", stamp_ns, accel_mps2=accel, steer_rad=steer)
        world.step(Control(accel, steer))


def _stamp_ns(spec: DriveSpec, tick: int) -> int:
    return spec.start_ns + tick * round(STEP_S * 1e9)


def _new(kind: str, stamp_ns: int, **fields: Any) -> Any:
    message = message_class(kind)(**fields)
    message.timestamp.seconds, message.timestamp.nanos = divmod(stamp_ns, 1_000_000_000)
    return message


def _pose(x_m: float, y_m: float, yaw_rad: float, z_m: float = 0.0) -> dict[str, dict[str, float]]:
    turned = {"x": 0.0, "y": 0.0, "z": math.sin(yaw_rad / 2), "w": math.cos(yaw_rad / 2)}
    return {"position": {"x": x_m, "y": y_m, "z": z_m}, "orientation": turned}


def _transform(ego: EgoState, stamp_ns: int) -> Any:
    pose = _pose(ego.x_m, ego.y_m, ego.yaw_rad)
    return _new(
        "foxglove.FrameTransform", stamp_ns, parent_frame_id=_WORLD, child_frame_id=_EGO,
        translation=pose["position"], rotation=pose["orientation"],
    )  # fmt: skip


def _plan(plan_m: NDArray[np.float32], stamp_ns: int) -> Any:
    path = np.vstack([np.zeros((1, 2)), plan_m.astype(np.float64)])
    turns = np.arctan2(*np.diff(path, axis=0).T[::-1])
    poses = [_pose(float(x), float(y), float(yaw)) for (x, y), yaw in zip(plan_m, turns, strict=True)]
    return _new("foxglove.PosesInFrame", stamp_ns, frame_id=_EGO, poses=poses)


def _picture(world: World, stamp_ns: int) -> Any:
    rgb = world.observe().camera
    if rgb is None:
        raise ValueError("the frame was not rendered")
    data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return _new("foxglove.CompressedImage", stamp_ns, data=bytes(data), format="jpeg", frame_id=_EGO)


def _scene(ego: EgoState, around: tuple[ObjectBox, ...], stamp_ns: int) -> Any:
    """Return everybody, in the ego's coordinates; each is replaced by the next, and gone when it is not renewed."""
    size = (EGO_LENGTH_M, EGO_WIDTH_M, EGO_HEIGHT_M)
    entities = [_entity("ego", "ego", (EGO_CENTRE_AHEAD_M, 0.0, 0.0), size, ego.v_mps, stamp_ns)]
    for item in around:
        size = (item.length_m, item.width_m, item.height_m)
        place = (item.x_m, item.y_m, item.yaw_rad)
        entities.append(_entity(f"{item.id}", item.kind, place, size, item.speed_mps, stamp_ns))
    return message_class("foxglove.SceneUpdate")(entities=entities)


def _entity(
    name: str,
    kind: str,
    place: tuple[float, float, float],
    size_m: tuple[float, float, float],
    speed_mps: float,
    stamp_ns: int,
) -> Any:
    red, green, blue = _KINDS[kind]
    entity = _new("foxglove.SceneEntity", stamp_ns, frame_id=_EGO, id=name)
    entity.lifetime.nanos = round(1.5 * STEP_S * 1e9)
    entity.metadata.add(key="kind", value=kind)
    entity.metadata.add(key="speed_mps", value=f"{speed_mps:.2f}")
    x, y, yaw = place
    length, width, height = size_m
    entity.cubes.add(
        pose=_pose(x, y, yaw, height / 2), size={"x": length, "y": width, "z": height},
        color={"r": red, "g": green, "b": blue, "a": 0.9},
    )  # fmt: skip
    return entity


def _road(world: World, stamp_ns: int) -> Any:
    """Return the road's edges, lane marks and stop line, once and for good."""
    road = world.scene.road
    entity = _new("foxglove.SceneEntity", stamp_ns, frame_id=_WORLD, id="road")
    s = np.arange(0.0, road.length_m, 4 * GRID_M)
    for d in (-HALF_WIDTH_M, -LANE_WIDTH_M, 0.0, LANE_WIDTH_M, HALF_WIDTH_M):
        edge = abs(d) == HALF_WIDTH_M or d == 0.0
        _line(entity, road.to_world(s, d), 0.15 if edge else 0.08, 0.9 if edge else 0.5)
    if world.scene.light is not None:
        across = np.array([-HALF_WIDTH_M, 0.0])
        _line(entity, road.to_world(np.full(2, world.scene.light.s_m), across), 0.4, 1.0)
    return message_class("foxglove.SceneUpdate")(entities=[entity])


def _line(entity: Any, points_m: NDArray[np.float64], thickness_m: float, grey: float) -> None:
    points = [{"x": x, "y": y, "z": 0.02} for x, y in points_m.tolist()]
    colour = {"r": grey, "g": grey, "b": grey, "a": 1.0}
    entity.lines.add(type=0, pose=_pose(0.0, 0.0, 0.0), thickness=thickness_m, points=points, color=colour)

"""The last seconds of a failed drive as a short film: what the camera saw, and the same moment from above."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mcap.reader import make_reader
from numpy.typing import NDArray

from platform_lib.scenario.foxglove import message_class
from platform_lib.scenario.model import STEP_S
from platform_lib.scenario.replay import FILMED_EVERY, TOPICS

WIDE_PX, SEEN_PX, ABOVE_PX = 384, 192, 224
_PX_PER_M = 5.0
_EGO_PX = (WIDE_PX // 2, ABOVE_PX - 62)
_GROUND, _PLAN = (46, 44, 42), (120, 255, 120)  # BGR, as OpenCV has colours
_HELD_MS = 1500
_QUALITY = 60
Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class _Shot:
    """One moment that the camera saw; messages as the file holds them."""

    image: Any
    ego: Any
    scene: Any
    plan: Any | None


def film(path: Path) -> bytes | None:
    """Return an animated WebP of a replay file, about twice as slow as it happened; None where nothing was filmed."""
    shots, road = _shots(path)
    frames = [np.vstack([_seen(shot), _above(shot, road)]) for shot in shots]
    if not frames:
        return None
    animation = cv2.Animation()
    animation.frames = frames
    animation.durations = [round(2 * 1000 * STEP_S * FILMED_EVERY)] * (len(frames) - 1) + [_HELD_MS]
    animation.loop_count = 0
    done, data = cv2.imencodeanimation(".webp", animation, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    return bytes(data) if done else None


def _shots(path: Path) -> tuple[list[_Shot], Any]:
    at: dict[int, dict[str, Any]] = {}
    road = None
    with path.open("rb") as stream:
        for _, channel, message in make_reader(stream).iter_messages(topics=["/camera", "/ego", "/scene", "/plan"]):
            content = message_class(TOPICS[channel.topic]).FromString(message.data)
            if channel.topic == "/scene" and road is None:
                road = content.entities[0]  # the first one is the road, in the world's coordinates
            else:
                at.setdefault(message.log_time, {})[channel.topic] = content
    seen = [moment for _, moment in sorted(at.items()) if "/camera" in moment]
    return [_Shot(one["/camera"], one["/ego"], one["/scene"], one.get("/plan")) for one in seen], road


def _seen(shot: _Shot) -> Picture:
    picture = cv2.imdecode(np.frombuffer(shot.image.data, dtype=np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.resize(picture, (WIDE_PX, SEEN_PX)), dtype=np.uint8)


def _above(shot: _Shot, road: Any) -> Picture:
    picture = np.full((ABOVE_PX, WIDE_PX, 3), _GROUND, dtype=np.uint8)
    pose = shot.ego.pose
    yaw = 2.0 * math.atan2(pose.orientation.z, pose.orientation.w)
    for line in road.lines:
        points = np.array([(point.x - pose.position.x, point.y - pose.position.y) for point in line.points])
        own = points @ np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
        grey = round(255 * line.color.r)
        cv2.polylines(
            picture, [_pixels(own)], isClosed=False, color=(grey, grey, grey), thickness=1, lineType=cv2.LINE_AA
        )
    for entity in shot.scene.entities:
        for cube in entity.cubes:
            colour = tuple(round(255 * value) for value in (cube.color.b, cube.color.g, cube.color.r))
            cv2.fillPoly(picture, [_pixels(_corners(cube))], colour, lineType=cv2.LINE_AA)
    if shot.plan is not None:
        points = np.array([(0.0, 0.0), *((pose.position.x, pose.position.y) for pose in shot.plan.poses)])
        cv2.polylines(picture, [_pixels(points)], isClosed=False, color=_PLAN, thickness=2, lineType=cv2.LINE_AA)
    return picture


def _corners(cube: Any) -> NDArray[np.float64]:
    yaw = 2.0 * math.atan2(cube.pose.orientation.z, cube.pose.orientation.w)
    half = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)]) * [cube.size.x / 2, cube.size.y / 2]
    turn = np.array([[math.cos(yaw), math.sin(yaw)], [-math.sin(yaw), math.cos(yaw)]])
    return np.asarray(half @ turn + [cube.pose.position.x, cube.pose.position.y])


def _pixels(points_m: Sequence[Sequence[float]] | NDArray[np.float64]) -> NDArray[np.int32]:
    """Turn ego coordinates (x ahead, y left) into the picture's, ahead upwards."""
    points = np.asarray(points_m, dtype=np.float64)
    pixels = np.stack([_EGO_PX[0] - points[:, 1] * _PX_PER_M, _EGO_PX[1] - points[:, 0] * _PX_PER_M], axis=1)
    return np.clip(pixels, -10_000, 10_000).round().astype(np.int32)

"""What happens in a frame, seen from the path that the ego then drove."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from platform_lib.datasets.model import FloatArray, StringArray

# Distances along the driven path and across it, in metres. A lane is 3.5 m wide: within 1.5 m of the path a vehicle's
# centre is in the ego's lane, beyond 2.2 m it is not.
_AHEAD_M = 45.0
_LIGHT_AHEAD_M = 60.0
_IN_LANE_M = 1.5
_OUT_OF_LANE_M = 2.2
_PEDESTRIAN_ACROSS_M = 4.0
_LIGHT_ACROSS_M = 8.0
_EXTENSION_M = 70.0


def event_slices(
    future: FloatArray,
    last_yaw_rad: float,
    *,
    step: npt.NDArray[np.int64],
    track: npt.NDArray[np.int64],
    kind: StringArray,
    xy: FloatArray,
) -> tuple[str, ...]:
    """Name what happens within the next 3 s.

    * ``pedestrian``: one is ahead, at most 4 m beside the path.
    * ``cut_in``: a vehicle ahead comes from beyond 2.2 m beside the path to within 1.5 m of it.
    * ``lead``: a vehicle is ahead within 1.5 m of the path now, and did not cut in.
    * ``traffic_light``: a red one is at most 60 m ahead.
    * ``cruise``: none of these.

    Args:
        future: (6, 2) driven path in the ego frame.
        last_yaw_rad: Heading at the path's end, in the ego frame.
        step: (K,) 0 is now, 1 ... 6 the future times.
        track: (K,) identity.
        kind: (K,) names.
        xy: (K, 2 or more) positions in the ego frame; further columns are not looked at.
    """
    along, across = path_coordinates(future, last_yaw_rad, xy[:, :2])
    ahead = (along > 0.0) & (along < _AHEAD_M)
    vehicle = (kind == "vehicle") & ahead
    names = []
    if np.any((kind == "pedestrian") & ahead & (np.abs(across) < _PEDESTRIAN_ACROSS_M)):
        names.append("pedestrian")
    intruders = {
        int(one)
        for one in np.unique(track[vehicle])
        if _cuts_in(step, across, own=np.flatnonzero(vehicle & (track == one)))
    }
    if intruders:
        names.append("cut_in")
    leading = vehicle & (step == 0) & (np.abs(across) < _IN_LANE_M)
    if any(int(one) not in intruders for one in track[leading]):
        names.append("lead")
    red = (kind == "traffic_light_red") & (along > 0.0) & (along < _LIGHT_AHEAD_M)
    if np.any(red & (np.abs(across) < _LIGHT_ACROSS_M)):
        names.append("traffic_light")
    return tuple(names) or ("cruise",)


def _cuts_in(step: npt.NDArray[np.int64], across: FloatArray, *, own: npt.NDArray[np.intp]) -> bool:
    distance = np.abs(across[own][np.argsort(step[own], kind="stable")])
    outside = np.flatnonzero(distance > _OUT_OF_LANE_M)
    return len(outside) > 0 and bool(np.any(distance[outside[0] :] < _IN_LANE_M))


def path_coordinates(future: FloatArray, last_yaw_rad: float, xy: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return distance along and across (left positive) the driven path, carried on straight, for points (K, 2)."""
    points = [np.zeros(2)]
    points.extend(point for point in future)
    kept = [points[0]]
    for point in points[1:]:
        if np.hypot(*(point - kept[-1])) > 0.2:  # a standing vehicle's path has no direction
            kept.append(point)
    end = kept[-1] + _EXTENSION_M * np.array([np.cos(last_yaw_rad), np.sin(last_yaw_rad)])
    vertices = np.array([*kept, end])
    segment = np.diff(vertices, axis=0)
    length = np.hypot(segment[:, 0], segment[:, 1])
    direction = segment / length[:, None]
    start_m = np.concatenate([[0.0], np.cumsum(length)[:-1]])
    offset = xy[:, None, :] - vertices[None, :-1, :]
    raw = (offset * direction).sum(axis=2)
    # Behind the first segment a point keeps its negative distance, so that it counts as behind.
    low = np.where(np.arange(len(length)) == 0, -np.inf, 0.0)
    on_segment = np.clip(raw, low, length)
    foot = vertices[None, :-1, :] + on_segment[..., None] * direction
    distance = np.hypot(xy[:, None, 0] - foot[..., 0], xy[:, None, 1] - foot[..., 1])
    best = np.argmin(distance, axis=1)
    rows = np.arange(len(xy))
    side = direction[best, 0] * offset[rows, best, 1] - direction[best, 1] * offset[rows, best, 0]
    return start_m[best] + on_segment[rows, best], np.copysign(distance[rows, best], side)

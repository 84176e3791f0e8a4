"""Oriented boxes on the ground plane.

The reference point of every ego path is the ground under the rear axle (the kinematic bicycle's); the middle of the
ego's box, 4.6 x 1.9 m, lies 1.4 m ahead of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.scenario.model import EGO_CENTRE_AHEAD_M, EGO_LENGTH_M, EGO_WIDTH_M

Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]

# Below this the direction of a step is noise, and the car keeps its heading.
MIN_HEADING_STEP_M = 0.2


@dataclass(frozen=True, slots=True)
class Boxes:
    """M oriented boxes; each array is (M,): centre x, y in metres, yaw in radians, length along yaw, width across."""

    x_m: Doubles
    y_m: Doubles
    yaw_rad: Doubles
    length_m: Doubles
    width_m: Doubles

    def __len__(self) -> int:
        return len(self.x_m)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Boxes:
        """Return the chosen boxes."""
        columns = (self.x_m, self.y_m, self.yaw_rad, self.length_m, self.width_m)
        return Boxes(*(column[rows] for column in columns))


def corners(boxes: Boxes) -> Doubles:
    """Return the (M, 4, 2) corners in metres, counter-clockwise."""
    half = np.stack([boxes.length_m, boxes.width_m], axis=1)[:, None, :] / 2
    local = half * np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    cosine, sine = np.cos(boxes.yaw_rad)[:, None], np.sin(boxes.yaw_rad)[:, None]
    x = boxes.x_m[:, None] + local[..., 0] * cosine - local[..., 1] * sine
    y = boxes.y_m[:, None] + local[..., 0] * sine + local[..., 1] * cosine
    return np.stack([x, y], axis=-1)


def overlap(first: Boxes, second: Boxes) -> Flags:
    """Say for each pair whether the boxes share area; touching edges do not count.

    Separating axis theorem: two convex shapes are apart exactly when some edge normal of one separates them.
    """
    apart = np.zeros(len(first), dtype=np.bool_)
    one, other = corners(first), corners(second)
    for boxes in (first, second):
        for turn in (0.0, np.pi / 2):
            axis = np.stack([np.cos(boxes.yaw_rad + turn), np.sin(boxes.yaw_rad + turn)], axis=-1)[:, :, None]
            a, b = (one @ axis)[..., 0], (other @ axis)[..., 0]
            apart |= (a.max(axis=1) <= b.min(axis=1)) | (b.max(axis=1) <= a.min(axis=1))
    return ~apart


def path_headings(path_m: Doubles) -> Doubles:
    """Return the heading at each point of a rear-axle path that starts at the origin facing +x.

    The rear axle moves where the car points, so a step's direction is the heading; steps shorter than
    `MIN_HEADING_STEP_M` keep the one before.

    Args:
        path_m: (..., K, 2) points, the origin not among them.

    Returns:
        (..., K) radians, without jumps of 2 pi.
    """
    origin = np.zeros((*path_m.shape[:-2], 1, 2))
    steps = np.diff(np.concatenate([origin, path_m], axis=-2), axis=-2)
    turned = np.hypot(steps[..., 0], steps[..., 1]) >= MIN_HEADING_STEP_M
    return np.unwrap(held(np.arctan2(steps[..., 1], steps[..., 0]), turned), axis=-1)


def held(values: Doubles, valid: Flags) -> Doubles:
    """Return (..., K) values with each one that is not valid replaced by the last valid one before it, or 0."""
    last = np.maximum.accumulate(np.where(valid, np.arange(values.shape[-1]), -1), axis=-1)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=-1), 0.0)


def ego_boxes(x_m: Doubles, y_m: Doubles, yaw_rad: Doubles) -> Boxes:
    """Return the ego's boxes for rear-axle poses, each argument (M,)."""
    size = np.ones_like(x_m)
    return Boxes(
        x_m=x_m + EGO_CENTRE_AHEAD_M * np.cos(yaw_rad),
        y_m=y_m + EGO_CENTRE_AHEAD_M * np.sin(yaw_rad),
        yaw_rad=yaw_rad,
        length_m=size * EGO_LENGTH_M,
        width_m=size * EGO_WIDTH_M,
    )

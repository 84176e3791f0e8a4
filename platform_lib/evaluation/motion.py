"""A plan's motion between its points: position, speed, acceleration and jerk every tenth of a second.

Six points say where the car will be, not how it moves there. It is taken to move on the smoothest curve through them
that begins with the car's present velocity: a cubic spline, whose acceleration changes evenly between two points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from platform_lib.evaluation.frames import STEP_S, STEPS
from platform_lib.evaluation.geometry import Doubles, held
from platform_lib.evaluation.poses import TICK_S, TICKS, Poses

MOVING_MPS = 0.4
"""Below this the direction of motion is noise: the car keeps its heading and does not turn."""


@dataclass(frozen=True, slots=True)
class Motion:
    """N motions at the ticks 0 ... `TICKS`, in the frame's ego coordinates; each array is (N, TICKS + 1).

    Attributes:
        poses: Where the rear axle is, and the heading.
        speed_mps: Along the heading's direction of motion, never negative.
        accel_mps2: Along, negative brakes.
        lateral_mps2: Across: speed times yaw rate.
        yaw_rate_rps: Left positive.
        jerk_mps3: Change of the acceleration along.
        jerk_size_mps3: Length of the change of the acceleration vector.
    """

    poses: Poses
    speed_mps: Doubles
    accel_mps2: Doubles
    lateral_mps2: Doubles
    yaw_rate_rps: Doubles
    jerk_mps3: Doubles
    jerk_size_mps3: Doubles


def motion_of(plan_m: Doubles, speed_mps: Doubles) -> Motion:
    """Return the motions of (N, 6, 2) plans of cars that now drive (N,) m/s straight ahead."""
    knots = np.concatenate([np.zeros((len(plan_m), 1, 2)), plan_m, np.zeros((len(plan_m), 1, 2))], axis=1)
    knots[:, -1, 0] = speed_mps
    place, velocity, accel, jerk = (np.einsum("tk,nkc->ntc", matrix, knots) for matrix in _spline())
    speed = np.hypot(velocity[..., 0], velocity[..., 1])
    moving = speed >= MOVING_MPS
    moving[:, 0] = False  # now the car points straight ahead, however it moves
    heading = np.unwrap(held(np.arctan2(velocity[..., 1], velocity[..., 0]), moving), axis=1)
    ahead = np.stack([np.cos(heading), np.sin(heading)], axis=-1)
    left = np.stack([-ahead[..., 1], ahead[..., 0]], axis=-1)
    lateral = np.where(speed >= MOVING_MPS, (accel * left).sum(axis=2), 0.0)
    return Motion(
        poses=Poses(place[..., 0], place[..., 1], heading, TICK_S),
        speed_mps=speed,
        accel_mps2=(accel * ahead).sum(axis=2),
        lateral_mps2=lateral,
        yaw_rate_rps=lateral / np.maximum(speed, MOVING_MPS),
        jerk_mps3=(jerk * ahead).sum(axis=2),
        jerk_size_mps3=np.hypot(jerk[..., 0], jerk[..., 1]),
    )


@cache
def _spline() -> tuple[Doubles, Doubles, Doubles, Doubles]:
    """Return four (TICKS + 1, 8) matrices: from 7 points (now first) and the present velocity to place and derivatives.

    The second derivatives m of a cubic spline with knots h apart solve m[k-1] + 4 m[k] + m[k+1] = 6 / h^2 times the second
    differences; at the beginning 2 m[0] + m[1] = 6 / h ((p[1] - p[0]) / h - v); at the end m[6] = m[5], so that a
    constant acceleration stays one.
    Source: de Boor, A Practical Guide to Splines (1978), chapter IV.
    """
    count, h = STEPS + 1, STEP_S
    left, right = np.zeros((count, count)), np.zeros((count, count + 1))
    left[0, :2], right[0, [0, 1, count]] = (2.0, 1.0), (-6.0 / h**2, 6.0 / h**2, -6.0 / h)
    for k in range(1, count - 1):
        left[k, k - 1 : k + 2], right[k, k - 1 : k + 2] = (1.0, 4.0, 1.0), np.array([6.0, -12.0, 6.0]) / h**2
    left[-1, -2:] = (-1.0, 1.0)
    bend, point = np.linalg.solve(left, right), np.eye(count, count + 1)
    time = np.arange(TICKS + 1) * TICK_S
    knot = np.minimum(np.floor(time / h + 1e-9).astype(np.int64), count - 2)
    u = (time - knot * h)[:, None]
    slope = (point[knot + 1] - point[knot]) / h - h / 6.0 * (2.0 * bend[knot] + bend[knot + 1])
    change = (bend[knot + 1] - bend[knot]) / h
    place = point[knot] + u * slope + u**2 / 2.0 * bend[knot] + u**3 / 6.0 * change
    return place, slope + u * bend[knot] + u**2 / 2.0 * change, bend[knot] + u * change, change


@cache
def smoothing(count: int, window: int, derivative: int) -> Doubles:
    """Return the (count, count) matrix that fits a parabola to each `window` of ticks and takes its value or slope there.

    Source: Savitzky and Golay, Analytical Chemistry 36 (1964), 1627-1639; at the ends the last whole window is used.
    """
    matrix = np.zeros((count, count))
    for row in range(count):
        first = min(max(row - window // 2, 0), count - window)
        at = np.arange(first, first + window)
        powers = np.vander((at - row) * TICK_S, 3, increasing=True)
        matrix[row, at] = np.linalg.pinv(powers)[derivative]
    return matrix

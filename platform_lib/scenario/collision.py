"""Swept collision of oriented boxes. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """An oriented rectangle in the plane; `x_m, y_m` is its centre."""

    x_m: float
    y_m: float
    yaw_rad: float
    length_m: float
    width_m: float

    def corners(self) -> tuple[tuple[float, float], ...]:
        """Return the four corners, counter-clockwise from front left."""
        c, s = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        a, b = self.length_m / 2, self.width_m / 2
        signs = ((a, b), (-a, b), (-a, -b), (a, -b))
        return tuple((self.x_m + c * u - s * v, self.y_m + s * u + c * v) for u, v in signs)


def swept_overlap(a_from: Box, a_to: Box, b_from: Box, b_to: Box) -> bool:
    """Say whether two boxes touch at any moment of a short step.

    Each moves in a straight line from its first to its second place; the turn within the step is taken as half done
    throughout. Along each of the four separating axes the overlap lasts one interval of time; the boxes touch when all
    four intervals share a moment.

    Source: Ericson, Real-Time Collision Detection, 2005, section 5.5.8 (moving separating axis test).
    """
    yaw_a = 0.5 * (a_from.yaw_rad + a_to.yaw_rad)
    yaw_b = 0.5 * (b_from.yaw_rad + b_to.yaw_rad)
    start_x, start_y = b_from.x_m - a_from.x_m, b_from.y_m - a_from.y_m
    move_x = (b_to.x_m - b_from.x_m) - (a_to.x_m - a_from.x_m)
    move_y = (b_to.y_m - b_from.y_m) - (a_to.y_m - a_from.y_m)
    enter, leave = 0.0, 1.0
    for yaw in (yaw_a, yaw_a + math.pi / 2, yaw_b, yaw_b + math.pi / 2):
        ux, uy = math.cos(yaw), math.sin(yaw)
        reach = _half_extent(a_from, yaw_a - yaw) + _half_extent(b_from, yaw_b - yaw)
        offset, speed = start_x * ux + start_y * uy, move_x * ux + move_y * uy
        if abs(speed) < 1e-12:
            if abs(offset) > reach:
                return False
            continue
        first, second = sorted(((-reach - offset) / speed, (reach - offset) / speed))
        enter, leave = max(enter, first), min(leave, second)
        if enter > leave:
            return False
    return True


def _half_extent(box: Box, angle_rad: float) -> float:
    return 0.5 * (box.length_m * abs(math.cos(angle_rad)) + box.width_m * abs(math.sin(angle_rad)))

"""The surfaces that agents are drawn with, in their own frames. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.scenario.scene import Colour

_GLASS: Colour = (58, 74, 92)
_TYRE: Colour = (22, 22, 24)


@dataclass(frozen=True, slots=True)
class Face:
    """A flat quadrilateral: corners (4, 3) in metres, x forward, y left, z up; drawn after the faces before it."""

    corners_m: NDArray[np.float64]
    colour: Colour
    glow: float = 0.0
    """0 for a surface that is lit, 1 for a lamp that shines by itself."""


@dataclass(frozen=True, slots=True)
class Lamps:
    """Which lamps of a vehicle are lit."""

    brake: bool
    tail: bool
    indicator: int


def vehicle_faces(
    size_m: tuple[float, float, float], colour: Colour, lamps: Lamps, seen_from_m: tuple[float, float, float]
) -> list[Face]:
    """List the faces of a car or van that a viewer can see, in drawing order.

    Args:
        size_m: Length, width, height.
        colour: The paint.
        lamps: What is lit.
        seen_from_m: The camera in the vehicle's frame (origin on the ground below the centre).
    """
    length, width, height = size_m
    van = height > 1.8
    a, b = length / 2, width / 2
    faces = _box((-a + 0.15, a - 0.15), b - 0.06, (0.0, 0.4), (_TYRE, _TYRE, _TYRE), seen_from_m)
    faces += _box((-a, a), b, (0.28, 0.92), (colour, colour, colour), seen_from_m)
    cabin = (-a + 0.05, a - 0.9) if van else (-a + 0.45, a - 1.25)
    faces += _box(cabin, b - 0.1, (0.92, height), (_GLASS, _GLASS, colour), seen_from_m)
    if van:
        # A van has metal where a car has side windows, and a roof line above the rear window.
        faces += _box((cabin[0], cabin[1] - 1.0), b - 0.1, (0.92, height), (colour, None, colour), seen_from_m)
        faces += _box((cabin[0], cabin[1]), b - 0.1, (height - 0.3, height), (colour, colour, colour), seen_from_m)
    else:
        faces += _box(cabin, b - 0.1, (height - 0.12, height), (colour, colour, colour), seen_from_m)
    return faces + _lamp_faces(a, b, height, lamps, seen_from_m)


def _box(
    x_m: tuple[float, float],
    half_m: float,
    z_m: tuple[float, float],
    colours: tuple[Colour | None, Colour | None, Colour | None],
    seen_from_m: tuple[float, float, float],
) -> list[Face]:
    """Return the visible sides of a box; colours are of its sides, its ends and its top."""
    (x0, x1), (z0, z1), y = x_m, z_m, half_m
    eye_x, eye_y, eye_z = seen_from_m
    side, end, top = colours
    found: list[Face] = []
    if top is not None and eye_z > z1:
        found.append(_face([(x0, -y, z1), (x1, -y, z1), (x1, y, z1), (x0, y, z1)], top, 1.12))
    if side is not None and abs(eye_y) > y:
        at = y if eye_y > 0 else -y
        found.append(_face([(x0, at, z0), (x1, at, z0), (x1, at, z1), (x0, at, z1)], side, 0.74))
    if end is not None and not x0 <= eye_x <= x1:
        at = x0 if eye_x < x0 else x1
        found.append(_face([(at, -y, z0), (at, y, z0), (at, y, z1), (at, -y, z1)], end, 0.95))
    return found


def _face(corners: list[tuple[float, float, float]], colour: Colour, factor: float, glow: float = 0.0) -> Face:
    red, green, blue = (min(255, int(part * factor)) for part in colour)
    return Face(np.array(corners), (red, green, blue), glow)


def _lamp_faces(a: float, b: float, height: float, lamps: Lamps, seen_from_m: tuple[float, float, float]) -> list[Face]:
    rear = seen_from_m[0] < -a
    if not rear and seen_from_m[0] <= a:
        return []
    x = -a - 0.02 if rear else a + 0.02
    found = []
    for side in (1.0, -1.0):
        if rear:
            colour, glow = ((255, 26, 20), 1.0) if lamps.brake else ((150, 10, 16), 0.5 if lamps.tail else 0.0)
        else:
            colour, glow = (255, 250, 225), 0.9 if lamps.tail else 0.0
        found.append(_plate(x, side * (b - 0.28), 0.24, 0.72, 0.13, colour, glow))
        if lamps.indicator == int(side):
            found.append(_plate(x, side * (b - 0.08), 0.12, 0.72, 0.14, (255, 140, 0), 1.0))
    if rear and lamps.brake:
        found.append(_plate(x + 0.3, 0.0, 0.35, height - 0.1, 0.05, (255, 40, 30), 1.0))
    return found


def _plate(x: float, y: float, half_y: float, z: float, half_z: float, colour: Colour, glow: float) -> Face:
    corners = [(x, y - half_y, z - half_z), (x, y + half_y, z - half_z)]
    corners += [(x, y + half_y, z + half_z), (x, y - half_y, z + half_z)]
    return _face(corners, colour, 1.0, glow)

"""A spinning lidar: rays against the ground and the agents' boxes, all at once in numpy. Pure given a random stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.scenario.model import ObjectBox, Weather

POINT_DTYPE = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4")])

_STEP_M = 1 / 128
"""Ranges come in steps of 8 mm, as devices report them; it also lets the log compress."""


@dataclass(frozen=True, slots=True)
class Lidar:
    """Where the lidar sits and how it looks around.

    Attributes:
        elevations_rad: One a beam.
        azimuths: Directions in one turn.
        mount_x_m: Ahead of the ego's origin.
        mount_z_m: Above the ground.
        range_m: Beyond it nothing returns.
    """

    name: str
    elevations_rad: tuple[float, ...]
    azimuths: int
    mount_x_m: float
    mount_z_m: float
    range_m: float


ROOF_LIDAR = Lidar(
    name="lidar_top",
    elevations_rad=tuple(math.radians(value) for value in np.linspace(-22.0, 3.0, 16)),
    azimuths=240,
    mount_x_m=1.2,
    mount_z_m=1.85,
    range_m=75.0,
)


def directions(lidar: Lidar) -> NDArray[np.float32]:
    """Return unit vectors (beams * azimuths, 3), beam by beam."""
    azimuth = np.linspace(-np.pi, np.pi, lidar.azimuths, endpoint=False)
    up = np.array(lidar.elevations_rad)[:, None]
    x, y = np.cos(up) * np.cos(azimuth), np.cos(up) * np.sin(azimuth)
    return np.stack([x, y, np.broadcast_to(np.sin(up), x.shape)], axis=-1).reshape(-1, 3).astype(np.float32)


def sweep(
    lidar: Lidar, rays: NDArray[np.float32], objects: Sequence[ObjectBox], weather: Weather, rng: np.random.Generator
) -> NDArray[np.void]:
    """Return one sweep's points in the lidar's own frame, `POINT_DTYPE` (N,).

    Args:
        lidar: The device.
        rays: Its `directions`.
        objects: What stands around, in the ego frame; traffic lights are too thin and are left out.
        weather: Rain swallows some returns.
        rng: Draws range noise and lost returns.
    """
    down = np.minimum(rays[:, 2], -1e-6)
    distance = np.where(rays[:, 2] < -1e-4, -lidar.mount_z_m / down, np.inf).astype(np.float32)
    intensity = np.full(len(rays), 12.0, dtype=np.float32)
    for item in objects:
        if item.kind in ("vehicle", "pedestrian"):
            hit = box_distances_m(lidar, rays, item)
            closer = hit < distance
            distance = np.where(closer, hit, distance)
            intensity[closer] = 70.0 if item.kind == "vehicle" else 35.0
    lost = rng.random(len(rays), dtype=np.float32) < (0.12 if weather == "rain" else 0.01)
    seen = np.flatnonzero((distance < lidar.range_m) & ~lost)
    noisy = distance[seen] + rng.normal(0.0, 0.015, size=len(seen)).astype(np.float32)
    at = rays[seen] * (np.rint(noisy / _STEP_M) * _STEP_M)[:, None]
    points = np.zeros(len(seen), dtype=POINT_DTYPE)
    # Coordinates in steps of 1/512 m: a 2 mm grid is finer than the noise, and the zero bits compress.
    for column, name in enumerate(("x", "y", "z")):
        points[name] = np.rint(at[:, column] * 512.0) / 512.0
    points["intensity"] = intensity[seen]
    return points


def box_distances_m(lidar: Lidar, rays: NDArray[np.float32], box: ObjectBox) -> NDArray[np.float32]:
    """Return the distance (N,) along each ray to an upright box on the ground, infinite where it is missed.

    Source: Kay, Kajiya, Ray tracing complex scenes, SIGGRAPH 1986 (slab method).
    """
    c, s = math.cos(box.yaw_rad), math.sin(box.yaw_rad)
    dx, dy = lidar.mount_x_m - box.x_m, -box.y_m
    origin = (c * dx + s * dy, c * dy - s * dx, lidar.mount_z_m - box.height_m / 2)
    along = (c * rays[:, 0] + s * rays[:, 1], c * rays[:, 1] - s * rays[:, 0], rays[:, 2])
    enter = np.zeros(len(rays), dtype=np.float32)
    leave = np.full(len(rays), np.inf, dtype=np.float32)
    for start, speed, size in zip(origin, along, (box.length_m, box.width_m, box.height_m), strict=True):
        inverse = 1.0 / np.where(np.abs(speed) < 1e-9, np.float32(1e-9), speed)
        one, two = (-size / 2 - start) * inverse, (size / 2 - start) * inverse
        np.maximum(enter, np.minimum(one, two), out=enter, casting="same_kind")
        np.minimum(leave, np.maximum(one, two), out=leave, casting="same_kind")
    return np.where((enter <= leave) & (enter > 0.0), enter, np.float32(np.inf))

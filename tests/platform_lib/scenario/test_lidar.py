"""Rays against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from platform_lib.scenario.lidar import ROOF_LIDAR, box_distances_m, directions, sweep
from platform_lib.scenario.model import ObjectBox

CAR = ObjectBox(1, "vehicle", 20.0, 0.0, 0.0, 4.0, 2.0, 3.0, 0.0)


def test_a_ray_straight_ahead_meets_the_rear_of_a_car() -> None:
    ahead = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=np.float32)
    distances = box_distances_m(ROOF_LIDAR, ahead, CAR)
    assert distances[0] == pytest.approx(20.0 - 2.0 - ROOF_LIDAR.mount_x_m, abs=1e-4)
    assert np.isinf(distances[1:]).all()


def test_points_lie_on_the_ground_or_on_the_car() -> None:
    rays = directions(ROOF_LIDAR)
    assert rays.shape == (16 * 240, 3)
    points = sweep(ROOF_LIDAR, rays, (CAR,), "clear", np.random.default_rng(0))
    on_ground = np.abs(points["z"] + ROOF_LIDAR.mount_z_m) < 0.06
    x = points["x"] + ROOF_LIDAR.mount_x_m
    on_car = (np.abs(x - 18.0) < 0.08) & (np.abs(points["y"]) < 1.08)
    assert (on_ground | on_car).all()
    assert on_car.sum() > 10
    empty = sweep(ROOF_LIDAR, rays, (), "clear", np.random.default_rng(0))
    assert (np.abs(empty["z"] + ROOF_LIDAR.mount_z_m) < 0.06).all()


def test_rain_swallows_returns() -> None:
    rays = directions(ROOF_LIDAR)
    clear, rain = (len(sweep(ROOF_LIDAR, rays, (), w, np.random.default_rng(0))) for w in ("clear", "rain"))
    assert rain < 0.95 * clear

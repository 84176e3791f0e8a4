"""Geometry of the cameras and of the grid before the car."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from platform_lib.errors import ConfigError
from platform_lib.models.rig import BevGrid, Rig, RigCamera, reference_points
from platform_lib.scenario.camera import FRONT_CAMERA
from ray_jobs.recipes.bev import FRONT_RIG, surround_rig

FRONT = RigCamera("front", 150.0, 96.0, 28.0, 1.7, 0.0, 1.45, 0.0, 0.035)
GRID = BevGrid((0.0, 40.0), (-10.0, 10.0), (10, 5), (0.0, 1.0))


def test_a_camera_sees_as_the_simulators_does_after_the_datasets_crop():
    points = np.random.default_rng(0).uniform([4, -6, 0], [60, 6, 3], (200, 3))
    recorded, _ = FRONT_CAMERA.project_from_ego(points)
    shown, _ = FRONT_RIG.cameras[0].project(points)
    assert np.allclose(shown, (recorded - [0, 40]) / 2, atol=1e-6)


def test_a_camera_that_looks_aside_has_what_lies_there_in_its_middle():
    camera = RigCamera("left", 100.0, 50.0, 30.0, 1.0, 0.5, 1.2, math.radians(60))
    far = np.array([1.0, 0.5, 1.2]) + 20 * np.array([math.cos(math.radians(60)), math.sin(math.radians(60)), 0.0])
    pixels, depth = camera.project(far)
    assert np.allclose(pixels, [50.0, 30.0])
    assert np.isclose(depth, 20.0)
    assert camera.project(np.array([5.0, 0.5, 1.2]))[0][0] > 50.0  # straight ahead lies to the right of that


def test_cells_have_their_place_in_the_picture_and_what_is_behind_is_not_seen():
    places, seen = reference_points(Rig((FRONT,), 64, 192), GRID)
    assert places.shape == (1, 50, 2, 2)
    assert seen.shape == (1, 50, 2)
    pixels, _ = FRONT.project(np.append(GRID.centres_m()[27], 0.0))
    assert np.allclose((places[0, 27, 0] + 1) / 2 * [192, 64], pixels)
    back = Rig((replace(FRONT, yaw_rad=math.pi),), 64, 192)
    assert not reference_points(back, GRID)[1][:, 5:].any()
    assert np.abs(reference_points(back, GRID)[0]).max() <= 2.0


def test_six_cameras_see_all_around_and_the_mirror_exchanges_left_and_right():
    rig = surround_rig(128, 352, focal_px=200.0)
    grid = BevGrid((-30.0, 30.0), (-30.0, 30.0), (8, 8), (0.5,))
    seen = reference_points(rig, grid)[1]
    assert seen.any(axis=0).mean() > 0.9
    assert all(one.any() for one in seen)
    assert rig.mirrored() == (0, 5, 4, 3, 2, 1)


def test_a_rig_that_is_no_mirror_image_of_itself_is_refused():
    with pytest.raises(ConfigError, match="no camera mirrors 'left'"):
        Rig((FRONT, replace(FRONT, name="left", yaw_rad=1.0)), 64, 192).mirrored()
    with pytest.raises(ConfigError, match="2 cameras of 1 names"):
        Rig((FRONT, FRONT), 64, 192)
    with pytest.raises(ConfigError):
        BevGrid((0.0, 0.0), (-1.0, 1.0), (1, 1), (0.0,))

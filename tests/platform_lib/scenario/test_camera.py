"""Projection against the closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.scenario.camera import FRONT_CAMERA


@given(x=st.floats(5.0, 150.0), y=st.floats(-20.0, 20.0), z=st.floats(0.0, 6.0))
def test_projection_is_the_tangent_of_two_angles(x: float, y: float, z: float) -> None:
    camera = FRONT_CAMERA
    pixels, visible = camera.project_from_ego(np.array([[x, y, z]]))
    ahead, up = x - camera.mount_x_m, z - camera.mount_z_m
    below = math.atan2(-up, ahead) - camera.pitch_rad
    row = camera.cy_px + camera.focal_px * math.tan(below)
    depth = math.hypot(ahead, up) * math.cos(below)
    column = camera.cx_px - camera.focal_px * y / depth
    assert pixels[0].tolist() == [pytest.approx(column), pytest.approx(row)]
    assert bool(visible[0]) is (0 <= column < 384 and 0 <= row < 192)


def test_left_is_left_and_far_ground_nears_the_horizon() -> None:
    pixels, visible = FRONT_CAMERA.project_from_ego([[20.0, 2.0, 0.0], [20.0, -2.0, 0.0], [1e6, 0.0, 0.0]])
    assert visible.all()
    assert pixels[0, 0] < FRONT_CAMERA.cx_px < pixels[1, 0]
    assert pixels[2, 1] == pytest.approx(FRONT_CAMERA.horizon_px, abs=0.01)


def test_what_is_behind_is_not_visible() -> None:
    _, visible = FRONT_CAMERA.project_from_ego([[-10.0, 0.0, 1.0], [1.0, 0.0, 1.4]])
    assert not visible.any()

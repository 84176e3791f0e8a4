"""Transforms in the plane."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.datasets.geometry import ego_from_odom, odom_from_ego, wrap_rad, yaw_from_quaternion

COORDINATE = st.floats(-1e4, 1e4)
ANGLE = st.floats(-10.0, 10.0)
POSE = st.tuples(COORDINATE, COORDINATE, ANGLE).map(np.array)


@given(ego=POSE, pose=POSE)
def test_there_and_back(ego: np.ndarray, pose: np.ndarray) -> None:
    back = odom_from_ego(ego, ego_from_odom(ego, pose))
    np.testing.assert_allclose(back[:2], pose[:2], atol=1e-7)
    np.testing.assert_allclose(wrap_rad(back[2:] - pose[2:]), 0.0, atol=1e-9)


def test_ahead_is_x_and_left_is_y() -> None:
    ego = np.array([10.0, 5.0, np.pi / 2])  # looking north
    np.testing.assert_allclose(ego_from_odom(ego, np.array([10.0, 8.0, np.pi / 2])), [3.0, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(ego_from_odom(ego, np.array([8.0, 5.0, np.pi])), [0.0, 2.0, np.pi / 2], atol=1e-12)


@given(yaw=st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=30))
def test_yaw_survives_the_quaternion_and_does_not_jump(yaw: list[float]) -> None:
    turning = np.cumsum(np.array(yaw))
    half = turning / 2
    zero = np.zeros_like(half)
    found = yaw_from_quaternion(np.column_stack([zero, zero, np.sin(half), np.cos(half)]))
    np.testing.assert_allclose(wrap_rad(found - turning), 0.0, atol=1e-9)
    assert (np.abs(np.diff(found)) <= np.pi + 1e-9).all()

"""Plane transforms between the odometry frame and the ego frame."""

from __future__ import annotations

import numpy as np

from platform_lib.datasets.model import FloatArray


def wrap_rad(angle_rad: FloatArray) -> FloatArray:
    """Bring angles into [-pi, pi)."""
    return np.asarray((angle_rad + np.pi) % (2.0 * np.pi) - np.pi)


def yaw_from_quaternion(quaternion: FloatArray) -> FloatArray:
    """Return the unwrapped yaw (N,) of quaternions (N, 4) given as x, y, z, w.

    Source: Diebel, Representing Attitude (2006), equation 290 (z-y-x Euler angles), first component.
    """
    x, y, z, w = quaternion.T
    return np.unwrap(np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))


def ego_from_odom(ego_pose: FloatArray, pose: FloatArray) -> FloatArray:
    """Express poses in the ego frame.

    Args:
        ego_pose: (..., 3) the ego in the odom frame: x_m, y_m, yaw_rad; broadcast against `pose`.
        pose: (..., 3) in the odom frame.

    Returns:
        (..., 3) in the ego frame, yaw wrapped into [-pi, pi).
    """
    delta = pose[..., :2] - ego_pose[..., :2]
    cos, sin = np.cos(ego_pose[..., 2]), np.sin(ego_pose[..., 2])
    x = cos * delta[..., 0] + sin * delta[..., 1]
    y = -sin * delta[..., 0] + cos * delta[..., 1]
    return np.stack([x, y, wrap_rad(pose[..., 2] - ego_pose[..., 2])], axis=-1)


def odom_from_ego(ego_pose: FloatArray, pose: FloatArray) -> FloatArray:
    """Express poses given in the ego frame in the odom frame: the inverse of `ego_from_odom`."""
    cos, sin = np.cos(ego_pose[..., 2]), np.sin(ego_pose[..., 2])
    x = ego_pose[..., 0] + cos * pose[..., 0] - sin * pose[..., 1]
    y = ego_pose[..., 1] + sin * pose[..., 0] + cos * pose[..., 1]
    return np.stack([x, y, ego_pose[..., 2] + pose[..., 2]], axis=-1)

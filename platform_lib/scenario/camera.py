"""The front camera as a pinhole: where a point of the ego frame lands in the picture. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

NEAR_M = 0.4


@dataclass(frozen=True, slots=True)
class PinholeCamera:
    """A camera without distortion, looking forward and slightly down.

    Attributes:
        focal_px: Focal length in pixels, the same on both axes.
        cx_px: Principal point, column.
        cy_px: Principal point, row.
        mount_x_m: Distance ahead of the ego's origin.
        mount_z_m: Height above the ground.
        pitch_rad: Downward tilt.
    """

    name: str
    width_px: int
    height_px: int
    focal_px: float
    cx_px: float
    cy_px: float
    mount_x_m: float
    mount_z_m: float
    pitch_rad: float

    @property
    def camera_from_ego(self) -> NDArray[np.float64]:
        """Rotation (3, 3) onto optical axes: x right, y down, z forward (ROS REP 103)."""
        c, s = math.cos(self.pitch_rad), math.sin(self.pitch_rad)
        return np.array([[0.0, -1.0, 0.0], [-s, 0.0, -c], [c, 0.0, -s]])

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """Camera matrix K (3, 3)."""
        return np.array([[self.focal_px, 0.0, self.cx_px], [0.0, self.focal_px, self.cy_px], [0.0, 0.0, 1.0]])

    @property
    def horizon_px(self) -> float:
        """Row on which level directions land."""
        return self.cy_px - self.focal_px * math.tan(self.pitch_rad)

    def to_optical(self, points_m: ArrayLike) -> NDArray[np.float64]:
        """Turn ego points (..., 3) into optical coordinates (..., 3); the last column is the depth."""
        points = np.asarray(points_m, dtype=np.float64)
        c, s = math.cos(self.pitch_rad), math.sin(self.pitch_rad)
        ahead, up = points[..., 0] - self.mount_x_m, points[..., 2] - self.mount_z_m
        # The product with `camera_from_ego`, written out: BLAS rounds differently from one CPU to the next.
        return np.stack([-points[..., 1], -s * ahead - c * up, c * ahead - s * up], axis=-1)

    def to_pixels(self, optical_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project optical coordinates (..., 3) to pixels (..., 2); depths under `NEAR_M` are taken as `NEAR_M`."""
        depth = np.maximum(optical_m[..., 2:], NEAR_M)
        centre = np.array([self.cx_px, self.cy_px])
        return np.asarray(optical_m[..., :2] / depth * self.focal_px + centre)

    def pixel(self, x_m: float, y_m: float, z_m: float) -> tuple[float, float, float]:
        """Project one ego point: column, row and depth in metres, the depth not clipped.

        The same arithmetic as `to_optical` and `to_pixels`, without an array: ten times as fast for a few points.
        """
        c, s = math.cos(self.pitch_rad), math.sin(self.pitch_rad)
        ahead, up = x_m - self.mount_x_m, z_m - self.mount_z_m
        depth = c * ahead - s * up
        near = max(depth, NEAR_M)
        column = -y_m / near * self.focal_px + self.cx_px
        return column, (-s * ahead - c * up) / near * self.focal_px + self.cy_px, depth

    def project_from_ego(self, points_m: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Project points (N, 3) of the ego frame.

        Returns:
            Pixels (N, 2) as (column, row), and whether each lies in front of the camera and inside the picture (N,).
        """
        optical = self.to_optical(points_m)
        pixels = self.to_pixels(optical)
        inside = (pixels >= 0.0).all(axis=-1) & (pixels < (self.width_px, self.height_px)).all(axis=-1)
        return pixels, np.asarray((optical[..., 2] > NEAR_M) & inside)


FRONT_CAMERA = PinholeCamera(
    name="camera_front",
    width_px=384,
    height_px=192,
    focal_px=300.0,
    cx_px=192.0,
    cy_px=96.0,
    mount_x_m=1.7,
    mount_z_m=1.45,
    pitch_rad=math.radians(2.0),
)

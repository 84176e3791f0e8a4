"""The cameras of a car and the ground before it: where each cell of a bird's-eye grid lies in each picture (pure).

The ego frame is x forward, y left, z up, its origin on the ground under the rear axle. Pixels are counted from the upper
left corner of the picture, so a picture's middle is at half its width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.errors import ConfigError

NEAR_M = 0.4
_SAME_M, _SAME_RAD, _SAME_PX = 1e-3, 1e-3, 0.5

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RigCamera:
    """A pinhole as the model takes its picture: cropped and shrunk already.

    Attributes:
        name: The recorder's name of it.
        focal_px: Focal length, the same on both axes.
        cx_px: Principal point, column.
        cy_px: Principal point, row.
        x_m: Where it is mounted, in the ego frame.
        y_m: The same, to the left.
        z_m: The same, above the ground.
        yaw_rad: Where it looks, to the left of straight ahead.
        pitch_rad: Downward tilt.
    """

    name: str
    focal_px: float
    cx_px: float
    cy_px: float
    x_m: float
    y_m: float
    z_m: float
    yaw_rad: float = 0.0
    pitch_rad: float = 0.0

    def project(self, points_m: Doubles) -> tuple[Doubles, Doubles]:
        """Project points (..., 3) of the ego frame.

        Returns:
            Pixels (..., 2) as column and row, and depth (...) in metres; pixels of depths under `NEAR_M` mean nothing.
        """
        ahead, left, up = (points_m[..., axis] - at for axis, at in enumerate((self.x_m, self.y_m, self.z_m)))
        c, s = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        forward, aside = c * ahead + s * left, c * left - s * ahead
        c, s = math.cos(self.pitch_rad), math.sin(self.pitch_rad)
        depth = c * forward - s * up
        near = np.maximum(depth, NEAR_M)
        column = -aside / near * self.focal_px + self.cx_px
        row = (-s * forward - c * up) / near * self.focal_px + self.cy_px
        return np.stack([column, row], axis=-1), depth


@dataclass(frozen=True, slots=True)
class Rig:
    """Cameras whose pictures have one size.

    Attributes:
        height_px: Of every picture.
        width_px: Of every picture.

    Raises:
        ConfigError: There is no camera, two have one name, or a size cannot be.
    """

    cameras: tuple[RigCamera, ...]
    height_px: int
    width_px: int

    def __post_init__(self) -> None:
        names = {camera.name for camera in self.cameras}
        if not self.cameras or len(names) != len(self.cameras) or min(self.height_px, self.width_px) < 1:
            raise ConfigError(
                f"{len(self.cameras)} cameras of {len(names)} names, {self.width_px} x {self.height_px} pixels",
                where="Rig",
                remedy="name at least one camera, each once, and a size",
            )

    def __len__(self) -> int:
        return len(self.cameras)

    def mirrored(self) -> tuple[int, ...]:
        """Return for each camera the one whose picture it shows in a mirror.

        Raises:
            ConfigError: The left side is no mirror image of the right one.
        """
        order = []
        for camera in self.cameras:
            found = [number for number, other in enumerate(self.cameras) if self._mirror_images(camera, other)]
            if len(found) != 1:
                raise ConfigError(
                    f"no camera mirrors '{camera.name}'", where="Rig", remedy="train without mirrored samples"
                )
            order += found
        return tuple(order)

    def _mirror_images(self, one: RigCamera, other: RigCamera) -> bool:
        turn = (one.yaw_rad + other.yaw_rad + math.pi) % (2 * math.pi) - math.pi
        return (
            max(abs(one.x_m - other.x_m), abs(one.y_m + other.y_m), abs(one.z_m - other.z_m)) < _SAME_M
            and max(abs(turn), abs(one.pitch_rad - other.pitch_rad)) < _SAME_RAD
            and abs(one.cx_px - (self.width_px - other.cx_px)) < _SAME_PX
            and max(abs(one.cy_px - other.cy_px), abs(one.focal_px - other.focal_px)) < _SAME_PX
        )


@dataclass(frozen=True, slots=True)
class BevGrid:
    """A grid on the ground, and the heights above each cell that are looked up in the pictures.

    Attributes:
        x_m: From and to, ahead.
        y_m: From and to, to the left.
        cells: How many ahead, and how many across.
        heights_m: Above the ground.

    Raises:
        ConfigError: A range is empty, or there is no cell or no height.
    """

    x_m: tuple[float, float]
    y_m: tuple[float, float]
    cells: tuple[int, int]
    heights_m: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.x_m[0] >= self.x_m[1] or self.y_m[0] >= self.y_m[1] or min(self.cells) < 1 or not self.heights_m:
            raise ConfigError(f"{self.x_m} by {self.y_m} m in {self.cells} cells", where="BevGrid")

    def __len__(self) -> int:
        return self.cells[0] * self.cells[1]

    @property
    def cell_m(self) -> tuple[float, float]:
        """Size of a cell, ahead and across."""
        return (self.x_m[1] - self.x_m[0]) / self.cells[0], (self.y_m[1] - self.y_m[0]) / self.cells[1]

    def centres_m(self) -> Doubles:
        """Return the cells' middles (Q, 2), row by row from the car on, each row from right to left."""
        size = self.cell_m
        x = self.x_m[0] + (np.arange(self.cells[0]) + 0.5) * size[0]
        y = self.y_m[0] + (np.arange(self.cells[1]) + 0.5) * size[1]
        return np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)


def reference_points(rig: Rig, grid: BevGrid) -> tuple[Doubles, NDArray[np.bool_]]:
    """Return where each cell's points lie in each of C pictures.

    Returns:
        (C, Q, Z, 2) column and row, -1 ... 1 over the picture's edges as `torch.nn.functional.grid_sample` takes them
        without aligned corners; and (C, Q, Z) whether the camera sees it.
    """
    centres = grid.centres_m()
    heights = np.asarray(grid.heights_m)
    points = np.concatenate(
        [
            np.broadcast_to(centres[:, None], (len(centres), len(heights), 2)),
            np.broadcast_to(heights[None, :, None], (len(centres), len(heights), 1)),
        ],
        axis=-1,
    )
    size = np.array([rig.width_px, rig.height_px], dtype=np.float64)
    places, seen = [], []
    for camera in rig.cameras:
        pixels, depth = camera.project(points)
        inside = ((pixels >= 0.0) & (pixels < size)).all(axis=-1) & (depth > NEAR_M)
        # What is not seen is not attended to; its place only has to be a number that any number format can hold.
        places.append(np.clip(2 * pixels / size - 1, -2.0, 2.0))
        seen.append(inside)
    return np.stack(places), np.stack(seen)

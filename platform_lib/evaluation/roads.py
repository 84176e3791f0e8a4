"""The road around each frame, and where points lie on it: along it, and across."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.errors import ContractError
from platform_lib.evaluation.geometry import Boxes, Doubles, Flags, corners

GRID_M = 1.0
"""Arc length between two points of a centre line."""
_COARSE = 8
_NEWTON_STEPS = 4
_LEAST_STRETCH = 0.2


@dataclass(frozen=True, slots=True)
class Roads:
    """N stretches of road, each in its frame's ego coordinates; right-hand traffic, `d` is left positive.

    Attributes:
        x_m: (N, K) centre line (between the carriageways) every `GRID_M` of arc length.
        y_m: (N, K).
        heading_rad: (N, K) continuous, never wrapped.
        drivable_m: (N, 2) lowest and highest d on which may be driven at all, oncoming lanes among it.
        own_m: (N, 2) lowest and highest d of the own carriageway.
        lanes_m: (N, L) d of the centres of the own lanes; NaN where there are fewer.

    Raises:
        ContractError: Shapes differ.
    """

    x_m: Doubles
    y_m: Doubles
    heading_rad: Doubles
    drivable_m: Doubles
    own_m: Doubles
    lanes_m: Doubles

    def __post_init__(self) -> None:
        n, k = self.x_m.shape
        same = self.y_m.shape == self.heading_rad.shape == (n, k)
        if not same or k < 2 or self.drivable_m.shape != (n, 2) or self.own_m.shape != (n, 2) or len(self.lanes_m) != n:
            raise ContractError(f"the arrays of {n} roads do not fit each other", where="roads")

    def __len__(self) -> int:
        return len(self.x_m)

    def take(self, rows: NDArray[np.int64]) -> Roads:
        """Return the roads of the chosen frames."""
        columns = (self.x_m, self.y_m, self.heading_rad, self.drivable_m, self.own_m, self.lanes_m)
        return Roads(*(column[rows] for column in columns))

    def locate(self, x_m: Doubles, y_m: Doubles) -> tuple[Doubles, Doubles]:
        """Return arc length and offset (s, d) in metres of (N, P) points: the nearest point of the centre line.

        Beyond its ends the road goes on straight. Newton's method from the nearest of every eighth point; the heading
        turns evenly between two points, so that a circle's centre line is followed to millimetres.
        """
        coarse = slice(None, None, _COARSE)
        gap = np.square(x_m[..., None] - self.x_m[:, None, coarse])
        gap += np.square(y_m[..., None] - self.y_m[:, None, coarse])
        s = gap.argmin(axis=2) * (_COARSE * GRID_M)
        for _ in range(_NEWTON_STEPS):
            along, across, curvature = self._beside(s, x_m, y_m)
            s = s + along / np.maximum(_LEAST_STRETCH, 1.0 - curvature * across)
        return s, self._beside(s, x_m, y_m)[1]

    def _beside(self, s_m: Doubles, x_m: Doubles, y_m: Doubles) -> tuple[Doubles, Doubles, Doubles]:
        """Return how far (N, P) points lie ahead and left of the centre line's points at `s_m`, and its curvature there."""
        last = self.x_m.shape[1] - 1
        knot = np.clip(np.floor(s_m / GRID_M).astype(np.int64), 0, last - 1)
        part = np.clip(s_m / GRID_M - knot, 0.0, 1.0)
        ends = [(np.take_along_axis(c, knot, 1), np.take_along_axis(c, knot + 1, 1)) for c in
                (self.x_m, self.y_m, self.heading_rad)]  # fmt: skip
        cx, cy, heading = (one * (1.0 - part) + other * part for one, other in ends)
        beyond = s_m - np.clip(s_m, 0.0, last * GRID_M)
        cosine, sine = np.cos(heading), np.sin(heading)
        dx, dy = x_m - cx - beyond * cosine, y_m - cy - beyond * sine
        curvature = np.where(beyond == 0.0, (ends[2][1] - ends[2][0]) / GRID_M, 0.0)
        return dx * cosine + dy * sine, dy * cosine - dx * sine, curvature


def within(roads: Roads, boxes: Boxes, limits_m: Doubles) -> Flags:
    """Say for (N * T) boxes, T a frame in a row, whether all four corners lie within (N, 2) offsets; returns (N, T)."""
    points = corners(boxes).reshape(len(roads), -1, 2)
    offset = roads.locate(points[..., 0], points[..., 1])[1].reshape(len(roads), -1, 4)
    low, high = limits_m[:, 0, None, None], limits_m[:, 1, None, None]
    return np.asarray(((offset >= low) & (offset <= high)).all(axis=2))

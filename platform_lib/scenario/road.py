"""A road as an arc-length curve with lanes: geometry only, no I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LANE_WIDTH_M = 3.5
HALF_WIDTH_M = 2 * LANE_WIDTH_M
"""Two lanes each way; traffic keeps right, so the own carriageway is d in [-7, 0]."""

LANE_OFFSETS_M = (-0.5 * LANE_WIDTH_M, -1.5 * LANE_WIDTH_M)
"""Centre of the own lanes: 0 is the left one, 1 the right one."""

GRID_M = 0.5


@dataclass(frozen=True, slots=True)
class Road:
    """Centre-line sampled every `GRID_M` metres of arc length.

    Attributes:
        curvature_1pm: (N,) curvature, left positive.
        heading_rad: (N,) heading, continuous (never wrapped).
        x_m: (N,) world x.
        y_m: (N,) world y.
    """

    curvature_1pm: NDArray[np.float64]
    heading_rad: NDArray[np.float64]
    x_m: NDArray[np.float64]
    y_m: NDArray[np.float64]

    @classmethod
    def from_curvature(cls, curvature_1pm: ArrayLike) -> Road:
        """Integrate a curvature profile sampled every `GRID_M`, starting at the origin with heading 0.

        The heading is the trapezoid integral; each chord points along the mean heading of its two ends and has the
        chord length of the arc, which makes circles exact.
        """
        kappa = np.asarray(curvature_1pm, dtype=np.float64)
        turn = 0.5 * (kappa[:-1] + kappa[1:]) * GRID_M
        heading = np.concatenate([[0.0], np.cumsum(turn)])
        chord = GRID_M * np.sinc(turn / (2 * np.pi))
        middle = 0.5 * (heading[:-1] + heading[1:])
        x = np.concatenate([[0.0], np.cumsum(chord * np.cos(middle))])
        y = np.concatenate([[0.0], np.cumsum(chord * np.sin(middle))])
        return cls(kappa, heading, x, y)

    @property
    def length_m(self) -> float:
        """Arc length of the whole road."""
        return (len(self.x_m) - 1) * GRID_M

    def at(self, s_m: ArrayLike, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate one of the road's own columns at arc lengths (clamped to the ends)."""
        position = np.clip(np.asarray(s_m, dtype=np.float64) / GRID_M, 0.0, len(values) - 1.0)
        index = np.minimum(position.astype(np.int64), len(values) - 2)
        fraction = position - index
        return np.asarray(values[index] * (1.0 - fraction) + values[index + 1] * fraction)

    def to_world(self, s_m: ArrayLike, d_m: ArrayLike) -> NDArray[np.float64]:
        """Turn road coordinates (broadcast to shape S) into world points, shape (*S, 2)."""
        heading = self.at(s_m, self.heading_rad)
        x = self.at(s_m, self.x_m) - np.asarray(d_m) * np.sin(heading)
        y = self.at(s_m, self.y_m) + np.asarray(d_m) * np.cos(heading)
        return np.stack(np.broadcast_arrays(x, y), axis=-1)

    def pose(self, s_m: float, d_m: float) -> tuple[float, float, float]:
        """Return (x_m, y_m, heading_rad) of one road coordinate; the scalar twin of `to_world`, ten times faster."""
        last = len(self.x_m) - 2
        position = min(max(s_m / GRID_M, 0.0), last + 1.0)
        i = min(int(position), last)
        f = position - i
        heading = float(self.heading_rad[i]) * (1 - f) + float(self.heading_rad[i + 1]) * f
        x = float(self.x_m[i]) * (1 - f) + float(self.x_m[i + 1]) * f
        y = float(self.y_m[i]) * (1 - f) + float(self.y_m[i + 1]) * f
        return x - d_m * math.sin(heading), y + d_m * math.cos(heading), heading

    def curvature(self, s_m: float) -> float:
        """Return the curvature at one arc length."""
        return float(self.at(s_m, self.curvature_1pm))

    def to_road(self, x_m: float, y_m: float, near_s_m: float) -> tuple[float, float]:
        """Return (s_m, d_m) of a world point by Newton steps from a guess within some metres of the answer."""
        s = near_s_m
        for _ in range(4):
            cx, cy, heading = self.pose(s, 0.0)
            along = (x_m - cx) * math.cos(heading) + (y_m - cy) * math.sin(heading)
            across = (y_m - cy) * math.cos(heading) - (x_m - cx) * math.sin(heading)
            s = min(max(s + along / max(0.2, 1.0 - self.curvature(s) * across), 0.0), self.length_m)
        cx, cy, heading = self.pose(s, 0.0)
        return s, (y_m - cy) * math.cos(heading) - (x_m - cx) * math.sin(heading)


def random_road(rng: np.random.Generator, length_m: float) -> Road:
    """Draw a road of straights and bends (radius 65 to 260 m) with smooth transitions.

    Bends turn back once the road has turned by more than 50 degrees, so that it never crosses itself.
    """
    count = int(length_m / GRID_M) + 1
    kappa = np.zeros(count)
    position_m, turned_rad = float(rng.uniform(60.0, 90.0)), 0.0
    while position_m < length_m:
        radius_m = float(rng.uniform(65.0, 260.0) if rng.random() < 0.4 else rng.uniform(65.0, 120.0))
        bend_m = float(rng.uniform(25.0, 70.0))
        sign = math.copysign(1.0, rng.uniform(-1.0, 1.0) - 1.2 * turned_rad)
        start, stop = int(position_m / GRID_M), min(int((position_m + bend_m) / GRID_M), count)
        kappa[start:stop] = sign / radius_m
        turned_rad += sign * bend_m / radius_m
        position_m += bend_m + float(rng.uniform(15.0, 55.0))
    # A 12 m moving average twice: curvature changes as on a clothoid instead of jumping.
    return Road.from_curvature(_moving_average(_moving_average(kappa, 24), 24))


def _moving_average(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Average over a centred window; running sums, since numpy's convolution differs in the last bit between CPUs."""
    padded = np.concatenate([np.zeros(window // 2 + 1), values, np.zeros(window - window // 2 - 1)])
    total = np.cumsum(padded)
    return np.asarray((total[window:] - total[:-window]) / window)

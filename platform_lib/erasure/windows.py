"""Which times of a drive an area or a window names (pure). Times are int64 nanoseconds, windows half-open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Mean Earth radius. Source: IUGG, via H. Moritz, Geodetic Reference System 1980.
EARTH_RADIUS_M = 6_371_008.8
EVER = (-(2**63), 2**63 - 1)
"""The window that holds every time."""
LONG_GAP_NS = 2_000_000_000
FASTEST_MPS = 70.0
"""No road vehicle that records drives is faster: 252 km/h."""
_PLANE_ERROR = 1e-3

Window = tuple[int, int]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Circle:
    """All points at most `radius_m` from a point."""

    latitude_deg: float
    longitude_deg: float
    radius_m: float

    @property
    def centre_deg(self) -> tuple[float, float]:
        """Where the local plane touches."""
        return self.latitude_deg, self.longitude_deg

    def touched(self, x_m: Array, y_m: Array) -> npt.NDArray[np.bool_]:
        """Say of each way between following points (N - 1 of N) whether any of it lies inside."""
        return np.asarray(_passed_at(x_m, y_m) <= self.reach_m)

    @property
    def reach_m(self) -> float:
        """How far from the centre it reaches at most."""
        return self.radius_m * (1 + _PLANE_ERROR)


@dataclass(frozen=True, slots=True)
class Polygon:
    """A simple polygon of at least three corners (latitude, longitude), degrees."""

    corners_deg: tuple[tuple[float, float], ...]

    @property
    def centre_deg(self) -> tuple[float, float]:
        """Where the local plane touches: the mean corner, on whichever side of the date line they lie."""
        corners = np.array(self.corners_deg)
        east = (corners[:, 1] - corners[0, 1] + 180.0) % 360.0 - 180.0
        longitude = (corners[0, 1] + east.mean() + 180.0) % 360.0 - 180.0
        return float(corners[:, 0].mean()), float(longitude)

    @property
    def reach_m(self) -> float:
        """How far from the centre it reaches at most."""
        return float(max(np.hypot(*to_plane(self.centre_deg, *corner)) for corner in self.corners_deg))

    def touched(self, x_m: Array, y_m: Array) -> npt.NDArray[np.bool_]:
        """Say of each way between following points (N - 1 of N) whether any of it lies inside."""
        corners = np.array([to_plane(self.centre_deg, *corner) for corner in self.corners_deg])
        inside = _inside(corners, x_m, y_m)
        crosses = np.zeros(len(x_m) - 1, dtype=np.bool_)
        for one, other in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            crosses |= _cross(x_m[:-1], y_m[:-1], x_m[1:], y_m[1:], one, other)
        return inside[:-1] | inside[1:] | crosses


Area = Circle | Polygon


def to_plane(
    centre_deg: tuple[float, float], latitude_deg: float | Array, longitude_deg: float | Array
) -> tuple[float | Array, float | Array]:
    """Return metres east and north of a centre, by the parallel halfway between: distances are good to 0.1 % within 100 km.

    Up to 80 degrees of latitude, that is.
    """
    east = (np.asarray(longitude_deg) - centre_deg[1] + 180.0) % 360.0 - 180.0
    halfway = np.radians((np.asarray(latitude_deg) + centre_deg[0]) / 2)
    x = np.radians(east) * np.cos(halfway) * EARTH_RADIUS_M
    y = np.radians(np.asarray(latitude_deg) - centre_deg[0]) * EARTH_RADIUS_M
    return x, y


def windows_inside(
    area: Area, time_ns: npt.NDArray[np.int64], latitude_deg: Array, longitude_deg: Array
) -> tuple[Window, ...]:
    """Return the times at which a vehicle may have been inside, from its fixes (N,) in order of time.

    What lies between two fixes counts as driven straight, unless they are more than `LONG_GAP_NS` apart: then it counts
    as everywhere that could have been reached and left again meanwhile. A window reaches to the nearest fixes that are surely outside,
    and where the first or last fix is inside, to the beginning or end of time: it is rather too long than too short.
    """
    sound = np.isfinite(latitude_deg) & np.isfinite(longitude_deg)
    time_ns, latitude_deg, longitude_deg = time_ns[sound], latitude_deg[sound], longitude_deg[sound]
    if not len(time_ns):
        return ()
    plane = to_plane(area.centre_deg, latitude_deg, longitude_deg)
    x_m, y_m = np.asarray(plane[0], dtype=np.float64), np.asarray(plane[1], dtype=np.float64)
    ways = area.touched(x_m, y_m) | _detours(area, x_m, y_m, np.diff(time_ns))
    first, last = area.touched(x_m[[0, 0]], y_m[[0, 0]])[0], area.touched(x_m[[-1, -1]], y_m[[-1, -1]])[0]
    found = [(int(time_ns[i]), int(time_ns[i + 1]) + 1) for i in np.flatnonzero(ways)]
    if first:
        found.append((EVER[0], int(time_ns[0]) + 1))
    if last:
        found.append((int(time_ns[-1]), EVER[1]))
    return merged(found)


def _passed_at(x_m: Array, y_m: Array) -> Array:
    """Return how near each way between following points (N - 1 of N) comes to the centre."""
    a = np.stack([x_m[:-1], y_m[:-1]], axis=1)
    way = np.stack([np.diff(x_m), np.diff(y_m)], axis=1)
    length = np.maximum((way**2).sum(axis=1), 1e-12)
    share = np.clip(-(a * way).sum(axis=1) / length, 0.0, 1.0)
    nearest = a + share[:, None] * way
    return np.asarray(np.hypot(nearest[:, 0], nearest[:, 1]), dtype=np.float64)


def _detours(area: Area, x_m: Array, y_m: Array, gap_ns: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Say of each way whether it took so long that the vehicle may have been inside beside it.

    With both ends given and a longest length, it was within an ellipse; half its smaller axis is added to the way.
    """
    longest_m = FASTEST_MPS * gap_ns * 1e-9
    beside_m = np.sqrt(np.maximum(longest_m**2 - np.diff(x_m) ** 2 - np.diff(y_m) ** 2, 0.0)) / 2
    return np.asarray((gap_ns > LONG_GAP_NS) & (_passed_at(x_m, y_m) <= area.reach_m + beside_m))


def merged(windows: Iterable[Window]) -> tuple[Window, ...]:
    """Join windows that touch or overlap; the result is in order."""
    result: list[Window] = []
    for start, stop in sorted(window for window in windows if window[0] < window[1]):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], stop))
        else:
            result.append((start, stop))
    return tuple(result)


def clipped(windows: Iterable[Window], window: Window) -> tuple[Window, ...]:
    """Return the parts of windows that lie in another one."""
    return merged((max(start, window[0]), min(stop, window[1])) for start, stop in windows)


def padded(windows: Iterable[Window], margin_ns: int) -> tuple[Window, ...]:
    """Return windows longer by a margin at both ends."""
    return merged((max(start - margin_ns, EVER[0]), min(stop + margin_ns, EVER[1])) for start, stop in windows)


def among(time_ns: npt.NDArray[np.int64], windows: Sequence[Window]) -> npt.NDArray[np.bool_]:
    """Say of each time (N,) whether it lies in one of the windows."""
    found = np.zeros(len(time_ns), dtype=np.bool_)
    for start, stop in windows:
        found |= (time_ns >= start) & ((time_ns < stop) | (stop == EVER[1]))
    return found


def _inside(corners: Array, x_m: Array, y_m: Array) -> npt.NDArray[np.bool_]:
    """Count the edges to the right of each point: an odd number is inside."""
    found = np.zeros(len(x_m), dtype=np.bool_)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        between = (y1 > y_m) != (y2 > y_m)
        rise = y2 - y1 if y2 != y1 else 1.0
        found ^= between & (x_m < (x2 - x1) * (y_m - y1) / rise + x1)
    return found


def _cross(x1: Array, y1: Array, x2: Array, y2: Array, one: Array, other: Array) -> npt.NDArray[np.bool_]:
    """Say of each way whether it crosses the edge between two corners."""

    def side(ax: Array | float, ay: Array | float, bx: Array | float, by: Array | float, px: Array, py: Array) -> Array:
        return np.asarray((bx - ax) * (py - ay) - (by - ay) * (px - ax), dtype=np.float64)

    ox, oy = np.full_like(x1, one[0]), np.full_like(x1, one[1])
    px, py = np.full_like(x1, other[0]), np.full_like(x1, other[1])
    edge_apart = side(x1, y1, x2, y2, ox, oy) * side(x1, y1, x2, y2, px, py) <= 0
    ends_apart = side(ox, oy, px, py, x1, y1) * side(ox, oy, px, py, x2, y2) <= 0
    return np.asarray(edge_apart & ends_apart)

"""Places as numbers (pure): geohashes of 6 letters as 30 bits, which an index keeps in 4 bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from platform_lib.errors import ConfigError

SIDES = 1 << 15
"""Cells around the globe, and from pole to pole: 0.011 by 0.0055 degrees."""
WIDEST_M = 5_000.0
"""Farther than this a place is a region: its cells would be hundreds."""
# Mean Earth radius. Source: IUGG, via H. Moritz, Geodetic Reference System 1980.
EARTH_RADIUS_M = 6_371_008.8


@dataclass(frozen=True, slots=True)
class Near:
    """All points at most `radius_m` from a point (degrees, WGS 84)."""

    latitude_deg: float
    longitude_deg: float
    radius_m: float

    def __post_init__(self) -> None:
        if not (abs(self.latitude_deg) <= 90 and abs(self.longitude_deg) <= 180 and 0 < self.radius_m <= WIDEST_M):
            raise ConfigError(
                f"{self.latitude_deg},{self.longitude_deg},{self.radius_m} is no place",
                where="--near",
                remedy=f"write LAT,LON,METRES in degrees, with at most {WIDEST_M:.0f} metres, as 47.37,8.54,250",
            )


def parse_near(text: str) -> Near:
    """Read ``latitude,longitude,metres``.

    Raises:
        ConfigError: It is no such place.
    """
    try:
        latitude_deg, longitude_deg, radius_m = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no place", where="--near", remedy="write LAT,LON,METRES, as 47.37,8.54,250"
        ) from error
    return Near(latitude_deg, longitude_deg, radius_m)


def cells_of(latitude_deg: npt.NDArray[np.float64], longitude_deg: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """Return the cell of each position (N,), all of them on the globe."""
    south = np.floor((latitude_deg + 90.0) / 180.0 * SIDES).astype(np.int64).clip(0, SIDES - 1)
    west = np.floor((longitude_deg + 180.0) / 360.0 * SIDES).astype(np.int64) % SIDES
    return (_spread(west) << 1 | _spread(south)).astype(np.int32)


def cells_near(near: Near) -> tuple[list[int], list[int]]:
    """Return the cells that lie whole in a circle, and those that it touches besides (perhaps some at its corners)."""
    box = box_around(near)
    south, north = (_index(edge_deg + 90.0, 180.0) for edge_deg in (box.south_deg, box.north_deg))
    rows = np.unique(np.arange(south, north + 1).clip(0, SIDES - 1))
    first, last = (math.floor((edge_deg + 180.0) / 360.0 * SIDES) for edge_deg in (box.west_deg, box.east_deg))
    columns = np.unique(np.arange(first, min(last, first + SIDES - 1) + 1) % SIDES)
    cells = _spread(columns)[:, None] << 1 | _spread(rows)[None, :]
    corners = np.stack([_within(near, columns + east, rows + up) for east in (0, 1) for up in (0, 1)])
    inside = corners.all(axis=0)
    return np.sort(cells[inside]).tolist(), np.sort(cells[~inside]).tolist()


def _within(near: Near, columns: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Say of each corner (columns, rows) of cells whether it lies in a circle. Source: the haversine formula."""
    latitude, longitude = np.radians(rows * 180.0 / SIDES - 90.0), np.radians(columns * 360.0 / SIDES - 180.0)
    own_latitude, own_longitude = math.radians(near.latitude_deg), math.radians(near.longitude_deg)
    up = np.sin((latitude - own_latitude) / 2) ** 2
    across = np.sin((longitude - own_longitude) / 2) ** 2
    share = up[None, :] + math.cos(own_latitude) * np.cos(latitude)[None, :] * across[:, None]
    distance_m: npt.NDArray[np.float64] = 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(share, 1.0)))
    return distance_m <= near.radius_m


@dataclass(frozen=True, slots=True)
class Box:
    """What lies between two parallels and two meridians (degrees); beyond +-90 and +-180 where it goes over an edge."""

    south_deg: float
    north_deg: float
    west_deg: float
    east_deg: float


def box_around(near: Near) -> Box:
    """Return the least box around a circle; around a pole it has all meridians."""
    reach_deg = math.degrees(near.radius_m / EARTH_RADIUS_M)
    south, north = near.latitude_deg - reach_deg, near.latitude_deg + reach_deg
    farthest = min(max(abs(south), abs(north)), 90.0)
    around = math.cos(math.radians(farthest)) <= reach_deg / 180.0
    wide_deg = 180.0 if around else reach_deg / math.cos(math.radians(farthest))
    return Box(south, north, near.longitude_deg - wide_deg, near.longitude_deg + wide_deg)


def _index(degrees: float, whole: float) -> int:
    return math.floor(degrees / whole * SIDES)


def _spread(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Put a free bit before each of 15 bits. Source: the interleaving of H. S. Warren, Hacker's Delight, 7-2."""
    spread = numbers.astype(np.int64)
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        spread = (spread | spread << shift) & mask
    return spread

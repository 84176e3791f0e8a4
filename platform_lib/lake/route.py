"""Where a drive went, as its own logs say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from platform_lib.lake.lake import Lake

POSITIONS = (
    ("latitude", "longitude"),
    ("Latitude", "Longitude"),
    ("lat", "lon"),
    ("GPS_Latitude", "GPS_Longitude"),
)
"""Names of the signals that say where a vehicle was, in degrees (WGS 84)."""
_METRES_PER_DEGREE = 111_320.0
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Route:
    """A drive's path on a plane: metres east and north of its first position.

    Attributes:
        stream: Which stream says so.
        length_m: Along the path.
    """

    stream: str
    east_m: Doubles
    north_m: Doubles
    length_m: float


def route_of(lake: Lake, drive_id: str) -> Route | None:
    """Return where a drive went, by the stream with the most positions; None where no log has a position."""
    found: list[Route] = []
    for names in POSITIONS:
        table = lake.signals(drive_id, signals=names)
        for stream in sorted(set(table["stream"].to_pylist())):
            own = table.filter(pc.equal(table["stream"], stream))
            latitude, longitude = (_column(own, name) for name in names)
            if len(latitude[0]) and len(longitude[0]):
                route = _route(stream, latitude, longitude)
                found += [route] if route is not None else []
    return max(found, key=lambda item: len(item.east_m), default=None)


def _column(rows: pa.Table, name: str) -> tuple[npt.NDArray[np.int64], Doubles]:
    own = rows.filter(pc.equal(rows["signal"], name))
    return own["timestamp_ns"].to_numpy(), own["value"].to_numpy(zero_copy_only=False).astype(np.float64)


def _route(
    stream: str, latitude: tuple[npt.NDArray[np.int64], Doubles], longitude: tuple[npt.NDArray[np.int64], Doubles]
) -> Route | None:
    _, first, second = np.intersect1d(latitude[0], longitude[0], return_indices=True)
    north, east = latitude[1][first], longitude[1][second]
    known = (np.abs(north) <= 90.0) & (np.abs(east) <= 180.0) & ((north != 0.0) | (east != 0.0))
    north, east = north[known], east[known]
    if not len(north):
        return None
    across = (east - east[0] + 180.0) % 360.0 - 180.0  # over the date line too
    x, y = across * _METRES_PER_DEGREE * np.cos(np.radians(north[0])), (north - north[0]) * _METRES_PER_DEGREE
    return Route(stream, x, y, float(np.hypot(np.diff(x), np.diff(y)).sum()))

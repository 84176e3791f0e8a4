"""Where a drive went, as its own logs say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from platform_lib.datasets.places import known_positions
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


@dataclass(frozen=True, slots=True)
class Positions:
    """What one stream says of where a vehicle was: (N,) each, whether or not the receiver had a fix."""

    stream: str
    times_ns: npt.NDArray[np.int64]
    latitude_deg: Doubles
    longitude_deg: Doubles


def route_of(lake: Lake, drive_id: str) -> Route | None:
    """Return where a drive went, by the stream with the most positions; None where no log has a position."""
    found = [_route(item) for names in POSITIONS for item in positions_in(lake.signals(drive_id, signals=names), names)]
    return max((item for item in found if item is not None), key=lambda item: len(item.east_m), default=None)


def positions_in(table: pa.Table, names: tuple[str, str]) -> Iterator[Positions]:
    """Yield the positions of each stream in rows that `Lake.signals` gave of two signals: latitude and longitude."""
    for stream in sorted(set(table["stream"].to_pylist())):
        own = table.filter(pc.equal(table["stream"], stream))
        latitude, longitude = (_column(own, name) for name in names)
        if len(latitude[0]) and len(longitude[0]):
            times, first, second = np.intersect1d(latitude[0], longitude[0], return_indices=True)
            yield Positions(stream, times, latitude[1][first], longitude[1][second])


def _column(rows: pa.Table, name: str) -> tuple[npt.NDArray[np.int64], Doubles]:
    own = rows.filter(pc.equal(rows["signal"], name))
    return own["timestamp_ns"].to_numpy(), own["value"].to_numpy(zero_copy_only=False).astype(np.float64)


def _route(positions: Positions) -> Route | None:
    known = known_positions(positions.latitude_deg, positions.longitude_deg)
    north, east = positions.latitude_deg[known], positions.longitude_deg[known]
    if not len(north):
        return None
    across = (east - east[0] + 180.0) % 360.0 - 180.0  # over the date line too
    x, y = across * _METRES_PER_DEGREE * np.cos(np.radians(north[0])), (north - north[0]) * _METRES_PER_DEGREE
    return Route(positions.stream, x, y, float(np.hypot(np.diff(x), np.diff(y)).sum()))

"""What is to be erased, as a person says it."""

from __future__ import annotations

import getpass
import math
import os
from dataclasses import dataclass

from platform_lib.erasure.windows import EVER, Area, Circle, Polygon, Window
from platform_lib.errors import ConfigError, UsageError
from platform_lib.logs.instants import parse_utc_ns
from platform_lib.privacy.config import digest

_HALF_TURN_DEG, _QUARTER_TURN_DEG = 180.0, 90.0
_CIRCLE, _PAIR, _FEWEST_CORNERS = 3, 2, 3
_WIDEST_M = 100_000.0
_TIME_REMEDY = "write 2026-06-01T08:00:00.5Z, or nanoseconds since 1970"


@dataclass(frozen=True, slots=True)
class Scope:
    """Drives, a window of time, an area; what lies in all that are given.

    Attributes:
        drive: One drive; all by default.
        window: Half-open, nanoseconds; by the clock of each log.
    """

    drive: str | None
    window: Window
    area: Area | None

    @property
    def sha256(self) -> str:
        """A digest of what was asked for."""
        area = None if self.area is None else repr(self.area)
        return digest({"drive": self.drive, "window": list(self.window), "area": area})


def whole_drive(drive_id: str) -> Scope:
    """Return the scope of one drive, ever and everywhere."""
    return Scope(drive_id, EVER, None)


def make_scope(drive: str | None, start: str | None, stop: str | None, area: str | None) -> Scope:
    """Read a scope.

    Raises:
        ConfigError: Nothing is named, or a time or place cannot be read.
    """
    if drive is None and start is None and stop is None and area is None:
        raise ConfigError(
            "nothing is named that is to be erased",
            where="drivetrain erase",
            remedy="name --drive, --from and --to, --area, or several: what lies in all of them goes",
        )
    window = (
        EVER[0] if start is None else parse_time(start, where="--from"),
        EVER[1] if stop is None else parse_time(stop, where="--to"),
    )
    if window[0] >= window[1]:
        raise ConfigError(
            "--to is not after --from", where="--to", remedy="the window begins at --from and ends before --to"
        )
    return Scope(drive, window, None if area is None else parse_area(area))


def parse_time(text: str, *, where: str) -> int:
    """Read nanoseconds since 1970, or a moment as ISO 8601 (UTC unless it names a zone).

    Raises:
        ConfigError: It is neither.
    """
    try:
        return parse_utc_ns(text)
    except UsageError as error:
        raise ConfigError(f"{text!r} is no time", where=where, remedy=_TIME_REMEDY) from error


def parse_area(text: str) -> Area:
    """Read ``latitude,longitude,radius in metres``, or three and more corners ``lat,lon lat,lon lat,lon``.

    Raises:
        ConfigError: It is neither, or no place on Earth.
    """
    remedy = "write 47.37,8.54,250 (degrees, degrees, metres), or corners: '47.37,8.54 47.38,8.54 47.38,8.56'"
    try:
        groups = [[float(number) for number in part.split(",")] for part in text.replace(";", " ").split()]
    except ValueError as error:
        raise ConfigError(f"{text!r} is no area", where="--area", remedy=remedy) from error
    points = [group[:2] for group in groups]
    known = all(
        len(point) == _PAIR and abs(point[0]) <= _QUARTER_TURN_DEG and abs(point[1]) <= _HALF_TURN_DEG
        for point in points
    )
    if not known or not all(math.isfinite(number) for group in groups for number in group):
        raise ConfigError(f"{text!r} is no place on Earth", where="--area", remedy=remedy)
    if len(groups) == 1 and len(groups[0]) == _CIRCLE and 0 < groups[0][2] <= _WIDEST_M:
        return Circle(*groups[0])
    if len(groups) >= _FEWEST_CORNERS and all(len(group) == _PAIR for group in groups):
        polygon = Polygon(tuple((group[0], group[1]) for group in groups))
        if polygon.reach_m <= _WIDEST_M:
            return polygon
    raise ConfigError(f"{text!r} is no area, or reaches further than 100 km", where="--area", remedy=remedy)


def this_user() -> str:
    """Say who runs this command, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"

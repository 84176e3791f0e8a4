"""How rows of the signal table are divided: by UTC day, vehicle, and class of sensor. ADR 0011."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

LONGEST_VEHICLE_BYTES = 255
"""A longer name makes no partition of its own: its rows lie with those of unknown vehicles."""


@dataclass(frozen=True, slots=True)
class Partition:
    """Where a row lies.

    Attributes:
        day: UTC, days since 1970.
        vehicle: As the log names it; None where it does not, a partition of its own.
        sensor: The stream's class.
    """

    day: int
    vehicle: str | None
    sensor: str

    @property
    def folder(self) -> str:
        """Its folder below the table's data; no two partitions share one."""
        date = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=self.day)).date().isoformat()
        return f"day={date}/{_vehicle_folder(self.vehicle)}/sensor_class={quote(self.sensor, safe='')}"


def vehicle_key(vehicle: str | None) -> str | None:
    """Return a vehicle as the stores' columns have it: None where it is unknown, or too long to be a partition."""
    return vehicle if vehicle and len(vehicle.encode()) <= LONGEST_VEHICLE_BYTES else None


_LONGEST_FOLDER = 200  # file systems take names of 255 bytes; escapes make a name three times as long


def _vehicle_folder(vehicle: str | None) -> str:
    if vehicle is None:
        return "vehicle-unknown"  # no `=`, so that no vehicle's name leads here
    escaped = quote(vehicle, safe=" -_.+@,")
    if len(escaped) > _LONGEST_FOLDER:  # `!` is escaped in names, so that none is another's digest
        escaped = f"{escaped[: _LONGEST_FOLDER - 65]}!{hashlib.sha256(vehicle.encode()).hexdigest()}"
    return f"vehicle={escaped}"

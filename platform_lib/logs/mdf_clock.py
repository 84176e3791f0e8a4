"""MDF time: header start plus time channel, as int64 nanoseconds, UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import numpy.typing as npt

from platform_lib.errors import ConfigError, CorruptLog, UnsupportedLog
from platform_lib.logs.faults import REMEDY
from platform_lib.logs.model import Report

_LOCAL_TIME_FLAG = 0x1  # hd_time_flags. Source: ASAM MDF 4.2
_OFFSET = re.compile(r"^([+-])(\d{2}):?(\d{2})$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_NS = 1_000_000_000
_MOST_NS = 9.2e18  # int64 ends at 9.22e18
_LOCAL = "the header's start is local time without a zone"
_SAY_WHERE = "say where it was recorded: --timezone Europe/Berlin (timezone='Europe/Berlin')"
_BASIC_HD3_BYTES = 164  # an MDF 3 header of this length has no time stamp of its own. Source: MDF 3.3


def parse_zone(name: str) -> tzinfo:
    """Return the zone of an IANA name or an offset ``+HH:MM``.

    Raises:
        ConfigError: Neither.
    """
    try:
        match = _OFFSET.match(name)
        if match:
            minutes = int(match[2]) * 60 + int(match[3])
            return timezone(timedelta(minutes=-minutes if match[1] == "-" else minutes))
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"no time zone '{name}'",
            where="--timezone (timezone=)",
            remedy="give an IANA name (Europe/Berlin, UTC) or +HH:MM",
        ) from error


def start4_ns(start: int, time_flags: int, zone: str | None, report: Report) -> int:
    """Return an MDF 4 header's start, nanoseconds since the epoch, UTC.

    Args:
        start: hd_start_time_ns.
        time_flags: hd_time_flags.
        zone: Where it was recorded, for headers that carry local time only.
        report: Takes note of a local time that is taken as UTC.

    Raises:
        ConfigError: There is no such zone.
    """
    if not time_flags & _LOCAL_TIME_FLAG:
        return start
    if zone is not None:
        return _to_utc(start, parse_zone(zone))
    report.problems.append(f"{_LOCAL}; it is taken as UTC; {_SAY_WHERE}")
    return start


def start3_ns(path: Path | str, header: Any, zone: str | None) -> int:
    """Return an MDF 3 header's start, nanoseconds since the epoch, UTC.

    Raises:
        UnsupportedLog: A header without a zone, and no `zone` given.
    """
    text = f"{header.date.decode('ascii')} {header.time.decode('ascii')}"
    local = datetime.strptime(text, "%d:%m:%Y %H:%M:%S").replace(tzinfo=UTC)
    local_ns = (local - _EPOCH) // timedelta(seconds=1) * _SECOND_NS
    stamped = header.block_len > _BASIC_HD3_BYTES and header.abs_time
    if zone is not None:
        fraction = int(header.abs_time) % _SECOND_NS if stamped else 0
        return _to_utc(local_ns + fraction, parse_zone(zone))
    if stamped:
        # The standard says the stamp is local time, some writers store UTC; the date text is always local.
        stamp, offset = int(header.abs_time), int(header.tz_offset) * 3600 * _SECOND_NS
        if abs(stamp - local_ns) <= _SECOND_NS:
            return stamp - offset
        if abs(stamp + offset - local_ns) <= _SECOND_NS:
            return stamp
    raise UnsupportedLog(f"{_LOCAL}, so it has no place on the UTC clock", where=path, remedy=_SAY_WHERE)


def _to_utc(local_ns: int, zone: tzinfo) -> int:
    seconds, fraction = divmod(local_ns, _SECOND_NS)
    local = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=zone)
    return (local - _EPOCH) // timedelta(seconds=1) * _SECOND_NS + fraction


def to_ns(path: Path | str, group: str, master_s: npt.NDArray[Any], start: int) -> npt.NDArray[np.int64]:
    """Return ``start + round_half_even(master * 1e9)``.

    Args:
        path: For messages.
        group: For messages.
        master_s: (N,) seconds since the start, any number type.
        start: Nanoseconds since the epoch.

    Raises:
        CorruptLog: A time that is no number, or out of int64's range.
    """
    from platform_lib.logs.instant_kernels import nanoseconds

    seconds = np.ascontiguousarray(master_s, np.float64)
    times = np.empty(seconds.size, np.int64)
    if nanoseconds(seconds, start, _MOST_NS - abs(float(start)), times):
        raise CorruptLog(f"group '{group}' has a time that is no time", where=path, remedy=REMEDY)
    return times

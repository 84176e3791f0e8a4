"""Moments of a log as people read and write them: ISO 8601 in UTC, or seconds from the log's start. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation

from platform_lib.errors import UsageError

_SECOND_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ISO = re.compile(
    r"(?P<whole>\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?)(?:\.(?P<part>\d{1,9}))?(?P<zone>Z|[+-]\d{2}:?\d{2})?"
)
_LIMIT_NS = 1 << 63
_WHOLE_NS = re.compile(r"-?[0-9]{1,30}")


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment, as somebody named it.

    Attributes:
        ns: Nanoseconds, since the epoch or since the log's start.
        from_start: Which of the two.
    """

    ns: int
    from_start: bool

    def absolute_ns(self, log_start_ns: int | None) -> int:
        """Return UTC nanoseconds; a log without a row starts at the epoch."""
        return self.ns + (log_start_ns or 0) if self.from_start else self.ns


def parse_instant(text: str) -> Instant:
    """Read ``2026-06-01T08:00:00.123456789Z`` (UTC unless it names a zone) or ``12.5`` (seconds from the log's start).

    Raises:
        UsageError: It is neither.
    """
    if (match := _ISO.fullmatch(text.strip())) is not None:
        return Instant(_iso_ns(text, match), from_start=False)
    try:
        seconds = Decimal(text.strip())
        ns = int((seconds * _SECOND_NS).to_integral_value()) if seconds.is_finite() else _LIMIT_NS
    except InvalidOperation as error:
        raise _refused(text) from error
    if abs(ns) >= _LIMIT_NS:
        raise _refused(text)
    return Instant(ns, from_start=True)


def whole_ns(text: str) -> int | None:
    """Return a whole number as it is written, if it is one that times and keys of pages can be: 64 bits with a sign."""
    return number if _WHOLE_NS.fullmatch(text) and abs(number := int(text)) < _LIMIT_NS else None


def parse_utc_ns(text: str) -> int:
    """Read nanoseconds since 1970, or a moment as ISO 8601 (UTC unless it names a zone); it lies in 1678 to 2262.

    Raises:
        UsageError: It is neither.
    """
    if (ns := whole_ns(text)) is not None:
        return ns
    moment = parse_instant(text)
    if moment.from_start:
        raise _refused(text)
    return moment.ns


def _iso_ns(text: str, match: re.Match[str]) -> int:
    zone = "+00:00" if match["zone"] in (None, "Z") else match["zone"]
    try:
        moment = datetime.fromisoformat(match["whole"] if len(match["whole"]) > 10 else f"{match['whole']}T00:00:00")
        zoned = moment.replace(tzinfo=datetime.strptime(zone, "%z").tzinfo)
    except ValueError as error:
        raise _refused(text) from error
    ns = (zoned - _EPOCH) // timedelta(seconds=1) * _SECOND_NS + int((match["part"] or "0").ljust(9, "0"))
    if abs(ns) >= _LIMIT_NS:
        raise _refused(text)
    return ns


def _refused(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is no moment of a log",
        where="--start, --stop",
        remedy="write 2026-06-01T08:00:00.5Z, or 12.5 for seconds from the log's start",
    )


def utc_text(time_ns: int) -> str:
    """Return a time as ISO 8601 in UTC with nanoseconds."""
    seconds, fraction = divmod(time_ns, _SECOND_NS)
    return f"{(_EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}.{fraction:09d}Z"

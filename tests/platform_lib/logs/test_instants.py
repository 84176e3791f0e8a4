from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.errors import UsageError
from platform_lib.logs.instants import Instant, parse_instant, utc_text


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01 00:01", 60_000_000_000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("2026-06-01T08:00:00.123456789Z", 1_780_300_800_123_456_789),
    ],
)
def test_iso_times_are_utc_unless_they_name_a_zone(text: str, ns: int) -> None:
    assert parse_instant(text) == Instant(ns, from_start=False)


def test_plain_numbers_are_seconds_from_the_start() -> None:
    assert parse_instant("12.5").absolute_ns(1_000) == 12_500_001_000
    assert parse_instant("-0.000000001").absolute_ns(1_000) == 999
    assert parse_instant("3").absolute_ns(None) == 3_000_000_000
    assert parse_instant("1970-01-01").absolute_ns(1_000) == 0


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01", "2026-06-01T25:00", "nan", "inf", "1e99", "9999-01-01", "1,5"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_instant(text)


@given(st.integers(-(2**63) + 1, 2**63 - 1))
def test_what_is_shown_is_read_back(ns: int) -> None:
    assert parse_instant(utc_text(ns)).ns == ns

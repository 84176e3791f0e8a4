from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.erasure.scope import make_scope, parse_area, parse_time
from platform_lib.erasure.windows import (
    EARTH_RADIUS_M,
    EVER,
    Circle,
    Polygon,
    among,
    clipped,
    merged,
    padded,
    windows_inside,
)
from platform_lib.errors import ConfigError

STEP_DEG = 0.001  # 111.2 m north


def _north(count: int, first_deg: float = 47.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.arange(count)
    return rows * 1000, first_deg + rows * STEP_DEG, np.full(count, 8.5)


def test_a_window_reaches_to_the_fixes_that_are_surely_outside() -> None:
    circle = Circle(47.010, 8.5, 150.0)  # fixes 9, 10 and 11 are inside
    assert windows_inside(circle, *_north(20)) == ((8000, 12001),)
    assert windows_inside(Circle(10.0, 8.5, 150.0), *_north(20)) == ()


def test_what_is_crossed_between_two_fixes_counts() -> None:
    small = Circle(47.0005, 8.5, 5.0)  # halfway between the first two
    assert windows_inside(small, *_north(3)) == ((0, 1001),)
    square = Polygon(((47.0004, 8.499), (47.0004, 8.501), (47.0006, 8.501), (47.0006, 8.499)))
    assert windows_inside(square, *_north(3)) == ((0, 1001),)


def test_before_the_first_and_after_the_last_fix_nobody_knows_so_it_goes() -> None:
    circle = Circle(47.0, 8.5, 50.0)
    assert windows_inside(circle, *_north(5)) == ((EVER[0], 1001),)
    times, latitude, longitude = _north(5)
    assert windows_inside(Circle(47.004, 8.5, 50.0), times, latitude, longitude) == ((3000, EVER[1]),)
    assert windows_inside(circle, times[:1], latitude[:1], longitude[:1]) == ((EVER[0], EVER[1]),)
    assert windows_inside(circle, times, np.full(5, np.nan), longitude) == ()


def test_the_date_line_is_no_edge() -> None:
    times = np.array([0, 1000, 2000])
    crossing = windows_inside(Circle(0.0, 180.0, 500.0), times, np.zeros(3), np.array([179.99, -179.999, -179.98]))
    assert crossing == ((0, 2001),)


def test_an_area_across_the_date_line_is_not_the_rest_of_the_world() -> None:
    corners = ((10.0, 179.9), (10.0, -179.9), (10.2, -179.9), (10.2, 179.9))
    times, latitude = np.array([0, 1000]), np.array([10.1, 10.1])
    for turned in (corners, corners[1:] + corners[:1]):
        assert windows_inside(Polygon(turned), times, latitude, np.array([8.5, 8.6])) == ()
        assert windows_inside(Polygon(turned), times, latitude, np.array([179.7, 179.8])) == ()
        assert windows_inside(Polygon(turned), times, latitude, np.array([179.95, 179.97])) == (EVER,)
        assert windows_inside(Polygon(turned), times, latitude, np.array([-179.8, -179.95])) == ((0, EVER[1]),)


@given(st.floats(-80, 80), st.floats(0, 360), st.floats(100.0, 100_000.0))
def test_distances_hold_where_it_matters(latitude_deg: float, bearing_deg: float, distance_m: float) -> None:
    """A fix just inside a circle is inside, whatever its size, its place and the fix's direction."""
    start, turn, arc = np.radians(latitude_deg), np.radians(bearing_deg), distance_m / EARTH_RADIUS_M
    north = np.arcsin(np.sin(start) * np.cos(arc) + np.cos(start) * np.sin(arc) * np.cos(turn))
    east = np.arctan2(np.sin(turn) * np.sin(arc) * np.cos(start), np.cos(arc) - np.sin(start) * np.sin(north))
    fix = np.array([0]), np.degrees([north]), 179.0 + np.degrees([east])
    assert windows_inside(Circle(latitude_deg, 179.0, distance_m * 1.0001), *fix) == (EVER,)
    assert windows_inside(Circle(latitude_deg, 179.0, distance_m * 0.99), *fix) == ()


def test_a_long_gap_between_fixes_may_have_been_spent_inside() -> None:
    circle = Circle(47.0, 8.51, 100.0)  # 760 m east of the road
    _, latitude, longitude = _north(2, 46.9995)
    for gap_s, gone in ((1, False), (2, False), (15, False), (25, True)):
        times = np.array([0, gap_s * 10**9])
        assert bool(windows_inside(circle, times, latitude, longitude)) is gone
    square = Polygon(((46.999, 8.509), (46.999, 8.511), (47.001, 8.511), (47.001, 8.509)))
    assert windows_inside(square, np.array([0, 25 * 10**9]), latitude, longitude) == ((0, 25 * 10**9 + 1),)


def test_a_window_ends_before_its_end() -> None:
    times = np.array([9, 10, 19, 20], dtype=np.int64)
    assert among(times, [(10, 20)]).tolist() == [False, True, True, False]
    assert among(np.array([EVER[0], EVER[1]]), [EVER]).tolist() == [True, True]
    assert clipped([(0, 10)], (10, 20)) == ()


_WINDOWS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


@given(_WINDOWS, st.integers(0, 60), st.integers(0, 60))
def test_windows_are_the_sets_that_they_stand_for(windows: list[tuple[int, int]], low: int, high: int) -> None:
    times = np.arange(-5, 70)

    def members(items: object) -> set[int]:
        return set(times[among(times, items)].tolist())  # type: ignore[arg-type]  # tuples of windows

    plain = {t for t in times.tolist() for start, stop in windows if start <= t < stop}
    assert members(merged(windows)) == plain
    assert members(clipped(windows, (low, high))) == {t for t in plain if low <= t < high}
    assert members(padded(merged(windows), 2)) == {u for t in plain for u in range(t - 2, t + 3) if u in times}


def test_times_and_places_as_people_write_them() -> None:
    assert parse_time("2026-06-01T08:00:00.5Z", where="--from") == 1_780_300_800_500_000_000
    assert parse_time("1780300800500000000", where="--from") == 1_780_300_800_500_000_000
    assert parse_area("47.37,8.54,250") == Circle(47.37, 8.54, 250.0)
    assert isinstance(parse_area("47.37,8.54 47.38,8.54 47.38,8.56"), Polygon)
    for wrong in ("12.5", "yesterday", ""):
        with pytest.raises(ConfigError):
            parse_time(wrong, where="--from")
    for wrong in ("40,8 47,9 47,12", "47.37,8.54", "91,8,10", "47,8,-1", "47,8,nan", "47,8 47,9", "Berlin"):
        with pytest.raises(ConfigError):
            parse_area(wrong)
    with pytest.raises(ConfigError, match="not after"):
        make_scope(None, "2026-06-02T00:00:00Z", "2026-06-01T00:00:00Z", None)
    assert make_scope("a", None, None, None).sha256 != make_scope("b", None, None, None).sha256

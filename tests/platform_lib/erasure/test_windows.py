from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.erasure.scope import make_scope, parse_area, parse_time
from platform_lib.erasure.windows import EVER, Circle, Polygon, among, clipped, merged, padded, windows_inside
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
    for wrong in ("47.37,8.54", "91,8,10", "47,8,-1", "47,8,nan", "47,8 47,9", "Berlin"):
        with pytest.raises(ConfigError):
            parse_area(wrong)
    with pytest.raises(ConfigError, match="not after"):
        make_scope(None, "2026-06-02T00:00:00Z", "2026-06-01T00:00:00Z", None)
    assert make_scope("a", None, None, None).sha256 != make_scope("b", None, None, None).sha256

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.catalog.cells import EARTH_RADIUS_M, SIDES, WIDEST_M, Near, cells_near, cells_of, parse_near
from platform_lib.datasets.places import geohashes
from platform_lib.errors import ConfigError

_ALPHABET = "0123456789bcdefghjkmnpqrstuvwxyz"


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_a_cell_is_the_first_six_letters_of_the_geohash(latitude: float, longitude: float) -> None:
    (cell,) = cells_of(np.array([latitude]), np.array([longitude])).tolist()
    (text,) = geohashes(np.array([latitude]), np.array([longitude]))
    letters = "".join(_ALPHABET[cell >> shift & 31] for shift in range(25, -1, -5))
    assert text is None or text[:6] == letters  # none: (0, 0) is a receiver without a fix


@settings(max_examples=200, deadline=None)
@given(
    st.floats(-89.99, 89.99), st.floats(-180, 180), st.floats(1, WIDEST_M), st.floats(0, 2 * math.pi), st.floats(0, 1)
)
def test_every_point_of_a_circle_lies_in_one_of_its_cells(
    latitude: float, longitude: float, radius_m: float, bearing: float, share: float
) -> None:
    angle, phi = share * radius_m / EARTH_RADIUS_M, math.radians(latitude)
    up = math.asin(
        max(-1, min(1, math.sin(phi) * math.cos(angle) + math.cos(phi) * math.sin(angle) * math.cos(bearing)))
    )
    across = math.atan2(
        math.sin(bearing) * math.sin(angle) * math.cos(phi), math.cos(angle) - math.sin(phi) * math.sin(up)
    )
    east = (longitude + math.degrees(across) + 180) % 360 - 180
    (cell,) = cells_of(np.array([math.degrees(up)]), np.array([east])).tolist()
    inside, rim = cells_near(Near(latitude, longitude, radius_m))
    assert cell in {*inside, *rim}
    assert not {*inside} & {*rim}


@settings(max_examples=200, deadline=None)
@given(st.floats(-85, 85), st.floats(-180, 180), st.floats(600, WIDEST_M), st.floats(0, 1), st.floats(0, 1))
def test_every_point_of_a_cell_inside_lies_in_the_circle(
    latitude: float, longitude: float, radius_m: float, east: float, up: float
) -> None:
    near = Near(latitude, longitude, radius_m)
    inside, _ = cells_near(near)
    for cell in inside:
        row, column = (sum((cell >> 2 * bit + side & 1) << bit for bit in range(15)) for side in (0, 1))
        there, across = (row + up) * 180 / SIDES - 90, (column + east) * 360 / SIDES - 180
        turned = math.radians(across - longitude)
        share = (
            math.sin(math.radians(there - latitude) / 2) ** 2
            + math.cos(math.radians(there)) * math.cos(math.radians(latitude)) * math.sin(turned / 2) ** 2
        )
        assert 2 * EARTH_RADIUS_M * math.asin(math.sqrt(share)) <= radius_m * 1.0001


def test_a_circle_has_few_cells_but_for_the_poles() -> None:
    few = cells_near(Near(47.37, 8.54, 100))
    assert few[0] == []
    assert len(few[1]) <= 4
    inside, rim = cells_near(Near(47.37, 8.54, WIDEST_M))
    assert len(inside) > len(rim)
    assert len(inside) + len(rim) < 300


@pytest.mark.parametrize("text", ["", "47,8", "47,8,x", "91,8,100", "47,181,100", "47,8,0", "47,8,5001", "nan,8,100"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no place"):
        parse_near(text)


def test_a_place_is_read() -> None:
    assert parse_near("47.37,8.54,250") == Near(47.37, 8.54, 250.0)

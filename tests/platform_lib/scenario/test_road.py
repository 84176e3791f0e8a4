"""Roads: arc length, lanes, and the way there and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.scenario.road import GRID_M, Road, random_road

FINITE = {"allow_nan": False, "allow_infinity": False}


def test_a_circle_closes_and_has_its_radius() -> None:
    radius = 100.0 / (2 * math.pi) * 4
    road = Road.from_curvature(np.full(int(400.0 / GRID_M) + 1, 1.0 / radius))
    assert road.heading_rad[-1] == pytest.approx(2 * math.pi)
    assert (road.x_m[-1], road.y_m[-1]) == (pytest.approx(0.0, abs=1e-9), pytest.approx(0.0, abs=1e-9))
    assert np.allclose(np.hypot(road.x_m, road.y_m - radius), radius, atol=1e-9)


def test_left_of_the_road_is_left() -> None:
    straight = Road.from_curvature(np.zeros(100))
    assert straight.to_world(10.0, 2.0).tolist() == [10.0, 2.0]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), share=st.floats(0.05, 0.95, **FINITE), d=st.floats(-12.0, 12.0, **FINITE),
    guess=st.floats(-4.0, 4.0, **FINITE),
)  # fmt: skip
def test_road_coordinates_round_trip(seed: int, share: float, d: float, guess: float) -> None:
    road = random_road(np.random.default_rng(seed), 400.0)
    s = share * road.length_m
    x, y, heading = road.pose(s, d)
    assert np.allclose(road.to_world(s, d), (x, y), atol=1e-9)
    back_s, back_d = road.to_road(x, y, s + guess)
    # The road is a polygon of half metres, so the two agree to millimetres and not to rounding.
    assert (back_s, back_d) == (pytest.approx(s, abs=0.03), pytest.approx(d, abs=0.01))
    assert heading == pytest.approx(float(road.at(s, road.heading_rad)))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_roads_can_be_driven_and_never_cross_themselves(seed: int) -> None:
    road = random_road(np.random.default_rng(seed), 500.0)
    assert np.abs(road.curvature_1pm).max() <= 1 / 65.0 + 1e-9
    points = np.stack([road.x_m, road.y_m], axis=1)[::20]
    steps = np.abs(np.subtract.outer(np.arange(len(points)), np.arange(len(points))))
    apart = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    assert apart[steps >= 6].min() > 25.0

"""Swept boxes: hits, misses, and what a check at the ends alone would overlook."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.scenario.collision import Box, swept_overlap

CAR = Box(0.0, 0.0, 0.0, 4.0, 2.0)


def still(box: Box) -> tuple[Box, Box]:
    return box, box


@pytest.mark.parametrize(
    ("other", "hit"),
    [
        (Box(3.9, 0.0, 0.0, 4.0, 2.0), True),
        (Box(4.1, 0.0, 0.0, 4.0, 2.0), False),
        (Box(0.0, 1.9, 0.0, 4.0, 2.0), True),
        (Box(0.0, 2.1, 0.0, 4.0, 2.0), False),
        (Box(2.6, 1.7, math.pi / 4, 2.0, 2.0), True),  # a corner turned into the side
        (Box(2.9, 2.0, math.pi / 4, 2.0, 2.0), False),  # their axis-aligned bounds overlap, they do not
    ],
)
def test_boxes_that_stand_still(other: Box, hit: bool) -> None:
    assert swept_overlap(*still(CAR), *still(other)) is hit


def test_passing_through_within_one_step_is_a_hit() -> None:
    thin = Box(-3.0, 0.0, 0.0, 0.2, 0.2)
    assert swept_overlap(*still(CAR), thin, replace(thin, x_m=3.0))
    assert swept_overlap(*still(replace(CAR, length_m=0.1)), thin, replace(thin, x_m=3.0))


def test_passing_beside_is_a_miss() -> None:
    thin = Box(-3.0, 1.3, 0.0, 0.2, 0.2)
    assert not swept_overlap(*still(CAR), thin, replace(thin, x_m=3.0))


def test_arriving_where_the_other_has_left_is_a_miss() -> None:
    """Their swept areas cross, but never at the same moment."""
    across = Box(0.0, 0.0, math.pi / 2, 1.0, 1.0)
    late = Box(-9.0, 0.0, 0.0, 1.0, 1.0)
    assert not swept_overlap(late, replace(late, x_m=-0.5), across, replace(across, y_m=9.0))


@given(
    x=st.floats(-6, 6), y=st.floats(-6, 6), yaw=st.floats(-4, 4), dx=st.floats(-3, 3), dy=st.floats(-3, 3),
    turn=st.floats(-4, 4),
)  # fmt: skip
def test_neither_order_nor_the_choice_of_axes_matters(
    x: float, y: float, yaw: float, dx: float, dy: float, turn: float
) -> None:
    other = Box(x, y, yaw, 3.0, 1.0)
    moved = replace(other, x_m=x + dx, y_m=y + dy)
    hit = swept_overlap(*still(CAR), other, moved)
    # A sampled sweep finds no hit that the exact one misses.
    places = [replace(other, x_m=x + dx * k / 40, y_m=y + dy * k / 40) for k in range(41)]
    sampled = any(swept_overlap(*still(CAR), *still(place)) for place in places)
    assert hit or not sampled

    def turned(box: Box) -> Box:
        c, s = math.cos(turn), math.sin(turn)
        return Box(c * box.x_m - s * box.y_m, s * box.x_m + c * box.y_m, box.yaw_rad + turn, box.length_m, box.width_m)

    grown = replace(CAR, length_m=4.0 + 1e-6, width_m=2.0 + 1e-6)
    shrunk = replace(CAR, length_m=4.0 - 1e-6, width_m=2.0 - 1e-6)
    if swept_overlap(*still(grown), other, moved) == swept_overlap(*still(shrunk), other, moved):
        assert swept_overlap(other, moved, *still(CAR)) == hit
        assert swept_overlap(*still(turned(CAR)), turned(other), turned(moved)) == hit

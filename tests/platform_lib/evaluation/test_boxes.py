"""Oriented boxes: properties that hold for any of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from platform_lib.evaluation.geometry import Boxes, corners, ego_boxes, overlap, path_headings
from platform_lib.scenario.collision import Box, swept_overlap
from platform_lib.scenario.model import EGO_CENTRE_AHEAD_M

NUMBERS = st.floats(-8, 8)
BOX = st.tuples(NUMBERS, NUMBERS, st.floats(-4, 4), st.floats(0.3, 6), st.floats(0.3, 3))


def boxes(*items: tuple[float, ...]) -> Boxes:
    return Boxes(*np.array(items, dtype=float).T)


@example((0.0, 0.0, 0.0, 0.375, 0.375), (0.0, 0.375, 0.0, 0.375, 0.375))
@given(BOX, BOX)
def test_overlap_is_symmetric_and_agrees_with_the_simulator(one, other):
    found = overlap(boxes(one), boxes(other))[0]
    assert found == overlap(boxes(other), boxes(one))[0]
    around = {bool(overlap(boxes(one), boxes((*other[:3], other[3] + d, other[4] + d)))[0]) for d in (-1e-6, 1e-6)}
    if around == {bool(found)}:  # not on the very edge, where touching is defined apart
        still = (Box(*one), Box(*one), Box(*other), Box(*other))
        assert found == swept_overlap(*still)


@given(BOX, BOX, st.floats(-3, 3), NUMBERS)
def test_turning_and_moving_the_world_changes_nothing(one, other, turn, shift):
    def moved(box):
        x, y, yaw, length, width = box
        c, s = np.cos(turn), np.sin(turn)
        return (c * x - s * y + shift, s * x + c * y - shift, yaw + turn, length, width)

    grown = (*other[:3], other[3] + 1e-6, other[4] + 1e-6)
    shrunk = (*other[:3], other[3] - 1e-6, other[4] - 1e-6)
    if overlap(boxes(one), boxes(grown))[0] == overlap(boxes(one), boxes(shrunk))[0]:
        assert overlap(boxes(one), boxes(other))[0] == overlap(boxes(moved(one)), boxes(moved(other)))[0]


def test_corners_of_a_turned_box():
    found = corners(boxes((1.0, 2.0, np.pi / 2, 4.0, 2.0)))[0]
    assert sorted(np.round(found, 9).tolist()) == [[0.0, 0.0], [0.0, 4.0], [2.0, 0.0], [2.0, 4.0]]


def test_the_ego_box_lies_ahead_of_the_rear_axle():
    found = ego_boxes(np.array([0.0]), np.array([0.0]), np.array([np.pi / 2]))
    assert (found.x_m[0], found.y_m[0]) == pytest.approx((0.0, EGO_CENTRE_AHEAD_M))


def test_a_standing_car_keeps_its_heading():
    path = np.array([[1.0, 1.0], [1.01, 0.99], [1.0, 1.0], [1.02, 1.0], [1.0, 1.0], [1.0, 1.0]])
    assert path_headings(path) == pytest.approx([np.pi / 4] * 6)
    assert path_headings(np.zeros((6, 2))) == pytest.approx([0.0] * 6)

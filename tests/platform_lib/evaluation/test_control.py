"""The controller on plans whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from platform_lib.evaluation.control import MAX_BRAKE_MPS2, follow
from platform_lib.evaluation.frames import TIMES_S
from platform_lib.scenario.model import WHEELBASE_M


def along(speed: float, accel: float = 0.0) -> np.ndarray:
    return np.stack([speed * TIMES_S + accel * TIMES_S**2 / 2, np.zeros(6)], axis=1)


@pytest.mark.parametrize("accel", [-4.0, -1.0, 0.0, 1.5])
def test_it_asks_for_the_acceleration_that_the_plan_holds(accel):
    command = follow(along(10.0, accel), 10.0)
    assert command.accel_mps2 == pytest.approx(accel, abs=1e-9)
    assert command.steer_rad == pytest.approx(0.0)


@pytest.mark.parametrize("radius", [25.0, -40.0])
def test_on_a_circle_it_steers_that_circle(radius):
    angle = 8.0 * TIMES_S / abs(radius)
    dense = np.stack([abs(radius) * np.sin(angle), radius * (1 - np.cos(angle))], axis=1)
    steer = follow(dense, 8.0).steer_rad
    assert steer == pytest.approx(np.arctan(WHEELBASE_M / radius), rel=0.05)


def test_a_plan_to_stand_brakes_and_keeps_the_wheel_straight():
    command = follow(np.full((6, 2), 0.01), 6.0)
    assert command.accel_mps2 == -MAX_BRAKE_MPS2
    assert command.steer_rad == 0.0
    assert follow(np.zeros((6, 2)), 0.0).accel_mps2 < 0.0


def test_commands_stay_within_what_the_car_can_do():
    wild = np.cumsum(np.random.default_rng(3).normal(0, 30, (20, 6, 2)), axis=1)
    for plan in wild:
        command = follow(plan, 5.0)
        assert -MAX_BRAKE_MPS2 <= command.accel_mps2 <= 2.5
        assert abs(command.steer_rad) <= 0.5

"""The ego's motion against closed forms."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.scenario.bicycle import LIMITS, advance
from platform_lib.scenario.model import WHEELBASE_M, Control, EgoState

START = EgoState(0.0, 0.0, 0.0, 0.0, 10.0, 0.0, 0.0, 0.0)


@given(steer=st.floats(-0.5, 0.5), v=st.floats(0.5, 20.0), steps=st.integers(1, 300))
def test_constant_steering_drives_a_circle_about_the_rear_axle(steer: float, v: float, steps: int) -> None:
    state = replace(START, v_mps=v, steer_rad=steer)
    for _ in range(steps):
        state = advance(state, Control(0.0, steer), 0.01)
    turned = v * steps * 0.01 * math.tan(steer) / WHEELBASE_M
    assert state.yaw_rad == pytest.approx(turned, abs=1e-9)
    if abs(turned) > 1e-6:
        radius = WHEELBASE_M / math.tan(steer)
        assert state.x_m == pytest.approx(radius * math.sin(turned), abs=1e-6)
        assert state.y_m == pytest.approx(radius * (1 - math.cos(turned)), abs=1e-6)


def test_braking_ends_at_a_standstill() -> None:
    state = START
    for _ in range(500):
        state = advance(state, Control(-6.0, 0.0), 0.01)
    assert (state.v_mps, state.accel_mps2) == (0.0, 0.0)
    # v^2 / 2a and the lag of the brakes: between the ideal and half a second later.
    assert 100 / 12 < state.x_m < 100 / 12 + 3.0


@given(accel=st.floats(-100, 100), steer=st.floats(-3, 3))
def test_actuators_keep_their_limits(accel: float, steer: float) -> None:
    state = START
    for _ in range(200):
        after = advance(state, Control(accel, steer), 0.01)
        assert LIMITS.accel_min_mps2 <= after.accel_mps2 <= LIMITS.accel_max_mps2
        assert abs(after.steer_rad) <= LIMITS.steer_max_rad
        assert abs(after.steer_rad - state.steer_rad) <= LIMITS.steer_rate_rps * 0.01 + 1e-12
        state = after


@pytest.mark.parametrize("control", [Control(math.nan, 0.0), Control(0.0, math.inf)])
def test_a_control_that_is_no_number_is_refused(control: Control) -> None:
    with pytest.raises(ValueError, match="not usable"):
        advance(START, control, 0.01)

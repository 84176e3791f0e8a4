"""The ego's motion: a kinematic bicycle with actuator limits. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from platform_lib.scenario.model import WHEELBASE_M, Control, EgoState


@dataclass(frozen=True, slots=True)
class Limits:
    """What the actuators can do."""

    accel_min_mps2: float = -8.0
    accel_max_mps2: float = 3.0
    accel_lag_s: float = 0.12
    steer_max_rad: float = 0.55
    steer_rate_rps: float = 0.6


LIMITS = Limits()


def advance(state: EgoState, control: Control, dt_s: float, limits: Limits = LIMITS) -> EgoState:
    """Move the rear axle by `dt_s` along the arc that the mean steering angle describes; it never rolls backwards.

    Source: Rajamani, Vehicle Dynamics and Control, 2nd ed. 2012, section 2.2 (kinematic model), rear-axle reference:
    yaw rate = v * tan(steer) / wheelbase. The acceleration follows its command with a first-order lag.

    Raises:
        ValueError: The control or the time step is not finite, or the step not positive.
    """
    if not (math.isfinite(control.accel_mps2) and math.isfinite(control.steer_rad) and 0.0 < dt_s < 1.0):
        raise ValueError(f"control {control} over {dt_s} s is not usable")
    wanted = min(max(control.accel_mps2, limits.accel_min_mps2), limits.accel_max_mps2)
    accel = state.accel_mps2 + (wanted - state.accel_mps2) * -math.expm1(-dt_s / limits.accel_lag_s)
    target = min(max(control.steer_rad, -limits.steer_max_rad), limits.steer_max_rad)
    reach = limits.steer_rate_rps * dt_s
    steer = state.steer_rad + min(max(target - state.steer_rad, -reach), reach)
    v = state.v_mps + accel * dt_s
    if v <= 0.0:
        v, accel = 0.0, max(accel, 0.0)
    distance = 0.5 * (state.v_mps + v) * dt_s
    turn = distance * math.tan(0.5 * (state.steer_rad + steer)) / WHEELBASE_M
    chord = distance * (math.sin(turn / 2) / (turn / 2) if abs(turn) > 1e-9 else 1.0)
    return EgoState(
        time_s=state.time_s + dt_s,
        x_m=state.x_m + chord * math.cos(state.yaw_rad + turn / 2),
        y_m=state.y_m + chord * math.sin(state.yaw_rad + turn / 2),
        yaw_rad=state.yaw_rad + turn,
        v_mps=v,
        accel_mps2=accel,
        steer_rad=steer,
        yaw_rate_rps=v * math.tan(steer) / WHEELBASE_M,
    )

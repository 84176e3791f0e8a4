"""From a plan to pedals and steering wheel: pure pursuit across, speed tracking along."""

from __future__ import annotations

import numpy as np

from platform_lib.evaluation.frames import TIMES_S
from platform_lib.evaluation.geometry import Doubles
from platform_lib.scenario.model import WHEELBASE_M, Control

LOOKAHEAD_S = 1.0
MIN_LOOKAHEAD_M = 3.0
MAX_STEER_RAD = 0.5
MAX_BRAKE_MPS2, MAX_ACCEL_MPS2 = 6.0, 2.5
# A plan that ends within this is a plan to stand.
STAND_M = 0.4
_FIT_STEPS = 3


def follow(plan_m: Doubles, speed_mps: float) -> Control:
    """Return the control that follows a (6, 2) plan from the present speed.

    Across: steer = atan(2 L y / d^2) towards the point of the path one look-ahead away.
    Source: Coulter, Implementation of the Pure Pursuit Path Tracking Algorithm (CMU-RI-TR-92-01, 1992).
    Along: the constant acceleration that fits the distances of the first 1.5 s best, s = v t + a t^2 / 2.
    """
    points = np.vstack([np.zeros((1, 2)), plan_m])
    reach = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    if reach[-1] < STAND_M:
        return Control(accel_mps2=-min(MAX_BRAKE_MPS2, 2.0 + speed_mps), steer_rad=0.0)
    times = TIMES_S[:_FIT_STEPS]
    half_squares = times**2 / 2
    wanted = float(half_squares @ (reach[1 : _FIT_STEPS + 1] - speed_mps * times) / (half_squares @ half_squares))
    lookahead = min(max(MIN_LOOKAHEAD_M, LOOKAHEAD_S * speed_mps), float(reach[-1]))
    x = float(np.interp(lookahead, reach, points[:, 0]))
    y = float(np.interp(lookahead, reach, points[:, 1]))
    steer = float(np.arctan2(2 * WHEELBASE_M * y, max(x * x + y * y, 1.0)))
    return Control(
        accel_mps2=float(np.clip(wanted, -MAX_BRAKE_MPS2, MAX_ACCEL_MPS2)),
        steer_rad=float(np.clip(steer, -MAX_STEER_RAD, MAX_STEER_RAD)),
    )

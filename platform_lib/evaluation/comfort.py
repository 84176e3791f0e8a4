"""What a passenger feels: accelerations, jerk and turning within bounds.

Source: Karnchanachari et al., Towards learning-based planning: the nuPlan benchmark (2024), ego is comfortable; the same
bounds in NAVSIM. Values are smoothed over 0.7 s, slopes fitted over 1.5 s, as there over 0.8 s and 1.5 s.
"""

from __future__ import annotations

import numpy as np

from platform_lib.evaluation.geometry import Doubles, Flags
from platform_lib.evaluation.motion import smoothing

_ACCEL_MPS2 = (-4.05, 2.40)
_LATERAL_MPS2, _JERK_MPS3, _JERK_SIZE_MPS3 = 4.89, 4.13, 8.37
_YAW_RATE_RPS, _YAW_ACCEL_RPS2 = 0.95, 1.93
_SHORT_TICKS, LONG_TICKS = 7, 15


def comfortable(along_mps2: Doubles, across_mps2: Doubles, turn_rps: Doubles) -> Flags:
    """Say for N motions of T ticks of 0.1 s, T at least `LONG_TICKS`, whether they stay within every bound.

    Args:
        along_mps2: (N, T) acceleration along, negative brakes.
        across_mps2: (N, T) acceleration across.
        turn_rps: (N, T) yaw rate.
    """
    felt, jerk = smooth(along_mps2), slope(along_mps2)
    fine = (felt >= _ACCEL_MPS2[0]).all(axis=1) & (felt <= _ACCEL_MPS2[1]).all(axis=1)
    for values, most in (
        (smooth(across_mps2), _LATERAL_MPS2),
        (jerk, _JERK_MPS3),
        (np.hypot(jerk, slope(across_mps2)), _JERK_SIZE_MPS3),
        (smooth(turn_rps), _YAW_RATE_RPS),
        (slope(turn_rps), _YAW_ACCEL_RPS2),
    ):
        fine &= (np.abs(values) <= most).all(axis=1)
    return np.asarray(fine)


def smooth(values: Doubles) -> Doubles:
    """Return (N, T) values, each the middle of a parabola through its 0.7 s."""
    return np.asarray(values @ smoothing(values.shape[1], _SHORT_TICKS, 0).T)


def slope(values: Doubles) -> Doubles:
    """Return (N, T) changes per second, each the slope of a parabola through its 1.5 s."""
    return np.asarray(values @ smoothing(values.shape[1], LONG_TICKS, 1).T)

"""The driver that recordings show: IDM along the road, pure pursuit across it, lane changes on command. Pure.

Like people, it goes on at its speed until braking is due, and answers a moment after it has seen. So what it will do
is in the picture before it is in the vehicle's own motion: who only looks at the motion learns of it too late.
"""

from __future__ import annotations

import math

from platform_lib.scenario.agents import ACCEL_MIN_MPS2, Mover, free_speed_mps, hindrances, idm_accel_mps2
from platform_lib.scenario.model import EGO_CENTRE_AHEAD_M, WHEELBASE_M, EgoState
from platform_lib.scenario.road import LANE_OFFSETS_M
from platform_lib.scenario.scene import Scene

REACTION_S = 0.7
"""From seeing to braking or setting off, for what a driver expects.

Source: Green, How long does it take to stop?, Transportation Human Factors 2(3), 2000: 0.70 to 0.75 s.
"""

_MANOEUVRE_S = 3.6
_DUE_MPS2 = (0.9, 1.4)
"""Braking for what stands still begins between these: less is not yet due, more follows while the driver reacts."""
_ROOM_M = 2.3
"""Left free before what stands."""
_LAST_M = 8.0
"""So near to what stands nobody speeds up again."""


def reference_d_m(scene: Scene, time_s: float) -> float:
    """Return the offset to follow at a time: a lane's centre, or a smooth step from one lane to the other."""
    change = scene.lane_change
    start = LANE_OFFSETS_M[scene.ego_lane]
    if change is None or time_s <= change.start_s:
        return start
    share = min((time_s - change.start_s) / _MANOEUVRE_S, 1.0)
    smooth = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
    return start + (LANE_OFFSETS_M[change.to_lane] - start) * smooth


def decided_accel_mps2(me: Mover, scene: Scene, movers: tuple[Mover, ...], time_s: float) -> float:
    """Return the acceleration that a careful driver decides on now, to be carried out `REACTION_S` later.

    Args:
        me: The ego in road coordinates.
        scene: Road, people, light and route.
        movers: Everyone else.
        time_s: Time since the drive began.
    """
    wanted = free_speed_mps(me, scene.cruise_mps, scene)
    answers = [idm_accel_mps2(me.v_mps, wanted, math.inf, 0.0)]
    for gap, speed in hindrances(me, movers, scene, time_s):
        stands = speed < 0.5
        answers.append(
            _stop_accel_mps2(me.v_mps, gap, free=answers[0]) if stands else idm_accel_mps2(me.v_mps, wanted, gap, speed)
        )
    return min(answers)


def _stop_accel_mps2(v_mps: float, gap_m: float, *, free: float) -> float:
    """Brake evenly for something that stands, once that is due; until then drive as if it were not there."""
    needed = v_mps**2 / (2.0 * max(gap_m - _ROOM_M, 0.4))
    low, high = _DUE_MPS2
    share = 1.0 if gap_m < _LAST_M else min(max((needed - low) / (high - low), 0.0), 1.0)
    return max((1.0 - share) * free - share * 1.05 * needed, ACCEL_MIN_MPS2)


def pure_pursuit_rad(ego: EgoState, me: Mover, scene: Scene) -> float:
    """Return the steering angle whose arc meets the reference line at the look-ahead distance.

    Source: Coulter, Implementation of the pure pursuit path tracking algorithm, CMU-RI-TR-92-01, 1992.
    """
    ahead_m = min(max(2.0 + 0.75 * ego.v_mps, 4.5), 13.0)
    arrival_s = ego.time_s + ahead_m / max(ego.v_mps, 3.0)
    d_m = reference_d_m(scene, arrival_s)
    x, y, _ = scene.road.pose(me.s_m - EGO_CENTRE_AHEAD_M + ahead_m, d_m)
    bearing = math.atan2(y - ego.y_m, x - ego.x_m) - ego.yaw_rad
    distance = math.hypot(y - ego.y_m, x - ego.x_m)
    return math.atan2(2.0 * WHEELBASE_M * math.sin(bearing), distance)

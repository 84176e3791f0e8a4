"""The driver that recordings show: IDM along the road, pure pursuit across it, lane changes on command. Pure."""

from __future__ import annotations

import math

from platform_lib.scenario.agents import Mover, wanted_accel_mps2
from platform_lib.scenario.model import EGO_CENTRE_AHEAD_M, WHEELBASE_M, Control, EgoState
from platform_lib.scenario.road import LANE_OFFSETS_M
from platform_lib.scenario.scene import Scene

_MANOEUVRE_S = 3.6


def reference_d_m(scene: Scene, time_s: float) -> float:
    """Return the offset to follow at a time: a lane's centre, or a smooth step from one lane to the other."""
    change = scene.lane_change
    start = LANE_OFFSETS_M[scene.ego_lane]
    if change is None or time_s <= change.start_s:
        return start
    share = min((time_s - change.start_s) / _MANOEUVRE_S, 1.0)
    smooth = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
    return start + (LANE_OFFSETS_M[change.to_lane] - start) * smooth


def expert_control(ego: EgoState, me: Mover, movers: tuple[Mover, ...], scene: Scene) -> Control:
    """Return what a careful driver does now.

    Args:
        ego: The ego in the world frame.
        me: The same in road coordinates.
        movers: Everyone else.
        scene: Road, people, light and route.
    """
    accel = wanted_accel_mps2(me, scene.cruise_mps, movers, scene, ego.time_s)
    return Control(accel, pure_pursuit_rad(ego, me, scene))


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

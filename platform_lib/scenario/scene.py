"""The nouns of a scene: road, agents, their scripts and what sets them off. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from platform_lib.scenario.road import HALF_WIDTH_M, Road

Colour = tuple[int, int, int]

KERB_M = HALF_WIDTH_M + 0.4
LANE_CHANGE_S = 4.0
COMFORT_LATERAL_MPS2 = 2.2
"""Lateral acceleration that decides the speed in bends. Source: ISO 11270:2014 names 2.3 m/s2 as a comfort bound."""


@dataclass(frozen=True, slots=True)
class Braking:
    """Slow down to `floor_mps` whatever is ahead, stay there, go on."""

    start_s: float
    decel_mps2: float
    floor_mps: float
    hold_s: float


@dataclass(frozen=True, slots=True)
class CutIn:
    """Drive `gap_m` ahead of the ego in the lane beside it, then move over and slow down."""

    start_s: float
    duration_s: float
    to_d_m: float
    gap_m: float
    speed_mps: float
    slow_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Stand in the lane until the ego has been within `gap_m` behind (bumper to bumper) for `delay_s`, then go."""

    gap_m: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class Vehicle:
    """Another vehicle as the drive begins; `direction` is +1 along the road, -1 against it."""

    id: int
    s_m: float
    d_m: float
    v_mps: float
    direction: int
    cruise_mps: float
    colour: Colour
    length_m: float = 4.5
    width_m: float = 1.9
    height_m: float = 1.5
    braking: tuple[Braking, ...] = ()
    cut_in: CutIn | None = None
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class Pedestrian:
    """Someone at the kerb; crosses to the other side from `walk_start_s` on, or stays when that is None.

    With `walk_gap_m` the start is decided on the way: when the ego's front comes that near.
    """

    id: int
    s_m: float
    from_d_m: float
    walk_start_s: float | None
    speed_mps: float
    colour: Colour
    walk_gap_m: float | None = None

    def wants_to_cross(self, time_s: float) -> bool:
        """Say whether they stand at the kerb to cross: whoever only waits for a bus stands back from it."""
        setting_off = self.walk_gap_m is not None or (self.walk_start_s is not None and time_s < self.walk_start_s)
        return setting_off and abs(self.from_d_m) <= KERB_M

    def at(self, time_s: float) -> tuple[float, float]:
        """Return (d_m, rate of d in m/s) at a time."""
        if self.walk_start_s is None or time_s < self.walk_start_s:
            return self.from_d_m, 0.0
        sign = 1.0 if self.from_d_m < 0 else -1.0
        walked = (time_s - self.walk_start_s) * self.speed_mps
        if walked >= 2 * abs(self.from_d_m):
            return -self.from_d_m, 0.0
        return self.from_d_m + sign * walked, sign * self.speed_mps


@dataclass(frozen=True, slots=True)
class TrafficLight:
    """A pedestrian-crossing light: red in [red_from_s, red_until_s), else green; `s_m` is the stop line.

    With `switch_gap_m` it switches on the way, when the ego's front comes that near to the stop line: red for
    `switch_s` from then on; or, if it is red already, green `switch_s` later.
    """

    id: int
    s_m: float
    red_from_s: float
    red_until_s: float
    switch_gap_m: float | None = None
    switch_s: float = 0.0

    def red(self, time_s: float) -> bool:
        """Say whether it is red at a time."""
        return self.red_from_s <= time_s < self.red_until_s


@dataclass(frozen=True, slots=True)
class LaneChange:
    """The route's demand to change lanes, in force for `LANE_CHANGE_S`."""

    start_s: float
    to_lane: int


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that one drive holds; change a copy to ask what would have happened."""

    road: Road
    ego_s_m: float
    ego_d_m: float
    ego_turn_rad: float
    ego_v_mps: float
    ego_lane: int
    cruise_mps: float
    vehicles: tuple[Vehicle, ...] = ()
    pedestrians: tuple[Pedestrian, ...] = ()
    light: TrafficLight | None = None
    lane_change: LaneChange | None = None

    def lane(self, time_s: float) -> int:
        """Return the lane that the route asks for at a time."""
        change = self.lane_change
        return self.ego_lane if change is None or time_s < change.start_s else change.to_lane


def curve_speed_mps(road: Road, s_m: float, ahead_m: float, direction: int = 1) -> float:
    """Return the speed that keeps the lateral acceleration comfortable on the next `ahead_m` metres."""
    stations = s_m + direction * np.linspace(0.0, ahead_m, 6)
    sharpest = float(np.abs(road.at(stations, road.curvature_1pm)).max())
    return float(np.sqrt(COMFORT_LATERAL_MPS2 / max(sharpest, 1e-4)))

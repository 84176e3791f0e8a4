"""What happens in one drive, drawn from its seed: road, agents and their scripts. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from platform_lib.scenario.model import STEP_S, DriveSpec
from platform_lib.scenario.road import HALF_WIDTH_M, LANE_OFFSETS_M, Road, random_road

Colour = tuple[int, int, int]

KERB_M = HALF_WIDTH_M + 1.1
LANE_CHANGE_S = 4.0
COMFORT_LATERAL_MPS2 = 2.2
"""Lateral acceleration that decides the speed in bends. Source: ISO 11270:2014 names 2.3 m/s2 as a comfort bound."""

_EGO_START_M = 60.0
_ROAD_MARGIN_M = 260.0
_PAINTS: tuple[Colour, ...] = (
    (200, 36, 40), (30, 90, 200), (240, 240, 245), (30, 32, 38), (240, 180, 20), (20, 140, 110), (150, 160, 170),
)  # fmt: skip
_CLOTHES: tuple[Colour, ...] = ((255, 120, 0), (230, 30, 110), (255, 225, 30), (60, 220, 90), (235, 60, 40))


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


@dataclass(frozen=True, slots=True)
class Pedestrian:
    """Someone at the kerb; crosses to the other side from `walk_start_s` on, or stays when that is None."""

    id: int
    s_m: float
    from_d_m: float
    walk_start_s: float | None
    speed_mps: float
    colour: Colour

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
    """A pedestrian-crossing light: red in [red_from_s, red_until_s), else green; `s_m` is the stop line."""

    id: int
    s_m: float
    red_from_s: float
    red_until_s: float

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


def build_scene(spec: DriveSpec) -> Scene:
    """Draw the scene of a drive from its seed alone."""
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, 1]))
    cruise = float(rng.uniform(7.5, 13.5)) * (0.9 if spec.weather != "clear" else 1.0)
    road = random_road(rng, _EGO_START_M + cruise * spec.duration_s + _ROAD_MARGIN_M)
    return _Draw(spec, rng, road, cruise).scene()


class _Draw:
    """The state of drawing one scene: one random stream, one plan of where the ego will be."""

    def __init__(self, spec: DriveSpec, rng: np.random.Generator, road: Road, cruise_mps: float) -> None:
        self.spec = spec
        self.rng = rng
        self.road = road
        self.cruise = cruise_mps
        self.lane = int(rng.integers(2))
        self.start_m = _EGO_START_M
        # Strong events fall into 4..13 s of a 20 s drive; never so early that nobody could have reacted.
        self.event_s = max(spec.duration_s * float(rng.uniform(0.22, 0.65)), 4.0)
        self.next_id = 1

    def scene(self) -> Scene:
        change = self._lane_change()
        light = self._light() if self.spec.event == "traffic_light" or self._chance(0.12) else None
        pedestrians = self._pedestrians()
        vehicles = (*self._event_vehicles(), *self._neighbours(change), *self._oncoming())
        return Scene(
            road=self.road,
            ego_s_m=self.start_m,
            ego_d_m=LANE_OFFSETS_M[self.lane] + float(self.rng.normal(0.0, 0.2)),
            ego_turn_rad=float(self.rng.normal(0.0, 0.015)),
            ego_v_mps=min(self.cruise * float(self.rng.uniform(0.93, 1.03)), curve_speed_mps(self.road, 60.0, 12.0)),
            ego_lane=self.lane,
            cruise_mps=self.cruise,
            vehicles=vehicles,
            pedestrians=pedestrians,
            light=light,
            lane_change=change,
        )

    def _chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def _between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def _id(self) -> int:
        self.next_id += 1
        return self.next_id - 1

    def _paint(self) -> Colour:
        return _PAINTS[int(self.rng.integers(len(_PAINTS)))]

    def _ego_s_at(self, time_s: float) -> float:
        """Say where an undisturbed ego is at a time: cruise speed, slower in bends."""
        s = self.start_m
        for _ in range(round(time_s / STEP_S)):
            s += STEP_S * min(self.cruise, curve_speed_mps(self.road, s, 10.0))
        return s

    def _lane_change(self) -> LaneChange | None:
        likely = {"cruise": 0.75, "cut_in": 0.0, "lead": 0.15}.get(self.spec.event, 0.35)
        if not self._chance(likely):
            return None
        end = self.spec.duration_s - LANE_CHANGE_S - 0.5
        if self.spec.event == "cruise":
            start = self._between(0.1, 0.9) * end
        elif self.event_s > 0.45 * self.spec.duration_s:
            start = self._between(0.04, 0.12) * end
        else:
            start = self._between(0.88, 1.0) * end
        # The command rises on a 10 Hz tick, as the route topic is published.
        return LaneChange(round(max(start, 0.2), 1), 1 - self.lane)

    def _light(self) -> TrafficLight:
        s = self._ego_s_at(self.event_s)
        kind = self.rng.random() if self.spec.event == "traffic_light" else 1.0
        red_from, red_until = -1.0, -1.0
        if kind < 0.45:
            red_from = self.event_s - self._between(3.0, 5.0)
            red_until = self.event_s + self._between(1.5, 5.0)
        elif kind < 0.8:
            red_from, red_until = 0.0, self.event_s + self._between(-2.0, 4.5)
        return TrafficLight(self._id(), s, red_from, red_until)

    def _pedestrians(self) -> tuple[Pedestrian, ...]:
        people = []
        if self.spec.event == "pedestrian":
            from_right = self._chance(0.7)
            speed = self._between(1.25, 1.75)
            side = -KERB_M if from_right else KERB_M
            reach_s = (abs(LANE_OFFSETS_M[self.lane] - side) - 1.6) / speed
            start = self.event_s - max(self._between(2.7, 4.0), reach_s - self._between(0.0, 0.8))
            walk = start if self._chance(0.75) else None
            people.append(self._pedestrian(self._ego_s_at(self.event_s), side, walk, speed))
        for _ in range(int(self.rng.integers(0, 3))):
            side = KERB_M + self._between(0.3, 1.2)
            waiting_s = self._ego_s_at(self.spec.duration_s * self._between(0.1, 1.0)) + 12.0
            people.append(self._pedestrian(waiting_s, side if self._chance(0.4) else -side, None, 1.4))
        return tuple(people)

    def _pedestrian(self, s_m: float, d_m: float, walk_start_s: float | None, speed_mps: float) -> Pedestrian:
        colour = _CLOTHES[int(self.rng.integers(len(_CLOTHES)))]
        return Pedestrian(self._id(), s_m, d_m, walk_start_s, speed_mps, colour)

    def _event_vehicles(self) -> tuple[Vehicle, ...]:
        if self.spec.event == "lead":
            return (self._lead(),)
        if self.spec.event == "cut_in":
            return (self._cutting_in(),)
        if self.spec.event == "cruise" and self._chance(0.4):
            v = self.cruise * self._between(0.85, 1.0)
            return (self._vehicle(self.start_m + self._between(35.0, 55.0), LANE_OFFSETS_M[self.lane], v),)
        return ()

    def _lead(self) -> Vehicle:
        v = self.cruise * self._between(0.9, 1.0)
        gap = 6.5 + v * self._between(1.3, 2.0)
        first = Braking(self.event_s, self._between(3.0, 5.0), v * self._between(0.0, 0.4), self._between(1.5, 3.5))
        again = first.start_s + first.hold_s + self._between(5.5, 8.0)
        second = Braking(again, self._between(2.5, 4.5), v * self._between(0.0, 0.5), self._between(1.0, 3.0))
        return self._vehicle(self.start_m + gap, LANE_OFFSETS_M[self.lane], v, braking=(first, second))

    def _cutting_in(self) -> Vehicle:
        gap = self._between(7.0, 13.0)
        cut = CutIn(
            start_s=self.event_s,
            duration_s=self._between(1.8, 2.6),
            to_d_m=LANE_OFFSETS_M[self.lane],
            gap_m=gap,
            speed_mps=self.cruise * self._between(0.5, 0.8),
            slow_s=self._between(2.5, 4.5),
        )
        return self._vehicle(self.start_m + gap + 6.0, LANE_OFFSETS_M[1 - self.lane], self.cruise, cut_in=cut)

    def _neighbours(self, change: LaneChange | None) -> tuple[Vehicle, ...]:
        """Draw traffic in the own direction's other lane, unless the ego is to go there."""
        if change is not None or self.spec.event == "cut_in":
            return ()
        found = []
        if self._chance(0.6):
            ahead = self._between(15.0, 60.0)
            found.append((ahead, self.cruise * self._between(0.8, 1.0)))
        if self._chance(0.5):
            found.append((-self._between(14.0, 45.0), self.cruise * self._between(1.05, 1.3)))
        d = LANE_OFFSETS_M[1 - self.lane]
        return tuple(self._vehicle(self.start_m + ahead, d, v) for ahead, v in found)

    def _oncoming(self) -> tuple[Vehicle, ...]:
        found = []
        s = self.start_m + self._between(30.0, 110.0)
        for _ in range(int(self.rng.integers(2, 5))):
            d = -LANE_OFFSETS_M[int(self.rng.integers(2))]
            if s < self.road.length_m - 20.0:
                found.append(self._vehicle(s, d, self._between(8.0, 13.0), direction=-1))
            s += self._between(35.0, 120.0)
        return tuple(found)

    def _vehicle(
        self,
        s_m: float,
        d_m: float,
        v_mps: float,
        *,
        direction: int = 1,
        braking: tuple[Braking, ...] = (),
        cut_in: CutIn | None = None,
    ) -> Vehicle:
        van = self._chance(0.25)
        return Vehicle(
            id=self._id(),
            s_m=s_m,
            d_m=d_m,
            v_mps=min(v_mps, curve_speed_mps(self.road, s_m, 12.0, direction)),
            direction=direction,
            cruise_mps=v_mps,
            colour=self._paint(),
            length_m=self._between(5.2, 5.9) if van else self._between(4.1, 4.8),
            width_m=2.0 if van else 1.85,
            height_m=2.2 if van else 1.5,
            braking=braking,
            cut_in=cut_in,
        )

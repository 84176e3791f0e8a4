"""Drawing the scene of a drive from its seed: the event it is named after, hazards further on, traffic around. Pure.

The scene has to matter: nothing that the ego has to react to can be told from its own motion before it reacts, and
what follows can be seen. So whoever will cross stands at the kerb and whoever will not stands back, and standing
vehicles and red lights come into sight long before they have to be braked for.
"""

from __future__ import annotations

import numpy as np

from platform_lib.scenario.model import STEP_S, DriveSpec
from platform_lib.scenario.road import LANE_OFFSETS_M, Road, random_road
from platform_lib.scenario.scene import (
    KERB_M,
    LANE_CHANGE_S,
    Braking,
    Colour,
    CutIn,
    LaneChange,
    Pedestrian,
    Scene,
    Standing,
    TrafficLight,
    Vehicle,
    curve_speed_mps,
)

_EGO_START_M = 60.0
_ROAD_MARGIN_M = 260.0
_PAINTS: tuple[Colour, ...] = (
    (200, 36, 40), (30, 90, 200), (240, 240, 245), (30, 32, 38), (240, 180, 20), (20, 140, 110), (150, 160, 170),
)  # fmt: skip
_CLOTHES: tuple[Colour, ...] = ((255, 120, 0), (230, 30, 110), (255, 225, 30), (60, 220, 90), (235, 60, 40))


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
        # The first event comes early enough to leave time for more, never so early that nobody could have reacted.
        self.event_s = max(spec.duration_s * float(rng.uniform(0.2, 0.4)), 4.0)
        self.next_id = 1

    def scene(self) -> Scene:
        change = self._lane_change()
        stations = self._stations()
        light = self._light(stations)
        pedestrians = self._pedestrians(stations)
        vehicles = (*self._event_vehicles(), *self._standing(stations, change), *self._neighbours(change))
        return Scene(
            road=self.road,
            ego_s_m=self.start_m,
            ego_d_m=LANE_OFFSETS_M[self.lane] + float(self.rng.normal(0.0, 0.2)),
            ego_turn_rad=float(self.rng.normal(0.0, 0.015)),
            ego_v_mps=min(self.cruise * float(self.rng.uniform(0.93, 1.03)), curve_speed_mps(self.road, 60.0, 12.0)),
            ego_lane=self.lane,
            cruise_mps=self.cruise,
            vehicles=(*vehicles, *self._oncoming()),
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
        likely = {"cruise": 0.75, "cut_in": 0.0, "lead": 0.15}.get(self.spec.event, 0.3)
        if not self._chance(likely):
            return None
        end = self.spec.duration_s - LANE_CHANGE_S - 0.5
        start = self._between(0.1, 0.9) * end if self.spec.event == "cruise" else self._between(0.0, 0.1) * end
        # The command rises on a 10 Hz tick, as the route topic is published.
        return LaneChange(round(max(start, 0.2), 1), 1 - self.lane)

    # What the ego has to stop for, one station after the other

    def _stations(self) -> dict[float, str]:
        """Place what waits along the way: station along the road -> ``pedestrian``, ``light`` or ``standing``."""
        event = self.spec.event
        if event in ("cruise", "lead"):
            return {}
        first = {"pedestrian": "pedestrian", "traffic_light": "light"}.get(event)
        found: dict[float, str] = {}
        s = self._ego_s_at(self.event_s)
        if first is not None:
            found[s] = first
        last = self._ego_s_at(0.8 * self.spec.duration_s)
        while (s := s + self._between(42.0, 62.0)) < last:
            others = ("standing", "pedestrian") if event != "pedestrian" else ("pedestrian", "pedestrian", "standing")
            found[s] = others[int(self.rng.integers(len(others)))]
        return found

    def _light(self, stations: dict[float, str]) -> TrafficLight | None:
        at = [s for s, kind in stations.items() if kind == "light"]
        if not at:
            # A green light that stays green, so that a light alone is no reason to brake.
            return TrafficLight(self._id(), self._ego_s_at(self.event_s), -1.0, -1.0) if self._chance(0.12) else None
        kind = self.rng.random()
        if kind < 0.2:
            gap = self.cruise * self._between(2.6, 4.0)
            return TrafficLight(self._id(), at[0], -1.0, -1.0, gap, self._between(5.0, 7.0))
        if kind < 0.8:
            return TrafficLight(self._id(), at[0], 0.0, 99.0, self._between(3.0, 5.0), self._between(0.5, 2.5))
        return TrafficLight(self._id(), at[0], -1.0, -1.0)

    def _pedestrians(self, stations: dict[float, str]) -> tuple[Pedestrian, ...]:
        people = [self._crossing(s) for s, kind in stations.items() if kind == "pedestrian"]
        for _ in range(int(self.rng.integers(1, 4))):
            side = KERB_M + self._between(1.4, 2.0)
            waiting_m = self._ego_s_at(self.spec.duration_s * self._between(0.1, 1.0)) + 12.0
            people.append(self._pedestrian(waiting_m, side if self._chance(0.4) else -side, None, 1.4))
        return tuple(people)

    def _crossing(self, s_m: float) -> Pedestrian:
        """Place someone at the kerb who sets off as the ego comes near, so that the ego has to let them pass."""
        speed = self._between(1.25, 1.75)
        side = -KERB_M if self._chance(0.7) else KERB_M
        return self._pedestrian(s_m, side, self._between(10.0, 25.0), speed)

    def _pedestrian(self, s_m: float, d_m: float, walk_gap_m: float | None, speed_mps: float) -> Pedestrian:
        colour = _CLOTHES[int(self.rng.integers(len(_CLOTHES)))]
        return Pedestrian(self._id(), s_m, d_m, None, speed_mps, colour, walk_gap_m)

    def _standing(self, stations: dict[float, str], change: LaneChange | None) -> tuple[Vehicle, ...]:
        lane = self.lane if change is None else change.to_lane
        return tuple(
            self._vehicle(s, LANE_OFFSETS_M[lane], self.cruise * self._between(0.9, 1.1), standing=self._stand())
            for s, kind in stations.items()
            if kind == "standing"
        )

    def _stand(self) -> Standing:
        return Standing(gap_m=self._between(4.0, 12.0), delay_s=self._between(0.0, 1.5))

    # Who else drives

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
        v = self.cruise * self._between(0.6, 1.0)
        gap = 6.5 + v * self._between(1.3, 4.5)
        brakes, start = [], self._between(2.0, 5.0)
        while start < self.spec.duration_s:
            one = Braking(start, self._between(2.5, 4.5), v * self._between(0.0, 0.4), self._between(1.5, 3.0))
            brakes.append(one)
            start += one.hold_s + self._between(4.5, 6.5)
        return self._vehicle(self.start_m + gap, LANE_OFFSETS_M[self.lane], v, braking=tuple(brakes))

    def _cutting_in(self) -> Vehicle:
        gap = self._between(9.0, 15.0)
        cut = CutIn(
            start_s=self.event_s,
            duration_s=self._between(1.8, 2.6),
            to_d_m=LANE_OFFSETS_M[self.lane],
            gap_m=gap,
            speed_mps=self.cruise * self._between(0.6, 0.85),
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
        standing: Standing | None = None,
    ) -> Vehicle:
        van = self._chance(0.25)
        moving_mps = min(v_mps, curve_speed_mps(self.road, s_m, 12.0, direction))
        return Vehicle(
            id=self._id(),
            s_m=s_m,
            d_m=d_m,
            v_mps=moving_mps if standing is None else 0.0,
            direction=direction,
            cruise_mps=v_mps,
            colour=self._paint(),
            length_m=self._between(5.2, 5.9) if van else self._between(4.1, 4.8),
            width_m=2.0 if van else 1.85,
            height_m=2.2 if van else 1.5,
            braking=braking,
            cut_in=cut_in,
            standing=standing,
        )

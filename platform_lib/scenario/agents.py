"""How other road users behave: car following, lights, people on the road, and their scripts. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from platform_lib.scenario.road import HALF_WIDTH_M, Road
from platform_lib.scenario.scene import Pedestrian, Scene, TrafficLight, Vehicle, curve_speed_mps

CROSSING_DEPTH_M = 9.0
"""From one stop line to the other one, with the crossing between them."""

ACCEL_MIN_MPS2 = -6.5
"""What tyres hold."""


@dataclass(frozen=True, slots=True)
class IdmParameters:
    """Parameters of the intelligent driver model."""

    accel_mps2: float = 1.8
    brake_mps2: float = 2.6
    headway_s: float = 1.2
    standstill_m: float = 2.2


IDM = IdmParameters()


@dataclass(frozen=True, slots=True)
class Mover:
    """Anything that drives, in road coordinates: `s_m, d_m` is the centre of its footprint."""

    s_m: float
    d_m: float
    v_mps: float
    direction: int
    length_m: float
    width_m: float


@dataclass(frozen=True, slots=True)
class VehicleState:
    """Another vehicle at one instant; `go_s` is when a standing one sets off, once the ego has come near."""

    vehicle: Vehicle
    s_m: float
    d_m: float
    v_mps: float
    accel_mps2: float = 0.0
    d_rate_mps: float = 0.0
    indicator: int = 0
    go_s: float | None = None

    @property
    def mover(self) -> Mover:
        """The vehicle as others see it."""
        spec = self.vehicle
        return Mover(self.s_m, self.d_m, self.v_mps, spec.direction, spec.length_m, spec.width_m)

    @property
    def braking(self) -> bool:
        """Whether the brake lights are lit."""
        return self.accel_mps2 < -0.7 or self.v_mps < 0.1

    def pose(self, road: Road) -> tuple[float, float, float]:
        """Return (x_m, y_m, yaw_rad) of the footprint's centre in the world."""
        x, y, heading = road.pose(self.s_m, self.d_m)
        slant = math.atan2(self.d_rate_mps, max(self.v_mps, 2.0))
        return x, y, heading + slant if self.vehicle.direction > 0 else heading + math.pi - slant


def idm_accel_mps2(v_mps: float, wanted_mps: float, gap_m: float, lead_mps: float, idm: IdmParameters = IDM) -> float:
    """Return the acceleration behind one leader (`gap_m` bumper to bumper; infinite when the road is free).

    Source: Treiber, Hennecke, Helbing, Congested traffic states in empirical observations and microscopic
    simulations, Physical Review E 62, 2000, equations 2 and 3; clipped to what tyres hold.
    """
    # Above the wanted speed the fourth power brakes needlessly hard; a linear pull is enough.
    free = 1.0 - (v_mps / wanted_mps) ** 4 if v_mps <= wanted_mps else (wanted_mps - v_mps) / 1.5
    closing = v_mps * (v_mps - lead_mps) / (2.0 * math.sqrt(idm.accel_mps2 * idm.brake_mps2))
    desired = idm.standstill_m + max(0.0, v_mps * idm.headway_s + closing)
    accel = idm.accel_mps2 * (free - (desired / max(gap_m, 0.3)) ** 2)
    return min(max(accel, ACCEL_MIN_MPS2), idm.accel_mps2)


def hindrances(me: Mover, movers: tuple[Mover, ...], scene: Scene, time_s: float) -> list[tuple[float, float]]:
    """List what is ahead as (gap_m, speed_mps): vehicles in the way, a red light's stop line, people on the road."""
    found = []
    for other in movers:
        ahead = me.direction * (other.s_m - me.s_m)
        beside = abs(other.d_m - me.d_m) < 0.5 * (me.width_m + other.width_m) + 0.25
        if beside and 0.0 < ahead < 120.0:
            along = other.v_mps * me.direction * other.direction
            found.append((ahead - 0.5 * (me.length_m + other.length_m), max(along, 0.0)))
    stops = [_light_gap_m(me, scene.light, time_s)] if scene.light is not None else []
    stops += [_pedestrian_gap_m(me, person, time_s) for person in scene.pedestrians]
    found.extend((gap, 0.0) for gap in stops if gap is not None)
    return found


def _light_gap_m(me: Mover, light: TrafficLight, time_s: float) -> float | None:
    line = light.s_m if me.direction > 0 else light.s_m + CROSSING_DEPTH_M
    # The standstill distance of the car-following model comes on top of the gap; the line itself may be reached.
    gap = me.direction * (line - me.s_m) - 0.5 * me.length_m + 1.2
    too_late = me.v_mps**2 > 2 * 5.0 * max(gap, 0.1) and me.v_mps > 2.0
    return None if not light.red(time_s) or gap < 0.0 or too_late else gap


def _pedestrian_gap_m(me: Mover, person: Pedestrian, time_s: float) -> float | None:
    gap = me.direction * (person.s_m - me.s_m) - 0.5 * me.length_m - 1.5
    if gap < -1.0:
        return None
    cannot_stop = me.v_mps**2 > 2 * 4.5 * max(gap, 0.1)
    if person.wants_to_cross(time_s):
        # As the law has it in most countries: who waits at the kerb to cross is let pass.
        return None if cannot_stop else max(gap, 0.0)
    d, rate = person.at(time_s)
    if rate == 0.0 or abs(d) > HALF_WIDTH_M + 0.35:
        return None
    sign, half = math.copysign(1.0, rate), 0.5 * me.width_m + 1.0
    if sign * (d - me.d_m) > half:
        return None  # already across
    enters_in_s = max(0.0, sign * (me.d_m - d) - half) / abs(rate)
    passed_in_s = (gap + me.length_m + 3.0) / max(me.v_mps, 0.1)
    if cannot_stop and passed_in_s < enters_in_s:
        return None
    return max(gap, 0.0)


def free_speed_mps(me: Mover, wanted_mps: float, scene: Scene) -> float:
    """Return the speed that a careful driver would drive with nobody ahead: the wanted one, slower in bends."""
    return min(wanted_mps, curve_speed_mps(scene.road, me.s_m, 6.0 + 1.2 * me.v_mps, me.direction))


def wanted_accel_mps2(
    me: Mover, wanted_mps: float, movers: tuple[Mover, ...], scene: Scene, time_s: float, idm: IdmParameters = IDM
) -> float:
    """Return the acceleration of a careful driver: the strictest answer to everything ahead, slower in bends."""
    wanted = free_speed_mps(me, wanted_mps, scene)
    gaps = hindrances(me, movers, scene, time_s) or [(math.inf, 0.0)]
    return min(idm_accel_mps2(me.v_mps, wanted, gap, lead, idm) for gap, lead in gaps)


def decide(state: VehicleState, movers: tuple[Mover, ...], ego: Mover, scene: Scene, time_s: float) -> VehicleState:
    """Choose the acceleration and sideways motion for the next step; scripts only ever add braking.

    Args:
        state: The vehicle now.
        movers: Everyone else in road coordinates, the ego included.
        ego: The ego, which a vehicle about to cut in keeps pace with.
        scene: Road, people and light.
        time_s: Time since the drive began.
    """
    spec, cut = state.vehicle, state.vehicle.cut_in
    wanted = spec.cruise_mps
    d_rate, indicator = 0.0, 0
    accel_script = math.inf
    if cut is not None and time_s < cut.start_s:
        place = ego.s_m + 0.5 * (ego.length_m + spec.length_m) + cut.gap_m
        accel_script = min(max(0.5 * (place - state.s_m) + 1.2 * (ego.v_mps - state.v_mps), -4.0), 2.5)
        wanted = max(spec.cruise_mps, ego.v_mps + 3.0)
        indicator = (1 if cut.to_d_m > state.d_m else -1) if time_s > cut.start_s - 2.0 else 0
    elif cut is not None:
        share = (time_s - cut.start_s) / cut.duration_s
        if share < 1.0:
            # The sine of a smooth step's slope, from the lane it left to the one it enters.
            indicator = 1 if cut.to_d_m > state.d_m else -1
            remaining = cut.duration_s * max(1.0 - share, 0.08)
            d_rate = _smooth_rate(cut.to_d_m - state.d_m, remaining, share)
        wanted = cut.speed_mps if share * cut.duration_s < cut.slow_s else 0.9 * spec.cruise_mps
    accel = min(wanted_accel_mps2(state.mover, wanted, movers, scene, time_s), accel_script)
    for brake in spec.braking:
        accel = min(accel, _scripted(brake.start_s, brake.decel_mps2, brake.floor_mps, brake.hold_s, state, time_s))
    go_s = _go_s(state, ego, time_s)
    if spec.standing is not None and (go_s is None or time_s < go_s):
        accel = min(accel, 0.0)
    return replace(state, accel_mps2=accel, d_rate_mps=d_rate, indicator=indicator, go_s=go_s)


def _go_s(state: VehicleState, ego: Mover, time_s: float) -> float | None:
    stand = state.vehicle.standing
    if stand is None or state.go_s is not None:
        return state.go_s
    gap = state.s_m - ego.s_m - 0.5 * (state.vehicle.length_m + ego.length_m)
    return time_s + stand.delay_s if gap < stand.gap_m else None


def _smooth_rate(left_m: float, remaining_s: float, share: float) -> float:
    return left_m / remaining_s * min(2.0, 6.0 * share + 0.3)


def _scripted(start_s: float, decel: float, floor: float, hold_s: float, state: VehicleState, time_s: float) -> float:
    needed_s = max(state.vehicle.cruise_mps - floor, 0.0) / decel
    if not start_s <= time_s < start_s + needed_s + hold_s:
        return math.inf
    return -decel if state.v_mps > floor + 0.2 else (floor - state.v_mps)


def advance(state: VehicleState, dt_s: float) -> VehicleState:
    """Move a vehicle along the road by `dt_s` as it decided; it never rolls backwards."""
    v = max(0.0, state.v_mps + state.accel_mps2 * dt_s)
    s = state.s_m + state.vehicle.direction * 0.5 * (state.v_mps + v) * dt_s
    return replace(state, s_m=s, d_m=state.d_m + state.d_rate_mps * dt_s, v_mps=v)

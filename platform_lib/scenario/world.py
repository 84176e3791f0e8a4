"""One drive that can be driven: the ego under outside control, everyone else reacting, collisions and the camera."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from platform_lib.scenario import agents, bicycle
from platform_lib.scenario.collision import Box, swept_overlap
from platform_lib.scenario.drawing import build_scene
from platform_lib.scenario.expert import REACTION_S, decided_accel_mps2, pure_pursuit_rad
from platform_lib.scenario.model import (
    EGO_CENTRE_AHEAD_M,
    EGO_LENGTH_M,
    EGO_WIDTH_M,
    HISTORY_STEPS,
    STEP_S,
    Command,
    Control,
    DriveSpec,
    EgoState,
    ObjectBox,
    ObjectKind,
    Observation,
)
from platform_lib.scenario.renderer import Renderer
from platform_lib.scenario.road import HALF_WIDTH_M
from platform_lib.scenario.scene import LANE_CHANGE_S, Scene
from platform_lib.scenario.triggers import triggered

SUBSTEPS = 10
PEDESTRIAN_SIZE_M = 0.6
PEDESTRIAN_HEIGHT_M = 1.75
OFFROAD_TOLERANCE_M = 0.3

_REFLEX_MPS2 = -3.5
_PENDING = round(REACTION_S / STEP_S) + 1
_CHECK_EVERY = 5
_NEAR_M = 15.0


@dataclass(frozen=True, slots=True)
class Contact:
    """The first contact of the ego with another road user, at the end of the substep in which it happened."""

    kind: str
    ego: EgoState
    other: Box
    other_mps: float


class World:
    """One drive in a closed loop; deterministic by its spec.

    Attributes:
        spec: What is being driven.
        scene: What it holds now, pass a changed copy to ask what would have happened; the ego's approach sets off
            pedestrians and lights.
        collision: What the ego ran into (``vehicle``, ``pedestrian``), or None; stays once it happened.
        contact: That collision, for judging whose fault it was.
        offroad: Whether a corner of the ego has left its own carriageway by more than 0.3 m (over the kerb, or over
            the centre line into oncoming traffic); stays once it happened.
    """

    def __init__(self, spec: DriveSpec, scene: Scene | None = None) -> None:
        self.spec = spec
        self.scene = build_scene(spec) if scene is None else scene
        self.collision: str | None = None
        self.contact: Contact | None = None
        self.offroad = False
        self._tick = 0
        start = self.scene
        x, y, heading = start.road.pose(start.ego_s_m, start.ego_d_m)
        self._ego = EgoState(0.0, x, y, heading + start.ego_turn_rad, start.ego_v_mps, 0.0, 0.0, 0.0)
        self._ego_s_m, self._ego_d_m = start.ego_s_m, start.ego_d_m
        self._vehicles = [agents.VehicleState(item, item.s_m, item.d_m, item.v_mps) for item in start.vehicles]
        self._history = deque([self._history_row()] * HISTORY_STEPS, maxlen=HISTORY_STEPS)
        # What the expert decided and has not carried out yet, oldest first.
        self._decisions = deque([self._decide()] * _PENDING, maxlen=_PENDING)
        self._renderer: Renderer | None = None

    @property
    def time_s(self) -> float:
        """Time since the drive began."""
        return self._tick * STEP_S

    @property
    def ego(self) -> EgoState:
        """The ego now."""
        return self._ego

    @property
    def progress_m(self) -> float:
        """Distance covered along the road."""
        return self._ego_s_m - self.scene.ego_s_m

    @property
    def lane_offset_m(self) -> float:
        """Offset of the rear axle from the road's centre-line, left positive; own lanes are at -1.75 and -5.25."""
        return self._ego_d_m

    @property
    def front_s_m(self) -> float:
        """Arc length of the middle of the ego's front on the road."""
        return self._ego_s_m + EGO_CENTRE_AHEAD_M + EGO_LENGTH_M / 2

    @property
    def done(self) -> bool:
        """Whether the drive is over: its time is up, or it ended in a collision or off the road."""
        return self._tick >= round(self.spec.duration_s / STEP_S) or self.collision is not None or self.offroad

    @property
    def command(self) -> Command:
        """The route command in force."""
        change = self.scene.lane_change
        if change is None or not change.start_s <= self.time_s + 1e-6 < change.start_s + LANE_CHANGE_S:
            return Command.LANE_FOLLOW
        return Command.CHANGE_LANE_LEFT if change.to_lane < self.scene.ego_lane else Command.CHANGE_LANE_RIGHT

    @property
    def vehicles(self) -> tuple[agents.VehicleState, ...]:
        """The other vehicles now, in road coordinates."""
        return tuple(self._vehicles)

    def observe(self, *, camera: bool = True) -> Observation:
        """Return what a policy gets now; rendering costs some milliseconds and is skipped with ``camera=False``."""
        picture = None
        if camera:
            if self._renderer is None:
                self._renderer = Renderer(self.scene, self.spec.weather, self.spec.seed)
            picture = self._renderer.frame(self.scene, self._ego, self._ego_s_m, self.vehicles, self._tick)
        history = np.array(self._history, dtype=np.float32)
        return Observation(self.time_s, picture, history, self.command)

    def expert_control(self) -> Control:
        """Return what the expert does now: steers for what it sees, brakes as it decided `REACTION_S` ago."""
        # Who has to brake hard does so at once.
        accel = min(self._decisions[0], self._decisions[-1] if self._decisions[-1] < _REFLEX_MPS2 else math.inf)
        return Control(accel, pure_pursuit_rad(self._ego, self._ego_mover(), self.scene))

    def _decide(self) -> float:
        return decided_accel_mps2(self._ego_mover(), self.scene, self._movers(), self.time_s)

    def step(self, control: Control) -> tuple[EgoState, ...]:
        """Hold `control` for 0.1 s and return the ego after each of the ten 0.01 s substeps.

        Raises:
            ValueError: The control is not finite.
        """
        ego_mover, movers = self._ego_mover(), self._movers()
        self.scene = triggered(self.scene, ego_mover, self.time_s)
        self._vehicles = [
            agents.decide(state, (*movers[:i], *movers[i + 1 :], ego_mover), ego_mover, self.scene, self.time_s)
            for i, state in enumerate(self._vehicles)
        ]
        passed = []
        before = self._boxes()
        for number in range(1, SUBSTEPS + 1):
            self._ego = bicycle.advance(self._ego, control, STEP_S / SUBSTEPS)
            passed.append(self._ego)
            if number % _CHECK_EVERY == 0:
                dt_s = STEP_S * _CHECK_EVERY / SUBSTEPS
                self._vehicles = [agents.advance(state, dt_s) for state in self._vehicles]
                before = self._check(before)
        self._tick += 1
        self._history.append(self._history_row())
        self._decisions.append(self._decide())
        return tuple(passed)

    def objects(self, *, within_m: float = 100.0) -> tuple[ObjectBox, ...]:
        """Return the other road users and the traffic light in the ego frame, nearest first."""
        ego, road, found = self._ego, self.scene.road, []
        for state in self._vehicles:
            spec = state.vehicle
            x, y, yaw = state.pose(road)
            size = (spec.length_m, spec.width_m, spec.height_m)
            found.append(self._object(spec.id, "vehicle", (x, y, yaw), size, state.v_mps))
        for person in self.scene.pedestrians:
            d, rate = person.at(ego.time_s)
            x, y, heading = road.pose(person.s_m, d)
            yaw = heading + math.copysign(math.pi / 2, rate if rate else -person.from_d_m)
            size = (PEDESTRIAN_SIZE_M, PEDESTRIAN_SIZE_M, PEDESTRIAN_HEIGHT_M)
            found.append(self._object(person.id, "pedestrian", (x, y, yaw), size, abs(rate)))
        light = self.scene.light
        if light is not None:
            kind: ObjectKind = "traffic_light_red" if light.red(ego.time_s) else "traffic_light_green"
            pose = road.pose(light.s_m + agents.CROSSING_DEPTH_M, -HALF_WIDTH_M - 0.8)
            found.append(self._object(light.id, kind, pose, (0.4, 0.5, 4.0), 0.0))
        near = [item for item in found if math.hypot(item.x_m, item.y_m) <= within_m]
        return tuple(sorted(near, key=lambda item: math.hypot(item.x_m, item.y_m)))

    def _object(
        self,
        number: int,
        kind: ObjectKind,
        pose: tuple[float, float, float],
        size_m: tuple[float, float, float],
        speed_mps: float,
    ) -> ObjectBox:
        ego = self._ego
        dx, dy = pose[0] - ego.x_m, pose[1] - ego.y_m
        c, s = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
        yaw = math.remainder(pose[2] - ego.yaw_rad, 2 * math.pi)
        return ObjectBox(number, kind, c * dx + s * dy, c * dy - s * dx, yaw, *size_m, speed_mps)

    def _history_row(self) -> tuple[float, float, float]:
        return self._ego.v_mps, self._ego.yaw_rate_rps, self._ego.accel_mps2

    def _ego_mover(self) -> agents.Mover:
        centre = self._ego_s_m + EGO_CENTRE_AHEAD_M
        return agents.Mover(centre, self._ego_d_m, self._ego.v_mps, 1, EGO_LENGTH_M, EGO_WIDTH_M)

    def _movers(self) -> tuple[agents.Mover, ...]:
        return tuple(state.mover for state in self._vehicles)

    def _boxes(self) -> tuple[Box, list[tuple[str, Box]]]:
        ego, road, others = self._ego, self.scene.road, []
        centre_x = ego.x_m + EGO_CENTRE_AHEAD_M * math.cos(ego.yaw_rad)
        centre_y = ego.y_m + EGO_CENTRE_AHEAD_M * math.sin(ego.yaw_rad)
        for state in self._vehicles:
            others.append(("vehicle", Box(*state.pose(road), state.vehicle.length_m, state.vehicle.width_m)))
        for person in self.scene.pedestrians:
            pose = road.pose(person.s_m, person.at(ego.time_s)[0])
            others.append(("pedestrian", Box(*pose, PEDESTRIAN_SIZE_M, PEDESTRIAN_SIZE_M)))
        return Box(centre_x, centre_y, ego.yaw_rad, EGO_LENGTH_M, EGO_WIDTH_M), others

    def _check(self, before: tuple[Box, list[tuple[str, Box]]]) -> tuple[Box, list[tuple[str, Box]]]:
        after = self._boxes()
        ego_from, ego_to = before[0], after[0]
        for (kind, box_from), (_, box_to) in zip(before[1], after[1], strict=True):
            near = math.hypot(box_to.x_m - ego_to.x_m, box_to.y_m - ego_to.y_m) < _NEAR_M
            if self.collision is None and near and swept_overlap(ego_from, ego_to, box_from, box_to):
                self.collision = kind
                moved = math.hypot(box_to.x_m - box_from.x_m, box_to.y_m - box_from.y_m)
                self.contact = Contact(kind, self._ego, box_to, moved / (STEP_S * _CHECK_EVERY / SUBSTEPS))
        road = self.scene.road
        self._ego_s_m, self._ego_d_m = road.to_road(self._ego.x_m, self._ego.y_m, self._ego_s_m)
        for x, y in ego_to.corners():
            d = road.to_road(x, y, self._ego_s_m)[1]
            if d > OFFROAD_TOLERANCE_M or d < -HALF_WIDTH_M - OFFROAD_TOLERANCE_M:
                self.offroad = True
        return after

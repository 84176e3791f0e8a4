"""Scenes about which everything is known: moments of the expert's drives in the simulator, for the EPDMS.

A recorded dataset holds no map and no traffic lights. The simulator does, so a planner is asked at some moments of the
expert's own drives, from the state that the expert had brought the car into, and its plan is held against that world.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from platform_lib.evaluation.closed_loop import Episode
from platform_lib.evaluation.epdms import DrivenScenes, Lights, PlanPairs
from platform_lib.evaluation.frames import STEP_S as FUTURE_STEP_S
from platform_lib.evaluation.frames import STEPS, Agents, Frames
from platform_lib.evaluation.geometry import Boxes, Doubles
from platform_lib.evaluation.poses import TICK_S, TICKS
from platform_lib.evaluation.roads import Roads
from platform_lib.models.interface import Planner, PlannerInput
from platform_lib.scenario.model import STEP_S, Control, DriveSpec, EgoState, ObjectBox
from platform_lib.scenario.world import World
from ray_jobs.episodes import EXPERT, ROAD_BACK_M, driven_by, planner_input, roads_around

ASKED_S = (3.0, 6.0, 9.0)
BEFORE_S = 0.5
"""The plan before, which the plan is asked to keep to."""
_PER_STEP = round(FUTURE_STEP_S / STEP_S)


@dataclass(frozen=True, slots=True)
class KnownScene:
    """One moment of one drive.

    Attributes:
        now: What a planner sees.
        before: What it saw `BEFORE_S` earlier.
        driven_m: (6, 2) where the expert then was.
        agents: Where the others then were.
        road: Around the ego.
        stop_s_m: Arc length of the stop line on that road, NaN without a light.
        red: (TICKS + 1,).
    """

    world: str
    slices: frozenset[str]
    now: PlannerInput
    before: PlannerInput
    driven_m: Doubles
    agents: Agents
    road: Roads
    stop_s_m: float
    red: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Moment:
    ego: EgoState
    around: tuple[ObjectBox, ...]
    red: bool


def expert_scenes(spec: DriveSpec) -> tuple[Episode, tuple[KnownScene, ...]]:
    """Let the expert drive a world; return what became of it, and the scenes on its way that have a whole future."""
    world = World(spec)
    asked = {round(at / STEP_S) for at in ASKED_S}
    early = {tick - round(BEFORE_S / STEP_S) for tick in asked}
    moments: list[_Moment] = []
    seen: dict[int, PlannerInput] = {}
    roads: dict[int, tuple[Roads, float]] = {}

    def decide(at: World) -> Control:
        tick = len(moments)
        # Others are looked up at the half seconds alone; the scenes ask for no other moments.
        around = at.objects() if tick % _PER_STEP == 0 else ()
        light = at.scene.light
        moments.append(_Moment(at.ego, around, light is not None and light.red(at.time_s)))
        if tick in asked or tick in early:
            seen[tick] = planner_input(at.observe())
        if tick in asked:
            road = roads_around([at], [at.ego])
            behind = at.scene.road.to_road(at.ego.x_m, at.ego.y_m, at.front_s_m)[0] - ROAD_BACK_M
            roads[tick] = road, math.nan if light is None else light.s_m - behind
        return at.expert_control()

    episode = driven_by(EXPERT, world, decide, expert_progress_m=None).episode
    whole = [tick for tick in sorted(asked) if tick + TICKS < len(moments)]
    return episode, tuple(
        KnownScene(
            world=spec.name,
            slices=frozenset({spec.weather, spec.event}),
            now=seen[tick],
            before=seen[tick - round(BEFORE_S / STEP_S)],
            driven_m=_driven(moments, tick),
            agents=_agents(moments, tick),
            road=roads[tick][0],
            stop_s_m=roads[tick][1],
            red=np.array([moment.red for moment in moments[tick : tick + TICKS + 1]]),
        )
        for tick in whole
    )


def _driven(moments: Sequence[_Moment], tick: int) -> Doubles:
    now = moments[tick].ego
    later = [moments[tick + k * _PER_STEP].ego for k in range(1, STEPS + 1)]
    return _into(now, np.array([(ego.x_m, ego.y_m) for ego in later]))


def _into(ego: EgoState, points_m: Doubles) -> Doubles:
    """Return (K, 2) world points in an ego's coordinates."""
    cosine, sine = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    return np.asarray((points_m - [ego.x_m, ego.y_m]) @ np.array([[cosine, -sine], [sine, cosine]]))


def _agents(moments: Sequence[_Moment], tick: int) -> Agents:
    now = moments[tick].ego
    steps, kinds, rows = [], [], []
    for step in range(STEPS):
        then = moments[tick + (step + 1) * _PER_STEP]
        cosine, sine = math.cos(then.ego.yaw_rad), math.sin(then.ego.yaw_rad)
        for item in then.around:
            x = then.ego.x_m + cosine * item.x_m - sine * item.y_m
            y = then.ego.y_m + sine * item.x_m + cosine * item.y_m
            steps.append(step)
            kinds.append(item.kind)
            rows.append((x, y, item.yaw_rad + then.ego.yaw_rad - now.yaw_rad, item.length_m, item.width_m))
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    table[:, :2] = _into(now, table[:, :2])
    return Agents(np.array(steps, dtype=np.int64), tuple(kinds), Boxes(*table.T))


def joined(scenes: Sequence[KnownScene]) -> DrivenScenes:
    """Return scenes as the scorer takes them."""
    roads = [scene.road for scene in scenes]
    names = ("x_m", "y_m", "heading_rad", "drivable_m", "own_m", "lanes_m")
    frames = Frames(
        drive=tuple(scene.world for scene in scenes),
        slices=tuple(scene.slices for scene in scenes),
        future_m=np.stack([scene.driven_m for scene in scenes]),
        agents=tuple(scene.agents for scene in scenes),
        road=Roads(*(np.concatenate([getattr(road, name) for road in roads]) for name in names)),
    )
    lights = Lights(np.array([scene.stop_s_m for scene in scenes]), np.stack([scene.red for scene in scenes]))
    history = np.concatenate([scene.now.ego_history for scene in scenes]).astype(np.float64)
    return DrivenScenes(frames, lights, history)


def asked(planner: Planner, scenes: Sequence[KnownScene]) -> tuple[Doubles, Doubles]:
    """Return the planner's (N, 6, 2) plans in each scene, and those of `BEFORE_S` earlier."""
    found = [planner.plan(batch(inputs)) for inputs in ([s.now for s in scenes], [s.before for s in scenes])]
    return found[0].astype(np.float64), found[1].astype(np.float64)


def batch(inputs: Sequence[PlannerInput]) -> PlannerInput:
    """Return several batches as one."""
    return PlannerInput(
        np.concatenate([one.image for one in inputs]),
        np.concatenate([one.ego_history for one in inputs]),
        np.concatenate([one.command for one in inputs]),
    )


def pairs(before_m: Doubles, scenes: Sequence[KnownScene]) -> PlanPairs:
    """Return plans made before the scenes as the scorer takes them."""
    speed = np.array([scene.before.ego_history[0, -1, 0] for scene in scenes], dtype=np.float64)
    return PlanPairs(before_m, speed, round(BEFORE_S / TICK_S))

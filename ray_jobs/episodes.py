"""Closed loop: a planner drives the simulator's car, step by step, in worlds that no training drive has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from platform_lib.datasets.images import decode_images
from platform_lib.errors import ContractError
from platform_lib.evaluation.closed_loop import Episode, motion_comfort
from platform_lib.evaluation.comfort import LONG_TICKS, comfortable
from platform_lib.evaluation.control import follow
from platform_lib.evaluation.faults import faulty
from platform_lib.evaluation.geometry import Boxes, Doubles
from platform_lib.evaluation.poses import Poses
from platform_lib.evaluation.roads import GRID_M, Roads
from platform_lib.evaluation.swept import Sweeps
from platform_lib.models.interface import IMAGE_HEIGHT, IMAGE_WIDTH, PLAN_STEPS, Planner, PlannerInput
from platform_lib.scenario.model import EVENTS, STEP_S, WEATHERS, Control, DriveSpec, EgoState, Observation
from platform_lib.scenario.recording import JPEG_QUALITY
from platform_lib.scenario.road import HALF_WIDTH_M, LANE_OFFSETS_M
from platform_lib.scenario.world import Contact, World

# The fleet's seeds are 63-bit hashes; these lie below 2^20, where none of them falls (probability 1e-11 for a fleet
# of 100,000), so a world here is never one that was trained on.
FIRST_SEED = 900_001
ROUNDS = 3
EPISODE_S = 15.0
EXPERT = "expert"
ROAD_BACK_M, ROAD_AHEAD_M = 20.0, 100.0


def worlds() -> tuple[DriveSpec, ...]:
    """Return the worlds to drive: each weather with each event, `ROUNDS` times."""
    pairs = [(round_, event, weather) for round_ in range(ROUNDS) for event in EVENTS for weather in WEATHERS]
    return tuple(
        DriveSpec(
            seed=FIRST_SEED + number,
            vehicle="closed-loop",
            session=f"{event.replace('_', '-')}-{weather}-{round_ + 1}",
            start_ns=0,
            duration_s=EPISODE_S,
            weather=weather,
            event=event,
        )
        for number, (round_, event, weather) in enumerate(pairs)
    )


@dataclass(frozen=True, slots=True)
class Drive:
    """One driven episode with all that it takes to drive it again without its planner.

    Attributes:
        episode: What became of it.
        spec: The world.
        controls: (T, 2) acceleration and steering angle of each step of 0.1 s.
        plans_m: (T, 6, 2) float32, what was planned at each step; empty for the expert.
    """

    episode: Episode
    spec: DriveSpec
    controls: Doubles
    plans_m: NDArray[np.float32]


def drive_expert(spec: DriveSpec) -> Episode:
    """Let the expert drive; its progress is the measure for the others."""
    return driven_by(EXPERT, World(spec), lambda world: world.expert_control(), expert_progress_m=None).episode


def drive_planner(planner: Planner, spec: DriveSpec, *, looks: bool, expert_progress_m: float) -> Drive:
    """Let a planner drive at 10 Hz, pure pursuit and speed tracking between its plan and the car.

    Args:
        planner: Who drives.
        spec: The world to drive in.
        looks: Whether frames are rendered; a planner that ignores the image is spared the time.
        expert_progress_m: The expert's progress in the same world.

    Raises:
        ContractError: The planner gave a plan that is not finite.
    """
    plans: list[NDArray[np.float32]] = []

    def decide(world: World) -> Control:
        plan = planner.plan(planner_input(world.observe(camera=looks)))[0]
        if not np.isfinite(plan).all():
            raise ContractError(f"planner '{planner.name}' gave a plan that is not finite", where=spec.name)
        plans.append(plan.astype(np.float32))
        return follow(plan.astype(np.float64), world.ego.v_mps)

    drive = driven_by(planner.name, World(spec), decide, expert_progress_m=expert_progress_m)
    return replace(drive, plans_m=np.array(plans, dtype=np.float32).reshape(-1, PLAN_STEPS, 2))


def drive_again(spec: DriveSpec, controls: Doubles, planner: str, *, expert_progress_m: float) -> Episode:
    """Drive with recorded (T, 2) controls: the same world, the same controls, the same end."""
    steps = iter(controls.tolist())
    return driven_by(
        planner, World(spec), lambda world: Control(*next(steps)), expert_progress_m=expert_progress_m
    ).episode


def driven_by(name: str, world: World, decide: Callable[[World], Control], *, expert_progress_m: float | None) -> Drive:
    """Drive a world to its end and score it; who has no expert beside it is the expert."""
    states, controls, ran_red = [world.ego], [], False
    while not world.done:
        control = decide(world)
        before_m = world.front_s_m
        world.step(control)
        light = world.scene.light
        if light is not None and before_m <= light.s_m < world.front_s_m:
            ran_red = ran_red or light.red(world.time_s)
        states.append(world.ego)
        controls.append((control.accel_mps2, control.steer_rad))
    episode = _episode(name, world, states, ran_red=ran_red, expert_progress_m=expert_progress_m)
    none = np.zeros((0, PLAN_STEPS, 2), dtype=np.float32)
    return Drive(episode, world.spec, np.array(controls, dtype=np.float64).reshape(-1, 2), none)


def planner_input(seen: Observation) -> PlannerInput:
    """Turn what the simulator shows into a batch of one, through the same JPEG as a recording."""
    image = np.zeros((3, IMAGE_HEIGHT, IMAGE_WIDTH), dtype=np.uint8)
    if seen.camera is not None:
        # Through the recorder's own compression and the dataset's own reduction: networks notice the difference.
        image = decode_images([_jpeg(seen.camera)], ["closed loop"])[0].transpose(2, 0, 1)
    return PlannerInput(image[None], seen.ego_history[None], np.array([int(seen.command)], dtype=np.int64))


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)[1])


def _episode(
    planner: str, world: World, states: list[EgoState], *, ran_red: bool, expert_progress_m: float | None
) -> Episode:
    accel, jerk = motion_comfort(np.array([state.v_mps for state in states[1:]], dtype=np.float64), STEP_S)
    # Nearer to the centre line than to the kerb: it left its side of the road to the left.
    left = world.lane_offset_m > -HALF_WIDTH_M / 2
    return Episode(
        planner=planner,
        world=world.spec.name,
        slices=frozenset({world.spec.weather, world.spec.event}),
        collided_with=world.collision,
        offroad=world.offroad,
        progress_m=world.progress_m,
        expert_progress_m=world.progress_m if expert_progress_m is None else expert_progress_m,
        max_accel_mps2=accel,
        max_jerk_mps3=jerk,
        at_fault=world.contact is not None and _at_fault(world, world.contact),
        ran_red=None if world.scene.light is None else ran_red,
        wrong_side=world.offroad and left,
        comfortable=_comfortable(states),
    )


def _comfortable(states: list[EgoState]) -> bool | None:
    if len(states) < LONG_TICKS:
        return None
    rows = np.array([(state.accel_mps2, state.v_mps * state.yaw_rate_rps, state.yaw_rate_rps) for state in states])
    along, across, turn = (column[None] for column in rows.T)
    return bool(comfortable(along, across, turn)[0])


def _at_fault(world: World, contact: Contact) -> bool:
    """Judge a contact by the same rules as those of plans, in the ego's coordinates of that moment."""
    ego, other = contact.ego, contact.other
    cosine, sine = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
    dx, dy = other.x_m - ego.x_m, other.y_m - ego.y_m
    yaw = other.yaw_rad - ego.yaw_rad
    x, y = cosine * dx + sine * dy, cosine * dy - sine * dx
    on_m = contact.other_mps * STEP_S
    rows = [(x, y, yaw), (x + on_m * math.cos(yaw), y + on_m * math.sin(yaw), yaw)]
    boxes = [Boxes(*(np.array([value]) for value in (*row, other.length_m, other.width_m))) for row in rows]
    zero = np.zeros(1)
    met = Sweeps(np.zeros(1, dtype=np.int64), zero, zero + STEP_S, *boxes)
    poses = Poses(np.array([[0.0, ego.v_mps * STEP_S]]), np.zeros((1, 2)), np.zeros((1, 2)), STEP_S)
    found = faulty(poses, met.frame, zero, met, ego_mps=zero + ego.v_mps, road=roads_around([world], [ego]))
    return bool(found[0])


def roads_around(worlds_: Sequence[World], egos: Sequence[EgoState]) -> Roads:
    """Return the road around each ego, in its coordinates: `ROAD_BACK_M` behind to `ROAD_AHEAD_M` ahead."""
    rows = []
    for world, ego in zip(worlds_, egos, strict=True):
        road = world.scene.road
        near = road.to_road(ego.x_m, ego.y_m, world.front_s_m)[0]
        s = near - ROAD_BACK_M + np.arange(int((ROAD_BACK_M + ROAD_AHEAD_M) / GRID_M) + 1) * GRID_M
        points, heading = road.to_world(s, 0.0), road.at(s, road.heading_rad)
        # Beyond its ends the recorded road holds still; a centre line may not, so it goes on straight.
        beyond = s - np.clip(s, 0.0, road.length_m)
        points = points + beyond[:, None] * np.stack([np.cos(heading), np.sin(heading)], axis=1)
        shift = points - [ego.x_m, ego.y_m]
        cosine, sine = math.cos(ego.yaw_rad), math.sin(ego.yaw_rad)
        rows.append((shift @ [cosine, sine], shift @ [-sine, cosine], heading - ego.yaw_rad))
    x, y, heading = (np.stack(column) for column in zip(*rows, strict=True))
    limits = (
        np.tile(np.asarray(values, dtype=np.float64), (len(rows), 1))
        for values in ((-HALF_WIDTH_M, HALF_WIDTH_M), (-HALF_WIDTH_M, 0.0), LANE_OFFSETS_M)
    )
    return Roads(x, y, heading, *limits)

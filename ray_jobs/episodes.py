"""Closed loop: a planner drives the simulator's car, step by step, in worlds that no training drive has."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from platform_lib.datasets.images import decode_images
from platform_lib.errors import ContractError
from platform_lib.evaluation.closed_loop import Episode, motion_comfort
from platform_lib.evaluation.control import follow
from platform_lib.models.interface import IMAGE_HEIGHT, IMAGE_WIDTH, Planner, PlannerInput
from platform_lib.scenario.model import EVENTS, STEP_S, WEATHERS, DriveSpec, Observation
from platform_lib.scenario.recording import JPEG_QUALITY
from platform_lib.scenario.world import World

# The fleet's seeds are 63-bit hashes; these lie below 2^20, where none of them falls (probability 1e-11 for a fleet
# of 100,000), so a world here is never one that was trained on.
FIRST_SEED = 900_001
ROUNDS = 3
EPISODE_S = 15.0
EXPERT = "expert"


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


def drive_expert(spec: DriveSpec) -> Episode:
    """Let the expert drive; its progress is the measure for the others."""
    world = World(spec)
    speeds = []
    while not world.done:
        world.step(world.expert_control())
        speeds.append(world.ego.v_mps)
    return _episode(EXPERT, world, speeds, expert_progress_m=world.progress_m)


def drive_planner(planner: Planner, spec: DriveSpec, *, looks: bool, expert_progress_m: float) -> Episode:
    """Let a planner drive at 10 Hz, pure pursuit and speed tracking between its plan and the car.

    Args:
        planner: Who drives.
        spec: The world to drive in.
        looks: Whether frames are rendered; a planner that ignores the image is spared the time.
        expert_progress_m: The expert's progress in the same world.

    Raises:
        ContractError: The planner gave a plan that is not finite.
    """
    world = World(spec)
    speeds = []
    while not world.done:
        plan = planner.plan(planner_input(world.observe(camera=looks)))[0].astype(np.float64)
        if not np.isfinite(plan).all():
            raise ContractError(f"planner '{planner.name}' gave a plan that is not finite", where=spec.name)
        world.step(follow(plan, world.ego.v_mps))
        speeds.append(world.ego.v_mps)
    return _episode(planner.name, world, speeds, expert_progress_m=expert_progress_m)


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


def _episode(planner: str, world: World, speeds: list[float], *, expert_progress_m: float) -> Episode:
    accel, jerk = motion_comfort(np.array(speeds, dtype=np.float64), STEP_S)
    return Episode(
        planner=planner,
        world=world.spec.name,
        slices=frozenset({world.spec.weather, world.spec.event}),
        collided_with=world.collision,
        offroad=world.offroad,
        progress_m=world.progress_m,
        expert_progress_m=expert_progress_m,
        max_accel_mps2=accel,
        max_jerk_mps3=jerk,
    )

"""Closed loop: known drivers get known outcomes in the simulator."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest

from platform_lib.errors import ContractError
from platform_lib.evaluation.frames import TIMES_S
from platform_lib.models.interface import ConstantVelocity, PlannerInput
from platform_lib.scenario.fleet import demo_fleet
from ray_jobs.episodes import ROUNDS, drive_expert, drive_planner, planner_input, worlds


@dataclasses.dataclass
class Fixed:
    """Plans the same path whatever it sees."""

    path: np.ndarray
    name: str = "fixed"

    def plan(self, inputs: PlannerInput) -> np.ndarray:
        return np.repeat(self.path[None].astype(np.float32), len(inputs), axis=0)


def spec(event: str, weather: str = "clear"):
    return next(item for item in worlds() if (item.event, item.weather) == (event, weather))


def test_worlds_cover_each_pair_alike_and_no_fleet_drives_them():
    found = worlds()
    pairs = Counter((item.weather, item.event) for item in found)
    assert set(pairs.values()) == {ROUNDS}
    assert len(pairs) == 15
    assert len({item.name for item in found}) == len({item.seed for item in found}) == len(found)
    assert not {item.seed for item in found} & {item.seed for item in demo_fleet(500, 7)}


def test_the_expert_arrives_unharmed_and_repeats_itself():
    one = drive_expert(spec("lead"))
    assert one == drive_expert(spec("lead"))
    assert one.collided_with is None
    assert not one.offroad
    assert one.progress_ratio == 1.0


def test_a_car_that_stands_makes_no_progress():
    found = drive_planner(Fixed(np.zeros((6, 2))), spec("cruise"), looks=False, expert_progress_m=150.0).episode
    assert found.progress_m < 25.0
    assert found.progress_ratio < 0.2
    assert found.collided_with is None


def test_a_car_that_leaves_the_road_is_off_the_road():
    left = np.stack([8.0 * TIMES_S, 2.0 * TIMES_S], axis=1)
    episode = drive_planner(Fixed(left), spec("cruise"), looks=False, expert_progress_m=150.0).episode
    assert episode.offroad
    assert episode.wrong_side
    assert not episode.kept_rules
    assert episode.failed == "into oncoming lanes"
    right = drive_planner(Fixed(left * [1.0, -1.0]), spec("cruise"), looks=False, expert_progress_m=150.0).episode
    assert right.failed == "off the road"


def test_a_car_that_never_brakes_hits_somebody_or_leaves_the_road_in_some_world():
    found = [
        drive_planner(ConstantVelocity(), item, looks=False, expert_progress_m=100.0).episode for item in worlds()[3:9]
    ]
    assert any(episode.collided_with or episode.offroad for episode in found)


def test_a_plan_that_is_not_finite_ends_the_episode_with_an_error():
    with pytest.raises(ContractError, match="not finite"):
        drive_planner(Fixed(np.full((6, 2), np.nan)), spec("cruise"), looks=False, expert_progress_m=1.0)


def test_a_planner_sees_frames_as_the_dataset_has_them():
    from platform_lib.scenario.world import World

    world = World(spec("lead", "night"))
    seen = planner_input(world.observe())
    assert seen.image.shape == (1, 3, 64, 192)
    assert seen.image.std() > 1
    raw = world.observe().camera[40:168].reshape(64, 2, 192, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(seen.image[0] - raw).mean() < 4.0

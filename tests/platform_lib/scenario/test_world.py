"""Driving in the world: events matter, accidents are seen, pictures repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from platform_lib.scenario.camera import FRONT_CAMERA
from platform_lib.scenario.expert import REACTION_S
from platform_lib.scenario.fleet import demo_fleet
from platform_lib.scenario.model import Command, Control, DriveSpec
from platform_lib.scenario.road import LANE_OFFSETS_M, Road
from platform_lib.scenario.scene import KERB_M, LaneChange, Pedestrian, Scene, Standing, TrafficLight, Vehicle
from platform_lib.scenario.world import World

SPEC = DriveSpec(seed=3, vehicle="dt-001", session="test", start_ns=0)


def straight(**more: object) -> Scene:
    road = Road.from_curvature(np.zeros(1200))
    scene = Scene(road, 50.0, LANE_OFFSETS_M[1], 0.0, 10.0, 1, 10.0)
    return replace(scene, **more)  # type: ignore[arg-type]  # fields by name


def drive(world: World, control: Control | None = None) -> tuple[list[float], list[float]]:
    """Drive to the end with the expert, or with one control; return speeds and lane offsets at 10 Hz."""
    speeds, offsets = [], []
    while not world.done:
        world.step(world.expert_control() if control is None else control)
        speeds.append(world.ego.v_mps)
        offsets.append(world.lane_offset_m)
    return speeds, offsets


CROSSING = Pedestrian(1, 110.0, -8.1, 3.0, 1.4, (255, 0, 0))
LEAD = Vehicle(2, 85.0, LANE_OFFSETS_M[1], 0.0, 1, 0.01, (9, 9, 200))


@pytest.mark.parametrize(
    "event",
    [
        {"pedestrians": (CROSSING,)},
        {"vehicles": (LEAD,)},
        {"light": TrafficLight(3, 120.0, 0.0, 99.0)},
    ],
    ids=["pedestrian", "lead", "red light"],
)
def test_the_expert_brakes_for_what_is_there_and_only_then(event: dict[str, object]) -> None:
    world = World(SPEC, straight(**event))
    speeds, _ = drive(world)
    assert world.collision is None
    assert min(speeds) < 5.0
    free, _ = drive(World(SPEC, straight()))
    assert min(free) > 9.9


@pytest.mark.parametrize(
    "harmless",
    [{"pedestrians": (replace(CROSSING, walk_start_s=None),)}, {"light": TrafficLight(3, 120.0, -1.0, -1.0)}],
    ids=["waiting pedestrian", "green light"],
)
def test_the_expert_does_not_brake_for_what_stays_harmless(harmless: dict[str, object]) -> None:
    assert min(drive(World(SPEC, straight(**harmless)))[0]) > 9.9


def test_the_expert_goes_on_when_the_light_turns_green() -> None:
    speeds, _ = drive(World(SPEC, straight(light=TrafficLight(3, 120.0, 0.0, 12.0))))
    assert min(speeds) < 1.0
    assert speeds[-1] > 7.0


@pytest.mark.parametrize(
    ("event", "kind"), [({"vehicles": (LEAD,)}, "vehicle"), ({"pedestrians": (CROSSING,)}, "pedestrian")]
)
def test_who_does_not_brake_has_an_accident(event: dict[str, object], kind: str) -> None:
    # 60 m at 10 m/s from a start at 50 m: the ego's front meets the pedestrian inside its lane.
    world = World(SPEC, straight(**event))
    drive(world, Control(0.0, 0.0))
    assert world.collision == kind
    assert world.done
    assert world.time_s < 7.0


def test_who_does_not_steer_leaves_the_road() -> None:
    bend = Road.from_curvature(np.full(1200, 1 / 80.0))
    world = World(SPEC, straight(road=bend))
    drive(world, Control(0.0, 0.0))
    assert world.offroad
    followed = World(SPEC, straight(road=bend))
    drive(followed)
    assert not followed.offroad


def test_a_lane_change_happens_on_command_and_only_then() -> None:
    world = World(SPEC, straight(lane_change=LaneChange(5.0, 0)))
    commands = []
    offsets = []
    while not world.done:
        commands.append(world.command)
        world.step(world.expert_control())
        offsets.append(world.lane_offset_m)
    assert commands[49] == Command.LANE_FOLLOW
    assert set(commands[50:90]) == {Command.CHANGE_LANE_LEFT}
    assert set(commands[90:]) == {Command.LANE_FOLLOW}
    assert offsets[49] == pytest.approx(LANE_OFFSETS_M[1], abs=0.15)
    assert offsets[-1] == pytest.approx(LANE_OFFSETS_M[0], abs=0.05)
    assert drive(World(SPEC, straight()))[1][-1] == pytest.approx(LANE_OFFSETS_M[1], abs=0.05)


def test_the_expert_drives_a_whole_fleet_without_an_accident() -> None:
    for spec in demo_fleet(15, 21):
        world = World(spec)
        drive(world)
        assert (world.collision, world.offroad, round(world.time_s, 3)) == (None, False, 20.0), spec
        assert world.progress_m > 40.0


def test_the_same_spec_gives_the_same_drive_and_pictures() -> None:
    for spec in demo_fleet(3, 5):
        one, two = World(spec), World(spec)
        for _ in range(25):
            one.step(one.expert_control())
            two.observe(camera=False)
            two.step(two.expert_control())
        assert one.ego == two.ego
        picture = one.observe().camera
        again = two.observe().camera
        assert picture is not None
        assert again is not None
        assert picture.shape == (192, 384, 3)
        assert np.array_equal(picture, again)
        assert one.observe(camera=False).camera is None


def test_the_pedestrian_is_drawn_where_the_camera_model_says() -> None:
    waiting = replace(CROSSING, walk_start_s=None, s_m=80.0, from_d_m=LANE_OFFSETS_M[1], colour=(255, 0, 255))
    world = World(SPEC, straight(pedestrians=(waiting,)))
    with_person, without = world.observe().camera, World(SPEC, straight()).observe().camera
    assert with_person is not None
    assert without is not None
    (item,) = world.objects()
    assert (item.kind, item.x_m, item.y_m) == ("pedestrian", pytest.approx(30.0), pytest.approx(0.0))
    pixels, _ = FRONT_CAMERA.project_from_ego([[item.x_m, item.y_m, 0.0], [item.x_m, item.y_m, 1.8]])
    rows, columns = np.nonzero(np.abs(with_person.astype(int) - without).sum(axis=2) > 60)
    assert rows.min() == pytest.approx(pixels[1, 1], abs=2.5)
    assert rows.max() == pytest.approx(pixels[0, 1], abs=2.5)
    assert columns.mean() == pytest.approx(pixels[0, 0], abs=1.5)


def test_objects_are_given_in_the_ego_frame() -> None:
    ahead = replace(LEAD, s_m=80.0, d_m=LANE_OFFSETS_M[0])
    turned = straight(vehicles=(ahead,), ego_turn_rad=np.pi / 2)
    (item,) = World(SPEC, turned).objects()
    # The ego looks left across the road, so what is ahead along the road is on its right.
    assert (item.x_m, item.y_m) == (pytest.approx(3.5), pytest.approx(-30.0))
    assert item.yaw_rad == pytest.approx(-np.pi / 2)


def test_history_ends_now_and_is_one_step_apart() -> None:
    world = World(SPEC, straight(vehicles=(LEAD,)))
    speeds = [world.ego.v_mps]
    for _ in range(12):
        world.step(Control(-2.0, 0.0))
        speeds.append(world.ego.v_mps)
    history = world.observe(camera=False).ego_history
    assert history.shape == (10, 3)
    assert history.dtype == np.float32
    assert history[:, 0].tolist() == pytest.approx(speeds[-10:])


WAITING = replace(CROSSING, from_d_m=-KERB_M, walk_start_s=None, walk_gap_m=15.0)
STANDING = replace(LEAD, s_m=110.0, cruise_mps=10.0, standing=Standing(gap_m=8.0, delay_s=1.0))


def test_who_stands_at_the_kerb_sets_off_when_the_ego_comes_near_and_is_let_pass() -> None:
    world = World(SPEC, straight(pedestrians=(WAITING,)))
    gaps, walked = [], []
    while not world.done:
        world.step(world.expert_control())
        (person,) = world.scene.pedestrians
        gaps.append(person.s_m - (world.progress_m + 50.0 + 1.4 + 2.3))
        walked.append(person.at(world.time_s)[0])
    assert world.collision is None
    first = next(number for number, d in enumerate(walked) if d > -KERB_M)
    assert gaps[first] < 15.0 < gaps[first - 3]
    assert min(gaps[: first + 20]) > 0.0
    assert walked[-1] == pytest.approx(KERB_M)
    assert gaps[-1] < -20.0


def test_who_stands_back_from_the_kerb_is_passed_at_speed() -> None:
    back = replace(WAITING, from_d_m=-9.5, walk_gap_m=None)
    assert min(drive(World(SPEC, straight(pedestrians=(back,))))[0]) > 9.9


@pytest.mark.parametrize(
    ("light", "stops"),
    [
        (TrafficLight(3, 120.0, 0.0, 99.0, switch_gap_m=4.0, switch_s=2.0), True),
        (TrafficLight(3, 120.0, -1.0, -1.0, switch_gap_m=30.0, switch_s=5.0), True),
        (TrafficLight(3, 120.0, -1.0, -1.0, switch_gap_m=-50.0, switch_s=5.0), False),
    ],
    ids=["red, then green", "green, then red", "green, red behind the ego"],
)
def test_a_light_switches_as_the_ego_comes_near(light: TrafficLight, stops: bool) -> None:
    speeds, _ = drive(World(SPEC, straight(light=light)))
    assert (min(speeds) < 2.0) == stops
    assert speeds[-1] > 7.0


def test_a_standing_vehicle_goes_on_after_the_ego_has_come_near() -> None:
    world = World(SPEC, straight(vehicles=(STANDING,)))
    while world.vehicles[0].v_mps == 0.0:
        assert world.time_s < 15.0
        world.step(world.expert_control())
    assert 110.0 - (world.progress_m + 50.0 + 1.4) - 4.6 < 8.0
    drive(world)
    assert world.collision is None
    assert world.progress_m > 80.0
    # Nobody comes: it stands to the end.
    alone = World(SPEC, straight(vehicles=(STANDING,)))
    drive(alone, Control(-3.0, 0.0))
    assert alone.vehicles[0].v_mps == 0.0


def test_the_expert_answers_a_moment_after_it_has_seen() -> None:
    world = World(SPEC, straight(light=TrafficLight(3, 120.0, -1.0, -1.0, switch_gap_m=40.0, switch_s=5.0)))
    seen, answered = None, None
    while not world.done and answered is None:
        world.step(world.expert_control())
        assert world.scene.light is not None
        if seen is None and world.scene.light.red(world.time_s):
            seen = world.time_s
        if world.ego.accel_mps2 < -0.3:
            answered = world.time_s
    assert seen is not None
    assert answered is not None
    assert answered - seen == pytest.approx(REACTION_S, abs=0.25)


def test_the_expert_keeps_its_speed_until_braking_is_due_then_brakes_evenly() -> None:
    world = World(SPEC, straight(light=TrafficLight(3, 190.0, 0.0, 99.0)))
    far, near = [], []
    while not world.done:
        world.step(world.expert_control())
        gap = 190.0 - (50.0 + world.progress_m + 1.4 + 2.3)
        (far if gap > 60.0 else near).append(world.ego)
    assert min(state.v_mps for state in far) > 9.8
    assert min(state.v_mps for state in near) < 0.3
    assert min(state.accel_mps2 for state in near) > -3.0

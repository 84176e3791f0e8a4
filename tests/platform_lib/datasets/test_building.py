"""Samples of drives whose every pose is known in closed form."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from platform_lib.datasets.building import build_samples, trailing_slope
from platform_lib.datasets.model import DriveSamples, DriveStreams, Drop, SampleRules, SkippedDrive, admit_pii
from platform_lib.errors import ContractError
from platform_lib.timeline import Series

RULES = SampleRules()
FUTURE_S = np.arange(1, 7) * 0.5


def built(streams: DriveStreams, rules: SampleRules = RULES) -> DriveSamples:
    samples = build_samples(streams, rules)
    assert isinstance(samples, DriveSamples), samples
    return samples


def seconds(samples: DriveSamples, drives: Any) -> np.ndarray:
    return (samples.timestamp_ns - drives.ns(0.0)) * 1e-9


@pytest.mark.parametrize("curvature", [0.0, 0.02, -0.05])
def test_the_future_is_the_driven_path_in_the_frame_of_the_moment(drives: Any, curvature: float) -> None:
    motion = drives.Motion(curvature=curvature)
    samples = built(drives.make(motion))
    at_s = seconds(samples, drives)
    for row, time_s in enumerate(at_s):
        ego = motion.at(np.array([time_s]))[0]
        truth = np.array([drives.ego_from_odom(ego, pose) for pose in motion.at(time_s + FUTURE_S)])
        np.testing.assert_allclose(samples.future[row], truth[:, :2], atol=0.01)
        np.testing.assert_allclose(samples.ego_yaw_future[row], truth[:, 2], atol=0.002)


def test_on_a_circle_the_future_lies_on_that_circle(drives: Any) -> None:
    samples = built(drives.make(drives.Motion(curvature=0.05)))
    x, y = samples.future[..., 0], samples.future[..., 1]
    np.testing.assert_allclose(np.hypot(x, y - 20.0), 20.0, atol=0.02)
    assert (y > 0).all()


def test_the_history_is_what_the_bus_saw_at_the_camera_clock(drives: Any) -> None:
    motion = drives.Motion(curvature=0.02)
    for offset_s in (-0.45, 0.0, 0.45):
        samples = built(drives.make(motion, bus_offset_s=offset_s))
        at_s = seconds(samples, drives)[:, None] + np.arange(-9, 1) * 0.1
        np.testing.assert_allclose(samples.ego_history[..., 0], motion.speed(at_s), atol=0.06)
        np.testing.assert_allclose(samples.ego_history[..., 1], 0.02 * motion.speed(at_s), atol=0.006)
        np.testing.assert_allclose(samples.ego_history[..., 2], motion.accel(at_s), atol=0.06)
        np.testing.assert_allclose(samples.speed_mps, samples.ego_history[:, -1, 0])


def test_an_unaligned_history_would_be_seen(drives: Any) -> None:
    """The planted fault: half a second without alignment moves the history by more than the test above allows."""
    motion = drives.Motion()
    at_s = np.arange(1.0, 17.0, 0.2)
    assert np.abs(motion.speed(at_s) - motion.speed(at_s + 0.45)).max() > 0.5


def test_without_an_accelerometer_the_past_of_the_speed_gives_it(drives: Any) -> None:
    motion = drives.Motion()
    samples = built(drives.make(motion, bus_accel=False))
    at_s = seconds(samples, drives)[:, None] + np.arange(-9, 1) * 0.1
    lagged = motion.accel(at_s - 0.125)  # a slope over the past 0.25 s belongs to its middle
    np.testing.assert_allclose(samples.ego_history[..., 2], lagged, atol=0.15)


def test_the_past_alone_decides_a_trailing_slope() -> None:
    at_ns = np.arange(0, 1_000_000_000, 10_000_000, dtype=np.int64)
    calm = np.zeros(len(at_ns))
    later = calm.copy()
    later[60:] = 50.0
    asked = np.array([590_000_000], dtype=np.int64)
    for values in (calm, later):
        slope, known = trailing_slope(Series(at_ns, values), asked, window_ns=250_000_000, max_gap_ns=20_000_000)
        assert known.all()
        assert slope[0] == pytest.approx(0.0, abs=1e-9)
    ramp, _ = trailing_slope(Series(at_ns, at_ns * 2e-9), asked, window_ns=250_000_000, max_gap_ns=20_000_000)
    assert ramp[0] == pytest.approx(2.0)


def test_the_command_is_the_last_one_given(drives: Any) -> None:
    samples = built(drives.make())
    np.testing.assert_array_equal(samples.command, np.where(seconds(samples, drives) < 10.0 - 1e-6, 0, 1))


def test_other_agents_are_where_they_were_at_the_future_times(drives: Any) -> None:
    motion = drives.Motion(curvature=0.01)
    x, y, yaw = motion.start
    agents = (
        drives.Agent(7, "vehicle", x + 30.0, y + 20.0, yaw + 0.3, 9.0),
        drives.Agent(9, "pedestrian", x + 60.0, y + 60.0, -1.0, 1.4),
    )
    samples = built(drives.make(motion, agents=agents))
    for row, time_s in enumerate(seconds(samples, drives)):
        ego = motion.at(np.array([time_s]))[0]
        around = samples.objects[row]
        assert around.step.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
        for step, kind, box in zip(around.step, around.kind, around.box, strict=True):
            agent = agents[0] if kind == "vehicle" else agents[1]
            truth = drives.ego_from_odom(ego, agent.at(time_s + FUTURE_S[step]))
            np.testing.assert_allclose(box[:3], truth, atol=0.02)
            np.testing.assert_allclose(box[3:], [4.5, 1.8])


def test_an_agent_is_nowhere_before_it_came_and_after_it_left(drives: Any) -> None:
    motion = drives.Motion()
    agent = drives.Agent(1, "vehicle", 130.0, -30.0, 0.7, 8.0, seen_s=(6.0, 9.0))
    samples = built(drives.make(motion, agents=(agent,)))
    for time_s, around in zip(seconds(samples, drives), samples.objects, strict=True):
        expected = [step for step, ahead_s in enumerate(FUTURE_S) if 6.0 - 0.06 <= time_s + ahead_s <= 9.0 + 0.06]
        assert around.step.tolist() == expected


def test_every_frame_is_kept_thinned_or_dropped_for_a_reason(drives: Any) -> None:
    streams = drives.make(
        lose_pose=(8.0, 8.5), lose_bus=(4.0, 4.4), lose_objects=(14.0, 14.6), lose_command=(10.0, 11.2)
    )
    for every in (1, 2, 3):
        samples = built(streams, SampleRules(every=every))
        assert len(samples) + samples.thinned + sum(samples.dropped.values()) == samples.frames == 200
        expected = {Drop.HISTORY_START, Drop.HISTORY_GAP, Drop.FUTURE_END, Drop.FUTURE_GAP, Drop.OBJECTS, Drop.COMMAND}
        assert set(samples.dropped) == {str(reason) for reason in expected}


def test_no_sample_looks_across_a_gap(drives: Any) -> None:
    samples = built(drives.make(lose_pose=(8.0, 8.5), bus_offset_s=0.2), SampleRules(every=1))
    at_s = seconds(samples, drives)
    for moment in np.concatenate([[0.0], FUTURE_S]):
        assert not np.any((at_s + moment > 8.001) & (at_s + moment < 8.499))
    whole = built(drives.make(bus_offset_s=0.2), SampleRules(every=1))
    assert len(whole) > len(samples)


@pytest.mark.parametrize("state", ["unknown", "present", "", "None_Present"])
def test_frames_whose_personal_data_is_not_dealt_with_never_get_in(drives: Any, state: str) -> None:
    samples = built(drives.make(pii=state))
    assert len(samples) == 0
    assert samples.dropped[str(Drop.PII)] == samples.frames - samples.thinned
    with pytest.raises(ContractError, match="can enter a dataset"):
        admit_pii(state, where="here")


def test_one_planted_frame_is_left_out_alone(drives: Any) -> None:
    streams = drives.make(pii="blurred")
    states = list(streams.frame_pii)
    states[100] = "present"
    samples = built(dataclasses.replace(streams, frame_pii=tuple(states)))
    assert samples.dropped[str(Drop.PII)] == 1
    assert 100 not in samples.frame
    assert set(samples.pii_state) == {"blurred"}


def test_a_frame_that_is_no_jpeg_is_left_out(drives: Any) -> None:
    streams = drives.make()
    whole = streams.frame_is_jpeg.copy()
    whole[100] = False
    samples = built(dataclasses.replace(streams, frame_is_jpeg=whole))
    assert samples.dropped[str(Drop.IMAGE)] == 1


def test_a_command_nobody_knows_is_unknown(drives: Any) -> None:
    streams = drives.make()
    samples = built(dataclasses.replace(streams, command=np.where(streams.command == 1, 5, 0)))
    assert samples.dropped[str(Drop.COMMAND)] > 20
    assert set(samples.command) == {0}


def test_an_object_without_numbers_makes_its_moment_unknown(drives: Any) -> None:
    streams = drives.make(agents=(drives.Agent(1, "vehicle", 130.0, -30.0, 0.7, 8.0),))
    box = streams.detections.box.copy()
    box[100] = np.nan
    broken = dataclasses.replace(streams, detections=dataclasses.replace(streams.detections, box=box))
    samples = built(broken)
    assert samples.dropped[str(Drop.OBJECTS)] > 0
    assert len(samples) + samples.dropped[str(Drop.OBJECTS)] == len(built(streams))


def test_a_drive_without_information_about_its_clocks_is_skipped_with_the_reason(drives: Any) -> None:
    streams = drives.make()
    flat = dataclasses.replace(
        streams,
        bus_speed=Series(streams.bus_speed.timestamp_ns, np.full(len(streams.bus_speed), 10.0)),
        bus_yaw_rate=Series(streams.bus_yaw_rate.timestamp_ns, np.zeros(len(streams.bus_yaw_rate))),
    )
    result = build_samples(flat, RULES)
    assert isinstance(result, SkippedDrive)
    assert "clocks not aligned" in result.reason


def test_slices_carry_the_weather_and_what_happens(drives: Any) -> None:
    motion = drives.Motion(swing_mps=1.0)
    x, y, yaw = motion.start
    ahead = drives.Agent(3, "vehicle", x + 25 * np.cos(yaw), y + 25 * np.sin(yaw), yaw, 11.0)
    for agents, event in (((), "cruise"), ((ahead,), "lead")):
        samples = built(drives.make(motion, agents=agents))
        assert samples.slices[0] == ("rain", event)


def test_keeping_no_frame_is_refused() -> None:
    with pytest.raises(ContractError):
        SampleRules(every=0)

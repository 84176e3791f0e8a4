"""The predictive driver model score: every part on scenes with answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_lib.errors import ContractError
from platform_lib.evaluation import epdms, self_test_epdms
from platform_lib.evaluation.epdms import DrivenScenes, score_epdms, unknown_parts
from platform_lib.evaluation.frames import TIMES_S, Frames
from platform_lib.evaluation.motion import motion_of, smoothing
from platform_lib.evaluation.poses import TICK_S, TICKS
from platform_lib.evaluation.self_test_epdms import Row, aside, known_rows, scenes_of, straight


def scored(*rows: Row) -> dict[str, np.ndarray]:
    scenes, plan, before = scenes_of(rows)
    return score_epdms(plan, before, scenes)


def test_every_known_scene_gets_its_known_parts():
    assert self_test_epdms.failed_rows() == ()
    names = self_test_epdms.case_names()
    assert len(set(names)) == len(names) >= 40


@pytest.mark.parametrize("name", self_test_epdms.wrong_scorers())
def test_a_wrong_scorer_fails_some_scene(name):
    assert self_test_epdms.failed_rows(self_test_epdms.wrong_scorers()[name])


def test_every_part_is_seen_below_one_by_some_scene():
    rows = known_rows()
    assert {part for row in rows for part, value in row.expected.items() if value < 1.0} >= set(epdms.PARTS)


@given(st.floats(0.0, 18.0), st.floats(-3.0, 3.0))
@settings(max_examples=30)
def test_a_constant_acceleration_stays_one_on_the_curve_through_the_points(speed, accel):
    plan = np.stack([speed * TIMES_S + accel * TIMES_S**2 / 2, np.zeros(6)], axis=1)
    motion = motion_of(plan[None], np.array([speed]))
    time = np.arange(TICKS + 1) * TICK_S
    assert motion.poses.x_m[0] == pytest.approx(speed * time + accel * time**2 / 2, abs=1e-9)
    forward = speed + accel * time > 0.5
    assert motion.accel_mps2[0][forward] == pytest.approx(accel, abs=1e-9)
    assert motion.jerk_mps3[0] == pytest.approx(0.0, abs=1e-9)
    assert motion.lateral_mps2[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("radius", [30.0, -60.0])
def test_on_a_circle_the_lateral_acceleration_is_v_squared_by_r(radius):
    angle = 8.0 * TIMES_S / abs(radius)
    plan = np.stack([abs(radius) * np.sin(angle), radius * (1.0 - np.cos(angle))], axis=1)
    motion = motion_of(plan[None], np.array([8.0]))
    assert motion.lateral_mps2[0, 3:-5] == pytest.approx(64.0 / radius, rel=0.05)
    assert motion.yaw_rate_rps[0, 3:-5] == pytest.approx(8.0 / radius, rel=0.05)
    assert motion.poses.yaw_rad[0, -1] == pytest.approx(np.sign(radius) * angle[-1], abs=0.02)


def test_the_smoothing_keeps_parabolas_and_gives_their_slope():
    time = np.arange(31) * TICK_S
    values = 1.0 - 2.0 * time + 0.7 * time**2
    assert smoothing(31, 7, 0) @ values == pytest.approx(values)
    assert smoothing(31, 15, 1) @ values == pytest.approx(-2.0 + 1.4 * time)


def test_the_total_is_the_product_times_the_weighted_mean():
    scores = scored(Row("slow", straight(accel_mps2=-2.0), {}, driven=straight()))
    weighed = sum(weight * scores[name] for name, weight in epdms.WEIGHTS.items()) / 16
    assert sum(epdms.WEIGHTS.values()) == 16
    assert scores["epdms"] == pytest.approx(weighed)
    assert scores["ep"] == pytest.approx(15 / 24)


def test_a_lawful_detour_of_the_human_is_the_measure_only_as_far_as_it_is_lawful():
    # The human leaves the road: its 24 m count for nothing, and 15 m are all that anybody reached.
    scores = scored(Row("x", straight(accel_mps2=-2.0), {}, driven=aside(-5.3, 2.0)))
    assert scores["ep"] == pytest.approx(1.0)


def test_what_nobody_recorded_is_unknown_with_its_reason_and_never_one():
    scenes, plan, _ = scenes_of(known_rows()[:2])
    frames = scenes.frames
    blank = DrivenScenes(Frames(frames.drive, frames.slices, frames.future_m, frames.agents), None, scenes.history)
    scores, why = score_epdms(plan, None, blank), unknown_parts(blank, None)
    assert set(scores) | set(why) == {*epdms.PARTS, epdms.TOTAL}
    assert not set(scores) & set(why)
    assert why["dac"] == "nobody recorded a map"
    assert unknown_parts(scenes, scenes_of(known_rows()[:2])[2]) == {}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_plan_that_is_not_finite_gets_no_score(bad):
    scenes, plan, before = scenes_of(known_rows()[:3])
    plan[2, 0, 1] = bad
    with pytest.raises(ContractError, match="1 of 3 plans"):
        score_epdms(plan, before, scenes)


@given(st.floats(-30.0, 70.0), st.floats(-9.0, 9.0), st.sampled_from([0.0, 1 / 60.0]))
@settings(max_examples=40)
def test_a_point_of_the_road_is_found_where_it_was_put(s, d, bend):
    (road,) = (scenes_of((Row("r", straight(), {}, bend_1pm=bend),))[0].frames.road,)
    s = min(max(s, 1.0), 70.0) if bend else s
    at = s + 20.0
    knot, part = int(np.clip(at, 0, 119)), at - int(np.clip(at, 0, 119))
    x, y, heading = (
        float(c[0, knot] * (1 - part) + c[0, knot + 1] * part) for c in (road.x_m, road.y_m, road.heading_rad)
    )
    found = road.locate(np.array([[x - d * np.sin(heading)]]), np.array([[y + d * np.cos(heading)]]))
    assert float(found[0][0, 0]) == pytest.approx(at, abs=1e-3)
    assert float(found[1][0, 0]) == pytest.approx(d, abs=1e-3)

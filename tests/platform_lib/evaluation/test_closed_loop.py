"""Closed-loop rows, findings in words, and the choice of frames for pictures."""

from __future__ import annotations

import numpy as np
import pytest

from platform_lib.evaluation import closed_loop, findings
from platform_lib.evaluation.closed_loop import Episode, motion_comfort
from platform_lib.evaluation.frames import NO_AGENTS, TIMES_S, Frames
from platform_lib.evaluation.open_loop import score_frames
from platform_lib.evaluation.scenes import telling_rows


def episode(world: str, *, hit: str | None = None, progress: float = 90.0) -> Episode:
    return Episode("camera", world, frozenset({"rain", "lead"}), hit, False, progress, 100.0, 2.0, 3.0)


def frames(future: np.ndarray, drives: tuple[str, ...], slices: tuple[set[str], ...]) -> Frames:
    return Frames(drives, tuple(frozenset(found) for found in slices), future, (NO_AGENTS,) * len(future))


def test_rates_over_episodes():
    rows = closed_loop.rows_by_slice("camera", (episode("a"), episode("b", hit="vehicle", progress=10.0)), seed=1)
    assert [row.slice for row in rows] == ["all", "lead", "rain"]
    assert rows[0].metrics["collision_rate"].value == 0.5
    assert rows[0].metrics["progress_ratio"].value == pytest.approx(0.5)
    assert closed_loop.rows_by_slice("ego_only", (episode("a"),), seed=1) == ()


def test_driving_on_where_the_expert_stands_is_no_merit():
    assert episode("a", progress=250.0).progress_ratio == 1.0
    assert episode("a", progress=-1.0).progress_ratio == 0.0


def test_comfort_of_a_steady_brake():
    accel, jerk = motion_comfort(10.0 - 0.3 * np.arange(30), 0.1)
    assert accel == pytest.approx(3.0)
    assert jerk == pytest.approx(0.0, abs=1e-9)
    assert motion_comfort(np.ones(4), 0.1) == (0.0, 0.0)


def test_findings_say_worse_where_it_is_worse():
    future = np.zeros((40, 6, 2))
    found = frames(future, tuple(f"d{k // 4}" for k in range(40)), ({"lead"},) * 20 + ({"pedestrian"},) * 20)
    near, far = score_frames(future + np.array([0.1, 0.0]), found), score_frames(future + np.array([0.5, 0.0]), found)
    better = findings.paired_ade(near, far, found, seed=1)
    worse = findings.paired_ade(far, near, found, seed=1)
    assert better["all"].value == pytest.approx(-0.4)
    assert any(
        "camera is better" in line and "'lead'" in line for line in findings.open_loop_findings(better, near, found)
    )
    said = findings.open_loop_findings(worse, near, found)
    assert any("camera is WORSE" in line and "'pedestrian'" in line for line in said)
    assert any("no frame of" in line and "rain" in line for line in said)


def test_findings_do_not_claim_what_the_interval_does_not_hold():
    future = np.zeros((12, 6, 2))
    found = frames(future, tuple(f"d{k // 2}" for k in range(12)), ({"lead"},) * 12)
    mixed = future.copy()
    mixed[:6] += [0.6, 0.0]
    pairs = findings.paired_ade(
        score_frames(mixed, found), score_frames(future + np.array([0.5, 0.0]), found), found, seed=1
    )
    assert any(
        "not beyond doubt" in line for line in findings.open_loop_findings(pairs, score_frames(future, found), found)
    )


def test_frames_are_chosen_by_what_was_driven():
    future = np.zeros((5, 6, 2))
    future[:, :, 0] = 10.0 * TIMES_S
    future[1, :, 0] -= TIMES_S**2  # a lead frame that brakes
    future[3, :, 1] = TIMES_S**2  # a bend
    found = frames(future, ("a",) * 5, ({"lead"}, {"lead"}, {"rain"}, {"clear"}, {"clear"}))
    chosen = telling_rows(found, np.full(5, 10.0))
    assert chosen["lead"] == 1
    assert chosen["curve"] == 3
    assert chosen["rain"] == 2
    assert "pedestrian" not in chosen
    assert len(set(chosen.values())) == len(chosen)

"""Open-loop scores against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.errors import ContractError
from platform_lib.evaluation.frames import NO_AGENTS, TIMES_S, Agents, Frames
from platform_lib.evaluation.geometry import Boxes
from platform_lib.evaluation.open_loop import comfort, rows_by_slice, score_frames
from platform_lib.evaluation.swept import first_contact_s, sweeps_of


def straight(speed_mps: float, count: int = 1) -> np.ndarray:
    path = np.zeros((count, 6, 2))
    path[:, :, 0] = speed_mps * TIMES_S
    return path


def frames(
    future: np.ndarray, drives: tuple[str, ...] | None = None, slices: tuple[set[str], ...] | None = None
) -> Frames:
    n = len(future)
    return Frames(
        drives or ("d",) * n,
        tuple(frozenset(found) for found in slices) if slices else (frozenset(),) * n,
        future,
        (NO_AGENTS,) * n,
    )


def vehicle(track: list[tuple[int, float, float]]) -> Agents:
    step, x, y = (np.array(column, dtype=float) for column in zip(*track, strict=True))
    size = np.ones(len(track))
    return Agents(step.astype(np.int64), ("vehicle",) * len(track), Boxes(x, y, 0 * size, 4.5 * size, 1.9 * size))


def collides(plan: np.ndarray, agents: Agents) -> bool:
    return bool(first_contact_s(plan[None], sweeps_of([agents]))[0] < np.inf)


def test_half_of_the_frames_miss():
    future = straight(10.0, 2)
    plan = future.copy()
    plan[1, -1, 0] += 2.5
    scores = score_frames(plan, frames(future))
    assert scores["miss_rate"].tolist() == [0.0, 1.0]
    assert scores["ade_m"] == pytest.approx([0.0, 2.5 / 6])


def test_rows_hold_the_slices_that_have_frames_and_count_drives():
    future = straight(10.0, 4)
    plan = future + np.array([0.0, 1.0]) * np.array([0, 1, 2, 3])[:, None, None]
    found = frames(future, ("a", "a", "b", "b"), ({"rain"}, {"rain"}, {"night"}, {"night", "lead"}))
    rows = {row.slice: row for row in rows_by_slice("camera", score_frames(plan, found), found, seed=1)}
    assert set(rows) == {"all", "rain", "night", "lead", "scene"}
    assert rows["scene"].n == 1  # every frame in which something happens, whatever it is
    assert (rows["all"].n, rows["all"].drives) == (4, 2)
    assert rows["rain"].metrics["ade_m"].value == pytest.approx(0.5)
    assert rows["lead"].metrics["ade_m"].value == pytest.approx(3.0)
    assert rows["lead"].metrics["ade_m"].low is None
    two = rows["all"].metrics["ade_m"]
    assert (two.low, two.high) == (0.0, pytest.approx(1.5 + 12.706 * 1.0, abs=1e-3))  # two drives say little of others
    more = Frames(
        tuple(f"d{k}" for k in range(40)), (frozenset({"rain"}),) * 40, np.tile(future, (10, 1, 1)), found.agents * 10
    )
    (row,) = (
        row
        for row in rows_by_slice("camera", score_frames(np.tile(plan, (10, 1, 1)), more), more, seed=1)
        if row.slice == "all"
    )
    interval = row.metrics["ade_m"]
    assert interval.low is not None
    assert interval.high is not None
    assert 1.0 < interval.low < 1.5 < interval.high < 2.0


@given(st.floats(0.5, 20.0), st.floats(-6.0, 6.0))
def test_comfort_of_constant_acceleration(speed, accel):
    path = np.zeros((1, 6, 2))
    path[0, :, 0] = speed * TIMES_S + accel * TIMES_S**2 / 2
    most, jerk = comfort(path)
    assert most[0] == pytest.approx(abs(accel), abs=1e-6)
    assert jerk[0] == pytest.approx(0.0, abs=1e-6)


def test_an_agent_is_followed_between_its_samples_only_while_it_is_the_same():
    plan = straight(10.0)[0]
    across = [(1, 12.4, -6.0), (2, 12.4, 6.0)]
    assert collides(plan, vehicle(across))
    assert not collides(plan, vehicle([(1, 12.4, -6.0), (2, 62.4, 6.0)]))


def test_before_the_first_sample_the_agent_moved_as_after_it():
    # Ahead by 4 m a quarter of a second from now, since it comes towards us at 20 m/s.
    assert collides(straight(1.0)[0], vehicle([(0, 1.0, 0.0), (1, -9.0, 0.0)]))
    assert not collides(straight(1.0)[0], vehicle([(0, 30.0, 0.0), (1, 40.0, 0.0)]))


def test_the_box_follows_the_turn_of_the_path():
    turn = np.stack([10 * np.sin(TIMES_S * 0.5), 10 * (1 - np.cos(TIMES_S * 0.5))], axis=1)
    end = turn[-1]
    heading = 1.25
    beyond = end + 5.0 * np.array([np.cos(heading), np.sin(heading)])
    assert collides(turn, vehicle([(5, float(beyond[0]), float(beyond[1]))]))
    assert not collides(straight(6.0)[0], vehicle([(5, float(beyond[0]), float(beyond[1]))]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_plan_that_is_not_finite_is_refused_with_its_count(bad):
    plan = straight(10.0, 3)
    plan[1, 2, 1] = bad
    with pytest.raises(ContractError, match="1 of 3 plans"):
        score_frames(plan, frames(straight(10.0, 3)))


def test_a_driven_path_that_is_not_finite_is_refused():
    future = straight(10.0)
    future[0, 0, 0] = np.nan
    with pytest.raises(ContractError, match="driven path"):
        frames(future)

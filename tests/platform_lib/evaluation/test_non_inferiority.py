"""Champion and challenger: not worse is shown, worse is seen, and what is not known is not claimed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.errors import ContractError
from platform_lib.evaluation.closed_loop import Episode
from platform_lib.evaluation.frames import NO_AGENTS, TIMES_S, Frames
from platform_lib.evaluation.non_inferiority import (
    Difference,
    closed_differences,
    compared,
    holm,
    open_differences,
    p_worse,
)
from platform_lib.evaluation.open_loop import score_frames


def difference(
    mean: float, *, drives: int = 40, spread: float = 0.05, margin: float = 0.1, seed: int = 1
) -> Difference:
    effects = np.random.default_rng(seed).normal(mean, spread, drives)
    clusters = np.repeat([f"d{k}" for k in range(drives)], 3)
    return Difference("all", "open_loop ade_m", np.repeat(effects, 3), clusters, margin)


@pytest.mark.parametrize(
    ("mean", "drives", "status"),
    [(0.0, 40, "pass"), (0.3, 40, "fail"), (0.09, 40, "not_run"), (-0.2, 40, "pass"), (0.0, 1, "not_run")],
)
def test_a_difference_is_judged_by_what_it_shows(mean, drives, status):
    (found,) = compared([difference(mean, drives=drives)], seed=1)
    assert found.status == status, found
    assert found.n == 3 * drives


def test_no_difference_in_few_drives_is_not_yet_shown_to_hold():
    same = Difference("all", "x", np.zeros(20), np.array([f"d{k}" for k in range(20)]), 0.02)
    (found,) = compared([same], seed=1)
    assert found.status == "not_run"
    assert found.p == pytest.approx(0.98**20)
    many = Difference("all", "x", np.zeros(200), np.array([f"d{k}" for k in range(200)]), 0.02)
    assert compared([many], seed=1)[0].status == "pass"


def test_many_comparisons_ask_for_more_each():
    alone = difference(0.075, drives=30, spread=0.06, seed=3)
    p = p_worse(alone)
    assert p is not None
    assert 0.005 < p < 0.05
    assert compared([alone], seed=1)[0].status == "pass"
    crowd = compared([alone, *(difference(0.1, seed=k) for k in range(9))], seed=1)
    assert crowd[0].status == "not_run"
    assert crowd[0].p == p
    assert crowd[0].p_holm is not None
    assert crowd[0].p_holm / p > 2.0  # times how many of the ten are not smaller


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_holm_is_ordered_never_smaller_and_at_most_bonferroni(ps):
    found = holm(ps)
    order = np.argsort(ps, kind="stable")
    assert (np.diff(np.array(found)[order]) >= 0.0).all()
    assert all(p <= q <= min(1.0, len(ps) * p) or q <= max(found) for p, q in zip(ps, found, strict=True))
    assert found[int(order[0])] == pytest.approx(min(1.0, len(ps) * min(ps)))


def test_holm_by_hand():
    # Source: Holm 1979, worked: 3 * 0.01, then 2 * 0.02, then 0.05, none below the one before.
    assert holm([0.02, 0.01, 0.05]) == pytest.approx([0.04, 0.03, 0.05])
    assert holm([0.03, 0.02, 0.02]) == pytest.approx([0.06, 0.06, 0.06])


def test_a_p_value_is_below_alpha_as_often_as_it_says_when_the_challenger_is_worse_by_the_margin():
    trials = [p_worse(difference(0.1, drives=12, seed=k)) for k in range(600)]
    share = np.mean([p is not None and p < 0.05 for p in trials])
    assert 0.025 < share < 0.08  # four standard deviations about 0.05


def test_frames_are_paired_by_safety_slice():
    future = np.zeros((4, 6, 2))
    future[:, :, 0] = 8.0 * TIMES_S
    slices = (frozenset({"rain"}), frozenset({"rain", "lead"}), frozenset({"lead"}), frozenset({"cruise"}))
    frames = Frames(("a", "b", "c", "d"), slices, future, (NO_AGENTS,) * 4)
    found = list(
        open_differences(score_frames(future + np.array([0.0, 0.3]), frames), score_frames(future, frames), frames)
    )
    assert [(item.slice, len(item.values)) for item in found[::2]] == [("all", 4), ("lead", 2), ("rain", 2)]
    assert found[0].values == pytest.approx([0.3] * 4)


def episode(planner: str, world: str, *, fault: bool) -> Episode:
    return Episode(
        planner, world, frozenset({"lead"}), "vehicle" if fault else None, False, 90, 100, 2, 3, at_fault=fault
    )


def test_worlds_are_paired_and_have_to_be_the_same():
    episodes = [episode(p, f"w{k}", fault=p == "camera" and k < 20) for p in ("camera", "champion") for k in range(40)]
    found = compared(list(closed_differences(episodes, "camera", "champion")), seed=1)
    judged = {(item.slice, item.metric): item.status for item in found}
    assert judged["all", "closed_loop at_fault_rate"] == "fail"
    assert judged["lead", "closed_loop offroad_rate"] == "not_run"
    with pytest.raises(ContractError, match="same worlds"):
        list(closed_differences(episodes[1:], "camera", "champion"))

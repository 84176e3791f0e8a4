from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_compile.task_slices import (
    EVERYTHING,
    Task,
    check_task,
    few_of_each,
    judge,
    slices_of,
    worst_loss,
    worst_of,
)
from platform_lib.errors import ConfigError, ContractError

COUNT, RARE = 64, 8
NAMES = np.array(["tunnel"] * RARE + ["clear"] * (COUNT - RARE))
FLOAT = {"plan": np.zeros((COUNT, 1, 6, 2), np.float32)}


def answers(tunnel_m: float, clear_m: float = 0.0) -> dict[str, np.ndarray]:
    """Give paths so many metres off in either slice."""
    plan = FLOAT["plan"].copy()
    plan[:RARE, ..., 0], plan[RARE:, ..., 0] = tunnel_m, clear_m
    return {"plan": plan}


def case(tolerance: float = 0.5, metric: str = "ade", **changes: object):
    task = Task(metric, tolerance, slices=NAMES, **changes)
    return check_task(task, ("plan",), frozen=COUNT, calibration=4)


def verdicts(scores) -> dict[str, str]:
    return {item.slice: item.status for item in scores}


def test_good_on_the_mean_and_bad_on_one_slice_is_a_fail() -> None:
    scores = judge(case(), "w8a8", "qdq", FLOAT, answers(tunnel_m=3.0))
    assert verdicts(scores) == {"all": "pass", "tunnel": "fail", "clear": "pass"}
    worst = worst_of(scores, "w8a8")
    assert (worst.slice, worst.n, worst.loss) == ("tunnel", RARE, pytest.approx(3.0))
    assert worst.reason == "3 worse than float, and 0.5 are allowed"
    assert verdicts(judge(case(), "w8a8", "qdq", FLOAT, answers(tunnel_m=0.4))) == dict.fromkeys(
        ("all", "tunnel", "clear"), "pass"
    )


def test_too_few_samples_decide_nothing_but_a_fail() -> None:
    strict = case(enough=RARE + 1)
    assert verdicts(judge(strict, "w8a8", "qdq", FLOAT, answers(0.1)))["tunnel"] == "not_run"
    assert verdicts(judge(strict, "w8a8", "qdq", FLOAT, answers(3.0)))["tunnel"] == "fail"
    fewer = {name: values[: RARE + 2] for name, values in answers(0.1).items()}
    found = judge(case(), "w8a8", "target", FLOAT, fewer)
    assert verdicts(found) == {"all": "pass", "tunnel": "pass", "clear": "not_run"}
    assert worst_of(found, "w8a8").reason == (
        "2 samples of this slice were run, of 8 that it takes; the frozen samples hold 56: put slices in turns, or run more with "
        "--emulator-samples"
    )
    alone = {name: values[:RARE] for name, values in answers(0.1).items()}
    assert "no sample of this slice" in judge(case(), "w8a8", "target", FLOAT, alone)[2].reason


def test_what_did_not_run_and_what_is_no_number_pass_nothing() -> None:
    assert set(verdicts(judge(case(), "w8a8", "target", FLOAT, None)).values()) == {"not_run"}
    broken = answers(0.0)
    broken["plan"][5] = np.nan
    assert set(verdicts(judge(case(), "w8a8", "target", FLOAT, broken)).values()) == {"fail"}


def test_labels_are_the_truth_where_there_are_some() -> None:
    labels = answers(3.0)["plan"].reshape(COUNT, 6, 2)  # without the batch axis
    scores = judge(case(labels={"plan": labels}), "w8a8", "qdq", FLOAT, answers(3.0))
    tunnel = next(item for item in scores if item.slice == "tunnel")
    assert (tunnel.truth, tunnel.float_value, tunnel.value, tunnel.loss) == ("labels", 3.0, 0.0, -3.0)
    assert tunnel.status == "pass"  # better than float
    assert verdicts(judge(case(labels={"plan": labels}), "w8a8", "qdq", FLOAT, answers(-3.0)))["tunnel"] == "fail"


def test_the_worst_sample_of_a_slice_counts_where_the_metric_says_so() -> None:
    one = answers(0.0)
    one["plan"][20, 0, 3, 1] = 2.0
    assert verdicts(judge(case(), "w8a8", "qdq", FLOAT, one))["clear"] == "pass"
    assert verdicts(judge(case(metric="max-displacement"), "w8a8", "qdq", FLOAT, one))["clear"] == "fail"


def test_a_search_minds_the_worst_slice() -> None:
    assert worst_loss(case().metric, case().slices, FLOAT, answers(3.0)) == (pytest.approx(3.0), "tunnel")
    assert worst_loss(case().metric, case().slices, FLOAT, FLOAT) == (0.0, EVERYTHING)


@given(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=40), st.integers(1, 5))
def test_a_few_of_each_show_every_slice(names: list[str], each: int) -> None:
    slices = slices_of(np.array(names), len(names), "frozen")
    picked = few_of_each(slices, each)
    for name in {name for row in slices for name in row}:
        there = sum(name in row for row in slices)
        assert sum(name in slices[row] for row in picked) >= min(each, there)


def test_a_sample_may_lie_in_several_slices() -> None:
    both = np.array([["night", "pedestrian"], ["night", ""]])
    assert slices_of(both, 2, "frozen") == (("all", "night", "pedestrian"), ("all", "night"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"slices": np.arange(COUNT)}, "'slice' of the frozen samples is int64"),
        ({"slices": NAMES[:-1]}, "'slice' of the frozen samples is"),
        ({"calibration_slices": NAMES}, "'slice' of the calibration samples"),
        ({"labels": {"path": np.ones(COUNT)}}, "labels of 'path', which is no output"),
        ({"labels": {"plan": np.ones(3)}}, "labels of 'plan' are"),
        ({"labels": {"plan": np.full(COUNT, np.nan)}}, "labels of 'plan' are"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(changes: dict, said: str) -> None:
    task = Task("ade", 0.5, **{"slices": NAMES, **changes})
    with pytest.raises(ContractError, match=said) as caught:
        check_task(task, ("plan",), frozen=COUNT, calibration=4)
    assert caught.value.remedy


@pytest.mark.parametrize("wrong", [{"tolerance": -1.0}, {"tolerance": float("nan")}, {"tolerance": 1.0, "enough": 0}])
def test_a_senseless_tolerance_is_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        Task("ade", **wrong)

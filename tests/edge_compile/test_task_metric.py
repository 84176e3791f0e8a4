from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_compile.task_metric import BUILT_IN, find_metric
from platform_lib.errors import ConfigError, ContractError, MissingPartError

PATH = np.zeros((2, 1, 3, 2), np.float32)
BOX = np.array([[[0, 0, 2, 2], [0, 0, 4, 4]]], np.float32)


def moved(*metres: float) -> np.ndarray:
    """Give paths whose points all lie so many metres beside `PATH`, but for the second sample's last: twice as far."""
    found = PATH.copy()
    for row, distance in enumerate(metres):
        found[row, ..., 1] = distance
    found[1, 0, -1, 1] *= 2
    return found


@pytest.mark.parametrize(
    ("name", "values", "slice_value"),
    [("ade", [1, 4], 2.5), ("fde", [1, 6], 3.5), ("max-displacement", [1, 6], 6.0)],
)
def test_displacements_in_metres(name: str, values: list[float], slice_value: float) -> None:
    metric = find_metric(name, ("plan",))
    found = metric.score({"plan": moved(1, 3)}, {"plan": PATH})
    assert found.tolist() == pytest.approx(values)
    assert metric.of(found) == pytest.approx(slice_value)


def test_top1_takes_logits_and_class_numbers() -> None:
    metric = find_metric("top1", ("logits",))
    logits = np.eye(3, dtype=np.float32)[:, np.newaxis]
    assert metric.score({"logits": logits}, {"logits": logits[[0, 1, 0]]}).tolist() == [1, 1, 0]
    assert metric.score({"logits": logits}, {"logits": np.array([0, 2, 2])}).tolist() == [1, 0, 1]
    with pytest.raises(ContractError, match="top1 needs classes for 1 rows"):
        metric.score({"logits": logits}, {"logits": np.zeros((3, 2))})


def test_overlap_of_corners_and_of_distances() -> None:
    half = BOX.copy()
    half[..., 2] /= 2
    assert find_metric("iou-corners", ("b",)).score({"b": half}, {"b": BOX}).tolist() == [0.5]
    # Distances of 0 to the left: the same boxes.
    assert find_metric("iou-distances", ("b",)).score({"b": half}, {"b": BOX}).tolist() == [0.5]


def test_only_boxes_that_are_there_count() -> None:
    metric = find_metric("iou-corners", ("b", "s"), output="b", scores="s")
    wrong = BOX.copy()
    wrong[0, 1] = 9  # a box of no size
    for second, expected in ((0.1, 1.0), (0.9, 0.5)):
        truth = {"b": BOX, "s": np.array([[[0.9, 0.0], [second, 0.0]]], np.float32)}
        assert metric.score({"b": wrong, "s": truth["s"]}, truth).tolist() == [expected]
    nothing = {"b": BOX, "s": np.zeros((1, 2, 2), np.float32)}
    assert np.isnan(metric.score(nothing, nothing)).all()


@given(st.lists(st.floats(-50, 50), min_size=8, max_size=8))
def test_an_overlap_is_a_share_and_full_with_itself(values: list[float]) -> None:
    boxes = np.array(values, np.float32).reshape(1, 2, 4)
    metric = find_metric("iou-corners", ("b",))
    assert 0 <= metric.score({"b": boxes}, {"b": BOX})[0] <= 1
    ordered = np.concatenate(
        [np.minimum(boxes[..., :2], boxes[..., 2:]), np.maximum(boxes[..., :2], boxes[..., 2:])], -1
    )
    assert metric.score({"b": ordered}, {"b": ordered})[0] == pytest.approx(1.0)


def test_a_function_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "def jerk(answers, truth):\n    return abs(answers['y'] - truth['y']).max(axis=1)\n\nlist_ = list\n"
    )
    metric = find_metric(f"{path}:jerk", ("y",))
    one, two = np.zeros((2, 3)), np.ones((2, 3)) * 4
    assert metric.score({"y": two}, {"y": one}).tolist() == [4, 4]
    before = metric.sha256
    path.write_text(path.read_text() + "# changed\n")
    assert find_metric(f"{path}:jerk", ("y",)).sha256 != before
    path.write_text("def jerk(answers, truth):\n    return 1.0\n")
    with pytest.raises(ContractError, match="returned float64 of shape"):
        find_metric(f"{path}:jerk", ("y",)).score({"y": two}, {"y": one})


def test_what_is_no_metric_is_refused_with_what_there_is(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("1 / 0")
    cases = [
        (lambda: find_metric("mean", ("y",)), ConfigError, "no task metric 'mean'"),
        (lambda: find_metric("ade", ("a", "b")), ConfigError, "of which output"),
        (lambda: find_metric("ade", ("a",), output="b"), ConfigError, "no output 'b'"),
        (lambda: find_metric("top1", ("a",), scores="a"), ConfigError, "looks at no scores"),
        (lambda: find_metric("no_such_module:f", ("a",)), MissingPartError, "cannot be imported"),
        (lambda: find_metric("json:no_such", ("a",)), MissingPartError, "no function 'no_such'"),
        (lambda: find_metric(f"{tmp_path}/none.py:f", ("a",)), MissingPartError, "no such file"),
        (lambda: find_metric(f"{broken}:f", ("a",)), ConfigError, "division by zero"),
        (lambda: find_metric("ade", ("y",)).score({"y": np.ones((2, 4))}, {"y": np.ones((2, 4))}), ContractError, "points"),
        (lambda: find_metric("iou-corners", ("y",)).score({"y": PATH}, {"y": PATH}), ContractError, "boxes"),
    ]  # fmt: skip
    for ask, kind, said in cases:
        with pytest.raises(kind, match=said) as caught:
            ask()
        assert caught.value.remedy
    assert len(BUILT_IN) == 6

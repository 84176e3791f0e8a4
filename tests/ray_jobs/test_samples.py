"""Rows that cover the slices; a split as planner and scorer take it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.datasets.reader import DrivingDataset
from platform_lib.evaluation.open_loop import score_frames
from ray_jobs.samples import calibration_rows, load_split, spread_rows

pytestmark = pytest.mark.filterwarnings("ignore:lance is not fork-safe")


@given(st.lists(st.sets(st.sampled_from("abc")), max_size=60), st.integers(0, 40))
def test_rows_are_distinct_increasing_and_as_many_as_asked(slices, count):
    rows = spread_rows([frozenset(found) for found in slices], count)
    assert len(rows) == min(count, len(slices))
    assert (np.diff(rows) > 0).all()
    assert set(rows.tolist()) <= set(range(len(slices)))


def test_every_slice_is_covered_however_rare():
    slices = [frozenset({"common"})] * 500 + [frozenset({"rare"})]
    rows = spread_rows(slices, 8)
    assert 500 in rows
    common = [row for row in rows if row < 500]
    assert max(common) - min(common) > 400


def test_a_split_fits_both_sides_and_the_driven_path_is_without_fault(small_dataset: Path):
    with DrivingDataset.open(small_dataset) as dataset:
        split = load_split(dataset, "test")
    assert split.inputs.image.shape == (20, 3, 64, 192)
    assert set(split.frames.drive) == {"drive-4", "drive-5"}
    scores = score_frames(split.frames.future_m, split.frames)
    assert scores["ade_m"].max() == 0.0
    assert scores["collision_rate"].sum() == 0.0  # the expert hits nobody, so neither frame of reference is off
    into = split.frames.future_m.copy()
    into[:, :, 0] += 12.0
    assert score_frames(into, split.frames)["collision_rate"].sum() > 0.0


def test_calibration_shows_the_range_of_every_ego_channel():
    history = np.random.default_rng(3).normal(size=(200, 10, 3)).astype(np.float32)
    rows = calibration_rows([frozenset({"clear"})] * 200, history, 16)
    assert len(set(rows.tolist())) == 16
    assert (np.diff(rows) > 0).all()
    chosen = history[rows]
    assert (chosen.max(axis=(0, 1)) == history.max(axis=(0, 1))).all()
    assert (chosen.min(axis=(0, 1)) == history.min(axis=(0, 1))).all()


def test_calibration_takes_every_row_of_a_small_split():
    history = np.zeros((3, 10, 3), dtype=np.float32)
    assert calibration_rows([frozenset({"clear"})] * 3, history, 16).tolist() == [0, 1, 2]

"""Rows that cover the slices; a split as planner and scorer take it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.datasets.reader import DrivingDataset
from platform_lib.evaluation.open_loop import score_frames
from platform_lib.models.interface import PlannerInput
from ray_jobs.samples import calibration_frames, extreme_rows, load_split, spread_rows

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


def frames(count: int) -> tuple[PlannerInput, np.ndarray]:
    generator = np.random.default_rng(3)
    inputs = PlannerInput(
        image=np.zeros((count, 3, 64, 192), dtype=np.uint8),
        ego_history=generator.normal(size=(count, 10, 3)).astype(np.float32),
        command=np.arange(count) % 3,
    )
    return inputs, generator.normal(size=(count, 6, 2)).astype(np.float32)


def test_calibration_shows_the_range_of_every_ego_channel_and_waypoint():
    inputs, plan = frames(200)
    rows = extreme_rows(inputs.ego_history, plan)
    assert (plan[rows].max(axis=0) == plan.max(axis=0)).all()
    assert (plan[rows].min(axis=0) == plan.min(axis=0)).all()
    chosen = calibration_frames(inputs.ego_history, plan, [frozenset({"clear"})] * 200, 64, inputs.take)
    assert len(chosen) == 64 + len(rows)
    recorded, stretched = chosen.ego_history[:64], chosen.ego_history[64:]
    assert len(np.unique(recorded, axis=0)) == 64
    assert (recorded.max(axis=(0, 1)) == inputs.ego_history.max(axis=(0, 1))).all()
    assert (recorded.min(axis=(0, 1)) == inputs.ego_history.min(axis=(0, 1))).all()
    np.testing.assert_allclose(stretched, inputs.ego_history[rows] * 1.1, rtol=1e-6)
    assert (chosen.command[64:] == inputs.command[rows]).all()


def test_calibration_takes_every_row_of_a_small_split():
    inputs, plan = frames(3)
    chosen = calibration_frames(inputs.ego_history, plan, [frozenset({"clear"})] * 3, 16, inputs.take)
    assert (chosen.ego_history[:3] == inputs.ego_history).all()

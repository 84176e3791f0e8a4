"""All frames at once against a plain loop, and contacts whose moment is known."""

from __future__ import annotations

import numpy as np
import pytest

from platform_lib.evaluation.frames import NO_AGENTS, STEPS, TIMES_S
from platform_lib.evaluation.open_loop import score_frames
from platform_lib.evaluation.self_test_epdms import moving, straight
from platform_lib.evaluation.swept import first_contact_s, sweeps_of
from tests.builders.naive_scores import naive_scores
from tests.builders.traffic_frames import traffic_frames


@pytest.mark.parametrize("seed", [1, 2])
def test_all_frames_at_once_score_as_one_by_one(seed):
    plan, frames = traffic_frames(120, seed)
    ours, theirs = score_frames(plan, frames), naive_scores(plan, frames)
    assert ours["collision_rate"].mean() > 0.1
    for name, values in theirs.items():
        # A contact at the very seam of two motions may fall to either side of a horizon, never within it or beyond.
        allowed = 1 if name in ("collision_1s_rate", "collision_2s_rate") else 0
        assert (np.abs(ours[name] - values) > 1e-9).sum() <= allowed, name


def test_the_moment_of_contact_is_exact():
    # Nose at 3.7 m + 8 t, tail of the car ahead at 20 m - 2.3 m + 3 t: they meet after 14 / 5 s.
    found = first_contact_s(straight()[None], sweeps_of([moving(20.0, 0.0, 3.0)]))
    assert found[0] == pytest.approx(14.0 / 5.0)


def test_somebody_thin_and_fast_is_not_jumped_over():
    # A pedestrian-wide box at 40 m/s crosses the whole path within a tenth of a second.
    agents = moving(12.0, -6.0, 40.0, np.pi / 2)
    thin = type(agents)(agents.step[:1], ("pedestrian",), agents.boxes.take(np.arange(1)))
    assert first_contact_s(straight()[None], sweeps_of([thin]))[0] == np.inf  # alone: seen at its own time only
    track = type(agents)(agents.step, agents.kind, agents.boxes)
    plan = np.stack([24.0 * TIMES_S, np.zeros(STEPS)], axis=1)
    assert first_contact_s(plan[None], sweeps_of([track]))[0] == np.inf  # two samples 20 m apart are not one agent
    near = moving(12.0, -8.0, 20.0, np.pi / 2)
    assert first_contact_s(plan[None], sweeps_of([near]))[0] < 0.5


def test_frames_without_agents_touch_nobody():
    assert sweeps_of([NO_AGENTS, NO_AGENTS]).frame.size == 0
    found = first_contact_s(np.stack([straight(), straight()]), sweeps_of([NO_AGENTS, moving(14.0, 0.0, 0.0)]))
    assert found[0] == np.inf
    assert found[1] == pytest.approx((14.0 - 6.0) / 8.0)

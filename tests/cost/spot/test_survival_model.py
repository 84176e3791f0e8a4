"""What was fitted, what was solved and what is forecast say the same of one history, each found in its own way."""

import dataclasses

import numpy as np
import pytest

from cost.spot import Job, Pool, Trace, fit, simulate
from cost.spot import forecast as forecasting
from cost.spot import planner as planning
from cost.spot.hazard import fit_hazard
from cost.spot.planner import SurvivalPolicy

JOB = Job(work_h=10, deadline_h=14, restart_min=20)


def history_of(*names, seed=3, ticks=2500, mean_ticks=20):
    random = np.random.default_rng(seed)
    columns = []
    for _ in names:
        lengths = np.ceil(random.exponential(mean_ticks, ticks)).astype(int)
        columns.append(np.repeat(np.arange(ticks) % 2 == 0, lengths)[:ticks])
    return Trace(tuple(Pool(name, 1.0, 3.0) for name in names), np.asarray(columns, bool).T.copy(), 600.0)


def fitted(history, job=JOB):
    policy = fit(history, job)
    assert isinstance(policy, SurvivalPolicy)
    return policy


def test_what_was_solved_backwards_is_what_drawn_futures_cost(monkeypatch):
    # Without caution the table's expectation and the simulator's mean are of the same rates.
    monkeypatch.setattr(planning, "CAUTION", 0.0)
    history = history_of("us-east-1a")
    policy = fitted(history)
    assert policy.table.step_ticks == 1
    start = policy.table.state(history.available[-1], np.array([age for _, age in policy.table.end]))
    found = forecasting.forecast(policy, history, JOB, runs=200)
    error = found.cost_usd.std() / len(found.cost_usd) ** 0.5
    # Ages rise by a chance in the table and by one in the simulator: half a dollar of 22 is what that may make.
    assert found.expected_usd == pytest.approx(policy.table.expected_usd[start].min(), abs=3 * error + 0.5)
    assert np.isfinite(found.finish_h).all()


@pytest.mark.parametrize("ticks", [2500, 2560, 2650])
def test_drawn_futures_begin_where_the_history_ends_and_change_as_often(ticks):
    history = history_of("us-east-1a", ticks=ticks)
    policy = fitted(history)
    futures = np.stack(forecasting._drawn(policy, history, 84, 400, np.random.default_rng(0)))[:, :, 0]
    assert (futures[:, 0] == history.available[-1, 0]).mean() > 0.8  # one tick changes about one in twenty
    known = (history.available[1:] != history.available[:-1]).mean()
    assert (futures[:, 1:] != futures[:, :-1]).mean() == pytest.approx(known, rel=0.25)


def test_the_hour_of_a_future_is_the_hour_of_the_clock():
    history = history_of("us-east-1a")
    policy = fitted(history)
    ticks = 84
    chances = np.zeros_like(policy.table.chances)
    chances[7] = 1.0  # in the eighth hour alone everything changes at once
    table = dataclasses.replace(policy.table, chances=chances, step_ticks=1)
    (future,) = forecasting._drawn(
        dataclasses.replace(policy, table=table), history, ticks, 1, np.random.default_rng(0)
    )
    changed = np.flatnonzero(future[1:, 0] != future[:-1, 0]) + 1
    assert changed.tolist() == [42, 43, 44, 45, 46, 47]  # six ticks of ten minutes, from 7 h on


def test_the_age_at_the_history_s_end_goes_on_in_the_run():
    history = history_of("us-east-1a")
    policy = fitted(history)
    ((up, age),) = policy.table.end
    seen = []

    class Asking:
        def decide(self, view):
            seen.append(int(policy._ages(view, view.available[-1])[0]))
            return policy.decide(view)

    state = np.full((84, 1), up)
    state[3:] = not up
    simulate(Asking(), Trace(history.pools, state, history.tick_s), JOB)
    assert seen[:5] == [age + 1, age + 2, age + 3, 1, 2]


def test_a_pool_that_changes_at_one_age_is_fitted_at_that_age():
    spells = np.tile(np.repeat([True, False], [12, 12]), 200)
    hazard = fit_hazard(spells, tick_s=600.0, start_s=0.0, calendar=False)
    # Twelve ticks of ten minutes: the class from 102 minutes on holds ages 10 to 20, of which 10, 11 and 12 were seen.
    chances = hazard.chances(np.array([0.0]))[0]
    for up in (0, 1):
        assert chances[up, hazard.age_class(12)] == pytest.approx(1 / 3, abs=0.05)
        assert chances[up, hazard.age_class(1)] < 0.03


def test_a_heavy_checkpoint_stays_in_its_region():
    history = history_of("us-east-1a", "us-west-2a", ticks=2000)
    windows = [history_of("us-east-1a", "us-west-2a", seed=seed, ticks=84) for seed in range(6)]
    moved = {}
    for gigabytes in (0.5, 2000.0):
        job = dataclasses.replace(JOB, checkpoint_gb=gigabytes)
        policy = fitted(history, job)
        moved[gigabytes] = sum(simulate(policy, window, job).moved_usd for window in windows)
    assert moved[0.5] > 0
    assert moved[2000.0] == 0


def test_what_leaves_a_region_pays_that_region_s_price():
    cheap, dear = 0.02, 0.09
    pools = (
        Pool("us-east-1a", 1.0, 3.0, egress_usd_per_gb=dear),
        Pool("us-west-2a", 1.0, 3.0, egress_usd_per_gb=cheap),
    )
    available = np.zeros((8, 2), dtype=bool)
    available[:4, 0] = available[4:, 1] = True
    job = Job(work_h=0.8, deadline_h=1.3, restart_min=10, checkpoint_gb=10)

    class Following:
        def decide(self, view):
            return planning.Action("spot", int(view.available[-1].argmax()))

    assert simulate(Following(), Trace(pools, available, 600.0), job).moved_usd == pytest.approx(10 * dear)

import dataclasses
import math

import numpy as np
import pytest

from cost.spot import IDLE, Action, Greedy, Job, Pool, Trace, UniformProgress, View, fit, omniscient, simulate
from cost.spot.planner import SurvivalPolicy
from platform_lib.errors import ConfigError
from tests.bench.spot import adversarial, random_job, random_trace

HOUR = 3600.0
POOL = Pool("us-east-1a", 1.0, 3.0)


def trace_of(*columns, tick_s=600.0, **fields):
    pools = tuple(Pool(f"us-east-1{'abcd'[at]}", 1.0, 3.0, **fields) for at in range(len(columns)))
    return Trace(pools, np.asarray(columns, dtype=bool).T.copy(), tick_s)


def history_of(seed=3, ticks=2500, pools=1):
    random = np.random.default_rng(seed)
    columns = []
    for _ in range(pools):
        lengths = np.ceil(random.exponential(20, ticks)).astype(int)
        columns.append(np.repeat(np.arange(ticks) % 2 == 0, lengths)[:ticks])
    return trace_of(*columns)


JOB = Job(work_h=10, deadline_h=14, restart_min=20)


class Recorder:
    """Keeps every decision of a policy."""

    def __init__(self, policy):
        self.policy, self.actions = policy, []

    def decide(self, view):
        self.actions.append(self.policy.decide(view))
        return self.actions[-1]


class Peeking:
    """Waits for nothing: reads ahead in the array behind what it was shown, or in a trace it kept."""

    def __init__(self, trace):
        self.trace = trace

    def decide(self, view):
        ahead = self.trace.available[view.tick + 1 : view.tick + 7, 0]
        if len(ahead) and ahead.any() and not view.available[-1, 0]:
            return IDLE
        return Action("spot", 0) if view.available[-1, 0] else Action("on_demand", 0)


def decisions_depend_on_future(policy_of, trace):
    """Whether any decision before a change of the future differs; tried at every tenth tick."""
    turned = []
    first = Recorder(policy_of(trace))
    simulate(first, trace, JOB)
    for cut in range(5, len(first.actions), 10):
        other = trace.available.copy()
        other[cut:] = ~other[cut:]
        changed = dataclasses.replace(trace, available=other)
        second = Recorder(policy_of(changed))
        simulate(second, changed, JOB)
        turned.append(first.actions[:cut] != second.actions[:cut])
    return any(turned)


@pytest.mark.parametrize("pools", [1, 2])
def test_no_policy_sees_the_future(pools):
    history = history_of(pools=pools)
    window = history_of(seed=8, ticks=84, pools=pools)
    fitted = fit(history, JOB)
    assert isinstance(fitted, SurvivalPolicy)
    for policy in (fitted, UniformProgress(), Greedy()):
        assert not decisions_depend_on_future(lambda _trace, policy=policy: policy, window)


def test_a_policy_that_peeks_is_found():
    assert decisions_depend_on_future(Peeking, history_of(seed=8, ticks=84))


def test_what_a_view_shows_has_no_future_behind_it():
    shown = []

    class Digging:
        def decide(self, view: View) -> Action:
            base = view.available.base
            shown.append(base[view.tick + 1 :].any() if base is not None else False)
            with pytest.raises(ValueError, match="read-only"):
                view.available[0, 0] = True
            return Action("on_demand", 0)

    simulate(Digging(), trace_of(np.ones(84)), JOB)
    assert shown
    assert not any(shown)


def test_no_deadline_is_missed_on_adversarial_traces():
    assert adversarial(60, seed=5) == 0


def test_a_policy_without_the_envelope_misses():
    class Hoping:
        def decide(self, view: View) -> Action:
            return Action("spot", 0) if view.available[-1, 0] else IDLE

    random = np.random.default_rng(1)
    missed = 0
    for _ in range(20):
        job = random_job(random)
        missed += not simulate(Hoping(), random_trace(random, 1, math.ceil(job.deadline_h * HOUR / 195)), job).finished
    assert missed > 0


def test_spot_that_is_not_there_is_refused():
    class Wishing:
        def decide(self, view: View) -> Action:
            return Action("spot", 0)

    with pytest.raises(ConfigError, match="no spot now"):
        simulate(Wishing(), trace_of(np.zeros(84)), JOB)


def test_on_demand_alone_costs_work_and_one_launch():
    class Paying:
        def decide(self, view: View) -> Action:
            return Action("on_demand", 0)

    outcome = simulate(Paying(), trace_of(np.zeros(84)), JOB)
    assert outcome.finished
    assert outcome.cost_usd == pytest.approx((10 + 1 / 3) * 3)
    assert outcome.finish_h == pytest.approx(10 + 1 / 3)
    assert simulate(Paying(), trace_of(np.zeros(84)), dataclasses.replace(JOB, gang=4)).cost_usd == pytest.approx(124)


def test_the_optimum_is_never_dearer_than_any_policy():
    history = history_of(pools=2)
    policy = fit(history, JOB)
    for seed in range(12):
        window = history_of(seed=seed, ticks=84, pools=2)
        best = omniscient(window, JOB)
        assert best.finished
        for each in (policy, UniformProgress(), Greedy()):
            assert best.cost_usd <= simulate(each, window, JOB).cost_usd + 1e-9


def brute(trace, job):
    """The optimum by trying every sequence of places: for a handful of ticks."""
    pools, least = len(trace.pools), math.inf

    class Script:
        def __init__(self, moves):
            self.moves = moves

        def decide(self, view):
            code = self.moves[view.tick]
            if code == 0:
                return IDLE
            if code <= pools:
                return Action("spot", code - 1) if view.available[-1, code - 1] else IDLE
            return Action("on_demand", code - pools - 1)

    ticks = math.ceil(job.deadline_h * HOUR / trace.tick_s)
    for number in range((2 * pools + 1) ** ticks):
        moves = [number // (2 * pools + 1) ** tick % (2 * pools + 1) for tick in range(ticks)]
        outcome = simulate(Script(moves), trace, job)
        if outcome.finished:
            least = min(least, outcome.cost_usd)
    return least


@pytest.mark.parametrize("restart_min", [0, 5, 10, 15])
def test_the_optimum_is_what_trying_everything_finds(restart_min):
    random = np.random.default_rng(restart_min)
    job = Job(work_h=0.55, deadline_h=1.2, restart_min=restart_min, checkpoint_gb=3)
    for _ in range(3):
        window = trace_of(random.random(7) < 0.6)
        assert omniscient(window, job).cost_usd == pytest.approx(brute(window, job), abs=1e-9)


def test_moving_a_checkpoint_to_another_region_is_paid():
    pools = (Pool("us-east-1a", 1.0, 3.0), Pool("us-west-2a", 1.0, 3.0))
    available = np.zeros((8, 2), dtype=bool)
    available[:4, 0] = available[4:, 1] = True
    window = Trace(pools, available, 600.0)
    job = Job(work_h=0.5, deadline_h=1.3, restart_min=10, checkpoint_gb=1)
    assert simulate(UniformProgress(), window, job).moved_usd == 0  # half an hour fits into the first
    longer = dataclasses.replace(job, work_h=0.8)
    assert simulate(Greedy(), window, longer).moved_usd == pytest.approx(0.02)
    assert omniscient(window, dataclasses.replace(longer, checkpoint_gb=1000)).cost_usd < 4  # on demand, not 20 dollars


def test_without_history_it_is_uniform_progress():
    assert fit(trace_of(np.ones(30)), JOB) == UniformProgress()
    assert fit(trace_of(np.ones(2000)), JOB) == UniformProgress()


def test_a_history_that_is_contradicted_is_given_up():
    policy = fit(history_of(), JOB)
    assert isinstance(policy, SurvivalPolicy)
    flicker = np.arange(84) % 2 == 0
    wild, own = trace_of(flicker), history_of(seed=11, ticks=84)
    view_of = {}

    class Looking:
        def __init__(self, name):
            self.name = name

        def decide(self, view: View) -> Action:
            view_of[self.name] = policy.drift.contradicted(view)
            return Action("on_demand", 0)

    simulate(Looking("wild"), wild, JOB)
    simulate(Looking("own"), own, JOB)
    assert view_of == {"wild": True, "own": False}


def test_the_policy_saves_against_uniform_progress_where_its_model_is_right():
    history = history_of(ticks=6000)
    policy = fit(history, JOB)
    ours, theirs = 0.0, 0.0
    for seed in range(30):
        window = history_of(seed=100 + seed, ticks=84)
        ours += simulate(policy, window, JOB).cost_usd
        theirs += simulate(UniformProgress(), window, JOB).cost_usd
    assert ours < theirs


def test_an_impossible_deadline_is_said():
    job = Job(work_h=10, deadline_h=9)
    assert not job.feasible
    assert not omniscient(trace_of(np.ones(60)), job).finished
    assert not simulate(fit(history_of(), job), trace_of(np.ones(60)), job).finished


def test_availability_that_is_not_bool_is_refused():
    with pytest.raises(ConfigError, match="bool"):
        Trace((POOL,), np.ones((4, 1), dtype=np.int64))

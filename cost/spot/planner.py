"""Fits pools' hazards to a history and solves the job backwards: the policy that `fit` returns (pure)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from cost.spot.drift import Drift
from cost.spot.envelope import guarded
from cost.spot.hazard import Hazard, ages_ticks, fit_hazard
from cost.spot.model import HOUR_S, IDLE, Action, Bools, Floats, Job, Policy, Pool, Trace, View
from cost.spot.rules import UniformProgress

MOST_POOLS = 4
"""Joint states grow by a power; of more pools the best are planned with."""
LEAST_HISTORY_H = 72.0
LEAST_CHANGES = 6
"""Less than this says nothing of a pool: Uniform Progress decides then."""
RECENT_H = 24.0
_KEPT_CLASSES: dict[int, tuple[int, ...]] = {1: tuple(range(9)), 2: (0, 3, 4, 5, 6, 7), 3: (0, 4, 6), 4: (0, 5)}
"""The classes of ages that are told apart, by the number of pools."""
_CELLS = 120_000
"""Cells of (work, slack) above which a step has more ticks."""
BIN_H = 1.0
CAUTION = 0.25
"""Log odds added against spot when planning: rates differ from week to week, and too little spot costs more than too much
saves. On six zones (24 windows each), 70 h and a restart of 13 min, the gap to the optimum, of Uniform Progress's, is 0.61
without it, 0.58 with 0.25, 0.61 with 0.5, and 0.63 with -0.25."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What was decided for every state, and the numbers to find one.

    Attributes:
        pools: Columns of the trace that are planned with.
        demand: The pool whose on-demand stands for its region.
        regions: Their names.
        region: Of each planned pool, an index into ``regions``.
        step_ticks: Ticks of a step.
        edges_ticks: First age of each class.
        chances: (time bins, pools, 2, classes): of change in a step, as fitted, without caution.
        fresh: See `kernel.induce`.
        stay: See `kernel.induce`.
        expected_usd: (states, regions) at the start.
        end: Each planned pool's last state in the history, and its age.
    """

    pools: tuple[int, ...]
    demand: tuple[int, ...]
    regions: tuple[str, ...]
    region: npt.NDArray[np.int64]
    step_ticks: int
    edges_ticks: npt.NDArray[np.int64]
    chances: Floats
    fresh: npt.NDArray[np.int8]
    stay: Bools
    expected_usd: Floats
    end: tuple[tuple[bool, int], ...]

    def state(self, up: Bools, ages: npt.NDArray[np.int64]) -> int:
        """Return the joint state of the planned pools."""
        classes, found, stride = len(self.edges_ticks), 0, 1
        for pool in self.pools:
            age = int(np.searchsorted(self.edges_ticks, ages[pool], side="right")) - 1
            found += (age + (classes if up[pool] else 0)) * stride
            stride *= 2 * classes
        return found


@dataclass(frozen=True, slots=True, eq=False)
class SurvivalPolicy:
    """Exact backward induction over fitted hazards, behind the hard envelope.

    Falls back to Uniform Progress for the rest of a run whose changes contradict the history.

    Attributes:
        table: What to do, state by state.
        drift: When the history is no longer believed.
        pools: Names of the trace's pools.
    """

    table: Table
    drift: Drift
    pools: tuple[str, ...]

    def decide(self, view: View) -> Action:
        """Return where to be during the coming tick.

        The age of a pool that has not changed since the run began goes on from the history's end, if it ended so.
        """
        if self.drift.contradicted(view):
            return UniformProgress().decide(view)
        return guarded(view, self._wish(view))

    def _wish(self, view: View) -> Action:
        table, place = self.table, view.place
        work = min(math.ceil(view.work_left_ticks / table.step_ticks - 1e-9), table.fresh.shape[0] - 1)
        slack = math.floor(view.slack_ticks / table.step_ticks + 1e-9)
        if place.kind != "idle" and (view.restart_left_ticks > 0 or slack < 0):
            return place  # a launch is paid for anyway; without slack, what runs must not stop
        slack = min(max(slack, 0), table.fresh.shape[1] - 1)
        up = view.available[-1]
        state = table.state(up, self._ages(view, up))
        if place.kind == "spot":
            kept = place.pool not in table.pools or table.stay[work, slack, state, table.pools.index(place.pool)]
            if kept:
                return place
        home = table.regions.index(view.home) if view.home in table.regions else self._start(state)
        if place.kind == "on_demand" and table.stay[work, slack, state, len(table.pools) + home]:
            return place
        action = self._action(int(table.fresh[work, slack, state, home]))
        return place if action.kind == "on_demand" == place.kind else action

    def _ages(self, view: View, up: Bools) -> npt.NDArray[np.int64]:
        ages = view.age_ticks
        for pool, (was_up, age) in zip(self.table.pools, self.table.end, strict=True):
            if ages[pool] == view.tick + 1 and up[pool] == was_up:
                ages = ages.copy()
                ages[pool] += age
        return ages

    def _start(self, state: int) -> int:
        """Return the region to begin in: the first launch moves nothing."""
        return int(self.table.expected_usd[state].argmin())

    def _action(self, code: int) -> Action:
        planned = len(self.table.pools)
        if code == 0:
            return IDLE
        if code <= planned:
            return Action("spot", self.table.pools[code - 1])
        return Action("on_demand", self.table.demand[code - 1 - planned])


def fit(history: Trace, job: Job) -> Policy:
    """Return the policy for a job, from what its pools did before.

    Fitted within seconds; a decision takes microseconds. Without enough history (three days, a few changes), it is
    `UniformProgress`. Trace and history are taken to follow each other: the hours of the day and the pools' ages go on.

    Args:
        history: The past, ending when the job begins. Nothing else is seen.
        job: The work.
    """
    hours = history.ticks * history.tick_s / HOUR_S
    changes = (history.available[1:] != history.available[:-1]).sum(axis=0)
    if hours < LEAST_HISTORY_H or changes.max(initial=0) < LEAST_CHANGES or not job.feasible:
        return UniformProgress()
    chosen = _best_pools(history)
    hazards = [_hazard(history, pool) for pool in chosen]
    return SurvivalPolicy(
        table=solve(history, job, chosen, hazards),
        drift=Drift.of(hazards, chosen, tick_s=history.tick_s),
        pools=tuple(pool.name for pool in history.pools),
    )


def _hazard(history: Trace, pool: int) -> Hazard:
    return fit_hazard(
        history.available[:, pool],
        tick_s=history.tick_s,
        start_s=history.start_utc_s or 0.0,
        calendar=history.start_utc_s is not None,
    )


def _recent(history: Trace, kind: str) -> Floats:
    ticks = max(1, round(RECENT_H * HOUR_S / history.tick_s))
    prices = history.prices("spot" if kind == "spot" else "on_demand", history.ticks)
    found: Floats = prices[-ticks:].mean(axis=0)
    return found


def _best_pools(history: Trace) -> tuple[int, ...]:
    """Return the pools to plan with: those whose spot saves most, their share of time counted."""
    saved = (_recent(history, "on_demand").min() - _recent(history, "spot")) * history.available.mean(axis=0)
    return tuple(sorted(np.argsort(-saved, kind="stable")[:MOST_POOLS].tolist()))


def solve(history: Trace, job: Job, chosen: tuple[int, ...], hazards: list[Hazard]) -> Table:
    """Solve a job over the chosen pools."""
    from cost.spot.kernel import induce  # numba takes a second to import: what only names a policy does not need it

    tick_h = history.tick_s / HOUR_S
    work, deadline, launch = job.work_h / tick_h, job.deadline_h / tick_h, job.restart_min / 60 / tick_h
    spare = max(deadline - work - launch, 0.0)
    step = _step_ticks(work, spare, launch, len(chosen))
    launch_steps = max(1, round(launch / step))
    kept = _KEPT_CLASSES[len(chosen)]
    edges = hazards[0].edges_ticks[list(kept)]
    bins = max(1, math.ceil(job.deadline_h / BIN_H))
    begin = (history.start_utc_s or 0.0) + history.ticks * history.tick_s
    moments = begin + (np.arange(bins) + 0.5) * BIN_H * HOUR_S
    plain, cautious = (
        np.stack(
            [
                _merged(each, moments, kept, history.available[:, at], caution)
                for each, at in zip(hazards, chosen, strict=True)
            ],
            1,
        )
        for caution in (0.0, CAUTION)
    )
    plain, cautious = 1 - (1 - plain) ** step, 1 - (1 - cautious) ** step
    aging = np.zeros(len(edges))
    aging[:-1] = np.minimum(1.0, step / np.diff(edges))
    regions, region, demand = _regions(history, chosen)
    per_step = tick_h * step * job.gang
    spot_usd = _recent(history, "spot")[list(chosen)] * per_step
    demand_usd = _recent(history, "on_demand")[list(demand)] * per_step
    egress = _egress(history.pools, regions, job)
    fresh, stay, expected = induce(
        math.ceil(work / step - 1e-9), math.floor(spare / step + 1e-9), launch_steps, len(edges),
        region, egress, spot_usd, demand_usd, cautious, aging, BIN_H / tick_h / step,
    )  # fmt: skip
    end = tuple((bool(history.available[-1, pool]), int(ages_ticks(history.available[:, pool])[-1])) for pool in chosen)
    return Table(
        chosen, demand, regions, region, step, edges, plain, fresh, stay, expected, end,
    )  # fmt: skip


def _step_ticks(work: float, spare: float, launch: float, pools: int) -> int:
    """Return the ticks of a step: few enough cells, launches in whole steps as nearly as can be."""
    # A launch of one tick in steps of two would lose twice what it does: one pool alone can afford the cells.
    most = _CELLS * (4 if launch < 2 else 1) if pools == 1 else _CELLS // 4
    step = 1
    while (work / step + 1) * (spare / step + 1) > most:
        step += 1
    wanted = [step + extra for extra in range(3) if launch < step + extra or abs(launch / (step + extra) % 1) < 1e-6]
    return wanted[0] if wanted else step


def _merged(hazard: Hazard, moments: Floats, kept: tuple[int, ...], available: Bools, caution: float) -> Floats:
    """Return (moments, 2, kept classes): classes that are not told apart count by the time that the pool spent in them."""
    chances = hazard.chances(moments, caution=caution)
    if len(kept) == chances.shape[2]:
        return chances
    classes = np.searchsorted(hazard.edges_ticks, ages_ticks(available), side="right") - 1
    found = np.empty((len(moments), 2, len(kept)))
    bounds = [*kept, chances.shape[2]]
    for up in (0, 1):
        spent = np.bincount(classes[available == bool(up)], minlength=chances.shape[2]) + 1e-3
        for at, (first, last) in enumerate(pairwise(bounds)):
            found[:, up, at] = np.average(chances[:, up, first:last], axis=1, weights=spent[first:last])
    return found


def _regions(history: Trace, chosen: tuple[int, ...]) -> tuple[tuple[str, ...], npt.NDArray[np.int64], tuple[int, ...]]:
    names = [history.pools[pool].region for pool in chosen]
    regions = tuple(dict.fromkeys(names))
    prices = _recent(history, "on_demand")
    demand = tuple(
        min((pool for pool, of in enumerate(history.pools) if of.region == name), key=lambda pool: float(prices[pool]))
        for name in regions
    )
    return regions, np.asarray([regions.index(name) for name in names]), demand


def _egress(pools: tuple[Pool, ...], regions: tuple[str, ...], job: Job) -> Floats:
    found = np.zeros((len(regions), len(regions)))
    for at, name in enumerate(regions):
        price = next(pool.egress_usd_per_gb for pool in pools if pool.region == name)
        found[at] = price * job.checkpoint_gb
        found[at, at] = 0.0
    return found

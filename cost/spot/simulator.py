"""Runs a policy through a trace, tick by tick, showing it only what has happened (pure)."""

from __future__ import annotations

import math

import numpy as np

from cost.spot.model import HOUR_S, IDLE, Action, Job, Outcome, Policy, Trace, View
from platform_lib.errors import ConfigError


def simulate(policy: Policy, trace: Trace, job: Job) -> Outcome:
    """Run a job under a policy; its deadline counts from the trace's first tick.

    Instances are paid by the fraction of a tick that they are used. A launch works for nothing during ``restart_min``;
    an interruption loses nothing else. Past the trace's end spot is nowhere. The run ends with the work or the deadline.

    Args:
        policy: Asked once a tick, with a `View`.
        trace: What could be had.
        job: The work.

    Raises:
        ConfigError: The policy wants spot where there is none, or a pool that does not exist.
    """
    return _Run(trace, job).all(policy)


class _Run:
    """The state of one simulated run."""

    def __init__(self, trace: Trace, job: Job) -> None:
        self.trace, self.job = trace, job
        per_h = HOUR_S / trace.tick_s
        self.deadline, self.work = job.deadline_h * per_h, job.work_h * per_h
        self.restart = job.restart_min * 60 / trace.tick_s
        self.ticks = math.ceil(self.deadline - 1e-9)
        self.spot, self.on_demand = trace.prices("spot", self.ticks), trace.prices("on_demand", self.ticks)
        self.seen = np.zeros((self.ticks, len(trace.pools)), dtype=np.bool_)
        self.ages = np.zeros(len(trace.pools), dtype=np.int64)
        self.names = tuple(pool.name for pool in trace.pools)
        self.place, self.launching, self.home = IDLE, 0.0, ""
        self.left, self.used = self.work, {"spot": 0.0, "on_demand": 0.0}
        self.rent_usd, self.moved_usd, self.preemptions = 0.0, 0.0, 0
        self.places = np.full(self.ticks, -1, dtype=np.int16)

    def all(self, policy: Policy) -> Outcome:
        """Run until the work is done or the deadline is there."""
        for tick in range(self.ticks):
            self._observe(tick)
            action = policy.decide(self._view(tick))
            self._check(action, tick)
            done_at = self._step(action, tick)
            if done_at is not None:
                return self._outcome(done_at * self.trace.tick_s / HOUR_S, tick + 1)
        return self._outcome(math.inf, self.ticks)

    def _observe(self, tick: int) -> None:
        if tick < self.trace.ticks:
            self.seen[tick] = self.trace.available[tick]
        same = self.seen[tick] == self.seen[tick - 1] if tick else np.zeros_like(self.seen[0])
        self.ages = np.where(same, self.ages + 1, 1)
        if self.place.kind == "spot" and not self.seen[tick, self.place.pool]:
            self.preemptions += 1
            self.place, self.launching = IDLE, 0.0

    def _view(self, tick: int) -> View:
        seen = self.seen[: tick + 1]
        seen.flags.writeable = False
        return View(
            tick=tick,
            tick_s=self.trace.tick_s,
            pools=self.names,
            available=seen,
            age_ticks=self.ages,
            spot_usd_per_hour=self.spot[tick].copy(),
            on_demand_usd_per_hour=self.on_demand[tick].copy(),
            place=self.place,
            restart_left_ticks=self.launching,
            home=self.home,
            work_ticks=self.work,
            deadline_ticks=self.deadline,
            work_left_ticks=self.left,
            restart_ticks=self.restart,
        )

    def _check(self, action: Action, tick: int) -> None:
        if action.kind == "idle":
            return
        known = 0 <= action.pool < len(self.names)
        if not known or (action.kind == "spot" and not self.seen[tick, action.pool]):
            what = "has no spot now" if known else "does not exist"
            raise ConfigError(
                f"the policy wants {action.kind} of pool {action.pool}, which {what}", where=f"tick {tick}"
            )

    def _step(self, action: Action, tick: int) -> float | None:
        """Spend one tick; return when the work was done, in ticks, if it was."""
        if action != self.place:
            self._launch(action)
        if action.kind == "idle":
            return None
        price = (self.spot if action.kind == "spot" else self.on_demand)[tick, action.pool]
        used = min(1.0, self.deadline - tick, self.launching + self.left)
        self.left -= max(0.0, used - self.launching)
        self.launching = max(0.0, self.launching - used)
        self.rent_usd += used * price
        self.used[action.kind] += used
        self.places[tick] = action.pool + (len(self.names) if action.kind == "on_demand" else 0)
        return tick + used if self.left <= 1e-9 else None

    def _launch(self, action: Action) -> None:
        self.place = action
        self.launching = self.restart if action.kind != "idle" else 0.0
        if action.kind == "idle":
            return
        pool = self.trace.pools[action.pool]
        if self.home and pool.region != self.home:
            source = next(known for known in self.trace.pools if known.region == self.home)
            self.moved_usd += self.job.checkpoint_gb * source.egress_usd_per_gb
        self.home = pool.region

    def _outcome(self, finish_h: float, ticks: int) -> Outcome:
        hours = self.trace.tick_s / HOUR_S
        return Outcome(
            cost_usd=float(self.rent_usd * hours * self.job.gang + self.moved_usd),
            finished=math.isfinite(finish_h),
            finish_h=finish_h,
            preemptions=self.preemptions,
            hours_spot=self.used["spot"] * hours,
            hours_on_demand=self.used["on_demand"] * hours,
            moved_usd=self.moved_usd,
            places=self.places[:ticks],
        )

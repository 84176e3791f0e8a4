"""What a job will cost and when it will be done, as distributions: rollouts of a policy's own decisions (pure)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cost.spot.model import HOUR_S, Floats, Job, Policy, Trace
from cost.spot.planner import BIN_H, SurvivalPolicy
from cost.spot.simulator import simulate

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """A sample of what may come.

    Attributes:
        cost_usd: (runs,), sorted.
        finish_h: (runs,), sorted; infinite where the work was not done by the deadline.
        on_demand_h: (runs,).
        source: What the futures were made of.
    """

    cost_usd: Floats
    finish_h: Floats
    on_demand_h: Floats
    source: str

    @property
    def expected_usd(self) -> float:
        """The mean cost."""
        return float(self.cost_usd.mean())

    def cost_quantiles(self) -> dict[str, float]:
        """Return dollars a quantile."""
        return {f"{level:g}": float(np.quantile(self.cost_usd, level)) for level in QUANTILES}

    def chance_by(self, hours: float) -> float:
        """Return the chance of being done by then."""
        return float((self.finish_h <= hours + 1e-9).mean())


def forecast(policy: Policy, history: Trace, job: Job, *, runs: int = 200, seed: int = 0) -> Forecast:
    """Run the policy through futures and return what they cost.

    With fitted hazards the futures are drawn from these, beginning at the history's last state; without, they are
    windows of the history itself.

    Args:
        policy: What `fit` returned for this history and job.
        history: The past; its last prices hold.
        job: The work.
        runs: How many futures.
        seed: Of the draws.
    """
    random = np.random.default_rng(seed)
    ticks = int(np.ceil(job.deadline_h * 3600 / history.tick_s))
    if isinstance(policy, SurvivalPolicy):
        futures = _drawn(policy, history, ticks, runs, random)
        source = "drawn from the fitted hazards"
    else:
        futures = _windows(history, ticks, runs)
        source = "that are overlapping windows of the history"
    recent = history.window(history.ticks - 1, history.ticks)
    outcomes = [simulate(policy, Trace(recent.pools, future, history.tick_s), job) for future in futures]
    return Forecast(
        np.sort([each.cost_usd for each in outcomes]),
        np.sort([each.finish_h for each in outcomes]),
        np.asarray([each.hours_on_demand for each in outcomes]),
        source,
    )


def _windows(history: Trace, ticks: int, runs: int) -> list[np.ndarray]:
    last = max(history.ticks - ticks, 0)
    starts = np.unique(np.linspace(0, last, runs).astype(int))
    return [history.available[start : start + ticks] for start in starts]


def _drawn(
    policy: SurvivalPolicy, history: Trace, ticks: int, runs: int, random: np.random.Generator
) -> list[np.ndarray]:
    """Draw (ticks, pools) futures, all runs at once; pools that are not planned with stay away."""
    table = policy.table
    per_tick = 1 - (1 - table.chances) ** (1 / table.step_ticks)
    bin_ticks = BIN_H * HOUR_S / history.tick_s
    futures = np.zeros((runs, ticks, len(history.pools)), dtype=np.bool_)
    for at, pool in enumerate(table.pools):
        was_up, age = table.end[at]
        up, ages = np.full(runs, was_up), np.full(runs, age)
        for tick in range(ticks):
            classes = np.searchsorted(table.edges_ticks, ages, side="right") - 1
            chance = per_tick[min(int(tick / bin_ticks), len(per_tick) - 1), at, up.astype(np.int64), classes]
            flips = random.random(runs) < chance
            up, ages = up ^ flips, np.where(flips, 1, ages + 1)
            futures[:, tick, pool] = up
    return list(futures)

"""What a job's file leads to: the order of pools, weights, checkpoint intervals, the forecast, as JSON (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, TypedDict

import numpy as np

from cost.checkpoint import Interval, best_interval
from cost.prices.model import STALE_DAYS
from cost.spot.forecast import forecast
from cost.spot.jobfile import Asked, PoolSettings
from cost.spot.model import HOUR_S, Bools, Job, Policy, Trace
from cost.spot.planner import SurvivalPolicy, fit
from cost.spot.rules import UniformProgress

_TOP_WEIGHT, _WEIGHT_STEP, _LEAST_WEIGHT = 100, 10, 1
"""Karpenter's weights run from 1 to 100; the highest is tried first."""
_ASSUMES = (
    "an interruption costs its restart alone: neither the time for writing checkpoints nor the work since the last one is "
    "in these numbers; a restart_min longer by half a checkpoint's interval counts it"
)


class PoolAdvice(TypedDict):
    """One pool's line."""

    pool: str
    instance_type: str
    spot_usd_per_hour: float
    on_demand_usd_per_hour: float
    price_sources: list[str]
    available_share: float | None
    mean_life_h: float | None
    usd_per_useful_hour: float | None
    checkpoint_interval_s: float | None
    useful_fraction: float | None
    karpenter_weight: int


def advise(asked: Asked, today: date, *, runs: int = 200) -> dict[str, Any]:
    """Return the document that `submit` and the cluster's definitions read; on `today`, old prices are named."""
    history, job = asked.history, asked.job
    past = {} if history is None else {pool.name: at for at, pool in enumerate(history.pools)}
    lines = [
        _line(asked, pool, None if history is None or pool.name not in past else history.available[:, past[pool.name]])
        for pool in asked.priced
    ]
    lines.sort(key=_place)
    for at, line in enumerate(lines):
        line["karpenter_weight"] = max(_TOP_WEIGHT - at * _WEIGHT_STEP, _LEAST_WEIGHT + 1)
    known = history if history is not None and not asked.without_history else None
    policy = UniformProgress() if known is None else fit(known, job)
    lacking = _no_forecast(asked, known, policy)
    return {
        "job": asked.file.job.model_dump(mode="json"),
        "feasible": job.feasible,
        "policy": "survival" if isinstance(policy, SurvivalPolicy) else "uniform-progress",
        "pool_order": [line["pool"] for line in lines],
        "pools": lines,
        "karpenter_weights": {
            **{f"spot/{line['pool']}": line["karpenter_weight"] for line in lines},
            "on-demand": _LEAST_WEIGHT,
        },
        "kueue_flavor_order": [*(f"spot/{line['pool']}" for line in lines), "on-demand"],
        "spot_order": _spot_order(asked, lines),
        "unknown": [_unknown(pool) for pool in asked.file.pools if pool not in asked.priced],
        "odd_prices": [*_odd_prices(asked, today)],
        "on_demand_only_usd": _on_demand_usd(asked),
        "forecast": None if known is None or lacking else _forecast(policy, known, job, runs),
        "no_forecast": lacking or None,
    }


def _place(line: PoolAdvice) -> tuple[bool, float]:
    """Order pools: a pool without history has nothing that speaks for it but its price, and comes after those that have."""
    useful = line["usd_per_useful_hour"]
    return useful is None, line["spot_usd_per_hour"] if useful is None else useful


def _no_forecast(asked: Asked, known: Trace | None, policy: Policy) -> str:
    """Return why nothing can be said of what the job will cost; empty: it can be said."""
    job = asked.job
    if not job.feasible:
        need_h = job.work_h + job.restart_min / 60
        return f"the deadline cannot be met: on demand alone takes {need_h:g} h, and there are {job.deadline_h:g}"
    if known is None:
        return f"no history of {', '.join(asked.without_history)}: give `history`"
    hours = known.ticks * known.tick_s / HOUR_S
    if not isinstance(policy, SurvivalPolicy) and hours < job.deadline_h:
        return f"{hours:.1f} h of history, and the job may run for {job.deadline_h:g}: give a longer one"
    return ""


def _forecast(policy: Policy, history: Trace, job: Job, runs: int) -> dict[str, Any]:
    future = forecast(policy, history, job, runs=runs)
    hours = sorted(
        {round(job.work_h + share * (job.deadline_h - job.work_h), 2) for share in (0.1, 0.25, 0.5, 0.75)}
        | {job.deadline_h}
    )
    return {
        "expected_usd": round(future.expected_usd, 2),
        "cost_usd_quantiles": {level: round(usd, 2) for level, usd in future.cost_quantiles().items()},
        "chance_finished_by_h": {f"{hour:g}": future.chance_by(hour) for hour in hours},
        "mean_on_demand_h": round(float(future.on_demand_h.mean()), 2),
        "runs": len(future.cost_usd),
        "source": future.source,
        "assumes": _ASSUMES,
    }


def _odd_prices(asked: Asked, today: date) -> Iterator[str]:
    for pool in asked.priced:
        for kind, price in (("spot", pool.spot), ("on-demand", pool.on_demand)):
            days = (today - price.date).days
            if days > STALE_DAYS:
                yield f"{pool.name}: the {kind} price is of {price.date}, {days} days ago: ask anew"
            elif days < 0:
                yield f"{pool.name}: the {kind} price is of {price.date}, which is to come"


def _spot_order(asked: Asked, lines: list[PoolAdvice]) -> dict[str, Any] | None:
    """Return the file of `drivetrain infra manifests --spot-order`; a node pool of several zones has its best zone's place."""
    names = {pool.name: pool.node_pool for pool in asked.priced}
    if asked.file.environment is None or None in names.values():
        return None
    weights: dict[str, int] = {}
    for line in lines:
        weights.setdefault(str(names[line["pool"]]), line["karpenter_weight"])
    return {
        "environment": asked.file.environment,
        "pools": [{"name": name, "weight": weight} for name, weight in weights.items()],
    }


def _line(asked: Asked, pool: PoolSettings, available: Bools | None) -> PoolAdvice:
    spot, demand = pool.spot.usd_per_hour or 0.0, pool.on_demand.usd_per_hour or 0.0  # both are known of priced pools
    lives = [] if available is None else lives_s(available, asked.file.tick_s)
    restart_s = asked.job.restart_min * 60
    interval: Interval | None = best_interval(asked.file.job.checkpoint_write_s, restart_s, lives) if lives else None
    useful = sum(max(0.0, life - restart_s) for life in lives) / sum(lives) if lives else 0.0
    return {
        "pool": pool.name,
        "instance_type": pool.instance_type,
        "spot_usd_per_hour": spot,
        "on_demand_usd_per_hour": demand,
        "price_sources": [f"{each.source}, {each.date}" for each in (pool.spot, pool.on_demand)],
        "available_share": None if available is None else round(float(available.mean()), 4),
        "mean_life_h": round(sum(lives) / len(lives) / 3600, 3) if lives else None,
        "usd_per_useful_hour": round(spot / useful, 4) if useful else None,
        "checkpoint_interval_s": None if interval is None else round(interval.interval_s),
        "useful_fraction": None
        if interval is None or interval.useful_fraction is None
        else round(interval.useful_fraction, 4),
        "karpenter_weight": _LEAST_WEIGHT,
    }


def lives_s(available: Bools, tick_s: float) -> list[float]:
    """Return how long spot lasted each time, the last time perhaps not to its end."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], available.astype(np.int8), [0]])))
    lives: list[float] = ((edges[1::2] - edges[::2]) * tick_s).tolist()
    return lives


def _unknown(pool: PoolSettings) -> str:
    missing = [
        kind for kind, price in (("spot", pool.spot), ("on-demand", pool.on_demand)) if price.usd_per_hour is None
    ]
    return f"{pool.name}: {' and '.join(missing)} price not known, left out of the order"


def _on_demand_usd(asked: Asked) -> float:
    least = min(pool.on_demand.usd_per_hour or 0.0 for pool in asked.priced)
    return round((asked.job.work_h + asked.job.restart_min / 60) * least * asked.job.gang, 2)

"""What a job would have cost with the whole trace known in advance: the least that any policy can pay (pure)."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from cost.spot.model import HOUR_S, Floats, Job, Outcome, Trace

_MOST_STATES = 250_000_000


def omniscient(trace: Trace, job: Job) -> Outcome:
    """Return the cheapest run under the simulator's own rules, by exact backward induction over the trace.

    Exact where a launch is a whole number of ticks, or a fraction of one with a small denominator; else it is rounded
    down to such a one, so that the cost stays a bound from below. Past the trace's end spot is nowhere.

    Args:
        trace: Everything, the future included.
        job: The work; its deadline counts from tick 0.
    """
    from cost.spot.optimum_kernel import forward, induce  # numba takes a second to import

    per_h = HOUR_S / trace.tick_s
    work, deadline, restart = job.work_h * per_h, job.deadline_h * per_h, job.restart_min * 60 / trace.tick_s
    if not job.feasible:
        return Outcome(
            cost_usd=math.inf, finished=False, finish_h=math.inf, preemptions=0, hours_spot=0.0, hours_on_demand=0.0
        )
    ticks = math.ceil(deadline - 1e-9)
    regions = tuple(dict.fromkeys(pool.region for pool in trace.pools))
    region = np.asarray([regions.index(pool.region) for pool in trace.pools])
    spot, demand = trace.prices("spot", ticks), trace.prices("on_demand", ticks)
    places = len(trace.pools) * 2
    parts, launch = _parts(restart, ticks * (deadline - work + 2) * (places * (restart + 2) + len(regions)))
    up = np.zeros((ticks, len(trace.pools)), dtype=np.bool_)
    up[: min(ticks, trace.ticks)] = trace.available[:ticks]
    # Hours scale all rents alike; the checkpoint's price is brought to the same unit.
    moving = _moving(trace, regions, job) / (trace.tick_s / HOUR_S * job.gang)
    price = np.concatenate([spot, demand], axis=1)
    where = np.concatenate([region, region])
    choice, total = induce(work, deadline, parts, launch, up, price, where, moving)
    taken, finish = forward(work, deadline, parts, launch, up, price, where, choice)
    return _outcome(trace, job, taken, finish, float(total), launch / parts)


def _parts(restart: float, states: float) -> tuple[int, int]:
    """Return in how many parts a tick is cut, and the parts of a launch."""
    most = max(1, min(60, int(_MOST_STATES / max(states, 1.0))))
    exact = Fraction(restart).limit_denominator(most)
    if abs(float(exact) - restart) < 1e-6:
        return exact.denominator, exact.numerator
    return most, math.floor(restart * most)


def _moving(trace: Trace, regions: tuple[str, ...], job: Job) -> Floats:
    """Return (regions + 1, regions): the last row is before the first launch."""
    found = np.zeros((len(regions) + 1, len(regions)))
    for at, name in enumerate(regions):
        price = next(pool.egress_usd_per_gb for pool in trace.pools if pool.region == name)
        found[at] = price * job.checkpoint_gb
        found[at, at] = 0.0
    return found


def _outcome(trace: Trace, job: Job, taken: Floats, finish: float, total: float, restart: float) -> Outcome:
    """Count what the optimal path used; ``taken`` is (ticks, 3): place, ticks used, whether it was launched."""
    pools = len(trace.pools)
    hours = trace.tick_s / HOUR_S
    place = taken[:, 0].astype(np.int16)
    spot = (place >= 0) & (place < pools)
    before = np.concatenate([[-1], place[:-1]])
    up = np.zeros((len(place), pools), dtype=np.bool_)
    up[: min(len(place), trace.ticks)] = trace.available[: len(place)]
    lost = sum(1 for tick in range(1, len(place)) if 0 <= before[tick] < pools and not up[tick, before[tick]])
    del restart
    return Outcome(
        cost_usd=total * hours * job.gang,
        finished=True,
        finish_h=finish * hours,
        preemptions=lost,
        hours_spot=float(taken[spot, 1].sum()) * hours,
        hours_on_demand=float(taken[place >= pools, 1].sum()) * hours,
        places=place,
    )

"""The loops that are compiled: backward induction over a job's state, and rollouts of what it decided (pure).

A *step* is one or several ticks. A cell is (steps of work left, steps of slack), slack being what may be lost before only
on-demand, launched at once, meets the deadline. Work done moves to (work - 1, slack), anything else to (work, slack - 1).

The pools' joint state is one number in base ``2 * classes``: a digit a pool, age class plus ``classes`` where it is up.
Places of the job: idle with its checkpoint in region g; on spot of pool p, k steps of launch left; on demand in region g,
k left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from platform_lib.compiled import compiled, inner

_NEVER = 1e18


@inner
def _fresh(
    work: int, slack: int, launch: int, e: int, g: int, up: Any, region: Any, egress: Any, spot: Any, demand: Any,
    older: Any,
) -> Any:  # fmt: skip
    """Return the cost and the action of the best start from region g: 0 idle, 1 + p spot, 1 + pools + g on demand."""
    pools, regions = len(region), len(demand)
    best, action = _NEVER, 0
    if slack >= 1:
        best = older[e, g]
    for to in range(regions):
        if slack >= 1:
            cost = egress[g, to] + demand[to] + older[e, regions + pools * launch + to * launch + launch - 1]
        else:
            cost = egress[g, to] + demand[to] * (work + launch)
        if cost < best:
            best, action = cost, 1 + pools + to
    if slack >= 1:
        for p in range(pools):
            if up[e, p]:
                cost = egress[g, region[p]] + spot[p] + older[e, regions + p * launch + launch - 1]
                if cost <= best:
                    best, action = cost, 1 + p
    return best, action


@compiled
def _expect(values: Any, other: Any, pools: int, classes: int, chances: Any, older: Any) -> Any:
    """Return the expectation over the next step's joint state, pool after pool (they change independently)."""
    states, places = values.shape
    base = 2 * classes
    stride = 1
    for p in range(pools):
        for e in range(states):
            digit = (e // stride) % base
            up = digit // classes
            age = digit % classes
            change = chances[p, up, age]
            grow = older[age]
            flipped = e + ((1 - up) * classes - digit) * stride
            aged = e + stride if age < classes - 1 else e
            for place in range(places):
                other[e, place] = change * values[flipped, place] + (1 - change) * (
                    grow * values[aged, place] + (1 - grow) * values[e, place]
                )
        values, other = other, values
        stride *= base
    return values


@compiled
def induce(  # noqa: C901 - one loop nest, compiled whole
    work: int, slack: int, launch: int, classes: int, region: Any, egress: Any, spot: Any, demand: Any, chances: Any,
    aging: Any, bin_steps: float,
) -> Any:  # fmt: skip
    """Solve the job backwards.

    Args:
        work: Steps of work.
        slack: Steps of slack at the start.
        launch: Steps of a launch, 1 or more.
        classes: Of ages.
        region: (pools,) region of each.
        egress: (regions, regions) dollars of moving the checkpoint.
        spot: (pools,) dollars a step.
        demand: (regions,) dollars a step.
        chances: (time bins, pools, 2, classes) chance of change in a step.
        aging: (classes,) chance that a step leads to the next class of ages.
        bin_steps: Steps of a time bin.

    Returns:
        ``fresh`` (work + 1, slack + 1, states, regions): what to start; ``stay`` (..., pools + regions): whether a running
        place is kept; and the expected cost at the start, (states, regions).
    """
    pools, regions = len(region), len(demand)
    states = (2 * classes) ** pools
    places = regions + (pools + regions) * launch
    up = np.zeros((states, pools), np.bool_)
    for e in range(states):
        rest = e
        for p in range(pools):
            up[e, p] = rest % (2 * classes) >= classes
            rest //= 2 * classes
    fresh = np.zeros((work + 1, slack + 1, states, regions), np.int8)
    stay = np.zeros((work + 1, slack + 1, states, pools + regions), np.bool_)
    done = np.zeros((slack + 1, states, places))  # expectations at work - 1
    here = np.zeros((slack + 1, states, places))  # and at work
    values, other = np.zeros((states, places)), np.zeros((states, places))
    start = np.zeros((states, regions))
    first_demand = regions + pools * launch
    for left in range(1, work + 1):
        for spare in range(slack + 1):
            when = (work + slack) - (left + spare)
            at = min(max(int(when / bin_steps), 0), len(chances) - 1)
            older = here[max(spare - 1, 0)]
            for e in range(states):
                for g in range(regions):
                    best, action = _fresh(left, spare, launch, e, g, up, region, egress, spot, demand, older)
                    values[e, g] = best
                    fresh[left, spare, e, g] = action
                for p in range(pools):
                    first = regions + p * launch
                    best = values[e, region[p]]
                    for k in range(launch):
                        values[e, first + k] = best
                    if up[e, p]:
                        cost = spot[p] + done[spare, e, first]
                        if cost <= best:
                            values[e, first] = cost
                            stay[left, spare, e, p] = True
                        if spare >= 1:
                            for k in range(1, launch):
                                values[e, first + k] = min(best, spot[p] + older[e, first + k - 1])
                for g in range(regions):
                    first = first_demand + g * launch
                    best = values[e, g]
                    cost = demand[g] + done[spare, e, first]
                    if cost <= best:
                        stay[left, spare, e, pools + g] = True
                        best = cost
                    values[e, first] = best
                    for k in range(1, launch):
                        if spare >= 1:
                            values[e, first + k] = demand[g] + older[e, first + k - 1]
                        else:
                            values[e, first + k] = demand[g] * (left + k)
            if left == work and spare == slack:
                start[:, :] = values[:, :regions]
            here[spare] = _expect(values, other, pools, classes, chances[at], aging)
        done, here = here, done
    return fresh, stay, start

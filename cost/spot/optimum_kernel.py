"""The compiled loops of the omniscient optimum (pure).

Progress is counted in parts of a tick. A place is a pool on spot (0 to pools - 1) or on demand (pools to 2 * pools - 1);
``phases`` counts what is left of a launch in ticks begun, 0 when it runs. Loc 0 to regions are idle, the last of them
before the first launch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from platform_lib.compiled import compiled, inner

_NEVER = 1e30


@inner
def _run(rem: float, left: int, parts: int, span: float) -> Any:
    """Return ticks used, parts of progress, parts of launch left, whether the work is done, within one tick."""
    launching = left / parts
    if launching + rem <= span + 1e-9:
        return launching + rem, 0, 0, True
    gained = max(0, parts - left)
    return span, gained, max(0, left - parts), False


@compiled
def induce(  # noqa: C901 - one loop nest, compiled whole
    work: float, deadline: float, parts: int, launch: int, up: Any, price: Any, where: Any, moving: Any
) -> Any:
    """Return the choice of every state and the least cost, in dollars an hour times ticks."""
    ticks, pools = up.shape
    places = 2 * pools
    regions = moving.shape[1]
    phases = (launch + parts - 1) // parts + 1
    idle = regions + 1
    locs = idle + places * phases
    whole = int(np.floor(work * parts + 1e-9)) + 1
    width = int((deadline - work) * parts) + 2 * parts + 2
    value = np.full((whole + parts + 1, locs), _NEVER)
    later = np.full((whole + parts + 1, locs), _NEVER)
    # Choice: 0 stay (or idle); 1 + place: launch it; 255 impossible. Progress counts from its least at the tick.
    choice = np.full((ticks, width, locs), 255, np.uint8)
    for t in range(ticks - 1, -1, -1):
        span = min(1.0, deadline - t)
        least = max(0, int(np.ceil((work - (deadline - t)) * parts - 1e-9)))
        for done in range(min(whole - 1, t * parts), least - 1, -1):
            rem = work - done / parts
            for place in range(places):
                for phase in range(phases):
                    left = launch - (phases - 1 - phase) * parts if phase else 0
                    loc = idle + place * phases + phase
                    cost = _NEVER
                    if place >= pools or up[t, place]:
                        used, gained, _, finished = _run(rem, left, parts, span)
                        if finished:
                            cost = used * price[t, place]
                        elif span >= 1.0:
                            after = idle + place * phases + max(0, phase - 1)
                            cost = used * price[t, place] + later[done + gained, after]
                    value[done, loc] = cost
                    choice[t, done - least, loc] = 0
            for g in range(idle):
                best, act = later[done, g] if span >= 1.0 else _NEVER, 0
                for place in range(places):
                    cost = value[done, idle + place * phases + phases - 1] + moving[g, where[place]]
                    if cost < best:
                        best, act = cost, 1 + place
                value[done, g] = best
                choice[t, done - least, g] = act
            for place in range(places):
                home = where[place]
                for phase in range(phases):
                    loc = idle + place * phases + phase
                    if value[done, home] < value[done, loc]:
                        # To leave for nothing is to launch nothing: 254.
                        act = choice[t, done - least, home]
                        choice[t, done - least, loc] = act if act else 254
        for done in range(min(whole - 1, t * parts), least - 1, -1):
            for place in range(places):
                home = where[place]
                for phase in range(phases):
                    loc = idle + place * phases + phase
                    value[done, loc] = min(value[done, loc], value[done, home])
        later, value = value, later
    return choice, later[0, regions]


@compiled
def forward(work: float, deadline: float, parts: int, launch: int, up: Any, price: Any, where: Any, choice: Any) -> Any:
    """Follow the choices; return (ticks, 3) of place, ticks used and launches, and when it was done, in ticks."""
    ticks, pools = up.shape
    phases = (launch + parts - 1) // parts + 1
    idle = choice.shape[2] - 2 * pools * phases
    taken = np.full((ticks, 3), -1.0)
    loc, done = idle - 1, 0
    for t in range(ticks):
        span = min(1.0, deadline - t)
        least = max(0, int(np.ceil((work - (deadline - t)) * parts - 1e-9)))
        act = choice[t, done - least, loc]
        launched = 0.0
        if act == 254:
            loc = where[(loc - idle) // phases]
        elif act:
            loc = idle + (act - 1) * phases + phases - 1
            launched = 1.0
        taken[t, 1] = taken[t, 2] = 0.0
        if loc < idle:
            continue
        place, phase = (loc - idle) // phases, (loc - idle) % phases
        left = launch - (phases - 1 - phase) * parts if phase else 0
        used, gained, _, finished = _run(work - done / parts, left, parts, span)
        taken[t, 0], taken[t, 1], taken[t, 2] = place, used, launched
        if finished:
            return taken[: t + 1], t + used
        done += gained
        loc = idle + place * phases + max(0, phase - 1)
    return taken, np.inf

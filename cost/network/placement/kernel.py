"""Simulated annealing over zones, compiled: single moves and swaps that keep to every rule (pure).

State: `zone[unit]`; `load[zone, resource]`; `near[edge, zone]`, how many of an edge's targets are in a zone; `own[rule, zone]`
and `beside[rule, zone]`, how many pods of a rule's two sides are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from platform_lib.compiled import compiled, inner


@inner
def _shift(
    u: int, to: int, zone: Any, load: Any, need: Any, near: Any, own: Any, beside: Any, starts: Any, inc: Any, source: Any,
    weight: Any, rstarts: Any, rinc: Any, members: Any, now: Any, stay: float,
) -> float:  # fmt: skip
    """Move a unit, and return what the objective changes by."""
    frm = zone[u]
    delta = 0.0
    for k in range(starts[u], starts[u + 1]):
        e = inc[k, 0]
        if inc[k, 1] == 0:
            if near[e, frm] == 0:
                delta -= weight[e]
            if near[e, to] == 0:
                delta += weight[e]
        else:
            at = zone[source[e]]
            if at == frm and near[e, frm] == 1:
                delta += weight[e]
            if at == to and near[e, to] == 0:
                delta -= weight[e]
            near[e, frm] -= 1
            near[e, to] += 1
    for k in range(rstarts[u], rstarts[u + 1]):
        r = rinc[k, 0]
        if rinc[k, 1] == 0:
            own[r, frm] -= members[u]
            own[r, to] += members[u]
        else:
            beside[r, frm] -= 1
            beside[r, to] += 1
    for r in range(need.shape[1]):
        load[frm, r] -= need[u, r]
        load[to, r] += need[u, r]
    zone[u] = to
    if now[u] >= 0:
        delta += stay * (int(to != now[u]) - int(frm != now[u]))
    return delta


@inner
def _sound(
    u: int, to: int, load: Any, capacity: Any, own: Any, beside: Any, rstarts: Any, rinc: Any, kind: Any, limit: Any,
    compared: Any, zero: Any,
) -> bool:  # fmt: skip
    """Say whether the zone a unit came to, and the unit's rules, hold."""
    for r in range(load.shape[1]):
        if load[to, r] > capacity[to, r]:
            return False
    zones = capacity.shape[0]
    for k in range(rstarts[u], rstarts[u + 1]):
        r = rinc[k, 0]
        if kind[r] == 0:
            least = 0 if zero[r] else 1 << 40
            most = 0
            for z in range(zones):
                if compared[r, z]:
                    least = min(least, own[r, z])
                    most = max(most, own[r, z])
            if most - least > limit[r]:
                return False
        else:
            for z in range(zones):
                if kind[r] == 1 and own[r, z] > limit[r]:
                    return False
                if kind[r] == 2 and own[r, z] > 0 and beside[r, z] > 0:
                    return False
                if kind[r] == 3 and own[r, z] > 0 and beside[r, z] == 0:
                    return False
    return True


@compiled
def _count(
    zone: Any, need: Any, capacity: Any, source: Any, tstarts: Any, targets: Any, rstarts: Any, rinc: Any, members: Any, rules: int
) -> Any:  # fmt: skip
    """Return the state of a placement: load, near, own and beside."""
    zones = capacity.shape[0]
    load = np.zeros(capacity.shape, dtype=np.int64)
    near = np.zeros((len(source), zones), dtype=np.int64)
    own = np.zeros((rules, zones), dtype=np.int64)
    beside = np.zeros((rules, zones), dtype=np.int64)
    for u in range(len(zone)):
        for r in range(need.shape[1]):
            load[zone[u], r] += need[u, r]
        for k in range(rstarts[u], rstarts[u + 1]):
            if rinc[k, 1] == 0:
                own[rinc[k, 0], zone[u]] += members[u]
            else:
                beside[rinc[k, 0], zone[u]] += 1
    for e in range(len(source)):
        for k in range(tstarts[e], tstarts[e + 1]):
            near[e, zone[targets[k]]] += 1
    return load, near, own, beside


@compiled
def anneal(
    seed: int, steps: int, hot: float, cold: float, zone: Any, allowed: Any, free: Any, need: Any, capacity: Any, starts: Any,
    inc: Any, source: Any, tstarts: Any, targets: Any, weight: Any, rstarts: Any, rinc: Any, members: Any, kind: Any, limit: Any,
    compared: Any, zero: Any, now: Any, stay: float,
) -> float:  # fmt: skip
    """Anneal from a sound placement, in place; return how much better the best one met is (0 or less).

    Args:
        seed: Of the random numbers.
        steps: How many moves are tried.
        hot: Temperature at the start, in bytes.
        cold: Temperature at the end.
        zone: (units,) the placement; the best one met on return.
        allowed: (units, zones) whether a unit may be there.
        free: Units with more than one zone.
        need: (units, resources).
        capacity: (zones, resources).
        starts: (units + 1,) where each unit's rows of `inc` begin.
        inc: (ends, 2) edge, and 0 for its source or 1 for a target.
        source: (edges,) its source.
        tstarts: (edges + 1,) where each edge's `targets` begin.
        targets: Units.
        weight: (edges,) bytes.
        rstarts: (units + 1,) where each unit's rows of `rinc` begin.
        rinc: (ends, 2) rule, and 0 for its own side or 1 for the other.
        members: (units,) pods.
        kind: (rules,) see `RuleKind`.
        limit: (rules,).
        compared: (rules, zones) whether a skew compares the zone.
        zero: (rules,) whether a skew's least is 0.
        now: (units,) present zone, -1 for none.
        stay: What leaving it costs.
    """
    np.random.seed(seed)
    zones, count = capacity.shape[0], len(free)
    load, near, own, beside = _count(zone, need, capacity, source, tstarts, targets, rstarts, rinc, members, len(kind))
    best, at = 0.0, 0.0
    kept = zone.copy()
    units, goals, origins = np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64)  # of a move, or a swap
    for step in range(steps):
        heat = hot * (cold / hot) ** (step / steps)
        u = free[np.random.randint(count)]
        frm, to = zone[u], np.random.randint(zones)
        if to == frm or not allowed[u, to]:
            continue
        moves = 1
        units[0], goals[0], origins[0] = u, to, frm
        # A swap keeps loads and counts: where zones are full, it is the only move there is.
        if np.random.random() < 0.5:
            v = free[np.random.randint(count)]
            back = zone[v]
            if v == u or back == frm or not allowed[u, back] or not allowed[v, frm]:
                continue
            moves = 2
            goals[0] = back
            units[1], goals[1], origins[1] = v, frm, back
        delta = 0.0
        for m in range(moves):
            delta += _shift(
                units[m], goals[m], zone, load, need, near, own, beside, starts, inc, source, weight, rstarts, rinc, members,
                now, stay,
            )  # fmt: skip
        ok = delta <= 0 or np.random.random() < np.exp(-delta / heat)
        for m in range(moves):
            ok = ok and _sound(
                units[m], goals[m], load, capacity, own, beside, rstarts, rinc, kind, limit, compared, zero
            )
        if not ok:
            for m in range(moves - 1, -1, -1):
                _shift(
                    units[m], origins[m], zone, load, need, near, own, beside, starts, inc, source, weight, rstarts, rinc,
                    members, now, stay,
                )  # fmt: skip
            continue
        at += delta
        if at < best - 1e-9:
            best = at
            kept[:] = zone
    zone[:] = kept
    return best

"""From what was read to what is told: costs, a placement with its patches, proposals. Pure; the clock is given."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from cost.network.advice import Placed
from cost.network.cluster import Owner, Pod
from cost.network.packing import unpacked
from cost.network.patches import Patch, patches_of, service_patches
from cost.network.placement.checker import broken
from cost.network.placement.problem import Problem, crossing
from cost.network.placement.solving import Outcome, place
from cost.network.placement.spreading import even_spread
from cost.network.placing import Cluster, Placing

_TRIES = 3
_DRAWS = 200
_LEAST_AT_PODS = 0.5
"""Below this share of the bytes told by pod, a placement would move the wrong things."""


@dataclass(frozen=True, slots=True)
class Found:
    """A placement, what it saves, and what makes it happen.

    Attributes:
        placing: The problem.
        outcome: Its solution; None where none was looked for.
        placed: What it saves, a month.
        patches: What makes it happen.
        even_bytes: What would cross if everything were spread evenly, a month.
        tight: Pods that may find no node in their zone, by zone.
    """

    placing: Placing
    outcome: Outcome | None
    placed: Placed
    patches: tuple[Patch, ...]
    even_bytes: float
    tight: tuple[str, ...]


def find_placement(
    cluster: Cluster, placing: Placing, *, seconds: float, clock: Callable[[], float], folder: str | None
) -> Found:  # fmt: skip
    """Solve a placing and say what it is worth.

    Args:
        cluster: What runs where.
        placing: The problem.
        seconds: At most about so long.
        clock: Of what.
        folder: Where its patches will be.
    """
    why = _why_not(placing)
    if why:
        return _only_services(cluster, placing, why, None, folder)
    outcome, tight = _packed(cluster, placing, seconds, clock)
    if outcome.placement is None:
        return _only_services(cluster, placing, "; ".join(outcome.refused), outcome, folder)
    said = broken(placing.problem, outcome.placement)
    if said:  # the checker knows nothing of the solver: what it objects to is not proposed
        return _only_services(cluster, placing, f"the placement that was found breaks: {said[0]}", outcome, folder)
    found = _only_services(cluster, placing, "", outcome, folder)
    if outcome.crossing_bytes >= placing.near_bytes:
        why = "no placement was found in which less crosses zones than now, with services near"
        return replace(found, placed=replace(found.placed, refused=why))
    patches = patches_of(placing, outcome.placement, cluster.services or ())
    low, high = _range(placing, outcome.placement, patches)
    now = Decimal(placing.now_bytes)
    placed = replace(
        found.placed,
        moved_bytes=now - Decimal(outcome.crossing_bytes) - found.placed.near_bytes,
        low_bytes=now - high,
        high_bytes=now - low,
        workloads=sum(item.kind != "Service" for item in patches),
        gap=outcome.gap,
    )
    return replace(found, placed=placed, patches=tuple(patches), tight=tight)


def _only_services(
    cluster: Cluster, placing: Placing, why: str, outcome: Outcome | None, folder: str | None
) -> Found:  # fmt: skip
    """Return what services alone save, which needs no placement."""
    kept = service_patches(placing.fanned, cluster.services or ())
    saved = Decimal(placing.now_bytes - placing.near_bytes)
    if saved <= 0:
        kept, saved = [], Decimal(0)
    zero = Decimal(0)
    placed = Placed(saved if kept else zero, zero, zero, zero, len(kept), 0, None, folder, refused=why)
    return Found(placing, outcome, placed, tuple(kept), even_spread(placing.problem), ())


def _why_not(placing: Placing) -> str:
    known = placing.problem.total
    if placing.at_nodes_bytes + placing.left_out_bytes > known * (1 - _LEAST_AT_PODS) / _LEAST_AT_PODS:
        share = known / max(known + placing.at_nodes_bytes + placing.left_out_bytes, 1.0)
        return (
            f"only {share:.0%} of the bytes within the network are told by pod: a flow log needs pkt-srcaddr and pkt-dstaddr "
            "for pods' own addresses, and snapshots of the pods of its time"
        )
    if len(placing.problem.zones) < 2:
        return "the nodes are in one zone"
    return "" if placing.problem.edges else "no traffic of pods that could move was recorded"


def _packed(
    cluster: Cluster, placing: Placing, seconds: float, clock: Callable[[], float]
) -> tuple[Outcome, tuple[str, ...]]:
    """Solve, and where a zone's nodes have no room for its pods one by one, solve with a smaller zone."""
    problem, begun = placing.problem, clock()
    left: dict[int, list[Pod]] = {}
    outcome = place(problem, seconds=seconds / 2, clock=clock)
    for _ in range(_TRIES):
        if outcome.placement is None:
            break
        left = unpacked(cluster, placing, outcome.placement)
        if not left or clock() - begun > seconds:
            break
        smaller = place(_smaller(problem, left), seconds=max(seconds - (clock() - begun), 1.0) / 2, clock=clock)
        if smaller.placement is None:
            break
        # The bound is of the whole problem; the smaller one's says nothing about it.
        bound = min(outcome.bound_bytes, smaller.crossing_bytes)
        problem, outcome = _smaller(problem, left), replace(smaller, bound_bytes=bound, proven=False)
    names = placing.problem.zones
    said = tuple(f"{pod.namespace}/{pod.name} in {names[zone]}" for zone, pods in sorted(left.items()) for pod in pods)
    return replace(outcome, seconds=clock() - begun), said


def _smaller(problem: Problem, left: dict[int, list[Pod]]) -> Problem:
    capacity = [list(row) for row in problem.capacity]
    for zone, pods in left.items():
        for place_, resource in enumerate(problem.resources):
            need = sum(pod.requests.get(resource, 0) for pod in pods)
            capacity[zone][place_] = max(capacity[zone][place_] - need, 0)
    return replace(problem, capacity=tuple(tuple(row) for row in capacity))


def _range(placing: Placing, placement: Sequence[int], patches: Sequence[Patch]) -> tuple[Decimal, Decimal]:
    """Return the 5th and 95th percentile of what crosses, over what schedulers may make of the patches.

    A patch names zones and how evenly they are filled; which of them gets the odd replica is the scheduler's choice.
    """
    loose = {(item.kind, item.namespace, item.name) for item in patches if item.kind != "Service"}
    by_owner: dict[Owner, list[int]] = defaultdict(list)
    for number, group in enumerate(placing.groups):
        if group is not None and len(group.pods) == 1 and len(placing.problem.units[number].allowed) > 1:
            owner = group.pods[0].owner
            if (owner.kind, owner.namespace, owner.name) in loose:
                by_owner[owner].append(number)
    generator = random.Random(0)  # noqa: S311 - draws, no secrets
    found = []
    for _ in range(_DRAWS):
        drawn = list(placement)
        for units in by_owner.values():
            zones = sorted({placement[unit] for unit in units})
            generator.shuffle(zones)
            generator.shuffle(units)
            for place_, unit in enumerate(units):
                drawn[unit] = zones[place_ % len(zones)]
        found.append(crossing(placing.problem, drawn))
    found.sort()
    best = crossing(placing.problem, placement)
    return Decimal(min(best, found[_DRAWS // 20])), Decimal(max(best, found[-_DRAWS // 20]))

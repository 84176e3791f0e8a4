"""Which nodes to empty into the others, and whether each move is worth its disruption: Karpenter's Balanced rule. Pure.

A move is worth it where (what it saves / what the pool costs) / (what it disturbs / what all of the pool's nodes would) >= 1/2. A node disturbs
1 and, of each of its pods, 1 (with the annotation `pod-deletion-cost` / 2^27 and the priority / 2^25 added, within 0 and 10).

Source: kubernetes-sigs/karpenter, designs/balanced-consolidation.md at 3bb5546 (consolidationThreshold 2; Karpenter 1.14); a node's own 1 is
counted on both sides, as in its `delete_ratio`, by which a pool of one node scores 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from cost.rightsize.packing import Bins, Placed, Pod, Shape

THRESHOLD = Decimal("0.5")
_MOST_COST, _DELETION_COST_UNIT, _PRIORITY_UNIT = 10.0, 2**27, 2**25


@dataclass(frozen=True, slots=True)
class Standing:
    """A node as it stands.

    Attributes:
        name: Its name.
        pool: Its node pool.
        shape: Index of its shape.
        pods: Indices of its pods.
        pinned: Why it may not be emptied; None where it may.
    """

    name: str
    pool: str
    shape: int
    pods: tuple[int, ...]
    pinned: str | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """One node emptied into others of the cluster.

    Attributes:
        node: Which.
        pool: Its pool.
        pods: How many pods move.
        saves_usd_per_hour: Its price; None where that is not known.
        score: By the Balanced rule; None where a price of its pool is missing and the pool is not of one shape.
        worth_it: Whether the rule would act; None where there is no score.
    """

    node: str
    pool: str
    pods: int
    saves_usd_per_hour: Decimal | None
    score: float | None
    worth_it: bool | None


@dataclass(frozen=True, slots=True)
class Overfull:
    """A node that holds more than it has, as it was given: nothing is planned on what cannot be."""

    node: str


def disruption_of(deletion_cost: float = 0.0, priority: float = 0.0) -> float:
    """Return what evicting a pod disturbs."""
    return min(max(1.0 + deletion_cost / _DELETION_COST_UNIT + priority / _PRIORITY_UNIT, 0.0), _MOST_COST)


def score(saved: Decimal, pool_cost: Decimal, disturbed: float, pool_disturbs: float) -> float | None:
    """Return savings fraction over disruption fraction; None where a pool costs nothing."""
    if pool_cost <= 0 or pool_disturbs <= 0 or disturbed <= 0:
        return None
    return float(saved / pool_cost) / (disturbed / pool_disturbs)


def consolidate(
    nodes: Sequence[Standing], pods: Sequence[Pod], shapes: Sequence[Shape], disturbs: Sequence[float]
) -> tuple[Move, ...] | Overfull:
    """Find nodes that can be emptied into the others, the best score first; each move is taken if the rule is for it.

    Args:
        nodes: As they stand.
        pods: All of their pods.
        shapes: Of the nodes.
        disturbs: Of each pod what its eviction disturbs.
    """
    bins = Bins([Shape(s.name, s.cpu_milli, s.memory_mib, s.gpus, s.model, None, s.usd_per_hour) for s in shapes], pods)
    for node in nodes:
        at = bins.open(node.shape)
        for number in sorted(node.pods, key=lambda number: (-pods[number].gpus, -pods[number].gpu_milli)):
            if not bins.fits(number, at):
                return Overfull(node.name)
            bins.put(number, at)
    # As Karpenter does it: totals are those of the start of a cycle.
    scores = [_score(at, nodes, shapes, disturbs) for at in range(len(nodes))]
    order = sorted(range(len(nodes)), key=lambda at: (scores[at] is None, -(scores[at] or 0.0), at))
    stays = np.ones(len(bins.shape), np.bool_)
    found = []
    for at in order:
        if nodes[at].pinned is not None:
            continue
        moved = _emptied(bins, at, stays)
        if moved is None:
            continue
        value = scores[at]
        worth = None if value is None else Decimal(repr(value)) >= THRESHOLD
        found.append(
            Move(nodes[at].name, nodes[at].pool, len(moved), shapes[nodes[at].shape].usd_per_hour, value, worth)
        )
        if worth:
            stays[at] = False
        else:
            _undo(bins, at, moved)
    return tuple(found)


def _emptied(bins: Bins, node: int, stays: np.typing.NDArray[np.bool_]) -> list[tuple[int, int, Placed]] | None:
    taken = bins.take(node)
    others = stays.copy()
    others[node] = False
    moved: list[tuple[int, int, Placed]] = []
    for placed in sorted(taken, key=lambda placed: -bins.pods[placed.pod].cpu_milli):
        target = bins.best(placed.pod, others)
        if target is None:
            for number, back, _ in reversed(moved):
                bins.undo(number, back)
            bins.restore(node, taken)
            return None
        bins.put(placed.pod, target)
        moved.append((placed.pod, target, placed))
    return moved


def _undo(bins: Bins, node: int, moved: list[tuple[int, int, Placed]]) -> None:
    for number, back, _ in reversed(moved):
        bins.undo(number, back)
    bins.restore(node, [placed for _, _, placed in moved])


def _score(at: int, nodes: Sequence[Standing], shapes: Sequence[Shape], disturbs: Sequence[float]) -> float | None:
    pool = [node for node in nodes if node.pool == nodes[at].pool]
    prices = [shapes[node.shape].usd_per_hour for node in pool]
    if len({node.shape for node in pool}) == 1:
        # Of nodes that are alike the price cancels: what is not known changes nothing.
        saved, cost = Decimal(1), Decimal(len(pool))
    else:
        known = [price for price in prices if price is not None]
        price = shapes[nodes[at].shape].usd_per_hour
        if len(known) < len(prices) or price is None:
            return None
        saved, cost = price, sum(known, Decimal(0))
    own = 1.0 + sum(disturbs[number] for number in nodes[at].pods)
    return score(saved, cost, own, sum(1.0 + sum(disturbs[number] for number in node.pods) for node in pool))

"""Packs tighter than best fit: the linear programme says which pods go to which shape, then nodes are emptied one by one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cost.rightsize.bound import Relaxed, relax
from cost.rightsize.packing import WHOLE_GPU_MILLI, Bins, Packing, Pod, Shape, best_fit, decreasing, smallest

_EMPTYING_TRIES = 400
"""Nodes that one pass tries to empty, the emptiest first: fuller ones hardly ever empty."""
_PASSES = 6
_ROUNDS = 3
_MOVING_TRIES = 12
"""Nodes on which room for a pod is sought by moving others."""


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """What was packed, beside what best fit does and what nothing can beat.

    Attributes:
        ours: The better of the tries, best fit among them.
        best_fit: By decreasing sizes.
        in_order: Best fit in the order in which pods were given, as a scheduler meets them.
        bound: Of the linear programme.
    """

    ours: Packing
    best_fit: Packing
    in_order: Packing
    bound: Relaxed


def pack(pods: Sequence[Pod], shapes: Sequence[Shape]) -> Packed:
    """Pack pods onto shapes: first as many pods as can be, then as cheaply (or on as few nodes) as can be."""
    bound = relax(pods, shapes)
    plain, in_order = best_fit(pods, shapes), best_fit(pods, shapes, range(len(pods)))
    starts = [plain, in_order, *(_guided(pods, shapes, bound, by_node=by_node) for by_node in (False, True))]
    tries = [plain, in_order, *(_emptied(pods, shapes, start) for start in starts)]
    ours = min(tries, key=lambda packing: cost_of(packing, priced=bound.priced))
    return Packed(ours, plain, in_order, bound)


def cost_of(packing: Packing, *, priced: bool) -> tuple[int, float]:
    """Return what is compared: pods left out, then USD an hour, or nodes where a price is missing."""
    if priced:
        return len(packing.unplaced), float(packing.usd_per_hour() or 0)
    return len(packing.unplaced), float(len(packing.nodes))


def _guided(pods: Sequence[Pod], shapes: Sequence[Shape], bound: Relaxed, *, by_node: bool) -> Packing:
    """Fill each shape with the pods that the programme gave it; what is left over goes anywhere.

    Args:
        pods: What is to be placed.
        shapes: What can be opened.
        bound: The programme's solution.
        by_node: Fill node after node with what suits it, instead of placing pod after pod by best fit.
    """
    bins = Bins(shapes, pods)
    place = {number: rank for rank, number in enumerate(decreasing(pods, shapes))}
    over = _fill(bins, bound, list(range(len(pods))), place, by_node=by_node)
    for _ in range(_ROUNDS if by_node else 0):
        # What rounding left over first fills holes, then gets a programme of its own over the nodes that are left.
        over = [number for number in sorted(over, key=place.__getitem__) if not _placed_in_hole(bins, number)]
        if not over:
            break
        rest = [replace(shape, most=left) for shape, left in zip(shapes, bins.left, strict=True)]
        over = _fill(bins, relax([pods[number] for number in over], rest), over, place, by_node=True)
    return best_fit(pods, shapes, sorted(over, key=place.__getitem__), bins=bins)


def _placed_in_hole(bins: Bins, number: int) -> bool:
    node = bins.best(number)
    if node is not None:
        bins.put(number, node)
    return node is not None


def _fill(bins: Bins, bound: Relaxed, numbers: Sequence[int], place: Mapping[int, int], *, by_node: bool) -> list[int]:
    """Open nodes for what the programme, whose pods are `numbers`, gave each shape; return what is left over."""
    given: list[list[list[int]]] = [[] for _ in bins.shapes]
    over: list[int] = []
    for kind, within in enumerate(bound.members):
        members, start = [numbers[each] for each in within], 0
        for shape in range(len(bins.shapes)):
            take = min(int(bound.on[kind, shape] + 1e-6), len(members) - start)
            if take:
                given[shape].append(members[start : start + take])
            start += take
        over += members[start:]
    for shape, own in enumerate(given):
        over += _fill_nodes(bins, shape, own) if by_node else _fill_pods(bins, shape, own, place)
    return over


def _fill_pods(bins: Bins, shape: int, own: list[list[int]], place: Mapping[int, int]) -> list[int]:
    over = []
    for number in sorted((number for members in own for number in members), key=place.__getitem__):
        node = bins.best(number, bins.shape == shape)
        if node is None:
            if not bins.can_open(shape, bins.pods[number]):
                over.append(number)
                continue
            node = bins.open(shape)
        bins.put(number, node)
    return over


def _fill_nodes(bins: Bins, shape: int, own: list[list[int]]) -> list[int]:
    """Fill one node after the other: next comes the kind whose sizes point most in the direction of what is still free.

    Source: Panigrahy, Talwar, Uyeda, Wieder, "Heuristics for vector bin packing", 2011 (dot product), weighted here by how scarce each
    resource is among what is left.
    """
    made = bins.shapes[shape]
    whole = np.asarray([made.cpu_milli, made.memory_mib, max(made.gpus, 1) * WHOLE_GPU_MILLI], np.float64)
    sizes = np.asarray([_sizes(bins.pods[members[0]]) for members in own], np.float64).reshape(-1, 3) / whole
    left = np.asarray([len(members) for members in own])
    while left.any() and bins.can_open(shape, bins.pods[own[int(left.argmax())][-1]]):
        node = bins.open(shape)
        scarce = (left[:, None] * sizes).sum(axis=0)
        while True:
            free = np.asarray([bins.free[node, 0], bins.free[node, 1], np.maximum(bins.gpu[node], 0).sum()]) / whole
            suits = (sizes * scarce * free).sum(axis=1)
            for kind in np.argsort(-suits, kind="stable").tolist():
                if left[kind] and bins.fits(own[kind][-1], node):
                    bins.put(own[kind].pop(), node)
                    left[kind] -= 1
                    break
            else:
                break
    return [number for members in own for number in members]


def _sizes(pod: Pod) -> tuple[int, int, int]:
    return pod.cpu_milli, pod.memory_mib, pod.gpus * pod.gpu_milli


def _emptied(pods: Sequence[Pod], shapes: Sequence[Shape], start: Packing) -> Packing:
    """Try to empty nodes, the emptiest first, into the others; then change each to the cheapest shape that holds what it has."""
    bins = _refilled(pods, shapes, start)
    for _ in range(_PASSES):
        gone = sum(_try_to_empty(bins, node) for node in _emptiest(bins)[:_EMPTYING_TRIES])
        placed = _place_left_out(bins)
        if not gone and not placed:
            break
    return _cheapest_shapes(bins)


def _refilled(pods: Sequence[Pod], shapes: Sequence[Shape], start: Packing) -> Bins:
    bins = Bins(shapes, pods)
    for shape, held in start.nodes:
        bins.restore(bins.open(shape), held)
    bins.unplaced = list(start.unplaced)
    return bins


def _emptiest(bins: Bins) -> list[int]:
    """Return nodes by how full they are: a dear one before a cheap one, all else equal."""

    def fill(node: int) -> tuple[float, int]:
        shape = bins.shapes[int(bins.shape[node])]
        shares = [1 - bins.free[node, 0] / shape.cpu_milli, 1 - bins.free[node, 1] / shape.memory_mib]
        if shape.gpus:
            shares.append(1 - float(np.maximum(bins.gpu[node], 0).sum()) / 1000 / shape.gpus)
        return float(max(shares)) / float(shape.usd_per_hour or 1), node

    return sorted((node for node in range(bins.used) if bins.held[node]), key=fill)


def _try_to_empty(bins: Bins, node: int) -> bool:
    elsewhere = _open_nodes(bins)
    elsewhere[node] = False
    if not _repacked(bins, node, (), elsewhere):
        return False
    _close(bins, node)
    return True


def _open_nodes(bins: Bins) -> npt.NDArray[np.bool_]:
    found = np.zeros(len(bins.shape), np.bool_)
    found[[node for node in range(bins.used) if bins.held[node]]] = True
    return found


def _repacked(bins: Bins, node: int, first: Sequence[int], among: npt.NDArray[np.bool_]) -> bool:
    """Take a node's pods off, put `first` on it, and find places for those taken off; all, or nothing is changed."""
    taken = bins.take(node)
    moved: list[tuple[int, int]] = []
    rank = sorted(taken, key=lambda placed: -(bins.pods[placed.pod].gpus * 10**9 + bins.pods[placed.pod].cpu_milli))
    for number, target in [*((number, node) for number in first), *((placed.pod, None) for placed in rank)]:
        chosen = bins.best(number, among) if target is None else target if bins.fits(number, target) else None
        if chosen is None:
            for other, back in reversed(moved):
                bins.undo(other, back)
            bins.restore(node, taken)
            return False
        bins.put(number, chosen)
        moved.append((number, chosen))
    return True


def _close(bins: Bins, node: int) -> None:
    """Give an emptied node back to its shape's stock; its row takes nothing more."""
    shape = int(bins.shape[node])
    left = bins.left[shape]
    if left is not None:
        bins.left[shape] = left + 1
    bins.free[node] = -1
    bins.gpu[node] = -1


def _place_left_out(bins: Bins) -> int:
    left, placed = bins.unplaced, 0
    bins.unplaced = []
    hopeless: set[object] = set()
    for number in sorted(left, key=lambda number: -bins.pods[number].gpus):
        kind = bins.pods[number].kind
        node = bins.best(number)
        if node is None and (shape := smallest(bins, bins.pods[number])) is not None:
            node = bins.open(shape)
        if node is not None:
            bins.put(number, node)
        elif kind in hopeless or not _place_by_moving(bins, number):
            # Another pod of the same kind would fail just so, until the next pass.
            hopeless.add(kind)
            bins.unplaced.append(number)
            continue
        placed += 1
    return placed


def _place_by_moving(bins: Bins, number: int) -> bool:
    """Make room for a pod on one of the nodes that lack least for it, by moving others off."""
    pod, used = bins.pods[number], bins.used
    short = np.maximum(pod.cpu_milli - bins.free[:used, 0], 0) / max(pod.cpu_milli, 1)
    short = short + np.maximum(pod.memory_mib - bins.free[:used, 1], 0) / max(pod.memory_mib, 1)
    if pod.gpus:
        short = short + np.maximum(pod.gpus - (bins.gpu[:used] >= pod.gpu_milli).sum(axis=1), 0)
    open_nodes = _open_nodes(bins)
    takes = np.asarray([shape.holds(pod) for shape in bins.shapes])
    short = np.where(takes[bins.shape[:used]] & open_nodes[:used], short, np.inf)
    for node in np.argsort(short, kind="stable")[:_MOVING_TRIES].tolist():
        if np.isfinite(short[node]) and _repacked(bins, node, (number,), open_nodes):
            return True
    return False


def _cheapest_shapes(bins: Bins) -> Packing:
    """Give each node the cheapest priced shape on which all of its pods still fit on their GPUs."""
    packing = bins.packing()
    left = list(bins.left)
    nodes = []
    for shape, held in packing.nodes:
        chosen, price = shape, bins.shapes[shape].usd_per_hour
        for other, made in enumerate(bins.shapes):
            free = left[other]
            if price is None or made.usd_per_hour is None or made.usd_per_hour >= price or free == 0:
                continue
            if _all_fit(bins, held_pods=[bins.pods[placed.pod] for placed in held], shape=made):
                chosen, price = other, made.usd_per_hour
        if chosen != shape:
            _swap(left, shape, chosen)
            held = tuple(_on_one(bins, chosen, [placed.pod for placed in held]))
        nodes.append((chosen, held))
    return Packing(packing.shapes, tuple(nodes), packing.unplaced)


def _swap(left: list[int | None], old: int, new: int) -> None:
    for shape, step in ((old, 1), (new, -1)):
        count = left[shape]
        if count is not None:
            left[shape] = count + step


def _all_fit(bins: Bins, *, held_pods: Sequence[Pod], shape: Shape) -> bool:
    alone = Bins((shape,), held_pods)
    alone.open(0)
    for number in decreasing(held_pods, (shape,)):
        if not shape.holds(held_pods[number]) or alone.best(number) is None:
            return False
        alone.put(number, 0)
    return True


def _on_one(bins: Bins, shape: int, numbers: Sequence[int]) -> list:  # type: ignore[type-arg]
    pods = [bins.pods[number] for number in numbers]
    alone = Bins((bins.shapes[shape],), pods)
    alone.open(0)
    for own in decreasing(pods, (bins.shapes[shape],)):
        alone.put(own, 0)
    return [type(placed)(numbers[placed.pod], placed.gpus) for placed in alone.held[0]]

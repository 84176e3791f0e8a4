"""The least that any packing needs: a linear programme over kinds of pods and shapes, solved by HiGHS. Pure.

Variables: how many pods of each kind lie on nodes of each shape (fractions allowed), how many nodes of each shape, how many pods of each
kind stay unplaced. A shape's nodes together must have room, in CPU, memory and GPUs, and once more after each dual feasible function
below: functions of a size, as a share of one bin, of which any bin's contents add up to 1 at most. They know that two pods of 0.6 GPU do
not share one.

Source: Lueker, "Bin packing with items uniformly distributed over intervals", 1983; Fekete and Schepers, "New classes of fast lower
bounds for bin packing problems", Mathematical Programming 91, 2001 (the families `above` and `rounded`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_matrix

from cost.rightsize.model import Floats
from cost.rightsize.packing import WHOLE_GPU_MILLI, Pod, Shape

_ABOVE = (Fraction(1, 2), Fraction(1, 3), Fraction(1, 4), Fraction(2, 5))
_ROUNDED = (1, 2, 3, 4)
_UNPLACED_WEIGHT = 1e4
"""An unplaced pod weighs more than any node, so that the programme first places what can be placed."""
_SOLVE_S = 20.0
_NOTHING = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """What the programme found.

    Attributes:
        least_unplaced: No packing leaves fewer pods out.
        least_cost: With as few left out, no packing costs less: nodes where a price is missing, else USD an hour. Of the linear programme.
        least_whole: The same where nodes are whole.
        on: (kinds, shapes) how many pods of each kind the programme puts on each shape.
        kinds: The kinds, by their first pod's index.
        members: Of each kind the indices of its pods.
        priced: Whether costs are USD an hour.
    """

    least_unplaced: int
    least_cost: float
    least_whole: float
    on: Floats
    kinds: tuple[int, ...]
    members: tuple[tuple[int, ...], ...]
    priced: bool


def above(edge: Fraction) -> Callable[[Fraction], Fraction]:
    """Return the function that counts more than 1 - edge as a whole bin, and less than edge as nothing."""

    def value(size: Fraction) -> Fraction:
        return Fraction(1) if size > 1 - edge else size if size >= edge else Fraction(0)

    return value


def rounded(k: int) -> Callable[[Fraction], Fraction]:
    """Return the function that rounds sizes down to k-ths of a bin, but leaves whole (k+1)-ths as they are."""

    def value(size: Fraction) -> Fraction:
        part = size * (k + 1)
        return size if part.denominator == 1 else Fraction(math.floor(part), k)

    return value


_FUNCTIONS = (lambda size: size, *(above(edge) for edge in _ABOVE), *(rounded(k) for k in _ROUNDED))


def relax(pods: Sequence[Pod], shapes: Sequence[Shape]) -> Relaxed:
    """Solve the programme, with fractions of nodes and with whole ones."""
    by_kind: dict[object, list[int]] = {}
    for number, pod in enumerate(pods):
        by_kind.setdefault(pod.kind, []).append(number)
    members = tuple(tuple(each) for each in by_kind.values())
    kinds = tuple(each[0] for each in members)
    priced = all(shape.usd_per_hour is not None for shape in shapes)
    costs = np.asarray([float(shape.usd_per_hour or 0) if priced else 1.0 for shape in shapes])
    count, width = len(kinds), len(shapes)
    rows = list(_rows([pods[kind] for kind in kinds], shapes))
    table = lil_matrix((len(rows) + count, count * width + width + count))
    for at, (shape, sizes) in enumerate(rows):
        for kind in np.flatnonzero(sizes).tolist():
            table[at, kind * width + shape] = sizes[kind]
        table[at, count * width + shape] = -1.0
    for kind in range(count):
        table[len(rows) + kind, kind * width : (kind + 1) * width] = 1.0
        table[len(rows) + kind, count * width + width + kind] = 1.0
    demand = np.asarray([float(len(each)) for each in members])
    limits = LinearConstraint(
        table.tocsr(),
        np.concatenate([np.full(len(rows), -np.inf), demand]),
        np.concatenate([np.zeros(len(rows)), demand]),
    )
    highest = np.concatenate(
        [
            [math.inf if shape.holds(pods[kind]) else 0.0 for kind in kinds for shape in shapes],
            [math.inf if shape.most is None else float(shape.most) for shape in shapes],
            demand,
        ]
    )
    weight = _UNPLACED_WEIGHT * max(1.0, float(costs.max(initial=1.0)))
    goal = np.concatenate([np.zeros(count * width), costs, np.full(count, weight)])
    whole = np.concatenate([np.zeros(count * width), np.ones(width), np.zeros(count)])
    linear = _solve(goal, limits, highest, np.zeros_like(whole))
    solved: Floats = np.maximum(linear.x, 0.0)
    left_out = float(solved[count * width + width :].sum())
    least = float(costs @ solved[count * width : count * width + width])
    # With pods left out the goal mixes them with the cost, so that its bound is not one of the cost alone.
    whole_nodes = float(_solve(goal, limits, highest, whole).mip_dual_bound) if left_out < _NOTHING else least
    return Relaxed(
        math.ceil(left_out - _NOTHING),
        least,
        max(whole_nodes, least),
        solved[: count * width].reshape(count, width),
        kinds,
        members,
        priced,
    )


def _solve(goal: Floats, limits: LinearConstraint, highest: Floats, whole: Floats):  # type: ignore[no-untyped-def]
    options = {"time_limit": _SOLVE_S, "mip_rel_gap": 1e-4}
    found = milp(goal, constraints=limits, bounds=Bounds(0.0, highest), integrality=whole, options=options)
    if found.status not in (0, 1):
        raise ArithmeticError(f"HiGHS: {found.message}")
    return found


def _rows(kinds: Sequence[Pod], shapes: Sequence[Shape]) -> Iterator[tuple[int, Floats]]:
    """Yield (shape, sizes of the kinds as shares of one node of it), a row a resource and function, each kind of row once."""
    for number, shape in enumerate(shapes):
        seen: set[bytes] = set()
        for function in _FUNCTIONS:
            for sizes in _sizes(kinds, shape, function):
                row = np.asarray([float(size) for size in sizes])
                if row.any() and row.tobytes() not in seen:
                    seen.add(row.tobytes())
                    yield number, row


def _sizes(kinds: Sequence[Pod], shape: Shape, function: Callable[[Fraction], Fraction]) -> Iterator[list[Fraction]]:
    nothing = Fraction(0)
    fitting = [shape.holds(pod) for pod in kinds]
    for name in ("cpu_milli", "memory_mib"):
        whole = getattr(shape, name)
        yield [
            function(Fraction(getattr(pod, name), whole)) if fits else nothing
            for pod, fits in zip(kinds, fitting, strict=True)
        ]
    if shape.gpus:
        # A bin is one GPU here; a node has several, so its share of the shape's GPUs is what counts.
        yield [
            function(Fraction(pod.gpu_milli, WHOLE_GPU_MILLI)) * Fraction(pod.gpus, shape.gpus) if fits else nothing
            for pod, fits in zip(kinds, fitting, strict=True)
        ]
        # Pods that take whole GPUs: a node is the bin.
        yield [
            function(Fraction(pod.gpus, shape.gpus)) if fits and pod.gpu_milli == WHOLE_GPU_MILLI else nothing
            for pod, fits in zip(kinds, fitting, strict=True)
        ]

"""The open-loop scores as one would write them first: a loop over frames, agents and moments, in plain Python.

What the vectorised scorer is compared with, for its values in the tests and for its speed in `make bench`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from platform_lib.evaluation.frames import SOLID_KINDS, STEP_S, STEPS, Agents, Frames
from platform_lib.evaluation.geometry import Boxes
from platform_lib.scenario.collision import Box, swept_overlap
from platform_lib.scenario.model import EGO_CENTRE_AHEAD_M, EGO_LENGTH_M, EGO_WIDTH_M

_SUBSTEPS = 5
_MATCH_M = 12.5
_HORIZONS = (1, 2, 3)
Row = tuple[float, float, float, float, float]


def naive_scores(plan_m: np.ndarray, frames: Frames) -> dict[str, list[float]]:
    """Return the displacement and collision scores of `open_loop.score_frames`, frame by frame."""
    found: dict[str, list[float]] = {}
    for number in range(len(frames)):
        for name, value in _frame(
            plan_m[number].tolist(), frames.future_m[number].tolist(), frames.agents[number]
        ).items():
            found.setdefault(name, []).append(value)
    return found


def _frame(plan: list[list[float]], driven: list[list[float]], agents: Agents) -> dict[str, float]:
    distance = [math.dist(one, other) for one, other in zip(plan, driven, strict=True)]
    contact_s = _contact_s(plan, agents)
    found: dict[str, float] = {}
    for s in _HORIZONS:
        upto = distance[: 2 * s]
        suffix = "" if s == 3 else f"_{s}s"
        found[f"ade{suffix}_m"] = sum(upto) / len(upto)
        found[f"fde{suffix}_m"] = upto[-1]
        found[f"collision{suffix}_rate"] = float(contact_s <= s)
    found["miss_rate"] = float(distance[-1] > 2.0)
    found["any_miss_rate"] = float(any(value > 2.0 for value in distance))
    return found


def _contact_s(plan: list[list[float]], agents: Agents) -> float:
    """Return when the ego first meets an agent: to the tenth of a second, at its end where they meet within it."""
    rows = [
        (step, kind, _row(agents.boxes, k))
        for k, (step, kind) in enumerate(zip(agents.step.tolist(), agents.kind, strict=True))
        if kind in SOLID_KINDS
    ]
    path, headings = _path(plan)
    pairs = _pairs(rows)
    paired = {k for pair in pairs for k in pair}
    first = math.inf
    for before, after in pairs:
        step, one, other = rows[before][0], rows[before][2], rows[after][2]
        turn = math.remainder(other[2] - one[2], 2 * math.pi)
        for start in (-1, 0) if step == 0 else (0,):
            for piece in range(_SUBSTEPS):
                moments = [start + (piece + extra) / _SUBSTEPS for extra in (0, 1)]
                ego = [_ego(path, headings, step + 1 + moment) for moment in moments]
                met = [_between(one, other, turn, moment) for moment in moments]
                if swept_overlap(ego[0], ego[1], met[0], met[1]):
                    already = swept_overlap(ego[0], ego[0], met[0], met[0])
                    first = min(first, (step + 1 + moments[0 if already else 1]) * STEP_S)
    for k, (step, _, row) in enumerate(rows):
        ego = _ego(path, headings, step + 1)
        if k not in paired and swept_overlap(ego, ego, Box(*row), Box(*row)):
            first = min(first, (step + 1) * STEP_S)
    return first


def _row(boxes: Boxes, k: int) -> Row:
    columns = (boxes.x_m, boxes.y_m, boxes.yaw_rad, boxes.length_m, boxes.width_m)
    x, y, yaw, length, width = (float(column[k]) for column in columns)
    return x, y, yaw, length, width


def _path(plan: list[list[float]]) -> tuple[list[tuple[float, float]], list[float]]:
    path, headings, last = [(0.0, 0.0)], [0.0], 0.0
    for x, y in plan:
        dx, dy = x - path[-1][0], y - path[-1][1]
        if math.hypot(dx, dy) >= 0.2:
            last += math.remainder(math.atan2(dy, dx) - last, 2 * math.pi)
        path.append((x, y))
        headings.append(last)
    return path, headings


def _ego(path: list[tuple[float, float]], headings: list[float], moment: float) -> Box:
    knot = min(int(moment + 1e-9), STEPS - 1)
    part = moment - knot
    x, y = (path[knot][k] * (1 - part) + path[knot + 1][k] * part for k in (0, 1))
    yaw = headings[knot] * (1 - part) + headings[knot + 1] * part
    ahead = EGO_CENTRE_AHEAD_M
    return Box(x + ahead * math.cos(yaw), y + ahead * math.sin(yaw), yaw, EGO_LENGTH_M, EGO_WIDTH_M)


def _between(one: Row, other: Row, turn: float, moment: float) -> Box:
    place = [a + moment * (b - a) for a, b in zip(one, other, strict=True)]
    return Box(place[0], place[1], one[2] + moment * turn, place[3], place[4])


def _pairs(rows: Sequence[tuple[int, str, Row]]) -> list[tuple[int, int]]:
    pairs: list[tuple[int, int]] = []
    for step in range(STEPS - 1):
        near = []
        for before, (_, kind, one) in _at(rows, step):
            for after, (_, other_kind, other) in _at(rows, step + 1):
                gap = math.hypot(one[0] - other[0], one[1] - other[1])
                alike = abs(one[3] - other[3]) <= 1e-3 and abs(one[4] - other[4]) <= 1e-3
                if kind == other_kind and alike and gap <= _MATCH_M:
                    near.append((gap, before, after))
        taken_before: set[int] = set()
        taken_after: set[int] = set()
        for _, before, after in sorted(near):
            if before not in taken_before and after not in taken_after:
                taken_before.add(before)
                taken_after.add(after)
                pairs.append((before, after))
    return pairs


def _at(rows: Sequence[tuple[int, str, Row]], step: int) -> list[tuple[int, tuple[int, str, Row]]]:
    return [(k, row) for k, row in enumerate(rows) if row[0] == step]

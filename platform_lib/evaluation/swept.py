"""Boxes swept through time: where the ego, following a plan, meets another agent, for all frames at once.

Every pair of boxes moves in straight lines over a tenth of a second; within it the moment of contact is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

from platform_lib.evaluation.frames import SOLID_KINDS, STEP_S, STEPS, Agents
from platform_lib.evaluation.geometry import Boxes, Doubles, Flags
from platform_lib.evaluation.poses import Poses
from platform_lib.scenario.model import EGO_CENTRE_AHEAD_M, EGO_LENGTH_M, EGO_WIDTH_M

# Pieces of one 0.5 s step within which motion is a straight line.
SUBSTEPS = 5
# An agent further than this from where it was half a second ago is another one.
_MATCH_M = 12.5
_SAME_SIZE_M = 1e-3
_STILL_M = 1e-12
# From the rear axle to the furthest corner of the ego's box.
_EGO_REACH_M = float(np.hypot(EGO_CENTRE_AHEAD_M + EGO_LENGTH_M / 2, EGO_WIDTH_M / 2))

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sweeps:
    """S straight motions of agents that can be driven into; times are in seconds after the frame.

    Attributes:
        frame: (S,) which frame.
        start_s: (S,) when the motion begins.
        stop_s: (S,) when it ends; equal to `start_s` where the agent could not be followed.
        first: Box at the beginning.
        last: Box at the end.
    """

    frame: Rows
    start_s: Doubles
    stop_s: Doubles
    first: Boxes
    last: Boxes

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: Rows | Flags) -> Sweeps:
        """Return the chosen motions."""
        times = self.start_s[rows], self.stop_s[rows]
        return Sweeps(self.frame[rows], *times, self.first.take(rows), self.last.take(rows))

    @property
    def speed_mps(self) -> Doubles:
        """(S,) speed of each agent; unknown (NaN) where it could not be followed."""
        moved = np.hypot(self.last.x_m - self.first.x_m, self.last.y_m - self.first.y_m)
        took = self.stop_s - self.start_s
        return np.where(took > 0.0, moved / np.where(took > 0.0, took, 1.0), np.nan)


def sweeps_of(agents: Sequence[Agents]) -> Sweeps:
    """Return the motions of every solid agent of N frames, each from one of its samples to its next.

    Agents carry no identity: one is followed from a step to the next by kind, size and nearness. One that cannot be
    followed counts at its own times only. Before the first sample it is taken to have moved as between the first two.
    """
    frame, step, table, kind = _flat(agents)
    before, after = _followed(frame, step, table, kind)
    begin, end = table[before], table[after]
    end[:, 2] = begin[:, 2] + (end[:, 2] - begin[:, 2] + np.pi) % (2 * np.pi) - np.pi
    early = step[before] == 0
    lonely = np.ones(len(step), dtype=np.bool_)
    lonely[before] = lonely[after] = False
    own_s = (step + 1.0) * STEP_S
    return Sweeps(
        np.concatenate([frame[before], frame[before[early]], frame[lonely]]),
        np.concatenate([own_s[before], np.zeros(int(early.sum())), own_s[lonely]]),
        np.concatenate([own_s[after], own_s[before[early]], own_s[lonely]]),
        Boxes(*np.concatenate([begin, 2 * begin[early] - end[early], table[lonely]]).T),
        Boxes(*np.concatenate([end, begin[early], table[lonely]]).T),
    )


def split(sweeps: Sweeps, pieces: int = SUBSTEPS) -> Sweeps:
    """Cut each motion into pieces of equal length; a moment stays one."""
    times = np.where(sweeps.stop_s > sweeps.start_s, pieces, 1)
    row = np.repeat(np.arange(len(sweeps)), times)
    piece = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
    whole = sweeps.take(row)
    begin, end = piece / times[row], (piece + 1.0) / times[row]
    long_s = whole.stop_s - whole.start_s
    return Sweeps(
        whole.frame,
        whole.start_s + begin * long_s,
        whole.start_s + end * long_s,
        _between(whole.first, whole.last, begin),
        _between(whole.first, whole.last, end),
    )


def _between(one: Boxes, other: Boxes, part: Doubles) -> Boxes:
    columns = ((one.x_m, other.x_m), (one.y_m, other.y_m), (one.yaw_rad, other.yaw_rad))
    x, y, yaw = (a + part * (b - a) for a, b in columns)
    return Boxes(x, y, yaw, one.length_m, one.width_m)


def _flat(agents: Sequence[Agents]) -> tuple[Rows, Rows, Doubles, Rows]:
    """Return frame, step, (M, 5) boxes and kind, as a number, of every solid agent."""
    frame = np.repeat(np.arange(len(agents)), [len(one.step) for one in agents])
    numbers = {kind: number for number, kind in enumerate(sorted(SOLID_KINDS))}
    kinds = chain.from_iterable(one.kind for one in agents)
    kind = np.fromiter(map(numbers.get, kinds, repeat(-1)), dtype=np.int64, count=len(frame))
    keep = kind >= 0
    boxes = [one.boxes for one in agents]
    columns = [
        np.concatenate([np.zeros(0), *column])
        for column in (
            [box.x_m for box in boxes],
            [box.y_m for box in boxes],
            [box.yaw_rad for box in boxes],
            [box.length_m for box in boxes],
            [box.width_m for box in boxes],
        )
    ]
    step = np.concatenate([np.zeros(0, dtype=np.int64), *(one.step for one in agents)])
    return frame[keep], step[keep], np.stack(columns, axis=1)[keep], kind[keep]


def _followed(frame: Rows, step: Rows, table: Doubles, kind: Rows) -> tuple[Rows, Rows]:
    """Return (before, after) rows of the same agent, one step apart: the nearest of a kind and size, each at most once."""
    before, after = _candidates(frame, step)
    gap = np.hypot(table[before, 0] - table[after, 0], table[before, 1] - table[after, 1])
    keep = np.flatnonzero((gap <= _MATCH_M) & (kind[before] == kind[after]))
    alike = (np.abs(table[before[keep], 3:] - table[after[keep], 3:]) <= _SAME_SIZE_M).all(axis=1)
    keep = keep[alike]
    before, after, gap = before[keep], after[keep], gap[keep]
    order = np.lexsort((after, before, gap))
    before, after = before[order], after[order]
    pairs_before: list[Rows] = [np.zeros(0, dtype=np.int64)]
    pairs_after: list[Rows] = [np.zeros(0, dtype=np.int64)]
    gone, come = np.zeros(len(step), dtype=np.bool_), np.zeros(len(step), dtype=np.bool_)
    while len(before):
        # A pair that is the nearest for both of its ends is one; it takes its ends away from all others.
        rank = np.arange(len(before))
        best_before, best_after = np.full(len(step), len(before)), np.full(len(step), len(before))
        np.minimum.at(best_before, before, rank)
        np.minimum.at(best_after, after, rank)
        mutual = (best_before[before] == rank) & (best_after[after] == rank)
        pairs_before.append(before[mutual])
        pairs_after.append(after[mutual])
        gone[before[mutual]] = come[after[mutual]] = True
        left = ~(gone[before] | come[after])
        before, after = before[left], after[left]
    return np.concatenate(pairs_before), np.concatenate(pairs_after)


def _candidates(frame: Rows, step: Rows) -> tuple[Rows, Rows]:
    """Return every (before, after) of one frame that is one step apart."""
    place = frame * (STEPS + 1) + step  # a gap after each frame's last step, so that no frame runs into the next
    order = np.argsort(place, kind="stable")
    ordered = place[order]
    first, stop = np.searchsorted(ordered, ordered + 1, "left"), np.searchsorted(ordered, ordered + 1, "right")
    counts = stop - first
    before = np.repeat(np.arange(len(ordered)), counts)
    inside = np.arange(len(before)) - np.repeat(np.cumsum(counts) - counts, counts)
    return order[before], order[first[before] + inside]


def contact_times(poses: Poses, sweeps: Sweeps) -> Doubles:
    """Return (S,) when, in seconds after the frame, the ego first shares area with each moving box; infinite if never.

    Both move in a straight line within a motion, and the turn within it is taken as half done throughout. Along each of
    the four separating axes the overlap lasts one interval of time; the boxes meet when all four share more than a
    moment. Touching edges do not count.
    Source: Ericson, Real-Time Collision Detection (2005), section 5.5.8 (moving separating axis test).
    """
    found = np.full(len(sweeps), np.inf)
    x, y = poses.places(sweeps.frame, sweeps.start_s)
    to_x, to_y = poses.places(sweeps.frame, sweeps.stop_s)
    near = np.flatnonzero(_near(x, y, np.hypot(to_x - x, to_y - y), sweeps))
    other = sweeps.take(near)
    ego = (poses.boxes(other.frame, other.start_s), poses.boxes(other.frame, other.stop_s))
    enter = _entry(ego, (other.first, other.last))
    met = enter < np.inf
    found[near[met]] = (other.start_s + np.where(met, enter, 0.0) * (other.stop_s - other.start_s))[met]
    return found


def _near(x_m: Doubles, y_m: Doubles, moved_m: Doubles, sweeps: Sweeps) -> Flags:
    """Say whether agents come near an ego whose rear axle moves so far meanwhile: too often rather than too seldom."""
    first, last = sweeps.first, sweeps.last
    reach = _EGO_REACH_M + np.hypot(first.length_m, first.width_m) / 2 + moved_m
    reach += np.hypot(last.x_m - first.x_m, last.y_m - first.y_m)
    return np.asarray(np.hypot(first.x_m - x_m, first.y_m - y_m) < reach + 1e-6)


def _entry(one: tuple[Boxes, Boxes], other: tuple[Boxes, Boxes]) -> Doubles:
    """Return (M,) the share of the motion after which two boxes first share area; infinite if they do not."""
    (a_from, a_to), (b_from, b_to) = one, other
    yaw_a, yaw_b = _half_turned(a_from, a_to), _half_turned(b_from, b_to)
    start = np.stack([b_from.x_m - a_from.x_m, b_from.y_m - a_from.y_m])
    move = np.stack([b_to.x_m - a_to.x_m, b_to.y_m - a_to.y_m]) - start
    enter, leave = np.zeros(len(a_from)), np.ones(len(a_from))
    apart = np.zeros(len(a_from), dtype=np.bool_)
    for yaw in (yaw_a, yaw_a + np.pi / 2, yaw_b, yaw_b + np.pi / 2):
        axis = np.stack([np.cos(yaw), np.sin(yaw)])
        reach = _half_extent(a_from, yaw_a - yaw) + _half_extent(b_from, yaw_b - yaw)
        offset, speed = (start * axis).sum(axis=0), (move * axis).sum(axis=0)
        still = np.abs(speed) < _STILL_M
        apart |= still & (np.abs(offset) >= reach)
        speed = np.where(still, 1.0, speed)
        ends = np.stack([(-reach - offset) / speed, (reach - offset) / speed])
        enter = np.where(still, enter, np.maximum(enter, ends.min(axis=0)))
        leave = np.where(still, leave, np.minimum(leave, ends.max(axis=0)))
    return np.where(~apart & (enter < leave), enter, np.inf)


def _half_turned(first: Boxes, last: Boxes) -> Doubles:
    return first.yaw_rad + 0.5 * ((last.yaw_rad - first.yaw_rad + np.pi) % (2 * np.pi) - np.pi)


def _half_extent(boxes: Boxes, angle_rad: Doubles) -> Doubles:
    return 0.5 * (boxes.length_m * np.abs(np.cos(angle_rad)) + boxes.width_m * np.abs(np.sin(angle_rad)))


def first_contact_s(plan_m: Doubles, sweeps: Sweeps) -> Doubles:
    """Return (N,) when each plan of (N, 6, 2) metres first meets another agent's box; infinite if it never does."""
    path = np.concatenate([np.zeros((len(plan_m), 1, 2)), plan_m], axis=1)
    start = path[sweeps.frame, np.floor(sweeps.start_s / STEP_S).astype(np.int64)]
    stop = path[sweeps.frame, np.floor(sweeps.stop_s / STEP_S).astype(np.int64)]
    moved = np.hypot(stop[:, 0] - start[:, 0], stop[:, 1] - start[:, 1])
    sweeps = split(sweeps.take(_near(start[:, 0], start[:, 1], moved, sweeps)))
    found = np.full(len(plan_m), np.inf)
    np.minimum.at(found, sweeps.frame, contact_times(Poses.of_plan(plan_m), sweeps))
    return found

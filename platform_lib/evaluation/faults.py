"""Whose fault a contact is, and which contacts were about to come. Rules as nuPlan has them.

Source: Karnchanachari et al., Towards learning-based planning: the nuPlan benchmark (2024), no at-fault collisions, time to
collision within bound; the same in NAVSIM v2. Fault is the ego's where it runs into what stands, where its front
meets another, or where it is touched at its side while it is in two lanes or off its lanes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from platform_lib.evaluation.geometry import Boxes, Doubles, Flags, corners, overlap
from platform_lib.evaluation.motion import Motion
from platform_lib.evaluation.poses import TICK_S, TICKS, Poses
from platform_lib.evaluation.roads import Roads
from platform_lib.evaluation.swept import Sweeps, contact_times
from platform_lib.scenario.model import EGO_CENTRE_AHEAD_M, EGO_LENGTH_M
from platform_lib.scenario.road import LANE_WIDTH_M

STANDS_MPS = 0.05
"""Slower than this stands. Source: nuPlan, stopped speed threshold of collisions."""
_AHEAD, _BEHIND = math.cos(math.radians(30.0)), math.cos(math.radians(150.0))
# The ego's box is put forward along its heading by so many ticks of its speed. Source: NAVSIM, 0, 0.3, 0.6 and 0.9 s.
_LOOKS_TICKS = (0, 3, 6, 9)
_NO_MOTION_MPS = 5e-3
_FRONT_M = 0.1  # depth of the front edge as a box: a contact deeper than this within a tenth of a second is rare
_SOON_S = TICK_S / 2

Rows = NDArray[np.int64]


def at_fault(motion: Motion, sweeps: Sweeps, road: Roads | None) -> Flags:
    """Say for N motions whether the first contact with any agent is the ego's fault."""
    contact_s = contact_times(motion.poses, sweeps)
    hits = _fresh(contact_s, sweeps)
    found = np.zeros(len(motion.speed_mps), dtype=np.bool_)
    frame, time_s, met = sweeps.frame[hits], contact_s[hits], sweeps.take(hits)
    fault = faulty(motion.poses, frame, time_s, met, ego_mps=_speed_at(motion, frame, time_s), road=road)
    found[frame[fault]] = True
    return found


def _fresh(contact_s: Doubles, sweeps: Sweeps) -> Rows:
    """Return the contacts that begin; two boxes that go through each other touch again and again, from all sides.

    One that lasts since the motion before was judged there. A frame with none that begins gives its first.
    """
    touches = contact_s < np.inf
    begins = touches & ((contact_s > sweeps.start_s) | (sweeps.start_s == 0.0) | (sweeps.stop_s == sweeps.start_s))
    rest = np.flatnonzero(touches & ~np.isin(sweeps.frame, sweeps.frame[begins]))
    order = rest[np.lexsort((contact_s[rest], sweeps.frame[rest]))]
    first = order[np.unique(sweeps.frame[order], return_index=True)[1]]
    return np.concatenate([np.flatnonzero(begins), first])


def faulty(poses: Poses, frame: Rows, time_s: Doubles, met: Sweeps, *, ego_mps: Doubles, road: Roads | None) -> Flags:
    """Judge (H,) contacts of frames at times with the agents' motions `met`; a standing ego is never at fault."""
    # A moment later the edge that met first is inside the other box, and not just upon it.
    time_s = time_s + _SOON_S
    ego, other = poses.boxes(frame, time_s), _at(met, time_s)
    stands = ~(met.speed_mps > STANDS_MPS)  # one that could not be followed is taken to stand: the stricter reading
    side = _cosine_to(ego, other)
    front = overlap(_front_of(ego), other)
    lateral = ~front & (side > _BEHIND)
    fault = stands | (front & (side > _BEHIND)) | (lateral & _astride(road, frame, ego))
    return (ego_mps > STANDS_MPS) & fault


def time_to_collision_kept(motion: Motion, sweeps: Sweeps, road: Roads | None) -> Flags:
    """Say for N motions whether none was about to hit somebody within a second, had all gone on as they did.

    At every tick whose second ahead lies within the horizon the ego's box is put forward 0, 0.3, 0.6 and 0.9 s by its speed
    along its heading, and must not meet an agent that is there then, if that agent is ahead, or not behind while the ego
    is in two lanes or off its lanes.
    """
    kept = np.ones(len(motion.speed_mps), dtype=np.bool_)
    tick = np.round(sweeps.start_s / TICK_S).astype(np.int64)
    for look in _LOOKS_TICKS:
        now = tick - look
        rows = np.flatnonzero((now >= 0) & (now <= TICKS - _LOOKS_TICKS[-1]))
        frame, at = sweeps.frame[rows], now[rows]
        speed = motion.speed_mps[frame, at]
        ego = motion.poses.boxes(frame, np.asarray(at * TICK_S, dtype=np.float64))
        ahead_m = speed * look * TICK_S
        moved = Boxes(
            ego.x_m + ahead_m * np.cos(ego.yaw_rad), ego.y_m + ahead_m * np.sin(ego.yaw_rad), ego.yaw_rad,
            ego.length_m, ego.width_m,
        )  # fmt: skip
        other = sweeps.first.take(rows)
        near = np.hypot(moved.x_m - other.x_m, moved.y_m - other.y_m) < EGO_LENGTH_M + other.length_m
        near &= speed >= _NO_MOTION_MPS
        rows, frame = rows[near], frame[near]
        ego, moved, other = ego.take(near), moved.take(near), other.take(near)
        side = _cosine_to(ego, other)
        counts = (side > _AHEAD) | ((side > _BEHIND) & _astride(road, frame, ego))
        kept[frame[counts & overlap(moved, other)]] = False
    return kept


def _speed_at(motion: Motion, frame: Rows, time_s: Doubles) -> Doubles:
    tick = np.clip(np.round(time_s / TICK_S).astype(np.int64), 0, TICKS)
    return np.asarray(motion.speed_mps[frame, tick])


def _at(sweeps: Sweeps, time_s: Doubles) -> Boxes:
    """Return the agents' boxes at times within their motions, or shortly after."""
    took = sweeps.stop_s - sweeps.start_s
    part = np.where(took > 0.0, (time_s - sweeps.start_s) / np.where(took > 0.0, took, 1.0), 0.0)
    one, other = sweeps.first, sweeps.last
    x, y = one.x_m + part * (other.x_m - one.x_m), one.y_m + part * (other.y_m - one.y_m)
    return Boxes(x, y, one.yaw_rad, one.length_m, one.width_m)


def _cosine_to(ego: Boxes, other: Boxes) -> Doubles:
    """Return the cosine of the angle between the ego's heading and the way from its rear axle to another's middle."""
    dx = other.x_m - ego.x_m + EGO_CENTRE_AHEAD_M * np.cos(ego.yaw_rad)
    dy = other.y_m - ego.y_m + EGO_CENTRE_AHEAD_M * np.sin(ego.yaw_rad)
    along = dx * np.cos(ego.yaw_rad) + dy * np.sin(ego.yaw_rad)
    return np.asarray(along / np.maximum(np.hypot(dx, dy), 1e-9))


def _front_of(ego: Boxes) -> Boxes:
    ahead_m = (EGO_LENGTH_M - _FRONT_M) / 2
    x, y = ego.x_m + ahead_m * np.cos(ego.yaw_rad), ego.y_m + ahead_m * np.sin(ego.yaw_rad)
    return Boxes(x, y, ego.yaw_rad, np.full_like(x, _FRONT_M), ego.width_m)


def _astride(road: Roads | None, frame: Rows, ego: Boxes) -> Flags:
    """Say of ego boxes whether they are in two lanes or beside the own lanes; unknown roads have no lanes to leave."""
    if road is None or not len(frame):
        return np.zeros(len(frame), dtype=np.bool_)
    chosen = road.take(frame)
    points = corners(ego)
    offset = chosen.locate(points[..., 0], points[..., 1])[1]
    half = LANE_WIDTH_M / 2
    covered = np.asarray((np.abs(offset[:, :, None] - chosen.lanes_m[:, None, :]) <= half).all(axis=1))
    return np.asarray(~covered.any(axis=1))

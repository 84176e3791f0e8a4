"""Other agents at times between the messages that list them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from platform_lib.datasets.geometry import odom_from_ego
from platform_lib.datasets.model import BoolArray, Detections, FloatArray, Int64Array, SampleRules, StringArray
from platform_lib.timeline import Series, interpolate, nearest


@dataclass(frozen=True, slots=True)
class AgentsAt:
    """Agents in the odom frame at Q asked times.

    Attributes:
        known: (Q,) False where object messages are missing: nobody can say who was there.
        query: (K,) index of the asked time.
        track: (K,) identity.
        kind: (K,) names.
        box: (K, 5) x_m, y_m, yaw_rad, length_m, width_m; ordered by query, then by track.
    """

    known: BoolArray
    query: npt.NDArray[np.intp]
    track: Int64Array
    kind: StringArray
    box: FloatArray


def agents_at(detections: Detections, pose: Series, at_ns: Int64Array, rules: SampleRules) -> AgentsAt:
    """Interpolate every track, in the odom frame, to the asked times.

    Args:
        detections: Objects as their messages list them.
        pose: (N, 3) ego poses in the odom frame.
        at_ns: (Q,) asked times.
        rules: Gaps that may be bridged.
    """
    messages = Series.of(detections.message_ns, np.zeros(len(detections.message_ns)))
    known = interpolate(messages, at_ns, max_gap_ns=rules.objects_gap_ns).valid
    seen_ns = detections.message_ns[detections.message]
    ego = interpolate(pose, seen_ns, max_gap_ns=rules.pose_gap_ns)
    placed = ego.valid & np.isfinite(detections.box).all(axis=1)
    # A message that cannot be placed (no ego pose, or no number): its moment is as unknown as if it were missing.
    lost = np.unique(detections.message_ns[detections.message[~placed]])
    if len(lost):
        known &= ~nearest(lost, at_ns, tolerance_ns=rules.objects_gap_ns).valid
    boxes = detections.box.copy()
    boxes[:, :3] = odom_from_ego(ego.values, detections.box[:, :3])
    query, track, kind, box = [], [], [], []
    for one in np.unique(detections.track[placed]):
        own = np.flatnonzero(placed & (detections.track == one))
        index, names, values = _track_at(seen_ns[own], boxes[own], detections.kind[own], at_ns, rules)
        query.append(index)
        track.append(np.full(len(index), one, dtype=np.int64))
        kind.append(names)
        box.append(values)
    if not query:
        nothing = np.zeros(0, dtype=np.int64)
        return AgentsAt(known, nothing, nothing, np.zeros(0, dtype=np.object_), np.zeros((0, 5)))
    order = np.argsort(np.concatenate(query), kind="stable")
    return AgentsAt(
        known,
        np.concatenate(query)[order],
        np.concatenate(track)[order],
        np.concatenate(kind)[order],
        np.concatenate(box)[order],
    )


def _track_at(
    seen_ns: Int64Array, boxes: FloatArray, kinds: StringArray, at_ns: Int64Array, rules: SampleRules
) -> tuple[npt.NDArray[np.intp], StringArray, FloatArray]:
    """Return (query index, kind, box) where one track is known; its ends are carried on at constant velocity."""
    series = Series.of(seen_ns, np.column_stack([boxes[:, :2], np.unwrap(boxes[:, 2]), boxes[:, 3:]]))
    times = series.timestamp_ns
    clipped = np.clip(at_ns, times[0], times[-1])
    at_track = interpolate(series, clipped, max_gap_ns=rules.objects_gap_ns)
    values, valid = at_track.values, at_track.valid
    closest = nearest(times, at_ns, tolerance_ns=rules.track_edge_ns)
    beside = closest.valid & ~valid  # at the edge of a gap
    values[beside] = series.values[closest.index[beside]]
    reached_ns = np.where(beside, times[closest.index], clipped)
    valid = (valid | beside) & (np.abs(at_ns - reached_ns) <= rules.track_edge_ns)
    index = np.flatnonzero(valid)
    values = values[index]
    ahead_m = values[:, 5] * (at_ns - reached_ns)[index] * 1e-9
    values[:, 0] += np.cos(values[:, 2]) * ahead_m
    values[:, 1] += np.sin(values[:, 2]) * ahead_m
    order = np.argsort(seen_ns, kind="stable")
    state = nearest(seen_ns[order], at_ns[index], tolerance_ns=rules.objects_gap_ns)
    return index, kinds[order][state.index], values[:, :5]

"""Make one drive's samples from its recordings: align, join, look ahead, and count what is left out and why."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from platform_lib.datasets.agents import AgentsAt, agents_at
from platform_lib.datasets.geometry import ego_from_odom
from platform_lib.datasets.model import (
    COMMANDS,
    FUTURE_OFFSETS_NS,
    FUTURE_STEPS,
    HISTORY_OFFSETS_NS,
    AdmittedPii,
    BoolArray,
    DriveSamples,
    DriveStreams,
    Drop,
    FloatArray,
    FutureObjects,
    Int64Array,
    SampleRules,
    SkippedDrive,
    admit_pii,
)
from platform_lib.datasets.places import geohashes
from platform_lib.datasets.slices import event_slices
from platform_lib.timeline import (
    AlignmentOptions,
    ClockEstimate,
    ClockModel,
    Series,
    as_of,
    estimate_clock,
    interpolate,
    nearest,
)


def align_bus(streams: DriveStreams, options: AlignmentOptions | None = None) -> ClockEstimate:
    """Estimate the bus recorder's clock against the camera recorder's, from speed and yaw rate."""
    return estimate_clock(streams.shared_signals, options)


def build_samples(
    streams: DriveStreams,
    rules: SampleRules,
    options: AlignmentOptions | None = None,
    *,
    clock: ClockEstimate | None = None,
) -> DriveSamples | SkippedDrive:
    """Make one drive's samples.

    Every camera frame is either kept, thinned, or dropped for a counted reason; a drive whose clocks cannot be
    aligned is skipped as a whole, since its history would be guessed. `clock` is given where it is known.
    """
    clock = clock or align_bus(streams, options)
    if clock.model is None:
        return SkippedDrive(streams.drive_id, f"clocks not aligned: {clock.reason}")
    chosen = np.arange(0, len(streams.frame_ns), rules.every)
    at_ns = streams.frame_ns[chosen]
    history, history_known = ego_history(streams, clock.model, at_ns, rules)
    pose = interpolate(streams.pose, at_ns, max_gap_ns=rules.pose_gap_ns)
    ahead = interpolate(streams.pose, at_ns[:, None] + FUTURE_OFFSETS_NS, max_gap_ns=rules.pose_gap_ns)
    command = as_of(streams.command_ns, at_ns, max_age_ns=rules.command_age_ns)
    given = streams.command[command.index]
    asked_ns = at_ns[:, None] + np.concatenate([[0], FUTURE_OFFSETS_NS])
    agents = (
        None if streams.detections is None else agents_at(streams.detections, streams.pose, asked_ns.reshape(-1), rules)
    )
    nobody_looked = np.ones(len(chosen), dtype=np.bool_)
    reasons = _reasons(
        streams,
        chosen,
        clock.model,
        history_known=np.all(history_known, axis=1),
        command_known=command.valid & (given >= 0) & (given < COMMANDS),
        future_known=pose.valid & np.all(ahead.valid, axis=1),
        objects_known=nobody_looked if agents is None else np.all(agents.known.reshape(len(chosen), -1), axis=1),
    )
    kept = np.flatnonzero([reason is None for reason in reasons])
    future = ego_from_odom(pose.values[kept][:, None, :], ahead.values[kept])
    events: list[tuple[str, ...]] = [()] * len(kept)
    objects: list[FutureObjects | None] = [None] * len(kept)
    if agents is not None:
        events, objects = _look_around(agents, kept, pose.values[kept], future)
    weather = (streams.labels["weather"],) if streams.labels.get("weather") else ()
    frame = chosen[kept]
    dropped = Counter(str(reason) for reason in reasons if reason is not None)
    if streams.duplicate_frames:
        dropped[str(Drop.DUPLICATE)] = streams.duplicate_frames
    return DriveSamples(
        drive_id=streams.drive_id,
        vehicle=streams.vehicle,
        frame=frame,
        timestamp_ns=at_ns[kept],
        ego_history=history[kept].astype(np.float32),
        command=given[kept].astype(np.int8),
        future=future[..., :2].astype(np.float32),
        ego_yaw_future=future[..., 2].astype(np.float32),
        speed_mps=history[kept, -1, 0].astype(np.float32),
        slices=tuple((*weather, *names) for names in events),
        objects=tuple(objects),
        pii_state=tuple(admit_pii(streams.frame_pii[int(index)], where=streams.drive_id) for index in frame),
        geohash=_geohashes(streams.position, at_ns[kept], rules),
        frames=len(streams.frame_ns) + streams.duplicate_frames,
        thinned=len(streams.frame_ns) - len(chosen),
        dropped=dict(sorted(dropped.items())),
        clock=clock,
    )


def _geohashes(position: Series | None, at_ns: Int64Array, rules: SampleRules) -> tuple[str | None, ...]:
    if position is None:
        return (None,) * len(at_ns)
    found = nearest(position.timestamp_ns, at_ns, tolerance_ns=rules.position_age_ns)
    cells = geohashes(*position.values[found.index].T) if len(position) else (None,) * len(at_ns)
    return tuple(cell if valid else None for cell, valid in zip(cells, found.valid.tolist(), strict=True))


def ego_history(
    streams: DriveStreams, clock: ClockModel, at_ns: Int64Array, rules: SampleRules
) -> tuple[FloatArray, BoolArray]:
    """Return (N, 10, 3) v_mps, yaw_rate_rps, accel_mps2 from the bus, oldest first and the frame's time last.

    Acceleration is the bus's own; where it has none, the least-squares slope of the bus speed over the past
    `accel_window_ns`, so that nothing from after a step enters it. Also returns whether each step (N, 10) is known.
    """
    bus_ns = clock.source_from_reference_ns(at_ns[:, None] + HISTORY_OFFSETS_NS)
    speed = interpolate(streams.bus_speed, bus_ns, max_gap_ns=rules.bus_gap_ns)
    yaw_rate = interpolate(streams.bus_yaw_rate, bus_ns, max_gap_ns=rules.bus_gap_ns)
    if streams.bus_accel is not None:
        found = interpolate(streams.bus_accel, bus_ns, max_gap_ns=rules.bus_gap_ns)
        accel, accel_known = found.values, found.valid
    else:
        slope, slope_known = trailing_slope(
            streams.bus_speed, bus_ns.reshape(-1), window_ns=rules.accel_window_ns, max_gap_ns=rules.bus_gap_ns
        )
        accel, accel_known = slope.reshape(bus_ns.shape), slope_known.reshape(bus_ns.shape)
    known = speed.valid & yaw_rate.valid & accel_known
    return np.stack([speed.values, yaw_rate.values, accel], axis=-1), known


def trailing_slope(
    series: Series, at_ns: Int64Array, *, window_ns: int, max_gap_ns: int
) -> tuple[FloatArray, BoolArray]:
    """Return the least-squares slope (M,) per second over ``(at - window, at]``, and where it is known.

    Known means: at least five samples, none farther than `max_gap_ns` from the next, nor the last from the asked time.
    """
    times = series.timestamp_ns
    if len(times) < 5:
        return np.full(len(at_ns), np.nan), np.zeros(len(at_ns), dtype=np.bool_)
    start = np.searchsorted(times, at_ns - window_ns, side="right")
    stop = np.searchsorted(times, at_ns, side="right")
    count = stop - start
    seconds = (times - times[0]) * 1e-9
    values = series.values - series.values.mean()

    def over(column: FloatArray) -> FloatArray:
        total = np.concatenate([[0.0], np.cumsum(column)])
        return np.asarray(total[stop] - total[start])

    n = np.maximum(count, 1)
    mean_s, mean = over(seconds) / n, over(values) / n
    spread = over(seconds**2) - n * mean_s**2
    product = over(seconds * values) - n * mean_s * mean
    wide = np.concatenate([[0], np.cumsum(np.diff(times) > max_gap_ns)])
    last = np.clip(stop - 1, 0, len(times) - 1)
    first = np.clip(start, 0, len(times) - 1)
    known = (count >= 5) & (wide[last] == wide[first]) & (at_ns - times[last] <= max_gap_ns) & (spread > 0.0)
    slope = np.where(known, product / np.where(spread > 0.0, spread, 1.0), np.nan)
    return slope, known


def _reasons(
    streams: DriveStreams,
    chosen: npt.NDArray[np.intp],
    clock: ClockModel,
    *,
    history_known: BoolArray,
    command_known: BoolArray,
    future_known: BoolArray,
    objects_known: BoolArray,
) -> list[Drop | None]:
    """Say for each chosen frame why it is left out, or None."""
    at_ns = streams.frame_ns[chosen]
    bus = (streams.bus_speed, streams.bus_yaw_rate)
    bus_start_ns = clock.reference_from_source_ns(np.array([series.timestamp_ns[0] for series in bus])).max()
    early = at_ns + HISTORY_OFFSETS_NS[0] < bus_start_ns
    stop_ns = int(streams.pose.timestamp_ns[-1])
    if streams.detections is not None:
        stop_ns = min(stop_ns, int(streams.detections.message_ns[-1]))
    late = at_ns + FUTURE_OFFSETS_NS[-1] > stop_ns
    reasons: list[Drop | None] = []
    for row, frame in enumerate(chosen):
        tests = (
            (streams.frame_pii[int(frame)] not in tuple(AdmittedPii), Drop.PII),
            (not streams.frame_is_jpeg[frame], Drop.IMAGE),
            (not history_known[row], Drop.HISTORY_START if early[row] else Drop.HISTORY_GAP),
            (not command_known[row], Drop.COMMAND),
            (not future_known[row], Drop.FUTURE_END if late[row] else Drop.FUTURE_GAP),
            (not objects_known[row], Drop.FUTURE_END if late[row] else Drop.OBJECTS),
        )
        reasons.append(next((reason for missing, reason in tests if missing), None))
    return reasons


def _look_around(
    agents: AgentsAt, rows: npt.NDArray[np.intp], ego_pose: FloatArray, future: FloatArray
) -> tuple[list[tuple[str, ...]], list[FutureObjects | None]]:
    """Return what happens in each frame, and the other agents at its future times in its ego frame."""
    asked = FUTURE_STEPS + 1  # now, then the future times
    events: list[tuple[str, ...]] = []
    objects: list[FutureObjects | None] = []
    for row, pose, path in zip(rows, ego_pose, future, strict=True):
        start, stop = np.searchsorted(agents.query, [row * asked, (row + 1) * asked])
        own = slice(int(start), int(stop))
        step = agents.query[own].astype(np.int64) - int(row) * asked
        kind, box = agents.kind[own], agents.box[own].copy()
        box[:, :3] = ego_from_odom(pose, box[:, :3])
        last_yaw_rad = float(path[-1, 2])
        events.append(event_slices(path[:, :2], last_yaw_rad, step=step, track=agents.track[own], kind=kind, xy=box))
        later = step > 0
        names = tuple(str(name) for name in kind[later])
        objects.append(FutureObjects((step[later] - 1).astype(np.int8), names, box[later].astype(np.float32)))
    return events, objects

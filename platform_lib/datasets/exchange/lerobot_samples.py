"""Samples from a LeRobot dataset that holds them whole: one that was exported from here, or one with the same features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from platform_lib.datasets.exchange.lerobot import CAMERA, Info
from platform_lib.datasets.exchange.model import ImportOptions, Prepared, as_jpeg, content_sha256
from platform_lib.datasets.model import (
    COMMANDS,
    FUTURE_STEPS,
    HISTORY_STEPS,
    DriveSamples,
    FutureObjects,
    admit_pii,
)
from platform_lib.errors import ContractError, IntegrityError
from platform_lib.privacy.frames import AdmittedFrames
from platform_lib.timeline import ClockEstimate

_SHAPES = {"observation.ego_history": HISTORY_STEPS * 3, "action": FUTURE_STEPS * 2, "action.yaw": FUTURE_STEPS}
_SINGLE = ("observation.command", "timestamp_ns", "drive_id", "slices", "objects", "geohash")
_BOX = ("x", "y", "yaw", "length", "width")


def holds_samples(info: Info) -> bool:
    """Say whether the features are those that an export from here writes."""
    features = info.features
    vectors = all(name in features and features[name].shape == (width,) for name, width in _SHAPES.items())
    return vectors and CAMERA in features and all(name in features for name in _SINGLE)


def prepared(folder: Path, info: Info, options: ImportOptions) -> Iterator[Prepared]:
    """Yield every drive's samples, as they are.

    Raises:
        IntegrityError: A data file cannot be read, or holds another number of frames than ``info.json`` says.
        ContractError: A value is none: a command out of range, a number that is not finite, a picture that is no JPEG.
    """
    try:
        table = pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("data/*/*.parquet"))])
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(
            f"not whole data files: {error}", where=folder / "data", remedy="fetch it whole"
        ) from error
    if len(table) != info.total_frames:
        raise IntegrityError(f"{len(table)} frames in data/, info.json says {info.total_frames}", where=folder)
    table = table.sort_by([("drive_id", "ascending"), ("timestamp_ns", "ascending")])
    names = table["drive_id"].to_numpy(zero_copy_only=False)
    edges = np.flatnonzero(np.append(True, names[1:] != names[:-1])).tolist()
    for start, stop in zip(edges, [*edges[1:], len(names)], strict=True):
        yield _drive(str(names[start]), table.slice(start, stop - start), options)


def _drive(drive_id: str, rows: pa.Table, options: ImportOptions) -> Prepared:
    jpegs = [as_jpeg(one["bytes"] or b"") for one in rows[CAMERA].to_pylist()]
    if None in jpegs:
        raise ContractError(f"frame {jpegs.index(None)} is no picture", where=drive_id)
    vectors = {name: np.array(rows[name].to_pylist(), dtype=np.float32) for name in _SHAPES}
    for name, values in vectors.items():
        if values.shape != (len(rows), _SHAPES[name]) or not np.isfinite(values).all():
            raise ContractError(f"{name} has gaps or numbers that are not finite", where=drive_id)
    command = rows["observation.command"].to_numpy()
    if not np.isin(command, range(COMMANDS)).all():
        raise ContractError(f"a command is not in 0..{COMMANDS - 1}", where=drive_id)
    times = rows["timestamp_ns"].to_numpy()
    if np.any(np.diff(times) <= 0):
        raise ContractError("two frames have one time", where=drive_id)
    said = rows["pii_state"].to_pylist() if "pii_state" in rows.column_names else [None] * len(rows)
    history = vectors["observation.ego_history"].reshape(-1, HISTORY_STEPS, 3)
    samples = DriveSamples(
        drive_id=drive_id,
        vehicle=None,
        frame=np.arange(len(rows)),
        timestamp_ns=times,
        ego_history=history,
        command=command.astype(np.int8),
        future=vectors["action"].reshape(-1, FUTURE_STEPS, 2),
        ego_yaw_future=vectors["action.yaw"],
        speed_mps=np.ascontiguousarray(history[:, -1, 0]),
        slices=tuple(tuple(json.loads(one)) for one in rows["slices"].to_pylist()),
        objects=tuple(_objects(one) for one in rows["objects"].to_pylist()),
        pii_state=tuple(admit_pii(options.declared(one, where=drive_id), where=drive_id) for one in said),
        geohash=tuple(one or None for one in rows["geohash"].to_pylist()),
        frames=len(rows),
        thinned=0,
        dropped={},
        clock=ClockEstimate(None, "the samples were aligned where they come from", 0.0, 0.0, ()),
    )
    images = pa.chunked_array([pa.array(jpegs, pa.large_binary())])
    frames = AdmittedFrames(images, tuple(map(str, samples.pii_state)))
    return Prepared(samples, frames, (content_sha256(drive_id, jpegs),), {})


def _objects(text: str) -> FutureObjects | None:
    rows = json.loads(text)
    if rows is None:
        return None
    return FutureObjects(
        np.array([row["step"] for row in rows], dtype=np.int8),
        tuple(str(row["kind"]) for row in rows),
        np.array([[row[name] for name in _BOX] for row in rows], dtype=np.float32).reshape(-1, 5),
    )

"""Write a dataset as LeRobot v3: every drive an episode or several, pictures and numbers as they are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from platform_lib.datasets.exchange.lerobot import (
    CAMERA,
    DATA,
    EPISODES,
    INFO,
    STATS,
    TASKS,
    VERSION,
    feature_stats,
    write_json,
)
from platform_lib.datasets.model import FUTURE_STEPS, HISTORY_STEPS
from platform_lib.datasets.reader import DrivingDataset
from platform_lib.datasets.splits import SPLITS, Split
from platform_lib.datasets.table import fixed_array
from platform_lib.errors import ContractError

_TASKS = ("follow the lane", "change to the left lane", "change to the right lane")
_STATE = ("speed_mps", "yaw_rate_rps", "accel_mps2")
_TEXTS = ("sample_id", "drive_id", "split", "geohash", "pii_state", "slices", "objects")
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
# As many pictures are looked at for their statistics as LeRobot takes of a long episode.
_PICTURES = 100


def export(dataset: DrivingDataset, folder: Path) -> dict[str, int]:
    """Write all splits into `folder`, which exists and is empty; return episodes and frames.

    ``action`` is the path driven in the next 3 s, ``observation.state`` the motion now, ``observation.ego_history`` the
    second before. Nothing else of a sample is lost: texts hold its id, slices and other agents (JSON).

    Raises:
        ContractError: Frames come less often than once a second.
    """
    step_ns = _step_ns(dataset)
    episodes: list[dict[str, Any]] = []
    ranges: dict[str, str] = {}
    numbers: dict[str, list[np.ndarray]] = {}
    pictures: list[bytes] = []
    index = 0
    path = folder / DATA.format(chunk_index=0, file_index=0)
    path.parent.mkdir(parents=True)
    shape: tuple[int, int, int] | None = None
    with pq.ParquetWriter(path, _schema()) as writer:
        for split in SPLITS:
            first = len(episodes)
            for rows in _episodes(dataset, split, step_ns):
                shape = shape or _picture(rows["image"][0].as_py()).shape
                table = _frames(rows, episode=len(episodes), first=index, step_ns=step_ns)
                writer.write_table(table)  # one row group an episode
                for name in _numeric():
                    numbers.setdefault(name, []).append(np.array(table[name].to_pylist()))
                pictures += rows["image"].to_pylist()[:: max(1, len(rows) // 2)]
                episodes.append(_episode(rows, len(episodes), index))
                index += len(rows)
            ranges[split] = f"{first}:{len(episodes)}"
    stats = {name: feature_stats(np.concatenate(found)) for name, found in numbers.items()}
    stats[CAMERA] = _picture_stats(pictures[:: max(1, len(pictures) // _PICTURES)])
    write_json(folder / STATS, stats)
    _write_meta(folder, episodes)
    write_json(folder / INFO, _info(dataset, episodes, ranges, index, round(1e9 / step_ns), shape or (0, 0, 3)))
    return {"episodes": len(episodes), "frames": index}


def _step_ns(dataset: DrivingDataset) -> int:
    steps = []
    for split in SPLITS:
        for batch in dataset.batches(split, columns=("drive_id", "timestamp_ns"), rows=4096):
            drive, at_ns = batch["drive_id"].to_numpy(zero_copy_only=False), batch["timestamp_ns"].to_numpy()
            steps.append(np.diff(at_ns)[drive[1:] == drive[:-1]])
    between = np.concatenate(steps)
    step_ns = int(np.median(between)) if len(between) else 0
    if not 0 < step_ns <= 1_000_000_000:
        raise ContractError("frames come less often than once a second", where=dataset.folder, remedy="--every 1")
    return step_ns


def _episodes(dataset: DrivingDataset, split: Split, step_ns: int) -> Iterator[pa.Table]:
    """Yield stretches of one drive without a gap: LeRobot has one rate for all frames of an episode."""
    for drive_id in dataset.proof.drives[split]:
        rows = pa.Table.from_batches(list(dataset.batches(split, drive_id=drive_id)))
        gap = np.flatnonzero(np.abs(np.diff(rows["timestamp_ns"].to_numpy()) - step_ns) > step_ns // 2) + 1
        for start, stop in zip([0, *gap.tolist()], [*gap.tolist(), len(rows)], strict=True):
            yield rows.slice(start, stop - start).combine_chunks()


def _numeric() -> tuple[str, ...]:
    return (
        "observation.state", "observation.ego_history", "observation.command", "action", "action.yaw",
        "timestamp", "frame_index", "episode_index", "index", "task_index",
    )  # fmt: skip


def _schema() -> pa.Schema:
    fields = [
        pa.field(CAMERA, _IMAGE),
        pa.field("observation.state", pa.list_(pa.float32(), len(_STATE))),
        pa.field("observation.ego_history", pa.list_(pa.float32(), HISTORY_STEPS * 3)),
        pa.field("observation.command", pa.int64()),
        pa.field("action", pa.list_(pa.float32(), FUTURE_STEPS * 2)),
        pa.field("action.yaw", pa.list_(pa.float32(), FUTURE_STEPS)),
        pa.field("timestamp_ns", pa.int64()),
        *(pa.field(name, pa.string()) for name in _TEXTS),
        pa.field("timestamp", pa.float32()),
        *(pa.field(name, pa.int64()) for name in ("frame_index", "episode_index", "index", "task_index")),
    ]
    return pa.schema(fields)


def _frames(rows: pa.Table, *, episode: int, first: int, step_ns: int) -> pa.Table:
    count = len(rows)
    place = np.arange(count, dtype=np.int64)
    images = pa.array(
        [{"bytes": one, "path": f"frame-{at:06d}.jpg"} for at, one in enumerate(rows["image"].to_pylist())], _IMAGE
    )
    history = fixed_array(rows, "ego_history")
    command = rows["command"].cast(pa.int64())
    columns: dict[str, Any] = {
        CAMERA: images,
        "observation.state": pa.FixedSizeListArray.from_arrays(np.ascontiguousarray(history[:, -3:]).reshape(-1), 3),
        "observation.ego_history": rows["ego_history"],
        "observation.command": command,
        "action": rows["future"],
        "action.yaw": rows["ego_yaw_future"],
        "timestamp_ns": rows["timestamp_ns"],
        **{name: rows[name] for name in ("sample_id", "drive_id", "split", "pii_state")},
        "geohash": pc.fill_null(rows["geohash"], ""),
        **{name: pa.array([json.dumps(one) for one in rows[name].to_pylist()]) for name in ("slices", "objects")},
        "timestamp": pa.array((place * (step_ns * 1e-9)).astype(np.float32)),
        "frame_index": place,
        "episode_index": np.full(count, episode),
        "index": first + place,
        "task_index": command,
    }
    schema = _schema()
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _episode(rows: pa.Table, episode: int, first: int) -> dict[str, Any]:
    return {
        "episode_index": episode,
        "tasks": [_TASKS[one] for one in sorted(set(rows["command"].to_pylist()))],
        "length": len(rows),
        "data/chunk_index": 0,
        "data/file_index": 0,
        "dataset_from_index": first,
        "dataset_to_index": first + len(rows),
        "meta/episodes/chunk_index": 0,
        "meta/episodes/file_index": 0,
    }


def _write_meta(folder: Path, episodes: list[dict[str, Any]]) -> None:
    import pandas as pd

    path = folder / EPISODES.format(chunk_index=0, file_index=0)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(episodes), path)
    # As pandas writes it, the index being the task: so it is read.
    pd.DataFrame({"task_index": range(len(_TASKS))}, index=pd.Index(_TASKS, name="task")).to_parquet(folder / TASKS)


def _info(
    dataset: DrivingDataset,
    episodes: list[dict[str, Any]],
    ranges: dict[str, str],
    frames: int,
    fps: int,
    shape: tuple[int, ...],
) -> dict[str, Any]:
    steps = [f"{name}_{step}" for step in range(HISTORY_STEPS) for name in _STATE]
    path = [f"{axis}_m_{step}" for step in range(FUTURE_STEPS) for axis in "xy"]
    vectors = {
        "observation.state": list(_STATE),
        "observation.ego_history": steps,
        "action": path,
        "action.yaw": [f"yaw_rad_{step}" for step in range(FUTURE_STEPS)],
    }
    features: dict[str, Any] = {
        CAMERA: {"dtype": "image", "shape": list(shape), "names": ["height", "width", "channels"]},
        **{name: {"dtype": "float32", "shape": [len(names)], "names": names} for name, names in vectors.items()},
        **{name: {"dtype": "int64", "shape": [1], "names": None} for name in ("observation.command", "timestamp_ns")},
        **{name: {"dtype": "string", "shape": [1], "names": None} for name in _TEXTS},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
        **{
            name: {"dtype": "int64", "shape": [1], "names": None}
            for name in ("frame_index", "episode_index", "index", "task_index")
        },
    }
    return {
        "codebase_version": VERSION,
        "robot_type": "car",
        "total_episodes": len(episodes),
        "total_frames": frames,
        "total_tasks": len(_TASKS),
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 500,
        "fps": fps,
        "splits": ranges,
        "data_path": DATA,
        "video_path": None,
        "features": features,
        "drivetrain_dataset_sha256": dataset.sha256,
    }


def _picture(jpeg: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(jpeg, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(picture)


def _picture_stats(jpegs: list[bytes]) -> dict[str, list[Any]]:
    """Return statistics of each colour, of pixels from 0 to 1, with the shape (3, 1, 1) that LeRobot gives them."""
    pixels = np.concatenate([_picture(jpeg).reshape(-1, 3)[::7] for jpeg in jpegs]) / 255.0
    found = feature_stats(pixels)
    return {name: value if name == "count" else [[[one]] for one in value] for name, value in found.items()} | {
        "count": [len(jpegs)]
    }

"""The LeRobot v3 layout: one place that knows its files, for reading and for writing.

Source: https://huggingface.co/docs/lerobot/lerobot-dataset-v3 and `lerobot.datasets` of release 0.4, 2026-11-20. Pictures
are written as features of type ``image``, JPEG bytes in the data files, so that nothing is encoded again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from platform_lib.datasets.exchange.model import ImportOptions, Trajectory
from platform_lib.datasets.exchange.parquet_source import OPTIONAL, REQUIRED, by_drive, path_below
from platform_lib.errors import ConfigError, ContractError, IntegrityError, MissingPartError
from platform_lib.refusals import first_problem

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CAMERA = "observation.images.front"
_JPEG_QUALITY = 95


class Feature(BaseModel):
    """One column: `names` says what the numbers of a vector are, as a list, or by axis."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # video features carry codec details of their release

    dtype: str
    shape: tuple[int, ...]
    names: list[str] | dict[str, Any] | None = None

    def flat_names(self) -> list[str]:
        """Return one name a number, or nothing."""
        names = self.names
        if isinstance(names, dict):
            names = [name for part in names.values() if isinstance(part, list) for name in part]
        return names if names and len(names) == int(np.prod(self.shape)) else []


class Info(BaseModel):
    """``meta/info.json``."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # each release adds keys

    codebase_version: str
    fps: float = Field(gt=0)
    total_episodes: int
    total_frames: int
    data_path: str
    video_path: str | None = None
    features: dict[str, Feature]


def read_info(folder: Path) -> Info:
    """Read ``meta/info.json``.

    Raises:
        MissingPartError: There is none.
        IntegrityError: It is not one.
        ContractError: It is of another version.
    """
    try:
        info = Info.model_validate_json((folder / INFO).read_bytes())
    except FileNotFoundError as error:
        raise MissingPartError(f"no {INFO}", where=folder, remedy="name the folder of a LeRobot dataset") from error
    except ValidationError as error:
        raise IntegrityError(f"not a LeRobot info: {first_problem(error)}", where=folder / INFO) from error
    if not info.codebase_version.startswith("v3."):
        raise ContractError(
            f"LeRobot {info.codebase_version}; only v3 is read",
            where=folder,
            remedy="convert it with LeRobot's own v21 to v30 converter",
        )
    return info


def trajectories(folder: Path, options: ImportOptions) -> Iterator[Trajectory]:
    """Yield every episode as a drive; episodes with a `drive_id` in common are one.

    Raises:
        ContractError: There is no pose in the features, or the camera is not named.
        IntegrityError: A file is missing or cut short, or holds another number of frames than it says.
    """
    info = read_info(folder)
    camera = _camera(info, options)
    files = sorted(folder.glob("data/*/*.parquet"))
    try:
        table = pa.concat_tables([pq.read_table(file) for file in files]) if files else pa.table({})
    except (pa.ArrowInvalid, OSError) as error:
        raise IntegrityError(f"not a whole data file: {error}", where=folder / "data") from error
    if len(table) != info.total_frames:
        raise IntegrityError(
            f"{len(table)} frames in data/, {INFO} says {info.total_frames}", where=folder, remedy="fetch it whole"
        )
    rows = _columns(table, info, options, folder)
    if info.features[camera].dtype == "image":
        yield from by_drive(rows.append_column("image", table[camera]), folder, options)
    else:
        yield from _with_video(rows, table, info, camera, folder, options)


def _camera(info: Info, options: ImportOptions) -> str:
    cameras = [name for name, feature in info.features.items() if feature.dtype in ("image", "video")]
    if options.camera is not None and options.camera not in cameras:
        raise ConfigError(f"no camera {options.camera!r}; there are {', '.join(cameras)}", where="--camera")
    if options.camera is None and CAMERA not in cameras and len(cameras) != 1:
        raise ConfigError(
            f"{len(cameras)} cameras: {', '.join(cameras)}", where="--camera", remedy="name one with --camera"
        )
    return options.camera or (CAMERA if CAMERA in cameras else cameras[0])


def _columns(table: pa.Table, info: Info, options: ImportOptions, folder: Path) -> pa.Table:
    """Find our columns among the features: by their own name, by the name of a number in a vector, by --column."""
    found: dict[str, pa.ChunkedArray] = {}
    for key, feature in info.features.items():
        if key not in table.column_names or feature.dtype in ("image", "video"):
            continue
        if feature.shape == (1,):
            found[key] = table[key]
            found.setdefault(key.rpartition(".")[2], table[key])
        elif names := feature.flat_names():
            numbers = np.array(table[key].to_pylist(), dtype=np.float64).reshape(len(table), -1)
            found |= {name: pa.chunked_array([numbers[:, place]]) for place, name in enumerate(names)}
    episode = table["episode_index"].to_numpy()
    found.setdefault("drive_id", pa.chunked_array([[f"episode-{one:06d}" for one in episode.tolist()]]))
    if "timestamp_ns" not in found:
        at_ns = np.round(table["frame_index"].to_numpy() / info.fps * 1e9).astype(np.int64)
        found["timestamp_ns"] = pa.chunked_array([at_ns])
    theirs = {name: name for name in (*REQUIRED, *OPTIONAL) if name != "image"} | dict(options.columns or {})
    if missing := [theirs[name] for name in REQUIRED if name != "image" and theirs[name] not in found]:
        raise ContractError(
            f"no feature {', '.join(map(repr, missing))}; there are {', '.join(sorted(found))}",
            where=folder,
            remedy="name them with --column OURS=THEIRS; a driving sample needs a pose",
        )
    return pa.table({ours: found[name] for ours, name in theirs.items() if name in found})


def _with_video(
    rows: pa.Table, table: pa.Table, info: Info, camera: str, folder: Path, options: ImportOptions
) -> Iterator[Trajectory]:
    """Decode each episode's stretch of its video, and encode the frames as JPEG."""
    episodes = pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("meta/episodes/*/*.parquet"))])
    index = table["episode_index"].to_numpy()
    for episode in episodes.sort_by("episode_index").to_pylist():
        own = rows.filter(pa.array(index == episode["episode_index"]))
        numbers = {name: episode[f"videos/{camera}/{name}"] for name in ("chunk_index", "file_index")}
        path = path_below(folder, str(info.video_path).format(video_key=camera, **numbers), where="meta/info.json")
        first = round(episode[f"videos/{camera}/from_timestamp"] * info.fps)
        yield from by_drive(own.append_column("image", [_frames(path, first, len(own))]), folder, options)


def _frames(path: Path, first: int, count: int) -> pa.Array:
    video = cv2.VideoCapture(str(path))
    try:
        frames = []
        for number in range(first + count):
            there, picture = video.read()
            if not there:
                raise IntegrityError(
                    f"frame {number} of {first + count} cannot be decoded",
                    where=path,
                    remedy="fetch it whole, or encode it as H.264",
                )
            if number >= first:
                options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
                frames.append(bytes(cv2.imencode(".jpg", picture, options)[1]))
        return pa.array(frames, pa.large_binary())
    finally:
        video.release()


def feature_stats(values: np.ndarray) -> dict[str, list[Any]]:
    """Return what ``meta/stats.json`` says of one feature: values (N, ...)."""
    flat = values.astype(np.float64)
    return {
        "min": np.atleast_1d(flat.min(axis=0)).tolist(),
        "max": np.atleast_1d(flat.max(axis=0)).tolist(),
        "mean": np.atleast_1d(flat.mean(axis=0)).tolist(),
        "std": np.atleast_1d(flat.std(axis=0)).tolist(),
        "count": [len(flat)],
    }


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document as LeRobot does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=4, ensure_ascii=False, allow_nan=False) + "\n")

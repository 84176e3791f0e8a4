"""The LeRobot v3 layout: one place that knows its files, for reading and for writing.

Source: https://huggingface.co/docs/lerobot/lerobot-dataset-v3 and `lerobot.datasets` of release 0.4, 2026-11-20. Pictures
are written as features of type ``image``, JPEG bytes in the data files, so that nothing is encoded again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from platform_lib.datasets.exchange.foreign_tables import column_of, numbers_of, read_tables, vectors_of
from platform_lib.datasets.exchange.lerobot_video import Episodes
from platform_lib.datasets.exchange.model import ImportOptions, Trajectory
from platform_lib.datasets.exchange.parquet_source import OPTIONAL, REQUIRED, by_drive, theirs
from platform_lib.errors import ConfigError, ContractError, IntegrityError, MissingPartError
from platform_lib.refusals import first_problem

VERSION = "v3.0"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CAMERA = "observation.images.front"
_EPISODE, _FRAME = "episode_index", "frame_index"


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
            names = [str(name) for part in names.values() if isinstance(part, list) for name in part]
        return names if names and len(names) == int(np.prod(self.shape)) else []


class Info(BaseModel):
    """``meta/info.json``."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # each release adds keys

    codebase_version: str
    fps: float = Field(gt=0, allow_inf_nan=False)
    total_episodes: int = Field(ge=0)
    total_frames: int = Field(ge=0)
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
        raise IntegrityError(
            f"not a LeRobot info: {first_problem(error)}", where=folder / INFO, remedy="fetch the dataset anew"
        ) from error
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
    camera = _camera(info, folder, options)
    table = read_data(folder, info)
    rows = _columns(table, info, options, folder)
    if info.features[camera].dtype == "image":
        _refuse_lacking([camera], table, info, folder)
        yield from by_drive(
            rows.append_column("image", column_of(table, camera, "a picture", where=folder)), folder, options
        )
    else:
        episodes = Episodes.read(folder, camera, fps=info.fps, video_path=info.video_path)
        for own in episodes.drives(rows, table[_EPISODE].to_numpy()):
            yield from by_drive(own, folder, options)


def read_data(folder: Path, info: Info) -> pa.Table:
    """Read all data files.

    Raises:
        MissingPartError: There is none.
        IntegrityError: One cannot be read, or they hold another number of frames than ``info.json`` says.
        ContractError: They differ in their columns.
    """
    table = read_tables(sorted(folder.glob("data/*/*.parquet")), folder, what="data/*/*.parquet")
    if len(table) != info.total_frames:
        raise IntegrityError(
            f"{len(table)} frames in data/, {INFO} says {info.total_frames}", where=folder, remedy="fetch it whole"
        )
    return table


def _camera(info: Info, folder: Path, options: ImportOptions) -> str:
    cameras = [name for name, feature in info.features.items() if feature.dtype in ("image", "video")]
    if not cameras:
        raise ContractError(
            f"no feature is a picture; there are {', '.join(sorted(info.features)) or 'none'}",
            where=folder / INFO,
            remedy="a driving sample needs a camera: a feature of dtype image or video",
        )
    if options.camera is not None and options.camera not in cameras:
        raise ConfigError(
            f"no camera {options.camera!r}; there are {', '.join(cameras)}", where="--camera", remedy="name one of them"
        )
    if options.camera is None and CAMERA not in cameras and len(cameras) != 1:
        raise ConfigError(
            f"{len(cameras)} cameras: {', '.join(cameras)}", where="--camera", remedy="name one with --camera"
        )
    return options.camera or (CAMERA if CAMERA in cameras else cameras[0])


def _refuse_lacking(names: list[str], table: pa.Table, info: Info, folder: Path) -> None:
    """Refuse data files without columns that LeRobot writes into each, or that ``info.json`` names."""
    if missing := [name for name in names if name not in table.column_names]:
        said = f", though {INFO} names it" if missing[0] in info.features else ""
        raise IntegrityError(
            f"the data files have no column {missing[0]!r}{said}; they have {', '.join(table.column_names)}",
            where=folder / "data",
            remedy="fetch the dataset anew, or write it as LeRobot v3 does",
        )


def _columns(table: pa.Table, info: Info, options: ImportOptions, folder: Path) -> pa.Table:
    """Find our columns among the features: by their own name, by the name of a number in a vector, by --column."""
    kinds = {name: kind for name, kind in {**REQUIRED, **OPTIONAL}.items() if name != "image"}
    names = {ours: name for ours, name in theirs(options).items() if ours != "image"}
    there = {key: feature for key, feature in info.features.items() if key in table.column_names}
    single, parts = _places(there)
    _refuse_lacking([_EPISODE], table, info, folder)
    episode = column_of(table, _EPISODE, "a whole number", where=folder / "data")
    found: dict[str, pa.ChunkedArray] = {}
    for ours, name in names.items():
        if name in single:
            found[ours] = column_of(table, single[name], kinds[ours], where=folder / "data", called=ours)
        elif name in parts:
            key, place = parts[name]
            width = len(there[key].flat_names())
            found[ours] = pa.chunked_array([vectors_of(table[key], width, key, where=folder / "data")[:, place]])
    if "drive_id" not in found:
        found["drive_id"] = pa.chunked_array([[f"episode-{one:06d}" for one in episode.to_pylist()]])
    if "timestamp_ns" not in found:
        _refuse_lacking([_FRAME], table, info, folder)
        frame = numbers_of(
            column_of(table, _FRAME, "a whole number", where=folder / "data"), _FRAME, where=folder / "data"
        )
        found["timestamp_ns"] = pa.chunked_array([np.round(frame / info.fps * 1e9).astype(np.int64)])
    if missing := [name for ours, name in names.items() if ours in REQUIRED and ours not in found]:
        lacking = sorted(key for key, feature in info.features.items() if key not in there and feature.dtype != "video")
        raise ContractError(
            f"no feature {', '.join(map(repr, missing))}; there are {', '.join(sorted({*single, *parts}))}"
            + (f"; {INFO} also names {', '.join(lacking)}, which the data files lack" if lacking else ""),
            where=folder,
            remedy="name them with --column OURS=THEIRS; a driving sample needs a pose",
        )
    return pa.table(found)


def _places(features: Mapping[str, Feature]) -> tuple[dict[str, str], dict[str, tuple[str, int]]]:
    """Return by which names single values are known -> feature, and the numbers of vectors -> feature and place."""
    single: dict[str, str] = {}
    parts: dict[str, tuple[str, int]] = {}
    for key, feature in features.items():
        if feature.dtype in ("image", "video"):
            continue
        if feature.shape == (1,):
            single[key] = key
            single.setdefault(key.rpartition(".")[2], key)
        else:
            parts |= {name: (key, place) for place, name in enumerate(feature.flat_names())}
    return single, parts


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

"""Samples from a LeRobot dataset that holds them whole: one that was exported from here, or one with the same features."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from platform_lib.datasets.exchange.foreign_tables import Kind, column_of, numbers_of, vectors_of
from platform_lib.datasets.exchange.lerobot import CAMERA, INFO, Info, read_data
from platform_lib.datasets.exchange.model import ImportOptions, Prepared, as_jpeg, content_sha256
from platform_lib.datasets.exchange.parquet_source import drives_of, picture_bytes
from platform_lib.datasets.model import (
    COMMANDS,
    FUTURE_STEPS,
    HISTORY_STEPS,
    DriveSamples,
    FutureObjects,
)
from platform_lib.datasets.places import is_cell
from platform_lib.errors import ContractError, IntegrityError
from platform_lib.privacy.frames import AdmittedFrames, AdmittedPii
from platform_lib.refusals import first_problem
from platform_lib.timeline import ClockEstimate

_SHAPES = {"observation.ego_history": HISTORY_STEPS * 3, "action": FUTURE_STEPS * 2, "action.yaw": FUTURE_STEPS}
_SINGLE: dict[str, Kind] = {
    "observation.command": "a whole number", "timestamp_ns": "a whole number", "drive_id": "a name", "slices": "a text",
    "objects": "a text", "geohash": "a text",
}  # fmt: skip
_PII = "pii_state"
_REMEDY = "export the dataset again, or leave such rows out of the files"
_BOX = ("x", "y", "yaw", "length", "width")


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    step: Annotated[int, Field(ge=0, lt=FUTURE_STEPS)]
    kind: str
    x: FiniteFloat
    y: FiniteFloat
    yaw: FiniteFloat
    length: FiniteFloat
    width: FiniteFloat


_SLICES, _OBJECTS = TypeAdapter(tuple[str, ...]), TypeAdapter(list[_Object] | None)


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
    table = read_data(folder, info)
    if missing := [name for name in (*_SHAPES, *_SINGLE, CAMERA) if name not in table.column_names]:
        raise IntegrityError(
            f"the data files have no column {missing[0]!r}, though {INFO} names it",
            where=folder / "data",
            remedy="fetch the dataset anew, or export it again",
        )
    kinds: dict[str, Kind] = {
        **_SINGLE,
        CAMERA: "a picture",
        **({_PII: "a text"} if _PII in table.column_names else {}),
    }
    columns = {name: column_of(table, name, kind, where=folder / "data") for name, kind in kinds.items()}
    rows = pa.table({**columns, **{name: table[name] for name in _SHAPES}})
    for drive_id, own in drives_of(rows, folder / "data"):
        yield _drive(drive_id, own, folder, options)


def _drive(drive_id: str, rows: pa.Table, folder: Path, options: ImportOptions) -> Prepared:
    said = rows[_PII].to_pylist() if _PII in rows.column_names else [None] * len(rows)
    states = tuple(AdmittedPii(options.declared(one, where=drive_id)) for one in said)
    jpegs = _jpegs(drive_id, rows, folder)
    vectors = {name: _finite(rows, name, drive_id) for name in _SHAPES}
    command = numbers_of(rows["observation.command"], "observation.command", where=drive_id)
    if not np.isin(command, range(COMMANDS)).all():
        raise ContractError(f"a command is not in 0..{COMMANDS - 1}", where=drive_id, remedy=_REMEDY)
    times = numbers_of(rows["timestamp_ns"], "timestamp_ns", where=drive_id).astype(np.int64)
    if np.any(np.diff(times) <= 0):
        raise ContractError("two frames have one time", where=drive_id, remedy=_REMEDY)
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
        slices=tuple(_parsed(_SLICES, rows, "slices", drive_id)),
        objects=tuple(_objects(one) for one in _parsed(_OBJECTS, rows, "objects", drive_id)),
        pii_state=states,
        geohash=_cells(drive_id, rows),
        frames=len(rows),
        thinned=0,
        dropped={},
        clock=ClockEstimate(None, "the samples were aligned where they come from", 0.0, 0.0, ()),
    )
    images = pa.chunked_array([pa.array(jpegs, pa.large_binary())])
    frames = AdmittedFrames(images, tuple(map(str, samples.pii_state)))
    return Prepared(samples, frames, (content_sha256(drive_id, jpegs),), {})


def _jpegs(drive_id: str, rows: pa.Table, folder: Path) -> list[bytes]:
    found = []
    for frame, value in enumerate(rows[CAMERA].to_pylist()):
        where = f"{drive_id}, frame {frame}"
        jpeg = as_jpeg(picture_bytes(value, folder, where=where))
        if jpeg is None:
            raise ContractError("it is no picture", where=where, remedy="leave such rows out of the files")
        found.append(jpeg)
    return found


def _finite(rows: pa.Table, name: str, drive_id: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = vectors_of(rows[name], _SHAPES[name], name, where=drive_id).astype(np.float32)
    if not np.isfinite(values).all():
        raise ContractError(f"{name} has gaps or numbers that are not finite", where=drive_id, remedy=_REMEDY)
    return values


def _parsed(model: TypeAdapter[Any], rows: pa.Table, name: str, drive_id: str) -> Iterator[Any]:
    for frame, text in enumerate(rows[name].to_pylist()):
        try:
            yield model.validate_json(text or "")
        except ValidationError as error:
            raise ContractError(
                f"{name} is not the JSON that it should be: {first_problem(error)}",
                where=f"{drive_id}, frame {frame}",
                remedy=_REMEDY,
            ) from error


def _cells(drive_id: str, rows: pa.Table) -> tuple[str | None, ...]:
    cells = tuple(one or None for one in rows["geohash"].to_pylist())
    if wrong := [cell for cell in cells if cell is not None and not is_cell(cell)]:
        raise ContractError(f"{wrong[0]!r} is no geohash of 7 characters", where=drive_id, remedy=_REMEDY)
    return cells


def _objects(found: list[_Object] | None) -> FutureObjects | None:
    if found is None:
        return None
    return FutureObjects(
        np.array([item.step for item in found], dtype=np.int8),
        tuple(item.kind for item in found),
        np.array([[getattr(item, name) for name in _BOX] for item in found], dtype=np.float32).reshape(-1, 5),
    )

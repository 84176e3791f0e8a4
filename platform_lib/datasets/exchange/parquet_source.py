"""Plain Parquet and images: one row a frame, with the pose it was taken at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from platform_lib.datasets.exchange.model import ImportOptions, Trajectory
from platform_lib.datasets.model import FloatArray
from platform_lib.errors import ContractError, IntegrityError, MissingPartError

REQUIRED = ("drive_id", "timestamp_ns", "image", "x_m", "y_m", "yaw_rad")
OPTIONAL = (
    "speed_mps", "yaw_rate_rps", "accel_mps2", "command", "latitude_deg", "longitude_deg", "vehicle", "pii_state",
    "weather", "event",
)  # fmt: skip


def find_files(folder: Path) -> list[Path]:
    """Return the Parquet files.

    Raises:
        MissingPartError: There is none.
    """
    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise MissingPartError("no Parquet file", where=folder, remedy="name the folder that holds *.parquet")
    return files


def trajectories(folder: Path, options: ImportOptions) -> Iterator[Trajectory]:
    """Yield every drive of the Parquet files in `folder`.

    Raises:
        MissingPartError: There is no Parquet file.
        ContractError: A column is missing, of another type, or holds nothing.
        IntegrityError: A file cannot be read, or an image is not there.
    """
    files = find_files(folder)
    tables = []
    for file in files:
        try:
            tables.append(_named(pq.read_table(file), options, where=file))
        except (pa.ArrowInvalid, OSError) as error:
            raise IntegrityError(f"not a whole Parquet file: {error}", where=file, remedy="fetch it again") from error
    try:
        table = pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise ContractError(f"the files differ in their columns: {error}", where=folder) from error
    yield from by_drive(table, folder, options)


def by_drive(table: pa.Table, folder: Path, options: ImportOptions) -> Iterator[Trajectory]:
    """Yield the drives of a table with our column names; images are bytes, or paths below `folder`."""
    table = table.sort_by([("drive_id", "ascending"), ("timestamp_ns", "ascending")])
    names = table["drive_id"].to_numpy(zero_copy_only=False)
    edges = np.flatnonzero(np.append(True, names[1:] != names[:-1]))
    for start, stop in zip(edges.tolist(), [*edges[1:].tolist(), len(names)], strict=True):
        yield _trajectory(str(names[start]), table.slice(start, stop - start), folder, options)


def _named(table: pa.Table, options: ImportOptions, *, where: Path) -> pa.Table:
    """Take the columns we know under our names."""
    theirs = {name: name for name in (*REQUIRED, *OPTIONAL)} | dict(options.columns or {})
    if unknown := sorted(set(theirs) - {*REQUIRED, *OPTIONAL}):
        raise ContractError(
            f"{unknown[0]!r} is no column of ours",
            where="--column",
            remedy=f"ours: {', '.join((*REQUIRED, *OPTIONAL))}",
        )
    missing = [theirs[name] for name in REQUIRED if theirs[name] not in table.column_names]
    if missing:
        raise ContractError(
            f"no column {', '.join(map(repr, missing))}; there are {', '.join(table.column_names)}",
            where=where,
            remedy="name them with --column OURS=THEIRS",
        )
    return table.select([theirs[name] for name in theirs if theirs[name] in table.column_names]).rename_columns(
        [name for name in theirs if theirs[name] in table.column_names]
    )


def _trajectory(drive_id: str, rows: pa.Table, folder: Path, options: ImportOptions) -> Trajectory:
    times = _numbers(rows, "timestamp_ns", drive_id).astype(np.int64)
    said = rows["pii_state"].to_pylist() if "pii_state" in rows.column_names else [None] * len(rows)
    images = rows["image"]
    pose = np.column_stack([_numbers(rows, name, drive_id) for name in ("x_m", "y_m", "yaw_rad")])
    given = {name: _numbers(rows, name, drive_id) for name in OPTIONAL[:4] if name in rows.column_names}
    position = None
    if {"latitude_deg", "longitude_deg"} <= set(rows.column_names):
        columns = [_numbers(rows, name, drive_id, gaps=True) for name in ("latitude_deg", "longitude_deg")]
        position = np.column_stack(columns)
    command = given.get("command")
    return Trajectory(
        drive_id=drive_id,
        vehicle=_one(rows, "vehicle"),
        frame_ns=times,
        image=lambda frame: _image(images[frame].as_py(), folder, where=f"{drive_id}, frame {frame}"),
        pii_state=tuple(options.declared(one, where=drive_id) for one in said),
        pose_ns=times,
        pose=pose,
        speed_mps=given.get("speed_mps"),
        yaw_rate_rps=given.get("yaw_rate_rps"),
        accel_mps2=given.get("accel_mps2"),
        command=None if command is None else command.astype(np.int64),
        position=position,
        labels={name: value for name in ("weather", "event") if (value := _one(rows, name)) is not None},
    )


def _numbers(rows: pa.Table, name: str, drive_id: str, *, gaps: bool = False) -> FloatArray:
    """Return a column as numbers; timestamps stay integers."""
    column = rows[name]
    if not (pa.types.is_integer(column.type) or (pa.types.is_floating(column.type) and name != "timestamp_ns")):
        raise ContractError(f"column {name} is {column.type}, not a number", where=drive_id)
    values = column.to_numpy(zero_copy_only=False)
    if not gaps and (column.null_count or not np.isfinite(values).all()):
        raise ContractError(f"column {name} has gaps", where=drive_id, remedy="leave such rows out of the files")
    return np.asarray(values if name == "timestamp_ns" else values.astype(np.float64))


def _one(rows: pa.Table, name: str) -> str | None:
    found = set(rows[name].drop_null().to_pylist()) if name in rows.column_names else set()
    return str(found.pop()) if len(found) == 1 else None


def _image(value: bytes | str | dict[str, bytes] | None, folder: Path, *, where: str) -> bytes:
    """Return a picture's bytes, from the table or from a file below `folder`."""
    if isinstance(value, dict):  # as image features of Hugging Face's datasets lie in Parquet
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if value is None:
        raise ContractError("a frame has no image", where=where)
    return read_below(folder, value, where=where)


def read_below(folder: Path, name: str, *, where: str) -> bytes:
    """Read a file that a table names.

    Raises:
        IntegrityError: It is not there, or lies outside `folder`.
    """
    path = path_below(folder, name, where=where)
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise IntegrityError(f"no image {name!r}", where=where, remedy="fetch the whole dataset") from error
    except OSError as error:
        raise IntegrityError(
            f"image {name!r} cannot be read ({error.strerror})",
            where=where,
            remedy="make it readable, and import again",
        ) from error


def path_below(folder: Path, name: str, *, where: str) -> Path:
    """Return where a file lies that a dataset names.

    Raises:
        IntegrityError: That is outside `folder`, or no name of a file.
    """
    try:
        path = (folder / name).resolve()
    except ValueError as error:  # a NUL in it
        raise IntegrityError(f"{name!r} is no name of a file", where=where, remedy="fetch the dataset anew") from error
    if not path.is_relative_to(folder.resolve()):
        raise IntegrityError(f"{name!r} lies outside the dataset", where=where, remedy="copy it into the folder")
    return path

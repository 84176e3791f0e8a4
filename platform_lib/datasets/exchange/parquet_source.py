"""Plain Parquet and images: one row a frame, with the pose it was taken at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from platform_lib.datasets.exchange.foreign_tables import (
    Kind,
    column_of,
    joined,
    numbers_of,
    picture_of,
    read_table,
)
from platform_lib.datasets.exchange.model import ImportOptions, Trajectory
from platform_lib.datasets.model import FloatArray, Int64Array
from platform_lib.errors import ContractError, IntegrityError, MissingPartError

REQUIRED: Mapping[str, Kind] = {
    "drive_id": "a name", "timestamp_ns": "a whole number", "image": "a picture", "x_m": "a number", "y_m": "a number",
    "yaw_rad": "a number",
}  # fmt: skip
OPTIONAL: Mapping[str, Kind] = {
    "speed_mps": "a number", "yaw_rate_rps": "a number", "accel_mps2": "a number", "command": "a number",
    "latitude_deg": "a number", "longitude_deg": "a number", "vehicle": "a name", "pii_state": "a text",
    "weather": "a name", "event": "a name",
}  # fmt: skip
_POSE, _POSITION = ("x_m", "y_m", "yaw_rad"), ("latitude_deg", "longitude_deg")
_GIVEN = ("speed_mps", "yaw_rate_rps", "accel_mps2")


def find_files(folder: Path) -> list[Path]:
    """Return the Parquet files.

    Raises:
        MissingPartError: There is none.
    """
    files = sorted(path for path in folder.glob("*.parquet") if path.is_file())
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
    tables = [_named(read_table(file), options, where=file) for file in find_files(folder)]
    yield from by_drive(joined(tables, folder), folder, options)


def by_drive(table: pa.Table, folder: Path, options: ImportOptions) -> Iterator[Trajectory]:
    """Yield the drives of a table with our column names; images are bytes, or paths below `folder`.

    Raises:
        ContractError: There is no row, or one that names no drive.
    """
    for drive_id, rows in drives_of(table, folder):
        yield _trajectory(drive_id, rows, folder, options)


def drives_of(table: pa.Table, folder: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yield each drive's rows by time, in the order of their names.

    Raises:
        ContractError: There is no row, or one that names no drive.
    """
    if not len(table):
        raise ContractError("no row, so no drive", where=folder, remedy="name the folder of a dataset with frames")
    if table["drive_id"].null_count:
        raise ContractError(
            f"{table['drive_id'].null_count} of {len(table)} rows name no drive",
            where=folder,
            remedy="fill drive_id, or leave such rows out of the files",
        )
    table = table.sort_by([("drive_id", "ascending"), ("timestamp_ns", "ascending")])
    names = table["drive_id"].to_numpy(zero_copy_only=False)
    edges = np.flatnonzero(np.append(True, names[1:] != names[:-1])).tolist()
    for start, stop in zip(edges, [*edges[1:], len(names)], strict=True):
        yield str(names[start]), table.slice(start, stop - start)


def theirs(options: ImportOptions) -> dict[str, str]:
    """Return our name of a column -> the source's.

    Raises:
        ContractError: A name of ours is none.
    """
    names = {name: name for name in (*REQUIRED, *OPTIONAL)} | dict(options.columns or {})
    if unknown := sorted(set(names) - {*REQUIRED, *OPTIONAL}):
        raise ContractError(
            f"{unknown[0]!r} is no column of ours",
            where="--column",
            remedy=f"ours: {', '.join((*REQUIRED, *OPTIONAL))}",
        )
    return names


def _named(table: pa.Table, options: ImportOptions, *, where: Path) -> pa.Table:
    """Take the columns we know under our names."""
    names = theirs(options)
    missing = [names[name] for name in REQUIRED if names[name] not in table.column_names]
    if missing:
        raise ContractError(
            f"no column {', '.join(map(repr, missing))}; there are {', '.join(table.column_names)}",
            where=where,
            remedy="name them with --column OURS=THEIRS",
        )
    kinds = {**REQUIRED, **OPTIONAL}
    return pa.table(
        {
            ours: column_of(table, name, kinds[ours], where=where, called=ours)
            for ours, name in names.items()
            if name in table.column_names
        }
    )


def _trajectory(drive_id: str, rows: pa.Table, folder: Path, options: ImportOptions) -> Trajectory:
    times = _times(rows, drive_id)
    said = rows["pii_state"].to_pylist() if "pii_state" in rows.column_names else [None] * len(rows)
    images = rows["image"]
    pose = np.column_stack([_numbers(rows, name, drive_id) for name in _POSE])
    given = {name: _numbers(rows, name, drive_id) for name in _GIVEN if name in rows.column_names}
    position = None
    if set(_POSITION) <= set(rows.column_names):
        position = np.column_stack([numbers_of(rows[name], name, where=drive_id, gaps=True) for name in _POSITION])
    return Trajectory(
        drive_id=drive_id,
        vehicle=_one(rows, "vehicle"),
        frame_ns=times,
        image=lambda frame: picture_bytes(images[frame].as_py(), folder, where=f"{drive_id}, frame {frame}"),
        pii_state=tuple(options.declared(one, where=drive_id) for one in said),
        pose_ns=times,
        pose=pose,
        speed_mps=given.get("speed_mps"),
        yaw_rate_rps=given.get("yaw_rate_rps"),
        accel_mps2=given.get("accel_mps2"),
        command=_command(rows, drive_id) if "command" in rows.column_names else None,
        position=position,
        labels={name: value for name in ("weather", "event") if (value := _one(rows, name)) is not None},
    )


def _times(rows: pa.Table, drive_id: str) -> Int64Array:
    values = numbers_of(rows["timestamp_ns"], "timestamp_ns", where=drive_id)
    if values.dtype.kind == "u" and values.max() > np.iinfo(np.int64).max:
        raise ContractError(
            "a time lies beyond 2^63 ns", where=drive_id, remedy="write nanoseconds since 1970 as int64"
        )
    return values.astype(np.int64)


def _command(rows: pa.Table, drive_id: str) -> Int64Array:
    values = _numbers(rows, "command", drive_id)
    if np.any(values != np.floor(values)):
        raise ContractError("a route command is no whole number", where=drive_id, remedy="write 0, 1 or 2")
    return values.astype(np.int64)


def _numbers(rows: pa.Table, name: str, drive_id: str) -> FloatArray:
    return numbers_of(rows[name], name, where=drive_id).astype(np.float64)


def _one(rows: pa.Table, name: str) -> str | None:
    found = set(rows[name].drop_null().to_pylist()) if name in rows.column_names else set()
    return str(found.pop()) if len(found) == 1 else None


def picture_bytes(value: object, folder: Path, *, where: str) -> bytes:
    """Return a picture's bytes, from the table or from a file below `folder`.

    Raises:
        ContractError: The row has no picture.
        IntegrityError: It names a file that is not there, or lies outside `folder`.
    """
    found = picture_of(value)
    if isinstance(found, bytes):
        return found
    if found is None:
        raise ContractError("a frame has no image", where=where, remedy="leave such rows out of the files")
    return read_below(folder, found, where=where)


def read_below(folder: Path, name: str, *, where: str) -> bytes:
    """Read a file that a table names.

    Raises:
        IntegrityError: It is not there, or lies outside `folder`.
    """
    path = path_below(folder, name, where=where)
    try:
        if not path.is_file():  # a pipe would wait for a writer
            raise FileNotFoundError(path)
        return path.read_bytes()
    except FileNotFoundError as error:
        raise IntegrityError(f"no image {name!r}", where=where, remedy="fetch the whole dataset") from error
    except OSError as error:
        raise IntegrityError(
            f"image {name!r} cannot be read ({error.strerror})",
            where=where,
            remedy="make it readable, and import again",
        ) from error


def path_below(folder: Path, name: str, *, where: object) -> Path:
    """Return where a file lies that a dataset names.

    Raises:
        IntegrityError: That is outside `folder`, or no name of a file.
    """
    try:
        path = (folder / name).resolve()
    except (ValueError, OSError, RuntimeError) as error:  # a NUL in it, too long, or links in a circle
        raise IntegrityError(f"{name!r} is no name of a file", where=where, remedy="fetch the dataset anew") from error
    if not path.is_relative_to(folder.resolve()):
        raise IntegrityError(f"{name!r} lies outside the dataset", where=where, remedy="copy it into the folder")
    return path

"""Parquet tables that others wrote: read whole, with columns of the kinds that samples are made from, or refused by name.

Whatever is wrong with one is said with the file or drive, the column as its owner calls it, and what it should be.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from platform_lib.datasets.model import FloatArray
from platform_lib.errors import ContractError, IntegrityError, MissingPartError

Kind = Literal["a number", "a whole number", "a text", "a name", "a picture"]
_WRITE: dict[Kind, str] = {
    "a number": "write it as float64",
    "a whole number": "write it as int64",
    "a text": "write it as string",
    "a name": "write it as string, or as a whole number",
    "a picture": "write the file's bytes (binary), or its path below the folder (string)",
}


def read_tables(files: Sequence[Path], folder: Path, *, what: str) -> pa.Table:
    """Read files of one kind as one table.

    Args:
        files: Which.
        folder: Of the dataset, for the message.
        what: How the files are called there.

    Raises:
        MissingPartError: There is none.
        IntegrityError: One cannot be read.
        ContractError: They differ in their columns.
    """
    if not files:
        raise MissingPartError(f"no {what}", where=folder, remedy="fetch the dataset whole")
    return joined([read_table(file) for file in files], folder)


def read_table(file: Path) -> pa.Table:
    """Read one file.

    Raises:
        IntegrityError: It cannot be read, or a text in it is no UTF-8.
        ContractError: Two of its columns have one name.
    """
    try:
        table = pq.read_table(file, partitioning=None)
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(
            f"not a whole Parquet file: {str(error).splitlines()[0]}", where=file, remedy="fetch it again"
        ) from error
    names = table.column_names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ContractError(f"two columns are called {twice[0]!r}", where=file, remedy="rename or drop one of them")
    return table


def joined(tables: Sequence[pa.Table], folder: Path) -> pa.Table:
    """Put tables of several files together.

    Raises:
        ContractError: They differ in their columns.
    """
    try:
        return pa.concat_tables(tables)
    except pa.ArrowException as error:
        raise ContractError(
            f"the files differ in their columns: {' '.join(str(error).split())}",
            where=folder,
            remedy="write all files with the same columns and types",
        ) from error


def column_of(table: pa.Table, name: str, kind: Kind, *, where: object, called: str | None = None) -> pa.ChunkedArray:
    """Return a column of the kind that is asked for; one that is stored as a dictionary as its values.

    Args:
        table: Has a column of that name.
        name: Its name there.
        kind: What it has to be.
        where: For the message: a file or folder.
        called: Our name for it, where that is another.

    Raises:
        ContractError: It is of another type.
    """
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not _is(column.type, kind):
        ours = "" if called in (None, name) else f" (our {called})"
        raise ContractError(f"column {name!r}{ours} is {column.type}, not {kind}", where=where, remedy=_WRITE[kind])
    return column


def _is(found: pa.DataType, kind: Kind) -> bool:
    is_text = bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))
    is_whole = bool(pa.types.is_integer(found))
    if kind == "a number":
        return is_whole or bool(pa.types.is_floating(found))
    if kind == "a whole number":
        return is_whole
    if kind == "a text":
        return is_text or bool(pa.types.is_null(found))
    if kind == "a name":
        return is_text or is_whole or bool(pa.types.is_null(found))
    if pa.types.is_struct(found):  # as image features of Hugging Face's datasets lie in Parquet
        parts = {found.field(number).name: found.field(number).type for number in range(found.num_fields)}
        return bool(parts.keys() & {"bytes", "path"}) and all(
            pa.types.is_null(parts[name]) or _is(parts[name], "a picture")
            for name in ("bytes", "path")
            if name in parts
        )
    return is_text or _is_bytes(found)


def _is_bytes(found: pa.DataType) -> bool:
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(test(found) for test in tests)


def numbers_of(column: pa.ChunkedArray, name: str, *, where: object, gaps: bool = False) -> np.ndarray[Any, Any]:
    """Return a column of numbers (N,); whole numbers stay whole.

    Raises:
        ContractError: A value is missing or not finite, unless `gaps` are allowed (then it is nan).
    """
    if gaps:
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    values = column.to_numpy(zero_copy_only=False) if not column.null_count else None
    if values is None or not np.isfinite(values).all():
        raise ContractError(
            f"column {name!r} has gaps, or numbers that are not finite",
            where=where,
            remedy="fill them, or leave such rows out of the files",
        )
    return np.asarray(values)


def vectors_of(column: pa.ChunkedArray, width: int, name: str, *, where: object) -> FloatArray:
    """Return a column of vectors (N, width), of lists or lists of lists.

    Raises:
        ContractError: One has another length, or the column holds something else.
    """
    count, kind = len(column), column.type
    has = 1
    while (
        pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type)
    ):
        lengths = pc.list_value_length(column).unique().to_pylist()
        if column.null_count or len(lengths) > 1:
            raise ContractError(
                f"column {name!r} has vectors of different lengths, or none",
                where=where,
                remedy=f"write {width} numbers in each row",
            )
        has *= lengths[0] if lengths else 1
        column = pc.list_flatten(column)
    if not _is(column.type, "a number") or (count and has != width):
        raise ContractError(
            f"column {name!r} is {kind}, not {width} numbers", where=where, remedy=f"write {width} numbers in each row"
        )
    values = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    return values.reshape(count, width)


def picture_of(value: object) -> bytes | str | None:
    """Return what a row of a picture column holds: a file's bytes, its path, or nothing."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    return value if isinstance(value, bytes | str) else None

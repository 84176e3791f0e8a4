"""`drivetrain query`."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import typer

from platform_lib.console import ERR, OUT, print_json
from platform_lib.errors import UsageError
from platform_lib.home import open_home
from platform_lib.lake.lake import Lake
from platform_lib.options import HomeOption, JsonOption
from platform_lib.storage import publish_file
from platform_lib.table import Column, print_table

_MOST_ROWS = 2**31 - 1


def query(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT, in DuckDB's dialect.", show_default=False)],
    home: HomeOption = None,
    limit: Annotated[int, typer.Option(min=0, max=_MOST_ROWS, help="Most rows to print; 0 prints all.")] = 50,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write all rows to NAME.parquet, NAME.csv or NAME.jsonl.", show_default=False),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", min=0.1, help="End the query after so many seconds.", show_default=False),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Run SQL over the lake: signals, samples (without their bytes), drives, files, streams, schemas, quarantine.

    Only committed rows are there, nothing can be changed, and no other file can be read.
    `SHOW TABLES` says what each table holds, `DESCRIBE signals` names its columns. A query that names drives, days,
    vehicles or classes of sensor reads the files of those alone.
    """
    if out is not None and out.suffix not in _WRITERS:
        raise UsageError(f"no form for '{out.name}'", where="--out", remedy=f"end it in {', '.join(_WRITERS)}")
    with Lake.open(open_home(home, make=False)) as lake:
        if out is not None:
            with publish_file(out) as temporary:
                write = _WRITERS[out.suffix]
                rows_written = lake.stream_query(sql, lambda reader: write(reader, temporary), timeout_s=timeout)
            _tell_written(out, rows_written, as_json=as_json)
            return
        result = lake.query(sql, limit=limit or None, timeout_s=timeout)
    names = result.table.column_names
    rows = list(zip(*(column.to_pylist() for column in result.table.columns), strict=True))
    if as_json:
        document = {"columns": names, "rows": [[_plain(cell) for cell in row] for row in rows]}
        print_json({**document, "row_count": len(rows), "truncated": result.truncated})
        return
    columns = [Column(field.name, right=_is_number(field.type)) for field in result.table.schema]
    print_table(columns, [[_shown(cell) for cell in row] for row in rows])
    if result.truncated:
        ERR.print(f"the first {len(rows)} rows; --limit 0 prints all")


def _tell_written(out: Path, rows: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"path": out, "row_count": rows})
    else:
        OUT.print(f"{out}: {rows:,} rows", markup=False, highlight=False)


def _write_parquet(reader: pa.RecordBatchReader, path: Path) -> int:
    rows = 0
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_csv(reader: pa.RecordBatchReader, path: Path) -> int:
    """Write CSV; what is nested is written as JSON."""
    nested = [pa.types.is_nested(field.type) for field in reader.schema]
    schema = pa.schema(
        [
            pa.field(field.name, pa.string()) if inside else field
            for field, inside in zip(reader.schema, nested, strict=True)
        ]
    )
    rows = 0
    with pa.csv.CSVWriter(path, schema) as writer:
        for batch in reader:
            columns = [
                pa.array(
                    [None if cell is None else json.dumps(_plain(cell)) for cell in column.to_pylist()], pa.string()
                )
                if inside
                else column
                for column, inside in zip(batch.columns, nested, strict=True)
            ]
            writer.write_batch(pa.record_batch(columns, schema=schema))
            rows += batch.num_rows
    return rows


def _write_lines(reader: pa.RecordBatchReader, path: Path) -> int:
    rows = 0
    with path.open("w", encoding="utf-8") as stream:
        for batch in reader:
            for row in batch.to_pylist():
                stream.write(json.dumps(_plain(row), default=str) + "\n")
            rows += batch.num_rows
    return rows


_WRITERS: dict[str, Callable[[pa.RecordBatchReader, Path], int]] = {
    ".parquet": _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_lines,
}


def _plain(cell: object) -> object:
    """Return a value that JSON can hold: not a number is null, an infinity is a text."""
    if isinstance(cell, float) and not math.isfinite(cell):
        return None if math.isnan(cell) else str(cell)
    if isinstance(cell, bytes):
        return cell.hex()
    if isinstance(cell, list):
        return [_plain(item) for item in cell]
    if isinstance(cell, dict):
        return {str(name): _plain(item) for name, item in cell.items()}
    return cell


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _shown(cell: object) -> str:
    if cell is None:
        return "null"
    return cell.hex() if isinstance(cell, bytes) else str(cell)

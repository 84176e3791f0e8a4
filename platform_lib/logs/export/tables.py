"""Streams as tables: Parquet or CSV, one file a stream, written in bounded memory and published whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.describing import Note, unit_of
from platform_lib.logs.door import Log
from platform_lib.logs.export.model import Export, Form, Target, Written
from platform_lib.logs.messages import RAW_SCHEMA
from platform_lib.logs.model import Stream, Window
from platform_lib.storage import publish_file

# Rows are held until they make a row group of this size; all streams that are open together hold no more than the second.
_GROUP_BYTES = 32 << 20
_MOST_HELD_BYTES = 96 << 20
_MOST_OPEN = 64
# What holds a row, encodes and compresses it takes six times its bytes; measured with rows of 60 MiB. As text twice that.
_MOST_ROW_BYTES = {Form.PARQUET: 64 << 20, Form.CSV: 32 << 20}


def write_tables(
    log: Log, targets: Sequence[Target], form: Form, *, window: Window, decode: bool, note: Note
) -> Export:
    """Write streams, each to its file; all are published at the end, or none.

    Args:
        log: The log.
        targets: Which streams, and where to.
        form: Parquet or CSV.
        window: Which times.
        decode: As in `Log.read`.
        note: Is told of every batch.

    Raises:
        CorruptLog: As in `Log.read`.
        UnsupportedLog: A column has a type that the form cannot hold.
    """
    rows: dict[str, int] = {}
    with ExitStack() as published:
        files = {item.stream.name: published.enter_context(publish_file(item.path)) for item in targets}
        for group in _passes([item.stream for item in targets]):
            with ExitStack() as opened:
                tables = {
                    item.name: opened.enter_context(_Table(log, item, files[item.name], form, decode=decode))
                    for item in group
                }
                for name, batch in _batches(log, group, window, decode=decode):
                    tables[name].add(batch)
                    _relieve(tables)
                    note(name, batch.num_rows)
                for name, table in tables.items():
                    table.finish()
                    rows[name] = table.rows
    return Export(tuple(Written(item.stream.name, item.path, rows[item.stream.name]) for item in targets))


def _passes(streams: Sequence[Stream]) -> Iterator[list[Stream]]:
    """Put topics together, which one pass over the log gives at once; other streams are apart in the log anyway."""
    topics = [item for item in streams if item.kind == "message"]
    for first in range(0, len(topics), _MOST_OPEN):
        yield topics[first : first + _MOST_OPEN]
    yield from ([item] for item in streams if item.kind != "message")


def _batches(log: Log, group: list[Stream], window: Window, *, decode: bool) -> Iterator[tuple[str, pa.RecordBatch]]:
    names = [item.name for item in group]
    return log.read_all(names, start_ns=window.start_ns, stop_ns=window.stop_ns, decode=decode)


def _relieve(tables: Mapping[str, _Table]) -> None:
    """Write the largest part that waits, where all together wait with too much."""
    while sum(table.held_bytes for table in tables.values()) > _MOST_HELD_BYTES:
        max(tables.values(), key=lambda table: table.held_bytes).flush()


class _Table:
    """One file being written."""

    def __init__(self, log: Log, stream: Stream, path: Path, form: Form, *, decode: bool) -> None:
        self.rows = 0
        self.held_bytes = 0
        self._log = log
        self._stream = stream
        self._form = form
        schema = stream.schema if decode or stream.kind != "message" else RAW_SCHEMA
        stored = _csv_field if form is Form.CSV else _parquet_field
        self._schema = pa.schema([stored(field) for field in schema], metadata=_told(log, stream))
        self._held: list[pa.RecordBatch] = []
        self._file: IO[bytes] = path.open("wb")  # Arrow takes no path whose bytes are no text
        try:
            self._writer = self._open()
        except BaseException:
            self._file.close()
            raise

    def _open(self) -> Any:
        if self._form is Form.CSV:
            return pa_csv.CSVWriter(self._file, self._schema)
        try:
            # Of payloads a dictionary, and the least and greatest, are copies that save nothing.
            plain = _leaves(self._schema) - {field.name for field in self._schema if field.type == pa.large_binary()}
            return pq.ParquetWriter(
                self._file, self._schema, compression="zstd", use_dictionary=[*plain], write_statistics=[*plain]
            )
        except pa.ArrowNotImplementedError as error:
            what = f"stream '{self._stream.name}' has a column that Parquet does not hold ({error})"
            raise UnsupportedLog(
                what, where=self._log.path, remedy="export the others, or this one with --raw"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._file.close()
            return
        # The file is given up, and why is known; a writer that is still open would write again when it is forgotten.
        with suppress(OSError, pa.ArrowException):
            self._writer.close()
        with suppress(OSError):
            self._file.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the next rows."""
        columns = [
            _stored(column, field.type, self._form) for column, field in zip(batch.columns, self._schema, strict=True)
        ]
        kept = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        most = _MOST_ROW_BYTES[self._form]
        if kept.nbytes > most and (largest := _largest_row_bytes(kept)) > most:
            raise UnsupportedLog(
                f"a row of stream '{self._stream.name}' takes {largest >> 20} MiB; one of more than {most >> 20} is not "
                "written within bounded memory",
                where=self._log.path,
                remedy="export the other streams by name, and read this one with `open_log`",
            )
        self._held.append(kept)
        self.held_bytes += kept.nbytes
        self.rows += kept.num_rows
        if self.held_bytes >= _GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held, as one row group."""
        if self._held:
            table = pa.Table.from_batches(self._held, self._schema)
            most = {"row_group_size": table.num_rows} if self._form is Form.PARQUET else {}
            self._writer.write_table(table, **most)
        self._held, self.held_bytes = [], 0

    def finish(self) -> None:
        """Write the rest and what the file says of itself."""
        self.flush()
        if self._form is Form.PARQUET:
            report = self._log.report
            damage = {"recovered": report.recovered, "bytes_lost": report.bytes_lost, "problems": report.problems}
            self._writer.add_key_value_metadata({"drivetrain.health": json.dumps(damage)})
        self._writer.close()
        self._file.flush()


def _told(log: Log, stream: Stream) -> dict[str, str]:
    """Return what the schema says of the stream."""
    told = {"stream": stream.name, "kind": stream.kind, "source": str(log.path), "format": log.report.format}
    if stream.message_type is not None:
        told["message_type"] = stream.message_type
    if stream.schema_text is not None:
        told["message_definition"] = stream.schema_text
    told["drive"] = json.dumps(dict(log.metadata))
    return {f"drivetrain.{key}": value.encode(errors="backslashreplace").decode() for key, value in told.items()}


def _largest_row_bytes(batch: pa.RecordBatch) -> int:
    """Return about how much the largest row takes: texts and payloads by their own lengths, other columns on average."""
    largest = 0
    for column in batch.columns:
        if column.type in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary()):
            largest += pc.max(pc.binary_length(column)).as_py() or 0
        else:
            largest += column.nbytes // batch.num_rows
    return largest


def _leaves(schema: pa.Schema) -> set[str]:
    """Return the paths of the columns that Parquet makes of a schema."""
    made = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), made)
    found = pq.ParquetFile(pa.BufferReader(made.getvalue())).schema
    return {found.column(place).path for place in range(len(found))}


def _parquet_field(field: pa.Field) -> pa.Field:
    return field.with_type(_parquet_type(field.type))


def _parquet_type(kind: pa.DataType) -> pa.DataType:
    """Return the type as Parquet has it: no views, and a null in the place of a struct without members."""
    if kind == pa.binary_view():
        return pa.large_binary()
    if pa.types.is_struct(kind):
        return pa.struct([_parquet_field(item) for item in kind]) if kind.num_fields else pa.null()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_parquet_field(kind.value_field), kind.list_size)
    return pa.list_(_parquet_field(kind.value_field)) if pa.types.is_list(kind) else kind


def _csv_field(field: pa.Field) -> pa.Field:
    unit = unit_of(field)
    named = field.with_name(f"{field.name} [{unit}]") if unit else field
    return named.with_type(pa.string()) if _as_text(field.type) is not None else named


def _as_text(kind: pa.DataType) -> Callable[[Any], str] | None:
    """Return what turns a value that CSV has no form for into text: bytes to hex digits, nested values to JSON."""
    if pa.types.is_nested(kind):
        return lambda value: json.dumps(value, default=_hex, ensure_ascii=False)
    if pa.types.is_fixed_size_binary(kind) or kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        return _hex
    return None


def _hex(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _stored(column: pa.Array, kind: pa.DataType, form: Form) -> pa.Array:
    if column.type == kind:
        return column
    convert = _as_text(column.type) if form is Form.CSV else None
    if convert is not None:
        return pa.array([None if value is None else convert(value) for value in column.to_pylist()], pa.string())
    if pa.types.is_nested(column.type):
        return pa.array([_hollow(value) for value in column.to_pylist()], kind)
    return column.cast(kind)


def _hollow(value: Any) -> Any:
    """Put a null in the place of each struct without members."""
    if isinstance(value, list):
        return [_hollow(item) for item in value]
    return ({key: _hollow(item) for key, item in value.items()} or None) if isinstance(value, dict) else value

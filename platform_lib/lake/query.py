"""SQL over what is visible: DuckDB on Arrow scans of the stores, with nothing else in reach."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

import duckdb
import pyarrow as pa

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.reading import Moment
from platform_lib.errors import ConfigError
from platform_lib.lake.packing import KNOWN, UNKNOWN
from platform_lib.lake.store import Store
from platform_lib.lake.views import VIEWS, Views

_MEMORY_LIMIT = "2GB"
_SHOW_TABLES = re.compile(r"\s*show\s+(all\s+)?tables\s*;?\s*", re.IGNORECASE)
_UNKNOWN_TABLE = re.compile(r"(?P<said>Table with name (?P<name>\w+) does not exist!)(\nDid you mean \"[^\"]*\"\?)?")


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The answer of one query.

    Attributes:
        table: The rows.
        truncated: Whether there were more than the limit.
    """

    table: pa.Table
    truncated: bool


def run_query(
    catalog: Catalog, store: Store, sql: str, *, limit: int | None, timeout_s: float | None = None
) -> QueryResult:
    """Run one SELECT over the views named in `VIEWS`; see `Lake.query`."""
    if _SHOW_TABLES.fullmatch(sql):  # DuckDB would list what the views are made of as well
        return QueryResult(list_views(), truncated=False)
    with duckdb.connect(":memory:") as connection:
        lock_down(connection)
        statement = _single_select(connection, sql)
        wanted = _views_in(connection, sql)
        with Moment.of(catalog.engine) as moment, _ended_after(connection, timeout_s):
            views = Views(catalog, store, moment)
            views.register(connection, wanted)
            try:
                table = _answer(connection.sql(statement), limit)
            except duckdb.InterruptException as error:
                raise _too_long(sql, timeout_s) from error
            except duckdb.Error as error:
                raise (views.failed[0] if views.failed else _wrong(sql, error)) from error
    if limit is None:
        return QueryResult(table, truncated=False)
    return QueryResult(table.slice(0, limit), truncated=table.num_rows > limit)


def _answer(relation: duckdb.DuckDBPyRelation, limit: int | None) -> pa.Table:
    if limit is None:
        return relation.to_arrow_table()
    return _first_rows(relation.to_arrow_reader(max(1, limit + 1)), limit + 1)


@contextmanager
def _ended_after(connection: duckdb.DuckDBPyConnection, timeout_s: float | None) -> Iterator[None]:
    """Interrupt what the connection does in the block once it took so long."""
    timer = threading.Timer(timeout_s or 0.0, connection.interrupt)
    if timeout_s:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _too_long(sql: str, timeout_s: float | None) -> ConfigError:
    return ConfigError(
        f"the query did not end within {timeout_s:g} s" if timeout_s else "the query was interrupted",
        where=_short(sql),
        remedy="ask for less (a drive, a day, a stream), or give it longer with --timeout",
    )


def list_views() -> pa.Table:
    """Return what ``SHOW TABLES`` answers: each view, and what it holds."""
    return pa.table({"name": list(VIEWS), "holds": list(VIEWS.values())})


def lock_down(connection: duckdb.DuckDBPyConnection) -> None:
    """Leave a connection nothing but what is registered with it: no file, no network, no Python variable."""
    for setting in (
        f"SET memory_limit = '{_MEMORY_LIMIT}'",
        "SET python_enable_replacements = false",  # a table name never means a Python variable
        "SET enable_external_access = false",  # no file, no network, no extension
        "SET lock_configuration = true",
    ):
        connection.execute(setting)


def _single_select(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise _wrong(sql, error) from error
    if len(statements) != 1 or statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise ConfigError(
            "the lake answers one SELECT at a time and changes nothing",
            where=_short(sql),
            remedy=f"write a single SELECT over {', '.join(VIEWS)}",
        )
    return statements[0]


def _views_in(connection: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    """Name the views a statement reads; where the parser names none (EXPLAIN, SHOW TABLES), all of them."""
    try:
        names = {name.lower() for name in connection.get_table_names(sql)} or set(VIEWS)
    except duckdb.Error:
        names = set(VIEWS)
    return names | {"packed_signals"} if names & {"signals", KNOWN, UNKNOWN} else names


def _first_rows(reader: pa.RecordBatchReader, count: int) -> pa.Table:
    batches: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        batches.append(batch)
        rows += batch.num_rows
        if rows >= count:
            break
    return pa.Table.from_batches(batches, reader.schema).slice(0, count)


def _wrong(sql: str, error: duckdb.Error) -> ConfigError:
    return ConfigError(
        f"the query was refused: {_UNKNOWN_TABLE.sub(_suggest, str(error)).strip()}",
        where=_short(sql),
        remedy=f"the tables are {', '.join(VIEWS)}; `DESCRIBE signals` names a table's columns",
    )


def _suggest(found: re.Match[str]) -> str:
    """Suggest one of the lake's own tables; DuckDB would name any of its catalogue's."""
    close = get_close_matches(found["name"].lower(), VIEWS, n=1)
    return found["said"] + (f'\nDid you mean "{close[0]}"?' if close else "")


def _short(sql: str) -> str:
    flat = " ".join(sql.split())
    return flat if len(flat) <= 120 else flat[:117] + "..."

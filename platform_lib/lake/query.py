"""SQL over what is visible: DuckDB on Arrow scans of the stores, with nothing else in reach."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

import duckdb
import pyarrow as pa

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.reading import Moment
from platform_lib.errors import ConfigError
from platform_lib.lake.objects import ObjectPath, as_bucket_error, is_transport
from platform_lib.lake.packing import KNOWN, UNKNOWN
from platform_lib.lake.store import Store
from platform_lib.lake.views import VIEWS, Views

_MEMORY_LIMIT = "2GB"
_BATCH_ROWS = 65_536
_ASK_AGAIN_S = 0.1
Answer = TypeVar("Answer")
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
    if limit is None:
        table = stream_query(catalog, store, sql, lambda reader: reader.read_all(), timeout_s=timeout_s)
        return QueryResult(table, truncated=False)
    table = stream_query(
        catalog, store, sql, lambda reader: _first_rows(reader, limit + 1), timeout_s=timeout_s, at_once=limit + 1
    )
    return QueryResult(table.slice(0, limit), truncated=table.num_rows > limit)


def stream_query(
    catalog: Catalog,
    store: Store,
    sql: str,
    use: Callable[[pa.RecordBatchReader], Answer],
    *,
    timeout_s: float | None = None,
    at_once: int = _BATCH_ROWS,
) -> Answer:
    """Run one SELECT, and let `use` read its rows `at_once` at a time, so that they need not fit into memory together.

    Ctrl-C and `timeout_s` end it wherever it is: it works in a thread of its own, which DuckDB can be told to leave.
    """
    if _SHOW_TABLES.fullmatch(sql):
        return use(list_views().to_reader())
    with duckdb.connect(":memory:") as connection:
        lock_down(connection)
        statement = _single_select(connection, sql)
        wanted = _views_in(connection, sql)
        with Moment.of(catalog.engine) as moment:
            views = Views(catalog, store, moment)
            views.register(connection, wanted)
            try:
                return _interruptible(
                    connection, lambda: use(connection.sql(statement).to_arrow_reader(max(1, at_once))), timeout_s
                )
            except TimeoutError as error:
                raise _too_long(sql, timeout_s) from error
            except (duckdb.Error, pa.ArrowException) as error:
                if isinstance(store.root, ObjectPath) and is_transport(
                    error
                ):  # DuckDB tells what a file system told it
                    raise as_bucket_error(store.root, error) from error
                raise (views.failed[0] if views.failed else _wrong(sql, error)) from error


def _interruptible(
    connection: duckdb.DuckDBPyConnection, work: Callable[[], Answer], timeout_s: float | None
) -> Answer:
    """Wait for work that the connection does; end it when it takes longer, or when this process is told to end.

    Raises:
        TimeoutError: It took longer.
    """
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work)
        try:
            return future.result(timeout_s)
        except BaseException:
            while not future.done():  # one word may come between two of its steps
                connection.interrupt()
                wait([future], _ASK_AGAIN_S)
            raise


def _too_long(sql: str, timeout_s: float | None) -> ConfigError:
    return ConfigError(
        f"the query did not end within {timeout_s:g} s",
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


def _wrong(sql: str, error: Exception) -> ConfigError:
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

"""Holds tables against the contracts on them, in SQL: the lake's views, and a dataset's rows before it is published."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import duckdb
import lance
import pyarrow as pa

from platform_lib.catalog.model import ContractRun
from platform_lib.contracts.files import run_of
from platform_lib.contracts.model import Contract, Result, Rule, judge
from platform_lib.contracts.rules import rules_of
from platform_lib.errors import ConfigError
from platform_lib.lake.lake import Lake
from platform_lib.lake.query import lock_down
from platform_lib.lake.signal_table import file_schema
from platform_lib.lake.tables import SIGNAL_SCHEMA
from platform_lib.lake.views import VIEWS

DATASET = "dataset_samples"
"""The name under which a dataset's rows are asked; pictures are not among them."""
_MOST_ROWS = 100_000
"""Rows of a rule's answer that are judged; a query that gives more is one of rows, not of figures."""
_IMAGE = "image"
Ask = Callable[[str], pa.Table]


def check_lake(
    lake: Lake, contracts: Sequence[Contract], *, drive_ids: Collection[str] | None = None
) -> list[ContractRun]:
    """Hold the lake's views against the contracts on them, record what was found, and return it.

    Args:
        lake: Whose.
        contracts: Those that bind the home.
        drive_ids: Of the table on disk only the columns of these drives' files are looked at; of all by default.
    """
    version = lake.version().sha256
    runs = []
    for contract in contracts:
        rules = [rule for rule in rules_of(contract) if rule.kind == "view"]
        if rules:
            results = _evaluate(
                rules, lambda sql: lake.query(sql, limit=_MOST_ROWS).table, lambda at: schema_of(lake, at, drive_ids)
            )
            runs.append(run_of(contract, results, artefact_sha256=version))
    lake.catalog.record_contract_runs(runs)
    return runs


def check_dataset(samples: Path, contracts: Sequence[Contract], *, sha256: str) -> list[ContractRun]:
    """Hold a dataset's rows against the contracts on them; nothing is recorded.

    Args:
        samples: Its Lance table, published or not.
        contracts: Those that bind the home.
        sha256: The dataset's digest.
    """
    wanted = [(item, [rule for rule in rules_of(item) if rule.kind == "dataset"]) for item in contracts]
    wanted = [(item, rules) for item, rules in wanted if rules]
    if not wanted:
        return []
    source = lance.dataset(str(samples))
    table = source.to_table(columns=[name for name in source.schema.names if name != _IMAGE])
    with duckdb.connect(":memory:") as connection:
        lock_down(connection)
        connection.register(DATASET, table)
        return [
            run_of(
                item,
                _evaluate(rules, lambda sql: _ask(connection, sql), lambda _: source.schema),
                artefact_sha256=sha256,
            )
            for item, rules in wanted
        ]


def _ask(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    try:
        return connection.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        raise ConfigError(f"the query was refused: {str(error).strip()}") from error


def schema_of(lake: Lake, view: str, drive_ids: Collection[str] | None = None) -> pa.Schema:
    """Return what a view's columns really are: of a table on disk the schema in its own files, or in these drives'.

    Raises:
        ConfigError: There is no such view.
    """
    if view not in VIEWS:
        raise ConfigError(f"no view '{view}'", remedy=f"the views are {', '.join(VIEWS)}")
    head = lake.catalog.head()
    ids = None if drive_ids is None else [item.ingest_id for item in lake.catalog.view(drive_ids).ingests]
    if head is not None and view == "packed_signals" and (files := lake.store.signal_files(head, ids)):
        schemas = [file_schema(path) for path in files]
        return pa.schema([item for item in schemas[0] if all(item.name in other.names for other in schemas)])
    if view == "signals":
        return SIGNAL_SCHEMA
    if head is not None and view == "samples":
        schema: pa.Schema = lake.store.samples(head).schema
        return schema
    return lake.query(f"SELECT * FROM {view} LIMIT 0").table.schema  # noqa: S608 - one of our own names


def _evaluate(rules: Sequence[Rule], ask: Ask, schema_at: Callable[[str], pa.Schema]) -> list[Result]:
    schemas: dict[str, pa.Schema] = {}
    found: list[Result] = []
    for rule in rules:
        if rule.source not in schemas:
            schemas[rule.source] = _schema(rule.source, schema_at)
        lost = rule.column is not None and rule.column not in schemas[rule.source].names
        if rule.check == "present":
            found.append(judge(rule, 0.0 if lost else 1.0, f"{rule.source} {rule.column}"))
        elif lost:
            continue  # before any query: its absence is told, once
        elif rule.check == "type":
            found.append(judge(rule, str(schemas[rule.source].field(rule.column).type), f"{rule.source} {rule.column}"))
        else:
            found += _asked(rule, ask)
    return found


def _schema(name: str, schema_at: Callable[[str], pa.Schema]) -> pa.Schema:
    try:
        return schema_at(name)
    except ConfigError:
        return pa.schema([])


def _asked(rule: Rule, ask: Ask) -> list[Result]:
    """Ask a rule's query. Each row is a figure and perhaps its place: a column of any name, or ``drive_id``."""
    try:
        answer = ask(query_of(rule))
    except ConfigError as error:
        return [Result(rule, "fail", None, " ".join(error.what.split())[:300])]
    if answer.num_rows == 0 or answer.num_columns == 0:
        return [judge(rule, None, "the query gave no row")]
    names = answer.column_names
    places = answer.column(1).to_pylist() if len(names) > 1 else [""] * answer.num_rows
    results = [
        judge(rule, _figure(value), str(place), drive_id=str(place) if names[1:2] == ["drive_id"] else None)
        for value, place in zip(answer.column(0).to_pylist(), places, strict=True)
    ]
    bad = [item for item in results if item.verdict != "pass"]
    return bad or results[:1]


def _figure(value: object) -> float | str | None:
    if value is None or isinstance(value, str):
        return value
    return float(value) if isinstance(value, (bool, int, float)) else str(value)


def query_of(rule: Rule) -> str:
    """Return the SQL of a rule: its own, or that of the metric it names."""
    if rule.check == "sql":
        return str(rule.argument("query"))
    table, column = _quoted(rule.source), _quoted(rule.column or "")
    match rule.check:
        case "nullValues":
            figure = f"count(*) FILTER (WHERE {column} IS NULL)"
        case "missingValues":
            figure = f"count(*) FILTER (WHERE {column} IS NULL OR {column}::VARCHAR IN ('', 'nan'))"
        case "invalidValues":
            figure = f"count(*) FILTER (WHERE {_invalid(rule, column)})"
        case "duplicateValues":
            figure = f"count({column}) - count(DISTINCT {column})"
        case _:
            figure = "count(*)"
    return f"SELECT {figure} FROM {table}"  # noqa: S608 - names are quoted


def _invalid(rule: Rule, column: str) -> str:
    valid, low, high = (rule.argument(name) for name in ("validValues", "minimum", "maximum"))
    if isinstance(valid, tuple):
        return f"{column}::VARCHAR NOT IN ({', '.join(_literal(str(item)) for item in valid)})"
    if low is None and high is None:
        return "false"
    # In DuckDB's order a NaN is above every number, infinity too.
    top = str(high) if isinstance(high, (int, float)) else "'infinity'::DOUBLE"
    above = f"{column} > {top}"
    return f"{above} OR {column} < {low}" if isinstance(low, (int, float)) else above


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _literal(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"

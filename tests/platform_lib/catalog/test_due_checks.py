"""What is still to be checked is found by an index: of a large catalogue that is checked already, nothing is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, text

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.due_checks import DueChecks

pytestmark = pytest.mark.slow

_FILES = 20_000
_FILL = """
INSERT INTO drives (drive_id, session) SELECT 'd' || n, 's' FROM generate_series(1, :n / 10) n;
INSERT INTO files (file_sha256, bytes) SELECT 'f' || n, 1 FROM generate_series(1, :n) n;
INSERT INTO commits (lance_version) VALUES (1);
INSERT INTO ingests (file_sha256, reader_version, schema_version, options_sha256, state, drive_id, commit_id, checked_with)
    SELECT 'f' || n, '1', 1, '0', 'committed', 'd' || (1 + n % (:n / 10)), (SELECT max(commit_id) FROM commits), :mark
    FROM generate_series(1, :n) n;
"""


@pytest.fixture
def filled(database: str) -> Iterator[Catalog]:
    with Catalog(database) as catalog:
        with catalog.engine.begin() as connection:
            for statement in filter(str.strip, _FILL.split(";")):
                bound: dict[str, Any] = {"n": _FILES, "mark": "m"}
                connection.execute(text(statement), {key: bound[key] for key in bound if f":{key}" in statement})
        yield catalog


def _blocks_read(catalog: Catalog, mark: str) -> tuple[int, int]:
    """Ask, and return how many ingests are due and how many blocks of 8 KiB the server touched for the answer."""
    asked: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    event.listen(catalog.engine, "before_cursor_execute", note)
    try:
        due = DueChecks(catalog.engine).next(mark, 64)
    finally:
        event.remove(catalog.engine, "before_cursor_execute", note)
    blocks = 0
    with catalog.engine.connect() as connection:
        for statement, parameters in asked:
            told = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters)
            plan = told.scalar_one()
            root = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
            blocks += root["Shared Hit Blocks"] + root["Shared Read Blocks"]
    return len(due), blocks


def test_a_checked_lake_costs_an_index_probe_and_what_is_due_costs_itself(filled: Catalog) -> None:
    due, blocks = _blocks_read(filled, "m")
    assert due == 0
    assert blocks < 30, f"{blocks} blocks for {_FILES:,} files of which none is due"
    with filled.engine.begin() as connection:
        connection.execute(text("UPDATE ingests SET checked_with = NULL WHERE ingest_id % 4000 = 0"))
        connection.execute(text("UPDATE ingests SET checked_with = 'older' WHERE ingest_id % 4000 = 1"))
    few, blocks = _blocks_read(filled, "m")
    assert few == 2 * _FILES // 4000
    assert blocks < 200
    everything, blocks = _blocks_read(filled, "n")  # another contract: all are due, and come a page at a time
    assert everything == 64
    assert blocks < 1000


def test_pages_end_and_what_is_done_is_not_due_again(filled: Catalog) -> None:
    marks = DueChecks(filled.engine)
    seen: list[int] = []
    while due := marks.next("n", 7000):
        seen += [item.ingest_id for item in due]
        marks.done("n", [item.ingest_id for item in due])
    assert len(seen) == len(set(seen)) == _FILES

"""What a query demands of the key columns is read out of its condition only where Arrow agrees that it does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.errors import ConfigError, PlatformError
from platform_lib.lake.pushdown import Keys, View, proven
from platform_lib.lake.query import lock_down

_SCHEMA = pa.schema([("drive_id", pa.string()), ("ingest_id", pa.int64()), ("x", pa.int64())])
_ROWS = pa.table({"drive_id": ["a", "b", "it's", None], "ingest_id": [1, 2, 3, 4], "x": [1, 2, 3, 4]}, schema=_SCHEMA)


class _Asked:
    """A view of `_ROWS` that notes what is asked of it."""

    def __init__(self) -> None:
        self.keys: list[Keys] = []
        self.columns: list[Sequence[str]] = []
        self.failed: list[PlatformError] = []
        self.connection = duckdb.connect(":memory:")
        lock_down(self.connection)
        self.connection.register("v", View(_SCHEMA, ("drive_id", "ingest_id"), self._read, self.failed))

    def _read(self, keys: Keys, columns: Sequence[str]) -> Iterator[pa.Table]:
        self.keys.append(dict(keys))
        self.columns.append(columns)
        if keys.get("drive_id") == ("fail",):
            raise ConfigError("no such thing")
        yield _ROWS

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        try:
            return self.connection.sql(sql).fetchall()
        finally:
            self.connection.close()


@pytest.mark.parametrize(
    ("condition", "keys", "rows"),
    [
        ("drive_id = 'a'", {"drive_id": ("a",)}, 1),
        ("drive_id = 'it''s' AND x > 0", {"drive_id": ("it's",)}, 1),
        ("drive_id IN ('a', 'b')", {"drive_id": ("a", "b")}, 2),
        ("drive_id = 'a' OR drive_id = 'b'", {"drive_id": ("a", "b")}, 2),
        ("drive_id = 'a' AND ingest_id = 2", {"drive_id": ("a",), "ingest_id": (2,)}, 0),
        ("ingest_id IN (1, 3)", {"ingest_id": (1, 3)}, 2),
        ("drive_id = 'a' OR x = 2", {}, 2),
        ("drive_id <> 'a'", {}, 2),
        ("drive_id LIKE 'a%'", {}, 1),
        ("NOT (drive_id = 'a')", {}, 2),
        ("drive_id IS NULL OR drive_id = 'a'", {}, 2),
        ("x = 1", {}, 1),
    ],
)
def test_a_condition_names_drives_or_does_not(condition: str, keys: dict[str, object], rows: int) -> None:
    asked = _Asked()
    found = asked.ask(f"SELECT count(*) FROM v WHERE {condition}")  # noqa: S608 - of tests
    assert found == [(rows,)]
    assert asked.keys == [keys]


def test_only_the_columns_of_a_query_are_asked_for() -> None:
    asked = _Asked()
    assert asked.ask("SELECT sum(x) FROM v WHERE drive_id = 'b'") == [(2,)]
    assert asked.columns == [["drive_id", "x"]]


def test_an_error_of_reading_is_kept_as_it_is() -> None:
    asked = _Asked()
    with pytest.raises(duckdb.Error):
        asked.ask("SELECT * FROM v WHERE drive_id = 'fail'")
    assert [item.what for item in asked.failed] == ["no such thing"]


_TEXTS = st.text(max_size=6)


@given(st.lists(_TEXTS, min_size=1, max_size=4), _TEXTS)
def test_whatever_a_drive_is_called_no_row_is_lost(named: list[str], other: str) -> None:
    """Values that are not found in the condition's text prove nothing; those that are proven are all there are."""
    found = proven(ds.field("drive_id").isin(named), _SCHEMA, ("drive_id",))
    assert not found or set(named) <= set(found["drive_id"])
    one = proven(ds.field("drive_id") == other, _SCHEMA, ("drive_id",))
    assert not one or one["drive_id"] == (other,)
    either = (ds.field("drive_id") == other) | (ds.field("x") > 1)
    assert proven(either, _SCHEMA, ("drive_id",)) == {}

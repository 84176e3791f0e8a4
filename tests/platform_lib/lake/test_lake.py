"""What a reader sees of a lake: committed rows, all of them, and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from platform_lib.catalog.grown import lies_within, supersede
from platform_lib.catalog.model import FileKey, FoundFile
from platform_lib.errors import ConfigError, HomeError
from platform_lib.home import open_home
from platform_lib.lake.grown import held_twice
from platform_lib.lake.intake import FileStamp, LogJob, Place, ReadOptions, Taken, take_in
from platform_lib.lake.lake import Lake
from platform_lib.lake.store import Store
from platform_lib.storage import sha256_file

pytestmark = pytest.mark.slow

WriteMcap = Any


class Logs:
    """Writes small logs and takes them in, as far as a test wants."""

    def __init__(self, lake: Lake, folder: Path, write_mcap: WriteMcap, cdr: SimpleNamespace) -> None:
        self.lake = lake
        self._folder = folder
        self._write = write_mcap
        self._cdr = cdr

    def take(self, drive: str, value: float, *, reader: str = "1", rows: int = 3, name: str | None = None) -> Taken:
        topics = {
            "/speed": ("std_msgs/msg/Float64", [(100 + i, self._cdr.float64(value + i)) for i in range(rows)]),
            "/it's": ("demo_msgs/msg/Readings", [(20, self._cdr.readings(value)), (10, self._cdr.readings())]),
        }
        identity = {"vehicle": "v", "session": drive, "weather": "rain"}
        path = self._write(self._folder / drive / (name or f"{value}.mcap"), topics, identity)
        key = FileKey(sha256_file(path), reader, 1, "0")
        self.lake.catalog.note_files([FoundFile(key, path.stat().st_size, (str(path),))])
        (ingest_id,) = self.lake.catalog.begin([key])
        place = Place(self.lake.store.signals_data, self.lake.store.samples_uri)
        taken = take_in(LogJob(ingest_id, path, key, FileStamp.of(path)), ReadOptions(), place)
        assert isinstance(taken, Taken)
        return taken

    def commit(self, *taken: Taken) -> None:
        head = self.lake.store.append([item.written for item in taken])
        self.lake.catalog.commit(head, [item.record for item in taken])

    def sweep(self) -> None:
        leftovers = self.lake.catalog.leftovers()
        self.lake.catalog.forget(leftovers, self.lake.store.drop(leftovers, {}))


@pytest.fixture
def logs(lake: Lake, tmp_path: Path, write_mcap: WriteMcap, cdr: SimpleNamespace) -> Logs:
    return Logs(lake, tmp_path, write_mcap, cdr)


def _count(lake: Lake, table: str, drive_id: str) -> int:
    rows = lake.query(f"SELECT count(*) AS n FROM {table} WHERE drive_id = '{drive_id}'").table  # noqa: S608 - of tests
    return int(rows["n"][0].as_py())


def test_a_place_lies_within_a_name_or_below_it() -> None:
    assert lies_within(["/l/bag/bag_0.db3", "/l/bag"], ["/l/bag"])
    assert lies_within(["s3://b/l/bag/bag_0.db3"], ["s3://b/l/bag"])
    assert not lies_within(["/l/bag/bag_0.db3", "/copy/bag_0.db3"], ["/l/bag"]), "it lies elsewhere too"
    assert not lies_within(["/l/bag2"], ["/l/bag"])
    assert not lies_within([], ["/l/bag"])


def test_committed_rows_are_read_as_they_were_recorded(logs: Logs, lake: Lake) -> None:
    logs.commit(logs.take("read", 5.0))
    table = lake.signals("v_read")
    assert table.column_names == ["stream", "signal", "unit", "timestamp_ns", "value", "text"]
    assert table.schema.field("timestamp_ns").type == pa.int64()
    assert table["value"].to_pylist() == [5.0, 6.0, 7.0]
    assert lake.signals("v_read", stream="/other").num_rows == 0
    assert lake.signals("v_read", signals=["data"]).num_rows == 3
    samples = lake.samples("v_read", "/it's")
    assert samples["timestamp_ns"].to_pylist() == [10, 20]
    assert samples.schema.field("data").type == pa.large_binary()
    assert samples["message_type"].to_pylist() == ["demo_msgs/msg/Readings"] * 2
    assert set(samples["schema_text"].to_pylist()) == {"float64[] values"}
    assert lake.samples("v_read", "/none").num_rows == 0
    assert _count(lake, "samples", "v_read") == 2


def test_rows_in_both_stores_are_invisible_until_the_catalogue_says_so(logs: Logs, lake: Lake) -> None:
    logs.commit(logs.take("seen", 1.0))
    before = lake.version()
    unseen = logs.take("seen", 50.0)
    lake.store.append([unseen.written])  # and here the process dies
    assert lake.version() == before
    assert lake.signals("v_seen")["value"].to_pylist() == [1.0, 2.0, 3.0]
    assert _count(lake, "signals", "v_seen") == 3
    assert _count(lake, "samples", "v_seen") == 2
    logs.commit(logs.take("seen", 70.0))  # a later commit brings the orphans' versions along, and not their rows
    assert _count(lake, "signals", "v_seen") == 6
    assert lake.samples("v_seen", "/it's").num_rows == 4


def _twice(logs: Logs, taken: Taken) -> list[int]:
    """Commit a log as an ingest does; return the readings that its rows replace."""
    head = logs.lake.store.append([taken.written])
    found = [item.ingest_id for item in held_twice(logs.lake, head, [taken.record])]
    logs.lake.catalog.commit(head, [taken.record], also=lambda connection: supersede(connection, found))
    return found


def test_a_log_that_has_grown_replaces_what_was_read_of_it_and_no_other_that_had_its_name(
    logs: Logs, lake: Lake
) -> None:
    first = logs.take("grown", 1.0, rows=2, name="a.mcap")
    logs.commit(first)
    assert _twice(logs, logs.take("grown", 1.0, rows=5, name="a.mcap")) == [first.record.ingest_id]
    assert lake.signals("v_grown")["value"].to_pylist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert lake.samples("v_grown", "/it's").num_rows == 2
    (file,) = lake.catalog.drives(["v_grown"])[0].files
    assert file.stop_ns == 105
    # As long and begun at the same time, and not the same rows: another recording that took its name.
    assert _twice(logs, logs.take("grown", 7.0, rows=6, name="a.mcap")) == []
    # The same rows under another name are another log, and so is what got shorter.
    assert _twice(logs, logs.take("grown", 7.0, rows=8, name="b.mcap")) == []
    assert _twice(logs, logs.take("grown", 7.0, rows=4, name="a.mcap")) == []
    assert _count(lake, "signals", "v_grown") == 5 + 6 + 8 + 4


def test_a_sweep_removes_orphan_rows_and_files_and_nothing_else(logs: Logs, lake: Lake) -> None:
    logs.commit(logs.take("kept", 1.0))
    orphan = logs.take("kept", 50.0)
    lake.store.append([orphan.written])
    stray = logs.take("kept", 60.0)  # never reached a store
    version = lake.version().sha256
    logs.sweep()
    assert lake.catalog.leftovers() == []
    assert not any(Path(file).exists() for file in stray.written.signals)
    view = lake.catalog.view()
    assert view.head is not None
    named = lake.store.signal_files(view.head)
    assert not set(named) & {*orphan.written.signals, *stray.written.signals}
    assert _count(lake, "signals", "v_kept") == 3
    assert lake.samples("v_kept", "/it's").num_rows == 2
    assert lake.version().sha256 == version


def test_reading_a_log_anew_replaces_its_rows(logs: Logs, lake: Lake) -> None:
    logs.commit(logs.take("anew", 1.0))
    before = lake.version().sha256
    logs.commit(logs.take("anew", 1.0, reader="2"))
    assert _count(lake, "signals", "v_anew") == 3
    assert lake.samples("v_anew", "/it's").num_rows == 2
    assert lake.version().sha256 != before
    logs.sweep()
    assert _count(lake, "signals", "v_anew") == 3


def test_the_version_tells_content_and_not_the_order_of_arrival(
    tmp_path_factory: pytest.TempPathFactory, logs: Logs, lake: Lake
) -> None:
    first, second = logs.take("order", 1.0), logs.take("order", 2.0)
    empty = lake.version().sha256
    logs.commit(second)
    half = lake.version().sha256
    logs.commit(first)
    whole = lake.version().sha256
    assert len({empty, half, whole}) == 3
    logs.commit(logs.take("order", 2.0))  # the same content again, another ingest
    assert lake.version().sha256 == whole


@pytest.mark.parametrize(("typed", "meant"), [("stream", '"streams"'), ("Signal", '"signals"'), ("x", None)])
def test_a_mistyped_table_is_answered_with_one_of_the_lakes(lake: Lake, typed: str, meant: str | None) -> None:
    with pytest.raises(ConfigError) as caught:
        lake.query(f"SELECT * FROM {typed}")  # noqa: S608 - the names above
    assert "sqlite" not in caught.value.what
    assert "pragma" not in caught.value.what
    assert (meant is None) == ("Did you mean" not in caught.value.what)
    assert meant is None or meant in caught.value.what


def test_an_unknown_drive_is_refused(lake: Lake) -> None:
    with pytest.raises(ConfigError, match="no drive 'x'"):
        lake.signals("x")
    with pytest.raises(ConfigError, match="no drive 'x'"):
        lake.samples("x", "/camera")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM nowhere",
        "SELEC 1",
        "",
        "SELECT 1; SELECT 2",
        "CREATE TABLE mine (a INT)",
        "DELETE FROM signals",
        "COPY (SELECT 1) TO '/tmp/leak.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/*')",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "ATTACH '/tmp/leak.db'",
        "SELECT * FROM lake",
    ],
)
def test_what_is_not_a_single_select_over_the_tables_is_refused(lake: Lake, statement: str) -> None:
    with pytest.raises(ConfigError, match="signals"):
        lake.query(statement)


@pytest.mark.parametrize("statement", ["DESCRIBE signals", "SHOW TABLES", "EXPLAIN SELECT * FROM signals", "SELECT 1"])
def test_looking_around_is_allowed(lake: Lake, statement: str) -> None:
    assert lake.query(statement).table.num_rows > 0


def test_a_limit_says_that_there_is_more(logs: Logs, lake: Lake) -> None:
    logs.commit(logs.take("limit", 1.0))
    statement = "SELECT * FROM signals WHERE drive_id = 'v_limit'"
    assert lake.query(statement, limit=3).truncated is False
    cut = lake.query(statement, limit=2)
    assert (cut.table.num_rows, cut.truncated) == (2, True)


def test_tables_of_the_catalogue_can_be_joined(logs: Logs, lake: Lake) -> None:
    logs.commit(logs.take("join", 1.0))
    statement = """
        SELECT d.vehicle, json_extract_string(d.labels, 'weather') AS weather, f.bytes > 0 AS sized, s.rows
        FROM drives d JOIN files f USING (drive_id) JOIN streams s USING (drive_id)
        WHERE d.drive_id = 'v_join' AND s.stream = '/speed'
    """
    (row,) = lake.query(statement).table.to_pylist()
    assert row == {"vehicle": "v", "weather": "rain", "sized": True, "rows": 3}


def test_a_moved_home_is_refused_with_the_reason(lake: Lake, tmp_path: Path) -> None:
    other = Store(open_home(tmp_path / "moved"), lake.store.database_uri)
    try:
        with pytest.raises(HomeError, match="cannot be moved"):
            other.create()
    finally:
        other.close()


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b"])
def test_a_home_that_iceberg_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HomeError, match="Iceberg"):
        Store(open_home(tmp_path / name), "postgresql+psycopg://nobody@127.0.0.1:1/none")

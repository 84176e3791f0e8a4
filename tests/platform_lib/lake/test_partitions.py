"""Rows lie by day, vehicle and class of sensor, and a query opens the files of what it asks for and no others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, event, insert

from platform_lib.catalog.model import FileKey, FoundFile
from platform_lib.catalog.schema import LAKE_FILES
from platform_lib.errors import ConfigError
from platform_lib.lake.intake import FileStamp, LogJob, Place, ReadOptions, Taken, take_in
from platform_lib.lake.lake import Lake
from platform_lib.lake.partitions import LONGEST_VEHICLE_BYTES, Partition, vehicle_key
from platform_lib.lake.rewriting import merge
from platform_lib.lake.sensor_classes import SENSOR_CLASSES, sensor_class
from platform_lib.lake.views import VIEWS
from platform_lib.lake.writer import SignalWriter, Tag, WrittenFiles
from platform_lib.storage import sha256_file

_DAY_NS = 86_400_000_000_000


@pytest.mark.parametrize(
    ("kind", "message_type", "expected"),
    [
        ("can", None, "bus"),
        ("signal", "WheelSpeeds", "bus"),
        ("signal", "sensor_msgs/Imu", "bus"),  # a bus message may be called anything
        ("signal", None, "measured"),
        ("message", "sensor_msgs/msg/Imu", "imu"),
        ("message", "sensor_msgs/Imu", "imu"),
        ("message", "sensor_msgs/msg/NavSatFix", "gnss"),
        ("message", "gps_msgs/msg/GPSFix", "gnss"),
        ("message", "foxglove.LocationFix", "gnss"),
        ("message", "nav_msgs/msg/Odometry", "odometry"),
        ("message", "sensor_msgs/msg/CompressedImage", "camera"),
        ("message", "foxglove_msgs/msg/CompressedVideo", "camera"),
        ("message", "sensor_msgs/msg/PointCloud2", "lidar"),
        ("message", "velodyne_msgs/VelodyneScan", "lidar"),
        ("message", "radar_msgs/msg/RadarTracks", "radar"),
        ("message", "vision_msgs/msg/Detection3DArray", "objects"),
        ("message", "std_msgs/msg/Float64", "other"),
        ("message", "sensor_msgs/msg/Temperature", "other"),
        ("message", "my_msgs/msg/Imu", "other"),  # the type is another one
        ("message", "", "other"),
        ("message", None, "other"),
        ("a kind of tomorrow", "sensor_msgs/msg/Temperature", "other"),
    ],
)
def test_the_class_is_that_of_kind_and_type(kind: str, message_type: str | None, expected: str) -> None:
    assert sensor_class(kind, message_type) == expected
    assert expected in SENSOR_CLASSES


_VEHICLES = st.none() | st.text(min_size=1, max_size=LONGEST_VEHICLE_BYTES).filter(lambda text: text.encode() != b"")


@given(st.sets(_VEHICLES, min_size=2, max_size=5))
def test_no_two_vehicles_share_a_folder_and_none_leaves_the_table(vehicles: set[str | None]) -> None:
    folders = {Partition(0, vehicle, "imu").folder for vehicle in vehicles}
    assert len(folders) == len(vehicles)
    for folder in folders:
        assert Path(folder).parts == tuple(folder.split("/"))
        assert len(folder.split("/")) == 3
        assert all(len(part.encode()) <= 255 and part not in ("", ".", "..") for part in folder.split("/"))


@pytest.mark.parametrize(
    "vehicle", ["..", "a/b", "null", "=", "ü" * 100, "x" * 250, "vehicle-unknown", "__HIVE_DEFAULT_PARTITION__"]
)
def test_a_vehicle_of_any_name_is_another_than_the_unknown_one(vehicle: str) -> None:
    assert Partition(0, vehicle, "imu").folder != Partition(0, None, "imu").folder
    assert ".." not in Path(Partition(0, vehicle, "imu").folder).parts
    assert vehicle_key(vehicle) == vehicle


def test_a_name_that_no_statistics_hold_lies_with_the_unknown() -> None:
    assert vehicle_key("x" * (LONGEST_VEHICLE_BYTES + 1)) is None
    assert vehicle_key("") is None
    assert vehicle_key(None) is None


def _batch(times: list[int]) -> pa.RecordBatch:
    return pa.record_batch({"timestamp_ns": pa.array(times, pa.int64()), "x": pa.array(times, pa.float64())})


@pytest.mark.parametrize("vehicle", [None, "dt-1"])
def test_a_file_holds_one_partition(tmp_path: Path, vehicle: str | None) -> None:
    with SignalWriter(tmp_path, Tag(5, "d", "f", "none_present", vehicle)) as writer:
        for _ in range(3):  # streams in turns
            writer.add("/imu", _batch([1, _DAY_NS + 1]), sensor="imu")
            writer.add("/gnss", _batch([2]), sensor="gnss")
            writer.add("/odd", _batch([3]))
        files = writer.finish()
    found = {}
    for file in files:
        table = pq.read_table(file, columns=["day", "vehicle", "sensor_class", "stream"], partitioning=None)
        (row,) = {tuple(row.values())[:3] for row in table.to_pylist()}
        found[row] = set(table["stream"].to_pylist())
        assert Path(file).parent == tmp_path / Partition((row[0] - date(1970, 1, 1)).days, row[1], row[2]).folder
    assert found == {
        (date(1970, 1, 1), vehicle, "imu"): {"/imu"},
        (date(1970, 1, 2), vehicle, "imu"): {"/imu"},
        (date(1970, 1, 1), vehicle, "gnss"): {"/gnss"},
        (date(1970, 1, 1), vehicle, "other"): {"/odd"},
    }


@pytest.fixture(scope="module")
def filled(lake: Lake, write_mcap: Any, cdr: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two vehicles and one unknown, two days, two classes: twelve files."""
    folder = tmp_path_factory.mktemp("logs")
    written = []
    for vehicle in ("dt-1", "it's", None):
        for day in (0, 1):
            at = day * _DAY_NS + 100
            topics = {
                "/speed": ("std_msgs/msg/Float64", [(at + i, cdr.float64(float(i))) for i in range(3)]),
                "/fix": ("gps_msgs/msg/Mark", [(at + i, cdr.float64(float(i))) for i in range(2)]),
            }
            if day == 1:
                topics["/cam"] = ("sensor_msgs/msg/CompressedImage", [(at, cdr.image(b"\xff\xd8\xff"))])
                topics["/list"] = ("demo_msgs/msg/Readings", [(at, cdr.readings(1.0))] * 2)
            name = f"{vehicle or 'nobody'}-{day}"
            told = vehicle and {"vehicle": vehicle, "session": name, "pii_state": "none_present"}
            path = write_mcap(folder / name / "a.mcap", topics, told)
            key = FileKey(sha256_file(path), "1", 1, "0")
            lake.catalog.note_files([FoundFile(key, path.stat().st_size, (str(path),))])
            (ingest_id,) = lake.catalog.begin([key])
            place = Place(lake.store.signals_data, lake.store.samples_uri)
            taken = take_in(LogJob(ingest_id, path, key, FileStamp.of(path)), ReadOptions(), place)
            assert isinstance(taken, Taken)
            written.append(taken)
    lake.catalog.commit(lake.store.append([item.written for item in written]), [item.record for item in written])
    return lake


@pytest.fixture
def spoilt(filled: Lake) -> Iterator[Any]:
    """Make every file unreadable but those that lie in folders with these names in them."""
    saved = {path: path.read_bytes() for path in filled.store.signals_data.rglob("*.parquet")}
    assert len(saved) == 12

    def spoil(*parts: str) -> int:
        kept = [path for path in saved if all(part in str(path) for part in parts)]
        for path in saved.keys() - set(kept):
            path.write_bytes(b"not Parquet")
        return len(kept)

    yield spoil
    for path, content in saved.items():
        path.write_bytes(content)


_UNKNOWN = "vehicle-unknown"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "parts", "files", "rows"),
    [
        ("vehicle = 'dt-1'", ("vehicle=dt-1",), 4, 10),
        ("vehicle = 'it''s'", ("vehicle=it%27s",), 4, 10),
        ("vehicle = 'nobody'", ("no such folder",), 0, 0),
        ("day = DATE '1970-01-02'", ("day=1970-01-02",), 6, 15),
        ("day > DATE '1970-01-01'", ("day=1970-01-02",), 6, 15),
        ("sensor_class = 'gnss'", ("sensor_class=gnss",), 6, 12),
        (
            "vehicle = 'dt-1' AND day = DATE '1970-01-01' AND sensor_class = 'other'",
            ("vehicle=dt-1", "day=1970-01-01", "sensor_class=other"),
            1,
            3,
        ),
    ],
)
def test_a_query_opens_the_files_of_what_it_asks_for_and_no_others(
    filled: Lake, spoilt: Any, condition: str, parts: tuple[str, ...], files: int, rows: int
) -> None:
    assert spoilt(*parts) == files
    for view, expected in (("signals", rows), ("packed_signals", 2 * files)):
        found = filled.query(f"SELECT count(*) AS n FROM {view} WHERE {condition}").table  # noqa: S608 - of tests
        assert found["n"].to_pylist() == [expected], view
    if parts == ("vehicle=dt-1", "day=1970-01-01", "sensor_class=other"):
        files_of_drive = condition.replace("vehicle = 'dt-1' AND day = DATE '1970-01-01'", "drive_id = 'dt-1_dt-1-0'")
        found = filled.query(f"SELECT count(*) AS n FROM signals WHERE {files_of_drive}").table  # noqa: S608 - of tests
        assert found["n"].to_pylist() == [rows], "a drive's own files are known too"
    with pytest.raises(Exception, match="packed_"):  # the other files are opened where nothing rules them out
        filled.query("SELECT count(*) AS n FROM signals")


@pytest.mark.slow
def test_rows_of_unknown_vehicles_are_there_and_found(filled: Lake, spoilt: Any) -> None:
    counted = filled.query("SELECT vehicle, sensor_class, count(*) AS n FROM signals GROUP BY ALL ORDER BY ALL").table
    assert counted.to_pylist() == [
        {"vehicle": vehicle, "sensor_class": sensor, "n": count}
        for vehicle in ("dt-1", "it's", None)
        for sensor, count in (("gnss", 4), ("other", 6))
    ]
    null = "SELECT count(*) AS n FROM {} WHERE vehicle IS NULL"
    assert filled.query(null.format("signals")).table["n"].to_pylist() == [10]
    assert spoilt(_UNKNOWN) == 4
    assert filled.query(null.format("packed_signals")).table["n"].to_pylist() == [8]


@pytest.mark.slow
def test_one_stream_of_a_drive_opens_its_own_file(filled: Lake, spoilt: Any) -> None:
    assert spoilt("vehicle=dt-1", "day=1970-01-01", "sensor_class=gnss") == 1
    assert filled.signals("dt-1_dt-1-0", stream="/fix").num_rows == 2
    with pytest.raises(pa.ArrowInvalid):
        filled.signals("dt-1_dt-1-0")


@pytest.mark.slow
def test_samples_carry_vehicle_and_class_whether_open_or_raw(filled: Lake) -> None:
    found = filled.query("SELECT vehicle, sensor_class, count(*) AS n FROM samples GROUP BY ALL ORDER BY ALL").table
    assert found.to_pylist() == [
        {"vehicle": vehicle, "sensor_class": sensor, "n": count}
        for vehicle in ("dt-1", "it's", None)
        for sensor, count in (("camera", 1), ("other", 2))
    ]
    head = filled.catalog.view().head
    assert head is not None
    told = filled.store.samples(head).to_table(
        columns=["stream"], filter="vehicle = 'dt-1' AND sensor_class = 'camera'"
    )
    assert told["stream"].to_pylist() == ["/cam"]


@pytest.mark.slow
def test_a_file_of_two_partitions_is_not_taken_into_the_table(lake: Lake, tmp_path: Path) -> None:
    with SignalWriter(tmp_path, Tag(5, "d", "f", "none_present", "dt-1")) as writer:
        writer.add("/imu", _batch([1]), sensor="imu")
        writer.add("/gnss", _batch([2]), sensor="gnss")
        files = writer.finish()
    mixed = tmp_path / "mixed.parquet"
    merge([Path(file) for file in files], mixed)
    before = lake.store.newest()
    with pytest.raises(ValueError, match="more than one"):
        lake.store.append([WrittenFiles((str(mixed),), ())])
    assert lake.store.newest() == before


@pytest.fixture
def recorded(filled: Lake) -> Iterator[Lake]:
    """The same lake, with the catalogue knowing whose rows the sample store's files hold."""
    head = filled.catalog.head()
    assert head is not None
    rows = []
    for fragment in filled.store.samples(head).get_fragments():
        (ingest_id,) = set(fragment.to_table(columns=["ingest_id"])["ingest_id"].to_pylist())
        for item in fragment.metadata.files:
            path = f"{filled.store.samples_uri.name}/data/{item.path}"
            rows.append({"path": path, "bytes": item.file_size_bytes or 0, "sha256": "0", "ingest_id": ingest_id})
    with filled.catalog.engine.begin() as connection:
        connection.execute(insert(LAKE_FILES), rows)
    filled.store.fragments = None
    yield filled
    with filled.catalog.engine.begin() as connection:
        connection.execute(delete(LAKE_FILES))
    filled.store.fragments = None


@pytest.mark.slow
def test_samples_of_a_drive_come_from_its_own_files(recorded: Lake) -> None:
    """The others' are made garbage, and nobody notices who does not ask for them."""
    drive_id = "dt-1_dt-1-1"
    (own,) = recorded.catalog.view([drive_id]).ingests
    paths = [item for item, (_, owner) in recorded.catalog.lake_files().items() if owner != own.ingest_id]
    saved = {recorded.store.samples_uri.parent / item: b"" for item in paths}
    assert len(saved) >= 2
    for path in saved:
        saved[path] = path.read_bytes()
        path.write_bytes(b"not Lance")
    try:
        for condition in ("drive_id = 'dt-1_dt-1-1'", f"ingest_id = {own.ingest_id}", "vehicle = 'dt-1'"):
            found = recorded.query(
                f"SELECT stream, count(*) AS n FROM samples WHERE {condition} GROUP BY ALL ORDER BY ALL"  # noqa: S608 - of tests
            )
            assert found.table.to_pylist()[-1] == {"stream": "/list", "n": 2}, condition
        assert len(recorded.samples(drive_id, "/list")) == 2
        with pytest.raises(Exception, match=r"(?i)lance|refused|magic|invalid"):
            recorded.query("SELECT count(*) AS n FROM samples")
    finally:
        for path, content in saved.items():
            path.write_bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("view", ["drives", "files", "streams"])
def test_a_query_reads_the_catalogue_of_the_drives_that_it_names(filled: Lake, view: str) -> None:
    rows: list[int] = []

    def count(*args: Any) -> None:
        rows.append(max(args[1].rowcount, 0))

    event.listen(filled.catalog.engine, "after_cursor_execute", count)
    try:
        one = filled.query(f"SELECT * FROM {view} WHERE drive_id = 'dt-1_dt-1-0'").table  # noqa: S608 - of tests
        few, rows = sum(rows), []
        everything = filled.query(f"SELECT * FROM {view}").table  # noqa: S608 - of tests
    finally:
        event.remove(filled.catalog.engine, "after_cursor_execute", count)
    assert 0 < len(one) < len(everything)
    assert few < sum(rows)
    assert few <= 3 + 5 * len(one)


@pytest.mark.slow
def test_show_tables_lists_the_views_and_says_what_each_holds(filled: Lake) -> None:
    told = filled.query("show tables;").table.to_pylist()
    assert [item["name"] for item in told] == list(VIEWS)
    assert all(len(item["holds"]) > 20 for item in told)


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO drives VALUES (1)",
        "DELETE FROM drives",
        "CREATE TABLE t AS SELECT 1",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "ATTACH '/tmp/x.db'",
        "SET memory_limit = '100GB'",
        "PRAGMA enable_external_access",
        "SELECT 1; DROP VIEW signals",
        "WITH d AS (DELETE FROM drives RETURNING *) SELECT * FROM d",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM duckdb_secrets(), read_text('/etc/passwd')",
        "EXPLAIN ANALYZE INSERT INTO drives VALUES (1)",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/drivetrain-written.csv'",
    ],
)
def test_a_query_that_writes_or_reads_something_else_is_refused(filled: Lake, sql: str) -> None:
    with pytest.raises(ConfigError):
        filled.query(sql)
    assert not Path("/tmp/drivetrain-written.csv").exists()  # noqa: S108 - where the statement would write


@pytest.mark.slow
def test_a_query_that_never_ends_is_ended(filled: Lake) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(ConfigError, match=r"did not end within 0\.5 s"):
        filled.query(endless, timeout_s=0.5)
    assert filled.query("SELECT 1 AS one", timeout_s=60).table["one"].to_pylist() == [1]

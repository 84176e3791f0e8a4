from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from platform_lib.errors import CorruptLog
from platform_lib.lake import writer as module
from platform_lib.lake.packing import unpack
from platform_lib.lake.tables import PACKED_SCHEMA, SAMPLE_SCHEMA
from platform_lib.lake.writer import SignalWriter, Tag, sample_rows, write_samples

_TAG = Tag(ingest_id=5, drive_id="d", file_sha256="f", pii_state="none_present")
_DAY_NS = 86_400_000_000_000


def _batch(times: list[int]) -> pa.RecordBatch:
    return pa.record_batch({"timestamp_ns": pa.array(times, pa.int64()), "x": pa.array(times, pa.float64())})


def test_rows_come_back_with_plain_columns_and_the_utc_day(tmp_path: Path) -> None:
    with SignalWriter(tmp_path, _TAG) as writer:
        assert writer.add("s", _batch([_DAY_NS - 1, _DAY_NS, -1])) == 3
        files = writer.finish()
    days = sorted(Path(file).parents[2].name for file in files)
    assert days == ["day=1969-12-31", "day=1970-01-01", "day=1970-01-02"]
    for file in files:
        table = pq.ParquetFile(file).read()
        assert table.schema.equals(PACKED_SCHEMA)
        assert {f"day={day}" for day in table["day"].to_pylist()} == {Path(file).parents[2].name}
        times, row = table.to_pylist()
        assert (row["ingest_id"], row["drive_id"], row["file_sha256"], row["stream"]) == (5, "d", "f", "s")
        assert (row["signal"], row["doubles"]) == ("x", times["times"])
        assert row["chunk"] == times["chunk"]
        assert (row["start_ns"], row["last_ns"]) == (times["times"][0], times["times"][-1])


@pytest.mark.parametrize("limits", [{}, {"ROW_GROUP_BYTES": 1 << 16, "_MOST_WAITING": 2, "_FLUSHED_BYTES": 1 << 12}])
def test_many_rows_are_all_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(module, name, value)
    with SignalWriter(tmp_path, _TAG) as writer:
        for start in range(0, 1_200_000, 60_000):
            writer.add(f"s{start:07d}", _batch(list(range(start, start + 60_000))))
        files = writer.finish()
    assert 1 <= len(files) <= 2
    table = unpack(pa.concat_tables([pq.ParquetFile(file).read() for file in files]))
    assert table["timestamp_ns"].to_pylist() == list(range(1_200_000))
    assert len(set(table["stream"].to_pylist())) == 20


@pytest.mark.parametrize("held_bytes", [1 << 12, 32 << 20])
def test_streams_that_come_in_turns_are_put_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held_bytes: int
) -> None:
    monkeypatch.setattr(module, "_HELD_BYTES", held_bytes)
    with SignalWriter(tmp_path, _TAG) as writer:
        for start in range(0, 3_000, 10):
            for stream in ("b", "a", "c"):
                writer.add(stream, _batch(list(range(start, start + 10))))
        files = writer.finish()
    packed = pa.concat_tables([pq.ParquetFile(file).read() for file in files])
    assert len(packed) == 6 if held_bytes > 1 << 20 else 100 < len(packed) < 300
    assert packed["stream"].to_pylist() == sorted(packed["stream"].to_pylist())
    table = unpack(packed)
    for stream in ("a", "b", "c"):
        rows = table.filter(pa.compute.equal(table["stream"], stream))
        assert rows["timestamp_ns"].to_pylist() == rows["value"].to_pylist() == list(range(3_000))


def test_what_stops_the_encoder_reaches_the_reader_and_leaves_no_file(tmp_path: Path) -> None:
    def interrupted() -> None:
        with SignalWriter(tmp_path / "data", _TAG) as writer:
            writer.add("s", _batch([1]))
            (tmp_path / "data").write_text("a file in the folder's place")
            writer.finish()

    with pytest.raises(OSError, match="data"):
        interrupted()
    assert not list(tmp_path.rglob("*.parquet"))


def test_a_block_that_fails_leaves_no_file(tmp_path: Path) -> None:
    def interrupted() -> None:
        with SignalWriter(tmp_path, _TAG) as writer:
            for _ in range(40):
                writer.add("s", _batch(list(range(65_536))))
            deadline = time.monotonic() + 30
            while not list(tmp_path.rglob("*.parquet")) and time.monotonic() < deadline:
                time.sleep(0.01)
            assert list(tmp_path.rglob("*.parquet"))
            raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        interrupted()
    assert not list(tmp_path.rglob("*.parquet"))


def test_times_all_over_the_calendar_are_refused(tmp_path: Path) -> None:
    times = [day * _DAY_NS for day in range(100)]
    with SignalWriter(tmp_path, _TAG) as writer:
        writer.add("s", _batch(times))
        with pytest.raises(CorruptLog, match="days"):
            writer.finish()


def _samples(count: int) -> pa.RecordBatch:
    columns = {
        "timestamp_ns": pa.array(range(count)),
        "publish_ns": pa.nulls(count, pa.int64()),
        "encoding": pa.repeat("cdr", count),
        "data": pa.array([bytes([i]) * 100 for i in range(count)], pa.binary_view()),
    }
    return sample_rows(_TAG, "/s", columns)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    uri = tmp_path / "samples.lance"
    lance.write_dataset(pa.Table.from_batches([], SAMPLE_SCHEMA), str(uri))
    return uri


def test_fragments_are_written_and_not_seen_until_committed(store: Path) -> None:
    fragments = write_samples(store, iter([_samples(3), _samples(2)]))
    dataset = lance.dataset(str(store))
    assert dataset.count_rows() == 0
    append = lance.LanceOperation.Append([lance.fragment.FragmentMetadata.from_json(item) for item in fragments])
    after = lance.LanceDataset.commit(dataset, append, read_version=dataset.version)
    assert after.to_table()["data"].to_pylist()[2] == bytes([2]) * 100
    assert after.count_rows() == 5


def test_no_sample_no_fragment(store: Path) -> None:
    assert write_samples(store, iter([])) == ()


def test_what_the_source_raises_arrives_as_it_was_raised(store: Path) -> None:
    def failing() -> Iterator[pa.RecordBatch]:
        yield _samples(1)
        raise CorruptLog("planted", where="here")

    with pytest.raises(CorruptLog, match="planted"):
        write_samples(store, failing())

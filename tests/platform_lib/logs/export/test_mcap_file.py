from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import mdf4_writer
import numpy as np
import pyarrow as pa
import pytest
from mcap.reader import make_reader
from mdf4_writer import Channel, Data, Group, Writer, seconds, time_channel, write_mdf4

from platform_lib.errors import IntegrityError, UnsupportedLog
from platform_lib.logs import open_log
from platform_lib.logs.door import Log
from platform_lib.logs.export.exporting import export_log
from platform_lib.logs.export.model import Export, Form
from platform_lib.logs.model import Window

REAL = ["ASAP2_Demo_V171.mf4", "test_batch.mf4", "test_metadata.mf4", "ASAP2_Demo_V161_3.00.mdf"]


def run(log: Log, out: Path, *, note: Callable[[str, int], None] = lambda _name, _rows: None) -> Export:
    return export_log(log, log.streams, out, Form.MCAP, window=Window(), decode=True, force=True, note=note)


def plain(value: Any) -> Any:
    """Return a value as MCAP has it: NaN comparable, times their number, matrices row by row."""
    if isinstance(value, list):
        items = [plain(item) for item in value]
        return list(chain.from_iterable(items)) if items and isinstance(items[0], list) else items
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return "nan" if isinstance(value, float) and math.isnan(value) else value


def column(table: pa.Table, number: int) -> list[Any]:
    found = table.column(number)
    if pa.types.is_temporal(found.type):
        found = found.cast(pa.int64())
    listed = pa.types.is_list(found.type) or pa.types.is_fixed_size_list(found.type)
    return [[] if value is None and listed else plain(value) for value in found.to_pylist()]


def differences(before: Log, after: Log) -> list[str]:
    """Name every column whose rows, name or unit differ; rows are compared in time order."""
    found = []
    for stream in before.streams:
        one = pa.Table.from_batches(before.read(stream.name), stream.schema)
        one = one.take(pa.array(np.argsort(one.column(0).to_numpy(), kind="stable"), pa.int64()))
        other = pa.Table.from_batches(after.read(stream.name), after.stream(stream.name).schema)
        pairs = [(0, 0), *((at, at + 1) for at in range(1, one.num_columns))]  # publish_ns comes second
        for left, right in pairs:
            field = other.schema.field(right)
            told = field.metadata or {}
            name = told.get(b"name", field.name.encode()).decode()
            unit = (one.schema.field(left).metadata or {}).get(b"unit")
            same = name == one.schema.field(left).name and told.get(b"unit") == unit
            if not same or column(one, left) != column(other, right):
                found.append(f"{stream.name}/{name}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_logs_read_back_the_same(real_logs: Path, tmp_path: Path, name: str) -> None:
    path = real_logs / "mdf4" / name
    with open_log(path, timezone="Europe/Berlin") as before:
        done = run(before, tmp_path / "log.mcap")
        with open_log(tmp_path / "log.mcap") as after:
            assert after.report.problems == []
            assert [item.name for item in after.streams] == [item.name for item in before.streams]
            assert differences(before, after) == []
            assert after.metadata["origin.sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
            assert {key: after.metadata[key] for key in before.metadata} == dict(before.metadata)
    assert sum(item.rows for item in done.written) > 0


def drive(path: Path, rows: int = 300, speed: float = 0.0) -> Path:
    layout = [time_channel(), Channel("v [x]", 4, 64, 8, unit="m/s")]
    values = (np.arange(rows) * 0.5 + speed).astype("<f8")
    data = b"".join(stamp + value.tobytes() for stamp, value in zip(seconds(rows), values, strict=True))
    empty = Group(layout, 0, 16, name="empty")
    return write_mdf4(path, [Data([Group(layout, rows, 16, name="a")], data=data), Data([empty])])


def test_a_wrong_value_would_be_found(tmp_path: Path) -> None:
    with open_log(drive(tmp_path / "a.mf4")) as before, open_log(drive(tmp_path / "b.mf4", speed=1e-12)) as other:
        run(other, tmp_path / "log.mcap")
        with open_log(tmp_path / "log.mcap") as after:
            assert differences(before, after) == ["0:a/v [x]"]
            assert after.stream("1:empty").rows == 0


def test_bus_messages_are_topics(write_can: Any, frames_type: Any, tmp_path: Path) -> None:
    (tmp_path / "a.dbc").write_text(
        'VERSION ""\nBU_: A\nBO_ 5 Speed: 8 A\n SG_ v : 0|16@1+ (0.5,0) [0|0] "km/h" A\n SG_ w : 16|8@1- (1,0) [0|0] "" A\n'
    )
    rows = 50
    data = np.random.default_rng(2).integers(0, 256, (rows, 8), np.uint8)
    frames = frames_type(np.arange(rows) * 0.01, np.full(rows, 5), np.zeros(rows), data, np.full(rows, 8))
    with open_log(write_can(frames), dbc=[tmp_path / "a.dbc"]) as before:
        run(before, tmp_path)
        with open_log(tmp_path / "can.mcap") as after:
            assert [item.name for item in after.streams] == ["0:CAN1", "CAN1/Speed"]
            assert differences(before, after) == []


def test_the_reference_library_reads_it_with_every_checksum(tmp_path: Path) -> None:
    with open_log(drive(tmp_path / "a.mf4")) as log:
        run(log, tmp_path / "log.mcap")
    with (tmp_path / "log.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        times = [message.log_time for _, _, message in reader.iter_messages()]
        summary = reader.get_summary()
    assert times == sorted(times)
    assert summary is not None
    assert summary.statistics is not None
    assert summary.statistics.message_count == len(times) == 300
    assert {index.compression for index in summary.chunk_indexes} == {"zstd"}
    # One topic a chunk: reading one fetches nothing of another.
    assert all(len(index.message_index_offsets) == 1 for index in summary.chunk_indexes)


def test_topics_and_rows_of_before_1970_are_refused(
    mcap_maker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(mcap_maker.write()) as log, pytest.raises(UnsupportedLog, match="topic already"):
        run(log, tmp_path / "out.mcap")
    monkeypatch.setattr(mdf4_writer, "START_NS", 0)
    layout = [time_channel()]
    path = write_mdf4(tmp_path / "a.mf4", [Data([Group(layout, 1, 8, name="a")], data=np.float64(-1.0).tobytes())])
    with open_log(path) as log, pytest.raises(UnsupportedLog, match="1970"):
        run(log, tmp_path / "out.mcap")
    assert not (tmp_path / "out.mcap").exists()


def test_a_log_that_changes_meanwhile_is_not_published(tmp_path: Path) -> None:
    path = drive(tmp_path / "a.mf4")

    def touch(_name: str, _rows: int) -> None:
        with path.open("ab") as stream:
            stream.write(b"x")

    with open_log(path) as log, pytest.raises(IntegrityError, match="changed"):
        run(log, tmp_path / "log.mcap", note=touch)
    assert not (tmp_path / "log.mcap").exists()


def test_what_was_recovered_says_so(tmp_path: Path) -> None:
    path = tmp_path / "cut.mf4"
    layout = [time_channel()]
    writer = Writer(unfinished=0)
    writer.write(path, [Data([Group(layout, 20, 8, name="a")], data=b"".join(seconds(20)))])
    with open_log(path, recover=True) as log:
        run(log, tmp_path / "log.mcap")
        with open_log(tmp_path / "log.mcap") as after:
            assert after.metadata["origin.recovered"] == "true"
            assert json.loads(after.metadata["origin.problems"]) == log.report.problems

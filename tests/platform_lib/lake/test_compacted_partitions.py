"""Compaction puts files of one partition together, and never those of two."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from platform_lib.catalog.model import FileKey, FoundFile
from platform_lib.lake.check import check_lake
from platform_lib.lake.compaction import compact
from platform_lib.lake.intake import FileStamp, LogJob, Place, ReadOptions, Taken, take_in
from platform_lib.lake.lake import Lake
from platform_lib.storage import sha256_file

pytestmark = pytest.mark.slow
_ROWS = "SELECT drive_id, stream, timestamp_ns, value, vehicle, sensor_class FROM signals ORDER BY ALL"


def test_each_partition_becomes_one_file_of_its_own(
    lake: Lake, write_mcap: Any, cdr: SimpleNamespace, tmp_path: Path
) -> None:
    written = []
    for number in range(6):
        vehicle = (None, "dt-1", "dt-2")[number % 3]
        messages = [(100 + i, cdr.float64(float(number + i))) for i in range(3)]
        topics = {"/speed": ("std_msgs/msg/Float64", messages), "/fix": ("gps_msgs/msg/Mark", messages)}
        told = vehicle and {"vehicle": vehicle, "session": str(number)}
        path = write_mcap(tmp_path / str(number) / "a.mcap", topics, told)
        key = FileKey(sha256_file(path), "1", 1, "0")
        lake.catalog.note_files([FoundFile(key, path.stat().st_size, (str(path),))])
        (ingest_id,) = lake.catalog.begin([key])
        place = Place(lake.store.signals_data, lake.store.samples_uri)
        taken = take_in(LogJob(ingest_id, path, key, FileStamp.of(path)), ReadOptions(), place)
        assert isinstance(taken, Taken)
        written.append(taken)
    lake.catalog.commit(lake.store.append([item.written for item in written]), [item.record for item in written])
    before = lake.query(_ROWS).table.to_pylist()
    assert len(before) == 36
    snapshots = len(lake.store.signal_table().metadata.snapshots)
    report = compact(lake, round_bytes=1)
    assert len(lake.store.signal_table().metadata.snapshots) == snapshots + 6, "a kill costs one round"
    assert (report.signal_files_before, report.signal_files) == (12, 6)
    head = lake.catalog.view().head
    assert head is not None
    parts = Counter(item.part for item in lake.store.partitioned_files(head))
    assert set(parts.values()) == {1}
    assert {(part.vehicle, part.sensor) for part in parts} == {
        (vehicle, sensor) for vehicle in (None, "dt-1", "dt-2") for sensor in ("gnss", "other")
    }
    assert lake.query(_ROWS).table.to_pylist() == before
    one = lake.query("SELECT count(*) AS n FROM signals WHERE vehicle = 'dt-2' AND sensor_class = 'gnss'").table
    assert one["n"].to_pylist() == [6]
    drive = lake.query("SELECT count(*) AS n FROM signals WHERE drive_id = 'dt-2_5'").table
    assert drive["n"].to_pylist() == [6], "a file of several drives is opened for each of them"
    assert {item.kind for item in check_lake(lake, digests=True).findings} <= {
        "wrong count"
    }  # nothing was noted of files

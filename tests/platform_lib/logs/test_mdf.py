from __future__ import annotations

import random
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asammdf import MDF, Signal

from platform_lib.errors import ConfigError, CorruptLog, PlatformError, UnsupportedLog
from platform_lib.logs import open_log
from platform_lib.logs.mdf_clock import parse_zone

START = datetime(2026, 6, 1, 8, 0, 0, 123456, tzinfo=UTC)
START_NS = int(START.timestamp()) * 1_000_000_000 + 123_456_000
Table = dict[str, list[dict[str, Any]]]


def write(path: Path, *groups: list[Signal], compression: int = 2, version: str = "4.10") -> Path:
    with warnings.catch_warnings(), MDF(version=version) as mdf:
        warnings.simplefilter("ignore")
        mdf.header.start_time = START
        for number, signals in enumerate(groups):
            mdf.append(signals, acq_name=f"group{number}", comment=f"group{number}", common_timebase=True)
        mdf.save(path, overwrite=True, compression=compression)
    return path


def table(path: Path, **options: Any) -> Table:
    with open_log(path, **options) as log:
        return {s.name: [r for b in log.read(s.name) for r in b.to_pylist()] for s in log.streams}


def sines(rows: int = 500) -> list[Signal]:
    time = np.arange(rows) * 0.01
    return [
        Signal(np.sin(time), time, name="speed", unit="m/s"),
        Signal(np.arange(rows, dtype=np.int16), time, name="count"),
        Signal(np.arange(rows, dtype=np.uint8), time, name="speed", unit="km/h"),
    ]


def test_every_channel_of_real_files_equals_asammdf(real_logs: Path) -> None:
    compared = 0
    for path in sorted((real_logs / "mdf4").iterdir()):
        with warnings.catch_warnings(), MDF(path) as mdf, open_log(path, timezone="UTC") as log:
            warnings.simplefilter("ignore")
            for index, stream in enumerate(log.streams):
                batches = list(log.read(stream.name))
                for batch in batches:
                    batch.validate(full=True)
                    assert batch.schema.equals(stream.schema, check_metadata=True)
                for channel in mdf.groups[index].channels:
                    if channel.name not in stream.schema.names:
                        continue
                    expected = mdf.get(channel.name, group=index)
                    ours = [value for batch in batches for value in batch[channel.name].to_pylist()]
                    theirs = [v.decode("latin-1") if isinstance(v, bytes) else v for v in expected.samples.tolist()]
                    assert ours == theirs, (path.name, channel.name)
                    times = [value for batch in batches for value in batch["timestamp_ns"].to_pylist()]
                    offsets = np.rint(expected.timestamps * 1e9).astype(np.int64)
                    assert times == (times[0] - offsets[0] + offsets).tolist()
                    compared += len(ours)
    assert compared > 400_000


def test_rows_units_names_and_times(tmp_path: Path) -> None:
    path = write(tmp_path / "log.mf4", sines())
    with open_log(path) as log:
        stream = log.streams[0]
        assert (stream.name, stream.kind, stream.rows) == ("0:group0", "signal", 500)
        assert stream.schema.names == ["timestamp_ns", "speed", "count", "speed#2"]
        assert [field.metadata for field in stream.schema][1:] == [{b"unit": b"m/s"}, None, {b"unit": b"km/h"}]
        assert (stream.start_ns, stream.stop_ns) == (START_NS, START_NS + 4_990_000_001)
        assert not log.report.problems
    rows = table(path)["0:group0"]
    assert rows[7] == {"timestamp_ns": START_NS + 70_000_000, "speed": np.sin(0.07), "count": 7, "speed#2": 7}


def test_times_round_half_to_even(tmp_path: Path) -> None:
    time = np.array([0.0, 0.5e-9, 1.5e-9, 2.5e-9, 1.0])
    path = write(tmp_path / "log.mf4", [Signal(np.arange(5), time, name="x")])
    offsets = [row["timestamp_ns"] - START_NS for row in table(path)["0:group0"]]
    assert offsets == np.rint(time * 1e9).astype(int).tolist() == [0, 0, 2, 2, 10**9]


def test_windows_and_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "log.mf4", sines())
    with open_log(path) as log:
        window = (START_NS + 10_000_000, START_NS + 40_000_000)
        batches = list(log.read("0:group0", ["count"], *window))
        assert batches[0].schema.names == ["timestamp_ns", "count"]
        assert [value for batch in batches for value in batch["count"].to_pylist()] == [1, 2, 3]
        with pytest.raises(ConfigError, match="no column 'nope'"):
            list(log.read("0:group0", ["nope"]))
        with pytest.raises(ConfigError, match="no stream"):
            log.read("nope")


def test_batches_are_bounded(tmp_path: Path) -> None:
    path = write(tmp_path / "log.mf4", sines(150_000))
    with open_log(path) as log:
        sizes = [batch.num_rows for batch in log.read("0:group0")]
    assert sizes == [65_536, 65_536, 18_928]


def test_invalid_samples_are_null(tmp_path: Path) -> None:
    time = np.arange(4) * 0.1
    invalid = np.array([False, True, False, True])
    path = write(tmp_path / "log.mf4", [Signal(np.arange(4.0), time, name="x", invalidation_bits=invalid)])
    assert [row["x"] for row in table(path)["0:group0"]] == [0.0, None, 2.0, None]


def test_text_conversions_give_text_for_every_value(tmp_path: Path) -> None:
    time = np.arange(400) * 0.1
    conversion = {"val_0": 1, "text_0": "on", "val_1": 2, "text_1": "off"}
    signal = Signal(np.arange(400, dtype=np.uint16) % 4, time, name="state", conversion=conversion)
    values = [row["state"] for row in table(write(tmp_path / "log.mf4", [signal]))["0:group0"]]
    assert values == ["", "on", "off", ""] * 100


def test_arrays_bytes_and_text_channels(tmp_path: Path) -> None:
    time = np.arange(3) * 0.1
    signals = [
        Signal(np.array([b"a", b"bc", "dé".encode()]), time, name="text", encoding="utf-8"),
        Signal(np.arange(12, dtype=np.uint8).reshape(3, 4), time, name="blob"),
    ]
    rows = table(write(tmp_path / "log.mf4", signals))["0:group0"]
    assert [row["text"] for row in rows] == ["a", "bc", "dé"]
    assert [list(row["blob"]) for row in rows] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_a_master_that_is_not_time_costs_that_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "angle.mf4"
    with warnings.catch_warnings(), MDF(version="4.10") as mdf:
        warnings.simplefilter("ignore")
        mdf.header.start_time = START
        mdf.append(sines(10), acq_name="good", common_timebase=True)
        mdf.append(sines(10), acq_name="angle", common_timebase=True)
        mdf.groups[1].channels[0].sync_type = 2
        mdf.save(path, overwrite=True)
    with open_log(path) as log:
        assert [stream.name for stream in log.streams] == ["0:good"]
        assert "angle" in log.report.unsupported["1:angle"]
        assert any("1:angle" in line for line in log.report.problems)
        with pytest.raises(UnsupportedLog, match="angle"):
            log.read("1:angle")


def test_mdf3_without_a_zone_is_refused_unless_told(real_logs: Path) -> None:
    path = real_logs / "mdf4/ASAP2_Demo_V161_3.00.mdf"
    with pytest.raises(UnsupportedLog, match="without a zone"):
        open_log(path)
    with open_log(path, timezone="UTC") as utc, open_log(path, timezone="Europe/Berlin") as berlin:
        starts = [log.streams[3].start_ns for log in (utc, berlin)]
    assert starts[0] == int(datetime(2013, 4, 19, 10, 17, 37, tzinfo=UTC).timestamp()) * 10**9
    assert starts[0] - starts[1] == 2 * 3600 * 10**9  # type: ignore[operator] # rows exist
    with pytest.raises(ConfigError, match="no time zone"):
        open_log(path, timezone="Middle/Earth")


@pytest.mark.parametrize("name", ["Middle/Earth", "", "+99:99", "+24:00"])
def test_a_zone_that_is_none_is_a_wrong_configuration(name: str) -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        parse_zone(name)


def test_mdf3_with_a_zone_is_placed_on_utc(tmp_path: Path) -> None:
    with open_log(write(tmp_path / "log.mdf", sines(5), version="3.30")) as log:
        assert log.report.format == "mdf3"
        assert log.streams[0].start_ns == START_NS


def test_header_properties_become_metadata(tmp_path: Path) -> None:
    path = tmp_path / "log.mf4"
    with warnings.catch_warnings(), MDF(version="4.10") as mdf:
        warnings.simplefilter("ignore")
        mdf.header.start_time = START
        mdf.header.comment = (
            "<HDcomment><TX>text</TX><common_properties>"
            '<e name="vehicle">dt-001</e><e name="session">s1</e></common_properties></HDcomment>'
        )
        mdf.append(sines(3), common_timebase=True)
        mdf.save(path, overwrite=True)
    with open_log(path) as log:
        assert (log.metadata["vehicle"], log.metadata["session"]) == ("dt-001", "s1")


def test_damage_in_compressed_files_never_changes_a_row(tmp_path: Path) -> None:
    path = write(tmp_path / "log.mf4", sines(3000), sines(700), compression=2)
    expected = table(path)
    data = path.read_bytes()
    start = data.index(b"##DZ")
    rng = random.Random(5)  # noqa: S311 - seeded faults
    broken = tmp_path / "broken.mf4"
    outcomes = set()
    for step in range(60):
        damaged = bytearray(data)
        at = rng.randrange(len(data))
        if step % 3 == 0:
            damaged = damaged[:at]
        else:
            at = rng.randrange(start, start + 4000)
            damaged[at] ^= 1 << rng.randrange(8)
        broken.write_bytes(damaged)
        for recover in (False, True):
            try:
                found = table(broken, recover=recover)
            except PlatformError:
                outcomes.add("refused")
                continue
            if not recover:
                assert found == expected, (step, at)
            for name, rows in found.items():
                assert rows == expected[name][: len(rows)], (step, at)
            outcomes.add("whole" if found == expected else "part")
    assert {"refused", "part"} <= outcomes


def test_a_group_with_fewer_bytes_than_records_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "log.mf4", sines(100), compression=0)
    data = bytearray(path.read_bytes())
    at = data.index((100).to_bytes(8, "little"), data.index(b"##CG"))
    for count in (101, 2**40, 50):
        data[at : at + 8] = count.to_bytes(8, "little")
        path.write_bytes(data)
        with pytest.raises(CorruptLog, match="declares"):
            open_log(path)
    assert table(path, recover=True)


def test_a_chain_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "log.mf4", sines(10), compression=0)
    data = bytearray(path.read_bytes())
    at = data.index(b"##CG")
    data[at + 24 : at + 32] = at.to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="circle"):
        open_log(path)


def test_an_unfinished_file_is_refused_unless_recovered(tmp_path: Path) -> None:
    path = write(tmp_path / "log.mf4", sines(20), compression=0)
    expected = table(path)
    path.write_bytes(b"UnFinMF " + path.read_bytes()[8:])
    with pytest.raises(CorruptLog, match="never finished"):
        open_log(path)
    assert table(path, recover=True) == expected


def test_uncompressed_samples_are_named_as_unverified(tmp_path: Path) -> None:
    with open_log(write(tmp_path / "log.mf4", sines(20), compression=0)) as log:
        assert any("no checksum" in line for line in log.report.unverified)
    with open_log(write(tmp_path / "log.mf4", sines(20), compression=2)) as log:
        assert not log.report.unverified

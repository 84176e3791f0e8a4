from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cantools
import numpy as np
import pytest

from platform_lib.errors import ConfigError
from platform_lib.logs import open_log

DBC = """\
VERSION ""
NS_ :
BS_:
BU_: ECU
BO_ 256 Mixed: 8 ECU
 SG_ Little : 3|13@1- (0.5,-7) [0|0] "km/h" ECU
 SG_ Big : 23|15@0+ (0.25,3) [0|0] "deg" ECU
 SG_ BigSigned : 39|12@0- (1,0) [0|0] "" ECU
 SG_ Flag : 63|1@1+ (1,0) [0|1] "" ECU
BO_ 2566844926 Extended: 8 ECU
 SG_ Whole : 7|64@0- (1,0) [0|0] "" ECU
BO_ 300 Muxed: 8 ECU
 SG_ Page M : 0|2@1+ (1,0) [0|0] "" ECU
 SG_ First m0 : 8|16@1+ (0.1,0) [0|0] "V" ECU
 SG_ Second m1 : 8|32@1- (2,1) [0|0] "A" ECU
VAL_ 256 Flag 1 "on" 0 "off" ;
"""


@pytest.fixture
def dbc(tmp_path: Path) -> Path:
    path = tmp_path / "test.dbc"
    path.write_text(DBC)
    return path


def random_frames(kind: Any, database: Any, count: int, seed: int = 1) -> tuple[Any, list[Any]]:
    rng = np.random.default_rng(seed)
    messages = [message for message in database.messages if message.length <= 8]
    chosen = [messages[at] for at in rng.integers(0, len(messages), count)]
    frames = kind(
        time_s=np.arange(count) * 0.001,
        frame_id=np.array([message.frame_id for message in chosen], np.uint32),
        extended=np.array([message.is_extended_frame for message in chosen], np.uint8),
        data=rng.integers(0, 256, (count, 8), dtype=np.uint8),
        length=np.array([message.length for message in chosen], np.uint8),
    )
    return frames, chosen


def compare(path: Path, dbc: Path, frames: Any, chosen: list[Any]) -> int:
    """Compare every signal of every frame with cantools; return how many were compared."""
    with open_log(path, dbc=[dbc]) as log:
        rows = {s.name: [r for b in log.read(s.name) for r in b.to_pylist()] for s in log.streams if "/" in s.name}
        start = log.streams[0].start_ns
    seen = dict.fromkeys(rows, 0)
    compared = 0
    for number, message in enumerate(chosen):
        name = f"CAN1/{message.name}"
        row = dict(rows[name][seen[name]])
        seen[name] += 1
        assert start is not None
        assert row.pop("timestamp_ns") == start + number * 1_000_000
        try:
            expected = message.decode(frames.data[number, : message.length].tobytes(), decode_choices=False)
        except cantools.database.DecodeError:
            continue  # a multiplexer value that selects nothing: cantools refuses the frame, here it is null
        got = {key: value for key, value in row.items() if value is not None}
        assert got.keys() == expected.keys()
        for key, value in expected.items():
            assert got[key] == value or (math.isnan(value) and math.isnan(got[key])), (name, key)
            compared += 1
    assert seen == {name: len(found) for name, found in rows.items()}
    return compared


def test_every_signal_equals_cantools(write_can: Any, frames_type: Any, dbc: Path) -> None:
    frames, chosen = random_frames(frames_type, cantools.database.load_file(dbc), 400)
    assert compare(write_can(frames), dbc, frames, chosen) > 600


@pytest.mark.parametrize("name", ["bmw_e9x_e8x", "tesla_model3_party", "toyota_adas", "almost-J1939"])
def test_every_signal_of_real_databases_equals_cantools(
    real_logs: Path, write_can: Any, frames_type: Any, name: str
) -> None:
    path = real_logs / f"dbc/{name}.dbc"
    frames, chosen = random_frames(frames_type, cantools.database.load_file(path, strict=False), 300)
    assert compare(write_can(frames), path, frames, chosen) > 100


def test_the_comparison_notices_a_flipped_bit(write_can: Any, frames_type: Any, dbc: Path) -> None:
    frames, chosen = random_frames(frames_type, cantools.database.load_file(dbc), 60)
    path = write_can(frames)
    frames.data[[m.name for m in chosen].index("Mixed"), 0] ^= 0x08
    with pytest.raises(AssertionError):
        compare(path, dbc, frames, chosen)


def test_units_choices_and_types(write_can: Any, frames_type: Any, dbc: Path) -> None:
    frames, _ = random_frames(frames_type, cantools.database.load_file(dbc), 60)
    with open_log(write_can(frames), dbc=[dbc]) as log:
        assert [stream.kind for stream in log.streams] == ["can", "signal", "signal", "signal"]
        schema = log.stream("CAN1/Mixed").schema
        assert schema.field("Little").metadata == {b"unit": b"km/h"}
        assert schema.field("Flag").metadata == {b"choices": b'{"0": "off", "1": "on"}'}
        assert [str(field.type) for field in schema] == ["int64", "double", "double", "int64", "int64"]
        assert log.report.readers["CAN1/Mixed"] == "fast"


def test_unknown_and_short_frames_are_counted_and_missing_bytes_are_null(
    write_can: Any, frames_type: Any, dbc: Path
) -> None:
    frames = frames_type(
        time_s=np.arange(3) * 0.1,
        frame_id=np.array([256, 256, 999], np.uint32),
        extended=np.zeros(3, np.uint8),
        data=np.full((3, 8), 0xFF, np.uint8),
        length=np.array([8, 2, 8], np.uint8),
    )
    with open_log(write_can(frames), dbc=[dbc]) as log:
        assert any("1 CAN frames are in no database" in line for line in log.report.problems)
        assert any("1 CAN frames are shorter" in line for line in log.report.problems)
        rows = [row for batch in log.read("CAN1/Mixed") for row in batch.to_pylist()]
    assert rows[0]["Big"] is not None
    assert rows[1]["Little"] is not None
    assert (rows[1]["Big"], rows[1]["Flag"]) == (None, None)


def test_a_database_can_be_tied_to_a_bus(write_can: Any, frames_type: Any, dbc: Path) -> None:
    frames, _ = random_frames(frames_type, cantools.database.load_file(dbc), 30)
    path = write_can(frames)
    with open_log(path, dbc=[f"CAN1={dbc}"]) as log:
        assert len(log.streams) == 4
    with open_log(path, dbc=[f"CAN2={dbc}"]) as log:
        assert len(log.streams) == 1


def test_what_is_no_database_is_refused(write_can: Any, frames_type: Any, dbc: Path, tmp_path: Path) -> None:
    frames, _ = random_frames(frames_type, cantools.database.load_file(dbc), 5)
    path = write_can(frames)
    wrong = tmp_path / "wrong.dbc"
    wrong.write_text("BO_ nonsense")
    for item in (wrong, tmp_path / "absent.dbc"):
        with pytest.raises(ConfigError):
            open_log(path, dbc=[item])

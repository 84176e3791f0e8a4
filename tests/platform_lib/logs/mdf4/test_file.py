"""Whole files: against asammdf, their reports, what lies beside the samples, and what stays unloaded."""

from __future__ import annotations

import json
import random
import re
import struct
import subprocess
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asammdf import MDF, Signal
from mdf4_writer import START_NS, Channel, Conversion, Data, Group, Writer, seconds, time_channel, write_mdf4

from platform_lib.errors import CorruptLog
from platform_lib.logs import open_log
from platform_lib.logs.mdf4 import inflate

Values = np.ndarray[Any, Any]


def variety(rng: np.random.Generator, rows: int) -> list[Signal]:
    """Every kind of channel that asammdf writes."""
    time = np.cumsum(rng.random(rows)) * 0.01
    found = []
    for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">u2", ">i4", ">f8"):
        values = (rng.normal(0, 50, rows) if "f" in kind else rng.integers(0, 100, rows)).astype(kind)
        name = kind.replace(">", "be")
        found.append(Signal(values, time, name=f"raw_{name}", unit="u", comment=f"about {name}"))
        if kind != "f2":  # asammdf scales 16-bit floats in 16 bits; their sums overflow
            invalid = rng.random(rows) < 0.1
            scale = {"a": 0.5, "b": 1.0}
            found.append(Signal(values, time, name=f"scaled_{name}", conversion=scale, invalidation_bits=invalid))
    texts = np.array([f"txt{row % 7}ü".encode() for row in range(rows)], dtype="S12")
    found.append(Signal(texts, time, name="text", encoding="utf-8"))
    found.append(Signal(rng.integers(0, 255, (rows, 6)).astype("u1"), time, name="blob"))
    found.append(Signal(rng.normal(size=(rows, 2, 3)), time, name="grid"))
    found.append(Signal(rng.integers(0, 9, (rows, 4)).astype("i2"), time, name="line", conversion={"a": 2.0, "b": 1.0}))
    table = {f"val_{n}": n for n in range(3)} | {f"text_{n}": f"s{n}" for n in range(3)} | {"default_addr": b"other"}
    found.append(Signal(rng.integers(0, 5, rows).astype("u1"), time, name="named", conversion=table))
    found.append(Signal(rng.integers(0, 50, rows).astype("i2"), time, name="formula", conversion={"formula": "X/3+1"}))
    return found


def expected_of(mdf: MDF, group: int, index: int) -> list[Any]:
    signal = mdf.get(group=group, index=index, ignore_invalidation_bits=True)
    values = signal.samples
    if values.dtype.names:
        values = values[values.dtype.names[0]]
    rows = [bytes(row) for row in values] if signal.name == "blob" else values.tolist()
    texts = [row.decode() if isinstance(row, bytes) and signal.name != "blob" else row for row in rows]
    invalid = signal.invalidation_bits
    return texts if invalid is None else [None if off else row for row, off in zip(texts, invalid, strict=True)]


@pytest.mark.parametrize(
    ("version", "compression", "columnar"),
    [
        ("4.00", 0, False),
        ("4.10", 1, False),
        ("4.11", 2, False),
        ("4.20", 0, True),
        ("4.20", 2, True),
        ("4.30", 3, False),
        ("4.30", 4, True),
        ("4.30", 5, False),
        ("4.30", 6, False),
    ],
)
def test_what_asammdf_writes_reads_as_asammdf_reads_it(
    tmp_path: Path, version: str, compression: int, columnar: bool
) -> None:
    rng = np.random.default_rng(compression)
    path = tmp_path / "log.mf4"
    with warnings.catch_warnings(), MDF(version=version, column_storage=columnar) as mdf:
        warnings.simplefilter("ignore")
        mdf.header.start_time = datetime(2026, 6, 1, 8, tzinfo=UTC)
        for rows in (300, 1, 0):
            mdf.append(variety(rng, rows), acq_name=f"g{rows}", common_timebase=True)
        mdf.save(path, overwrite=True, compression=compression)
    compared = 0
    with warnings.catch_warnings(), MDF(path) as mdf, open_log(path) as log:
        warnings.simplefilter("ignore")
        assert set(log.report.readers.values()) == {"fast"}
        assert not log.report.problems
        for stream in log.streams:
            number = int(stream.name.partition(":")[0])
            batches = list(log.read(stream.name))
            for index, channel in enumerate(mdf.groups[number].channels):
                if channel.name in stream.schema.names and stream.rows:
                    found = [value for batch in batches for value in batch[channel.name].to_pylist()]
                    assert found == expected_of(mdf, number, index), channel.name
                    compared += 1
    assert compared >= 60


def test_units_and_comments_are_in_the_fields(tmp_path: Path) -> None:
    layout = [time_channel(), Channel("v", 0, 8, 8, unit="km/h", comment="<CNcomment><TX>how fast</TX></CNcomment>")]
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group(layout, 1, 9, name="g")], bytes(9))])
    with open_log(path) as log:
        assert log.streams[0].schema.field("v").metadata == {b"unit": b"km/h", b"comment": b"how fast"}


def test_a_formula_outside_our_grammar_costs_its_channel_alone(tmp_path: Path) -> None:
    planted = f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()"
    layout = [
        time_channel(),
        Channel("v", 0, 8, 8, conversion=Conversion(3, (), (planted,))),
        Channel("w", 0, 8, 8, conversion=Conversion(7, (1.0,), ("one", Conversion(3, (), (planted,))))),
        Channel("x", 0, 8, 8, conversion=Conversion(3, (), ("X/2",))),
    ]
    data = b"".join(struct.pack("<dB", row, row + 1) for row in range(4))
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group(layout, 4, 9, name="g")], data)])
    with open_log(path) as log:
        assert [v for batch in log.read("0:g") for v in batch["x"].to_pylist()] == [0.5, 1.0, 1.5, 2.0]
        assert log.streams[0].schema.names == ["timestamp_ns", "x"]
        assert any("'v' is left out" in line for line in log.report.problems)
    layout[0] = time_channel(conversion=Conversion(3, (), (planted,)))
    with open_log(write_mdf4(tmp_path / "log.mf4", [Data([Group(layout, 4, 9, name="g")], data)])) as log:
        assert "formula" in log.report.unsupported["0:g"]
    assert not (tmp_path / "ran").exists(), "a file's text was run as Python"


def test_a_formula_of_mdf3_is_never_run_as_python(tmp_path: Path) -> None:
    path, ran = tmp_path / "log.mdf", tmp_path / "ran"
    time = np.arange(4.0)
    formula = "X*2" + " " * 99
    with warnings.catch_warnings(), MDF(version="3.30") as mdf:
        warnings.simplefilter("ignore")
        mdf.header.start_time = datetime(2026, 6, 1, 8, tzinfo=UTC)
        mdf.append([Signal(np.arange(4, dtype="u1"), time, name="v", conversion={"formula": formula})])
        mdf.save(path, overwrite=True)
    with open_log(path) as log:
        assert [v for b in log.read(log.streams[0].name) for v in b["v"].to_pylist()] == [0, 2, 4, 6]
    planted = f"open({str(ran)!r},'w')+X1".encode()
    whole = path.read_bytes()
    path.write_bytes(re.sub(rb"X1?\*2 +", lambda found: planted.ljust(len(found[0])), whole))
    assert planted in path.read_bytes()
    assert len(path.read_bytes()) == len(whole)
    with open_log(path) as log:
        assert log.streams[0].schema.names == ["timestamp_ns"]
        list(log.read(log.streams[0].name))
    assert not ran.exists()


@pytest.mark.parametrize(("formula", "expected"), [("(X-3)^2/4", [2.25, 1, 0.25, 0]), ("2**X", [1, 2, 4, 8])])
def test_formulas_of_mdf3_and_mdf4_give_the_same(tmp_path: Path, formula: str, expected: list[float]) -> None:
    for version in ("3.30", "4.10"):
        path = tmp_path / "log.mdf"
        with warnings.catch_warnings(), MDF(version=version) as mdf:
            warnings.simplefilter("ignore")
            mdf.header.start_time = datetime(2026, 6, 1, 8, tzinfo=UTC)
            mdf.append([Signal(np.arange(4, dtype="u1"), np.arange(4.0), name="v", conversion={"formula": formula})])
            mdf.save(path, overwrite=True)
        with open_log(path) as log:
            assert log.streams[0].schema.field("v").type == "double"
            assert [v for b in log.read(log.streams[0].name) for v in b["v"].to_pylist()] == expected


def test_what_our_reader_cannot_hold_goes_to_asammdf_and_the_report_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflate, "MOST_BLOCK_BYTES", 1000)
    layout = [time_channel(), Channel("v", 0, 8, 8)]
    data = b"".join(struct.pack("<dB", row, row % 256) for row in range(500))
    large = Data([Group(layout, 500, 9, name="a")], data, storage="DT+DZ", columns=9)
    small = Data([Group(layout, 500, 9, name="b")], data)
    path = write_mdf4(tmp_path / "log.mf4", [large, small])
    with open_log(path) as log:
        assert log.report.readers == {"0:a": "reference", "1:b": "fast"}
        assert "4500 bytes" in log.report.reasons["0:a"]
        rows = {stream.name: [r for b in log.read(stream.name) for r in b.to_pylist()] for stream in log.streams}
    assert rows["0:a"] == rows["1:b"]
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"##DZ") + 80] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CorruptLog, match="inflate"):
        open_log(path)


def test_channels_that_nobody_reads_are_left_out_and_named(tmp_path: Path) -> None:
    layout = [
        time_channel(),
        Channel("apart", 0, 8, 8, sizes=(1,), step=1, array_storage=1),
        Channel("odd", 4, 24, 8),
        Channel("unheard", 99, 8, 8),
        Channel("compact", 10, 8, 8, kind=7),
        Channel("either", 0, 8, 8, composition="CU"),
        Channel("fine", 0, 8, 8),
    ]
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group(layout, 2, 11, name="g")], bytes(22))])
    with open_log(path) as log:
        assert log.streams[0].schema.names == ["timestamp_ns", "fine"]
        assert len(log.report.problems) == 5
        told = zip(("apart", "odd", "unheard", "compact", "either"), log.report.problems, strict=True)
        assert all(f"'{name}' is left out: " in line and "(block at byte " in line for name, line in told)
        assert "channel groups of their own (array block at byte" in log.report.problems[0]
        assert "a CU block of MDF 4.3 (at byte" in log.report.problems[4]


def test_texts_that_are_not_utf8_are_taken_as_latin1_and_said(tmp_path: Path) -> None:
    writer = Writer()
    layout = [time_channel(), Channel("v", 0, 8, 8, unit="XX")]
    path = writer.write(tmp_path / "log.mf4", [Data([Group(layout, 1, 9, name="g")], bytes(9))])
    path.write_bytes(path.read_bytes().replace(b"XX\0", b"\xb0C\0"))
    with open_log(path) as log:
        assert log.streams[0].schema.field("v").metadata == {b"unit": "°C".encode()}
        assert any("not UTF-8" in line for line in log.report.problems)


def test_attachments_and_events(tmp_path: Path) -> None:
    writer = Writer()
    content = b"calibration " * 50
    import hashlib
    import zlib

    stored = zlib.compress(content)
    head = struct.pack(
        "<HHBB2x16sQQ",
        1 | 2 | 4,
        0,
        0,
        0,
        hashlib.md5(content, usedforsecurity=False).digest(),
        len(content),
        len(stored),
    )
    layout = [time_channel(), Channel("v", 0, 8, 8)]
    attachment = writer.block("AT", [0, writer.text("cal.txt"), writer.text("text/plain"), 0], head + stored)
    event = writer.block(
        "EV",
        [0, 0, 0, writer.text("brake"), writer.text("<EVcomment><TX>hard</TX></EVcomment>", "MD")],
        struct.pack("<BBBBBxxxIHHqd", 6, 1, 0, 4, 0, 0, 0, 0, 15, 0.1),
    )
    writer.link(64, 3, attachment)
    writer.link(64, 4, event)
    path = writer.write(tmp_path / "log.mf4", [Data([Group(layout, 1, 9, name="g")], bytes(9))])
    with open_log(path) as log:
        item = log.attachments[0]
        assert (item.name, item.media_type, item.size_bytes, item.load()) == ("cal.txt", "text/plain", 600, content)
        found = log.events[0]
        assert (found.name, found.kind, found.range, found.cause) == ("brake", "marker", "point", "user")
        assert (found.time_ns, found.comment) == (START_NS + 1_500_000_000, "hard")
    damaged = path.read_bytes().replace(hashlib.md5(content, usedforsecurity=False).digest(), bytes(16))
    path.write_bytes(damaged)
    with open_log(path) as log, pytest.raises(CorruptLog, match="checksum"):
        log.attachments[0].load()


def test_what_lies_outside_the_file_or_is_only_for_display_is_named(tmp_path: Path) -> None:
    writer = Writer()
    head = struct.pack("<HHBB2x16sQQ", 0, 0, 0, 0, bytes(16), 700, 0)
    names = [writer.text("../maps/town.xodr"), writer.text("application/xml")]
    writer.link(64, 3, writer.block("AT", [0, *names, 0], head))
    layout = [time_channel(), Channel("v", 0, 8, 8)]
    groups: list[int] = []
    reduced = writer.block("RD", [], bytes(27))
    reduction = writer.block("SR", [0, reduced], struct.pack("<QdBB6x", 1, 1.0, 1, 0))
    writer.link(64, 0, writer.data_group(Data([Group(layout, 1, 9, name="g")], bytes(9)), groups))
    writer.link(groups[0], 4, reduction)
    path = tmp_path / "log.mf4"
    path.write_bytes(writer.buffer)
    with open_log(path) as log:
        assert log.attachments == ()
        assert log.report.notes == [
            f"sample reductions (groups: 1, the first at byte {reduction}) are left alone: the full data is read",
            "attachment '../maps/town.xodr' (application/xml) is not in the log, which only names it",
        ]
        assert sum(batch.num_rows for batch in log.read("0:g")) == 1
    writer.link(writer.starts["DG"][0], 2, reduced)  # what is for display is no data
    path.write_bytes(writer.buffer)
    with pytest.raises(CorruptLog, match="a data block is not there, but b'##RD'"):
        open_log(path)


def test_opening_and_reading_needs_no_asammdf(tmp_path: Path) -> None:
    layout = [time_channel(), Channel("v", 0, 8, 8)]
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group(layout, 1, 9, name="g")], bytes(9), storage="DT+DZ")])
    code = (
        "import sys, json\nfrom platform_lib.logs import open_log\n"
        f"with open_log({str(path)!r}) as log:\n    rows = sum(b.num_rows for s in log.streams for b in log.read(s.name))\n"
        "print(json.dumps([rows, sorted({'asammdf', 'sympy', 'cantools'} & set(sys.modules))]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [1, []]


def test_opening_inflates_nothing(tmp_path: Path) -> None:
    rng = random.Random(1)  # noqa: S311 - seeded data
    rows = 30_000
    data = b"".join(struct.pack("<dQ", row * 0.01, rng.getrandbits(64)) for row in range(rows))
    layout = [time_channel(), Channel("v", 0, 64, 8)]
    item = Data([Group(layout, rows, 16, name="g")], data, storage="DL+DZ", block_bytes=16_000)
    path = write_mdf4(tmp_path / "log.mf4", [item])
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"##DZ") + 300] ^= 1
    path.write_bytes(damaged)
    with open_log(path) as log:
        assert log.streams[0].rows == rows
        with pytest.raises(CorruptLog, match="inflate"):
            list(log.read("0:g"))
        with pytest.raises(CorruptLog, match="inflate"):
            _ = log.streams[0].start_ns
    with open_log(path, recover=True) as log:
        assert log.report.recovered
        assert log.report.bytes_lost == rows * 16
        assert not log.streams


def test_a_damaged_group_costs_itself_alone_when_recovering(tmp_path: Path) -> None:
    layout = [time_channel(), Channel("v", 0, 8, 8)]
    data = b"".join(struct.pack("<dB", row, row) for row in range(9))
    writer = Writer()
    items = [Data([Group(layout, 9, 9, name=f"g{number}")], data) for number in range(3)]
    path = writer.write(tmp_path / "log.mf4", items)
    damaged = bytearray(path.read_bytes())
    damaged[writer.starts["CG"][1]] = 0
    path.write_bytes(damaged)
    with pytest.raises(CorruptLog, match="CG block"):
        open_log(path)
    with open_log(path, recover=True) as log:
        assert [stream.name.partition(":")[2] for stream in log.streams] == ["g0", "g2"]
        assert log.report.recovered
        assert log.report.bytes_lost == len(data)
        for stream in log.streams:
            assert [v for batch in log.read(stream.name) for v in batch["v"].to_pylist()] == list(range(9))


def test_a_broken_header_comment_costs_its_own_words_alone(tmp_path: Path) -> None:
    writer = Writer()
    writer.link(64, 5, writer.text("<HDcomment><TX>cut", "MD"))
    path = writer.write(tmp_path / "log.mf4", [Data([Group([time_channel()], 3, 8)], b"".join(seconds(3)))])
    with pytest.raises(CorruptLog, match="header comment is broken XML"):
        open_log(path)
    with open_log(path, recover=True) as log:
        assert (log.metadata, log.report.recovered, log.streams[0].rows) == ({}, True, 3)

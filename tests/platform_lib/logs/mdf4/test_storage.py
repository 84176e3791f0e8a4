"""How records are stored: lists, columns beside invalidation bytes, mixed groups, variable-length values."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mdf4_writer import START_NS, VLSD, Channel, Conversion, Data, Group, Writer, seconds, time_channel, write_mdf4

from platform_lib.errors import CorruptLog
from platform_lib.logs import open_log
from platform_lib.logs.mdf4 import inflate, mixed, signal_data

Rows = list[dict[str, Any]]
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tables(path: Path, **options: Any) -> dict[str, Rows]:
    with open_log(path, **options) as log:
        assert set(log.report.readers.values()) <= {"fast"}
        return {s.name: [row for b in log.read(s.name) for row in b.to_pylist()] for s in log.streams}


def counting(rows: int) -> tuple[list[Channel], bytes, Rows]:
    layout = [time_channel(), Channel("n", 0, 32, 8)]
    data = b"".join(struct.pack("<dI", row * 0.01, row) for row in range(rows))
    return layout, data, [{"timestamp_ns": START_NS + row * 10_000_000, "n": row} for row in range(rows)]


@QUICK
@given(
    rows=st.integers(1, 400),
    block_bytes=st.integers(1, 700),
    storage=st.sampled_from(["DL", "HL", "DL+DZ", "HL+DZ"]),
    columns=st.sampled_from([0, 12, 7]),
)
def test_blocks_may_end_inside_a_record(
    tmp_path: Path, rows: int, block_bytes: int, storage: str, columns: int
) -> None:
    layout, data, expected = counting(rows)
    item = Data([Group(layout, rows, 12, name="g")], data, storage=storage, block_bytes=block_bytes, columns=columns)
    assert tables(write_mdf4(tmp_path / "log.mf4", [item])) == {"0:g": expected}


@pytest.mark.parametrize("rows", [1, 999, 150_000])
def test_windows_give_the_rows_inside_before_and_after_a_whole_pass(tmp_path: Path, rows: int) -> None:
    layout, data, expected = counting(rows)
    item = Data([Group(layout, rows, 12, name="g")], data, storage="DL+DZ", block_bytes=100_000, columns=12)
    path = write_mdf4(tmp_path / "log.mf4", [item])
    rng = random.Random(1)  # noqa: S311 - seeded windows
    with open_log(path) as log:
        for _ in range(6):
            start, stop = sorted(rng.choices(range(rows + 2), k=2))
            window = (START_NS + start * 10_000_000 - 5, START_NS + stop * 10_000_000 - 5)
            found = [value for batch in log.read("0:g", ["n"], *window) for value in batch["n"].to_pylist()]
            assert found == list(range(start, min(stop, rows)))
            assert (log.streams[0].start_ns, log.streams[0].stop_ns) == (START_NS, expected[-1]["timestamp_ns"] + 1)


def test_a_second_window_touches_only_its_own_blocks(tmp_path: Path) -> None:
    rows = 200_000
    layout, data, _ = counting(rows)
    item = Data([Group(layout, rows, 12, name="g")], data, storage="DL+DZ", block_bytes=120_000)
    with open_log(write_mdf4(tmp_path / "log.mf4", [item])) as log:
        assert log.streams[0].stop_ns
        fetched = log._source._file._source._source
        before = fetched.bytes_fetched
        list(log.read("0:g", None, START_NS, START_NS + 10))
        window_bytes = fetched.bytes_fetched - before
        list(log.read("0:g"))
        assert 0 < window_bytes < (fetched.bytes_fetched - before - window_bytes) // 2


def test_a_time_that_runs_backwards_is_said_and_windows_stay_right(tmp_path: Path) -> None:
    times = [0.0, 5.0, 3.0, 4.0, 1.0]
    data = b"".join(struct.pack("<dI", time, row) for row, time in enumerate(times))
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group(counting(0)[0], 5, 12, name="g")], data)])
    with open_log(path) as log:
        for _ in range(2):
            window = (START_NS + 2 * 10**9, START_NS + 5 * 10**9)
            assert [row for batch in log.read("0:g", ["n"], *window) for row in batch["n"].to_pylist()] == [2, 3]
            assert sum("backwards" in line for line in log.report.problems) == 1
        assert log.streams[0].stop_ns == START_NS + 5 * 10**9 + 1


@pytest.mark.parametrize("storage", ["LD", "LD+DZ"])
def test_columns_beside_their_invalidation_bytes(tmp_path: Path, storage: str) -> None:
    rows = 500
    layout, data, expected = counting(rows)
    layout[1].flags = 2
    flags = bytearray(rows)
    for row in (0, 120, 499):
        flags[row] = 1
        expected[row]["n"] = None
    item = Data([Group(layout, rows, 12, 1, name="g")], data, 0, storage, 1200, invalidation=bytes(flags))
    assert tables(write_mdf4(tmp_path / "log.mf4", [item])) == {"0:g": expected}


def test_values_and_invalidation_bytes_that_differ_in_number_are_refused(tmp_path: Path) -> None:
    layout, data, _ = counting(100)
    item = Data([Group(layout, 100, 12, 1, name="g")], data, 0, "LD", 1200, invalidation=b"\1" * 99)
    with pytest.raises(CorruptLog, match=r"differ in number"):
        open_log(write_mdf4(tmp_path / "log.mf4", [item]))


def test_a_group_may_take_its_times_from_another(tmp_path: Path) -> None:
    rows = 3000
    clock = Data([Group([time_channel()], rows, 8, name="clock")], b"".join(seconds(rows)), 0, "LD", 800)
    values = struct.pack(f"<{rows}H", *range(rows))
    column = Data([Group([Channel("v", 0, 16)], rows, 2, flags=8, name="v", master=0)], values, 0, "LD+DZ", 1000)
    with open_log(write_mdf4(tmp_path / "log.mf4", [clock, column])) as log:
        found = [row for batch in log.read("1:v") for row in batch.to_pylist()]
        assert found == [{"timestamp_ns": START_NS + row * 10_000_000, "v": row} for row in range(rows)]
        window = (START_NS + 10**9, START_NS + 2 * 10**9)
        assert [v for b in log.read("1:v", None, *window) for v in b["v"].to_pylist()] == list(range(100, 200))


def test_a_group_longer_than_its_times_is_not_read(tmp_path: Path) -> None:
    clock = Data([Group([time_channel()], 5, 8, name="clock")], b"".join(seconds(5)))
    column = Data([Group([Channel("v", 0, 8)], 6, 1, flags=8, name="v", master=0)], bytes(6))
    with open_log(write_mdf4(tmp_path / "log.mf4", [clock, column])) as log:
        assert [stream.name for stream in log.streams] == ["0:clock"]
        assert "has 5 rows, it has 6" in log.report.unsupported["1:v"]


# -- mixed groups ------------------------------------------------------------------------------------------------------


def mixed_log(rng: random.Random, id_bytes: int, count: int) -> tuple[Data, dict[str, Rows]]:
    """Three groups mixed at random; the last one's texts are in a group of variable-length values."""
    ids = rng.sample(range(1, min(250, 256**id_bytes)), 4)
    data, expected = bytearray(), {"0:a": list[Any](), "1:b": list[Any](), "2:t": list[Any]()}
    said = 0
    for number in range(count):
        which = rng.randrange(3)
        time, time_ns = struct.pack("<d", number * 0.01), START_NS + number * 10_000_000
        head = ids[which].to_bytes(id_bytes, "little") if id_bytes else b""
        if which == 0:
            data += head + time + struct.pack("<H", number)
            expected["0:a"].append({"timestamp_ns": time_ns, "n": number})
        elif which == 1:
            invalid = rng.random() < 0.3
            data += head + time + struct.pack("<fB", number / 2, invalid)
            expected["1:b"].append({"timestamp_ns": time_ns, "x": None if invalid else number / 2})
        else:
            text = "é" * rng.randrange(5) + str(number)
            value = struct.pack("<I", len(text.encode()) + 1) + text.encode() + b"\0"
            record = head + time + struct.pack("<Q", said)
            variable = ids[3].to_bytes(id_bytes, "little") + value
            data += variable + record if rng.random() < 0.5 else record + variable
            said += len(value)
            expected["2:t"].append({"timestamp_ns": time_ns, "text": text})
    groups = [
        Group([time_channel(), Channel("n", 0, 16, 8)], len(expected["0:a"]), 10, record_id=ids[0], name="a"),
        Group(
            [time_channel(), Channel("x", 4, 32, 8, flags=2)], len(expected["1:b"]), 12, 1, record_id=ids[1], name="b"
        ),
        Group(
            [time_channel(), Channel("text", 7, 64, 8, kind=VLSD, variable_group=3)],
            len(expected["2:t"]),
            16,
            record_id=ids[2],
            name="t",
        ),
        Group([], len(expected["2:t"]), said, record_id=ids[3], flags=1),
    ]
    return Data(groups, bytes(data), id_bytes), expected


@QUICK
@given(
    seed=st.integers(0, 2**32),
    id_bytes=st.sampled_from([1, 2, 4, 8]),
    count=st.integers(1, 300),
    storage=st.sampled_from(["DT", "DL", "HL+DZ"]),
)
def test_mixed_groups_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, id_bytes: int, count: int, storage: str
) -> None:
    monkeypatch.setattr(mixed, "_STRETCH_BYTES", 300)
    item, expected = mixed_log(random.Random(seed), id_bytes, count)  # noqa: S311 - seeded data
    item.storage, item.block_bytes = storage, 257
    assert tables(write_mdf4(tmp_path / "log.mf4", [item])) == expected


def test_mixed_groups_keep_windows_and_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "_STRETCH_BYTES", 300)
    item, expected = mixed_log(random.Random(5), 1, 2000)  # noqa: S311 - seeded data
    with open_log(write_mdf4(tmp_path / "log.mf4", [item])) as log:
        for stream in log.streams:
            rows = expected[stream.name]
            assert (stream.start_ns, stream.stop_ns) == (rows[0]["timestamp_ns"], rows[-1]["timestamp_ns"] + 1)
            start, stop = START_NS + 5 * 10**9, START_NS + 6 * 10**9
            found = [row for batch in log.read(stream.name, None, start, stop) for row in batch.to_pylist()]
            assert found == [row for row in rows if start <= row["timestamp_ns"] < stop]


def test_lies_about_mixed_groups_are_refused_and_recovered_from(tmp_path: Path) -> None:
    item, expected = mixed_log(random.Random(7), 1, 300)  # noqa: S311 - seeded data
    groups, data = list(item.groups), item.data
    for planted in (1, -1):
        groups[0].cycles += planted
        path = write_mdf4(tmp_path / "log.mf4", [item])
        with pytest.raises(CorruptLog, match=r"declares"):
            tables(path)
        groups[0].cycles -= planted
    item.data = data[:-5]
    with pytest.raises(CorruptLog, match=r"are left|declare"):
        tables(write_mdf4(tmp_path / "log.mf4", [item]))
    found = tables(tmp_path / "log.mf4", recover=True)
    assert sum(len(rows) for rows in found.values()) >= 298
    assert all(rows == expected[name][: len(rows)] for name, rows in found.items())
    item.data = data[:1000] + b"\xff" + data[1001:]
    path = write_mdf4(tmp_path / "log.mf4", [item])
    for name, rows in tables(path, recover=True).items():
        assert rows[:-1] == expected[name][: max(0, len(rows) - 1)]
    item.data = data
    groups[1].record_id = groups[0].record_id
    with pytest.raises(CorruptLog, match=r"told apart"):
        open_log(write_mdf4(tmp_path / "log.mf4", [item]))


def test_one_group_with_record_ids_checks_every_id(tmp_path: Path) -> None:
    layout, _, expected = counting(50)
    data = b"".join(struct.pack("<HdI", 7, row * 0.01, row) for row in range(50))
    group = Group(layout, 50, 12, record_id=7, name="g")
    assert tables(write_mdf4(tmp_path / "log.mf4", [Data([group], data, 2)])) == {"0:g": expected}
    broken = data[: 14 * 30] + b"\x08" + data[14 * 30 + 1 :]
    with pytest.raises(CorruptLog, match=r"another id"):
        tables(write_mdf4(tmp_path / "log.mf4", [Data([group], broken, 2)]))


# -- variable-length values --------------------------------------------------------------------------------------------


def variable_log(path: Path, order: list[int], kind: int = 10, step: int = 1) -> list[bytes]:
    values = [bytes([65 + number % 26]) * (number * step % 50) for number in range(len(order))]
    stream, offsets = bytearray(), {}
    for number in order:
        offsets[number] = len(stream)
        stream += struct.pack("<I", len(values[number])) + values[number]
    data = b"".join(struct.pack("<dQ", number * 0.01, offsets[number]) for number in range(len(order)))
    channel = Channel("v", kind, 64, 8, kind=VLSD, signal_data=bytes(stream))
    write_mdf4(path, [Data([Group([time_channel(), channel], len(order), 16, name="g")], data)])
    return values


@pytest.mark.parametrize("kind", [6, 7, 10])
def test_values_may_lie_in_any_order(tmp_path: Path, kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_data, "BATCH_BYTES", 400)
    order = list(range(500))
    for shuffled in (False, True):
        if shuffled:
            random.Random(2).shuffle(order)  # noqa: S311 - a seeded order
        values = variable_log(tmp_path / "log.mf4", order, kind)
        found = [row["v"] for row in tables(tmp_path / "log.mf4")["0:g"]]
        assert found == [value if kind == 10 else value.decode() for value in values]


def test_large_values_make_small_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from platform_lib.logs.mdf4 import reader

    monkeypatch.setattr(reader, "BATCH_BYTES", 1000)
    values = variable_log(tmp_path / "log.mf4", list(range(300)))
    with open_log(tmp_path / "log.mf4") as log:
        batches = list(log.read("0:g"))
    assert [value for batch in batches for value in batch["v"].to_pylist()] == values
    assert max(batch.nbytes for batch in batches) < 5000


def test_offsets_and_lengths_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    channel = Channel(
        "v", 10, 64, 8, kind=VLSD, signal_data=struct.pack("<I", 4) + b"abcd" + struct.pack("<I", 9) + b"x"
    )
    for offset in (8, 9, 13, 2**63, 2**64 - 1):
        data = struct.pack("<dQ", 0.0, offset)
        path = write_mdf4(tmp_path / "log.mf4", [Data([Group([time_channel(), channel], 1, 16, name="g")], data)])
        with pytest.raises(CorruptLog, match=r"variable-length data|length"):
            tables(path)


# -- what is large -----------------------------------------------------------------------------------------------------


def test_a_block_too_large_to_hold_is_inflated_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflate, "MOST_BLOCK_BYTES", 10_000)
    layout, data, expected = counting(30_000)
    item = Data([Group(layout, 30_000, 12, name="g")], data, storage="DT+DZ")
    path = write_mdf4(tmp_path / "log.mf4", [item])
    assert tables(path) == {"0:g": expected}
    with open_log(path) as log:
        window = (START_NS + 10**9, START_NS + 2 * 10**9)
        assert [v for b in log.read("0:g", ["n"], *window) for v in b["n"].to_pylist()] == list(range(100, 200))
    damaged = bytearray(path.read_bytes())
    damaged[path.read_bytes().index(b"##DZ") + 2000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CorruptLog, match=r"inflate"):
        tables(path)


def test_bombs_and_lies_of_compressed_blocks_are_refused(tmp_path: Path) -> None:
    layout, data, _ = counting(1000)
    writer = Writer()
    path = writer.write(tmp_path / "log.mf4", [Data([Group(layout, 1000, 12, name="g")], data, storage="DT+DZ")])
    whole = path.read_bytes()
    at = writer.starts["DZ"][0]
    for place, form, value, what in (
        (32, "<Q", 2**60, "more than it can hold"),
        (32, "<Q", 11_999, "declares"),
        (40, "<Q", 2**40, "more than it has"),
        (26, "<B", 9, "method 9"),
        (24, "<2s", b"XX", "no data block"),
        (48, "<I", 0, "does not inflate"),
    ):
        damaged = bytearray(whole)
        struct.pack_into(form, damaged, at + place, value)
        path.write_bytes(damaged)
        with pytest.raises((CorruptLog, Exception), match=what):
            tables(path)


def test_a_data_block_listed_twice_or_overlapping_is_refused(tmp_path: Path) -> None:
    layout, data, _ = counting(100)
    writer = Writer()
    item = Data([Group(layout, 100, 12, name="g")], data, storage="DL", block_bytes=300)
    path = writer.write(tmp_path / "log.mf4", [item])
    first, second = writer.starts["DT"][:2]
    writer.link(writer.starts["DL"][0], 2, first)
    path.write_bytes(writer.buffer)
    with pytest.raises(CorruptLog, match=r"listed twice"):
        open_log(path)
    writer.link(writer.starts["DL"][0], 2, second)
    struct.pack_into("<Q", writer.buffer, first + 8, 24 + 330)
    path.write_bytes(writer.buffer)
    with pytest.raises(CorruptLog, match=r"overlap|declares"):
        open_log(path)


def test_counts_beyond_reason_are_refused_at_once(tmp_path: Path) -> None:
    layout, data, _ = counting(10)
    for cycles in (2**60, 2**63, 2**64 - 1):
        for channels, data_bytes, content in ((layout, 12, data), ([Channel("time", kind=3, sync=1, bits=0)], 0, b"")):
            path = write_mdf4(tmp_path / "log.mf4", [Data([Group(channels, cycles, data_bytes, name="g")], content)])
            with pytest.raises(CorruptLog, match=r"declares"):
                open_log(path)
    steps = [Channel("a", 0, 8, 8, sizes=(2**60,), step=0), Channel("a", 0, 8, 8, sizes=(2, 2), step=-4)]
    for channel in steps:
        path = write_mdf4(tmp_path / "log.mf4", [Data([Group([time_channel(), channel], 10, 12)], data)])
        with pytest.raises(CorruptLog, match=r"array|past the end"):
            open_log(path)


def test_every_thread_count_gives_the_same_rows(tmp_path: Path) -> None:
    from platform_lib.logs.bytes_source import open_source
    from platform_lib.logs.mdf4.file import Mdf4File
    from platform_lib.logs.model import Report, Window

    rows = 60_000
    layout, data, expected = counting(rows)
    item = Data([Group(layout, rows, 12, name="g")], data, storage="DL+DZ", block_bytes=12_000, columns=12)
    path = write_mdf4(tmp_path / "log.mf4", [item])
    for threads in (1, 2, 5):
        report = Report("mdf4")
        file = Mdf4File(open_source(path), report, recover=False, start_ns=lambda start, _: start, threads=threads)
        reader = file.groups[0].reader
        assert reader is not None
        found = [row for batch in reader.read(Window(), None) for row in batch.to_pylist()]
        file.close()
        assert found == expected


def test_unfinished_files_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    layout, data, expected = counting(100)
    for cut in (0, 5, 12, 1190):
        path = unfinished_log(tmp_path / "log.mf4", layout, data[: len(data) - cut])
        with pytest.raises(CorruptLog, match=r"never finished"):
            open_log(path)
        whole = (len(data) - cut) // 12
        with open_log(path, recover=True) as log:
            assert log.report.recovered
            assert [row for b in log.read("0:g") for row in b.to_pylist()] == expected[:whole]
            assert log.report.bytes_lost == (len(data) - cut) % 12


@pytest.mark.parametrize(("flags", "known"), [(0x7F, True), (0x85, False)])
def test_what_an_unfinished_file_lacks_beyond_its_records_is_said(tmp_path: Path, *, flags: int, known: bool) -> None:
    layout, data, expected = counting(10)
    writer = Writer(unfinished=flags)
    writer.link(64, 0, writer.data_group(Data([Group(layout, 0, 12, name="g")]), []))
    writer.link(writer.starts["DG"][0], 2, writer.block("DT", [], b""))
    path = tmp_path / "log.mf4"
    path.write_bytes(bytes(writer.buffer) + data)
    with open_log(path, recover=True) as log:
        assert [row for b in log.read("0:g") for row in b.to_pylist()] == expected
        assert any("is not known (flags 0x85" in item for item in log.report.problems) is not known


@pytest.mark.parametrize("flags", [0x25, 0x65])
def test_values_whose_places_were_never_written_are_left_out(tmp_path: Path, flags: int) -> None:
    words = [b"a", b"bcd", b"ef"]
    places = [0, 5, 12] if flags == 0x25 else [0, 0, 0]
    stream = b"".join(
        struct.pack("<BI", 2, len(word)) + word + struct.pack("<BdQ", 1, row * 0.5, place)
        for row, (word, place) in enumerate(zip(words, places, strict=True))
    )
    layout = [time_channel(), Channel("word", 7, 64, 8, kind=VLSD, variable_group=1)]
    groups = [Group(layout, 0, 16, record_id=1, name="g"), Group([], 0, 0, record_id=2, flags=1)]
    writer = Writer(unfinished=flags)
    writer.link(64, 0, writer.data_group(Data(groups, stream, id_bytes=1), []))
    path = tmp_path / "log.mf4"
    path.write_bytes(writer.buffer)
    with open_log(path, recover=True) as log:
        rows = [row for b in log.read("0:g") for row in b.to_pylist()]
        assert len(rows) == 3
        if flags == 0x25:
            assert [row["word"].encode() for row in rows] == words
        else:
            assert "word" not in rows[0]
            assert any("never wrote where its values are" in item for item in log.report.problems)


def unfinished_log(path: Path, layout: list[Channel], data: bytes) -> Path:
    writer = Writer(unfinished=0x05)
    groups: list[int] = []
    group = writer.data_group(Data([Group(layout, 0, 12, name="g")]), groups)
    writer.link(64, 0, group)
    writer.link(group, 2, writer.block("DT", [], b""))
    path.write_bytes(bytes(writer.buffer) + data)
    return path


def test_conversions_apply_to_array_elements_and_texts(tmp_path: Path) -> None:
    names = Conversion(7, (0.0, 1.0), ("off", "on", "?"))
    layout = [
        time_channel(),
        Channel("scaled", 0, 8, 8, sizes=(2,), step=1, conversion=Conversion(1, (1.0, 0.5))),
        Channel("named", 0, 8, 8, sizes=(2,), step=1, conversion=names),
        Channel("word", 7, 16, 10, conversion=Conversion(10, (), ("ab", "AB", "cd", "CD", "other"))),
        Channel("number", 7, 16, 10, conversion=Conversion(9, (1.0, 2.0, -1.0), ("ab", "cd"))),
    ]
    data = b"".join(struct.pack("<dBB2s", row, row, 1, text) for row, text in enumerate((b"ab", b"cd", b"xx")))
    path = write_mdf4(tmp_path / "log.mf4", [Data([Group(layout, 3, 12, name="g")], data)])
    rows = tables(path)["0:g"]
    assert [row["scaled"] for row in rows] == [[1.0, 1.5], [1.5, 1.5], [2.0, 1.5]]
    assert [row["named"] for row in rows] == [["off", "on"], ["on", "on"], ["?", "on"]]
    assert [row["word"] for row in rows] == ["AB", "CD", "other"]
    assert [row["number"] for row in rows] == [1.0, 2.0, -1.0]

"""Every message of a ROS 2 distribution, filled at random, against what rosbags writes and reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore

from platform_lib.errors import CorruptLog
from platform_lib.logs import open_log
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.cdr import message_decoder

STORE = get_typestore(Stores.ROS2_HUMBLE)
NUMBERS = {"bool": "?", "octet": "u1", "byte": "u1", "char": "u1"}


def random_message(name: str, rng: np.random.Generator, depth: int = 0) -> Any:
    fields = STORE.fielddefs[name][1]
    return STORE.types[name](**{field: random_value(desc, rng, depth) for field, desc in fields})


def random_value(desc: Any, rng: np.random.Generator, depth: int) -> Any:
    kind, inner = desc
    if kind.name == "NAME":
        return random_message(inner, rng, depth + 1)
    if kind.name == "BASE":
        if inner[0] == "string":
            return "é" * int(rng.integers(0, 3)) + "x" * int(rng.integers(0, 4))
        return random_numbers(inner[0], rng, 1)[0].item()
    item, size = inner
    count = size if kind.name == "ARRAY" else int(rng.integers(0, 4))
    if item[0].name == "BASE" and item[1][0] != "string":
        return random_numbers(item[1][0], rng, count)
    return [random_value(item, rng, depth + 1) for _ in range(count)]


def random_numbers(name: str, rng: np.random.Generator, count: int) -> np.ndarray:
    dtype = np.dtype(NUMBERS.get(name, name))
    if dtype.kind == "f":
        return rng.normal(size=count).astype(dtype)
    # rosbags packs char and byte as signed numbers
    high = 2 if dtype.kind == "b" else 128 if name in NUMBERS else np.iinfo(dtype).max
    return rng.integers(0, high, count, dtype=np.uint64).astype(dtype)


def plain(value: Any) -> Any:
    if hasattr(value, "__msgtype__"):
        names = [name for name, _ in STORE.fielddefs[value.__msgtype__][1]]
        return {name: plain(getattr(value, name)) for name in names if not name.startswith("structure_needs")}
    if isinstance(value, (list, np.ndarray)):
        return [plain(item) for item in value]
    return value


def equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, dict):
        return list(ours) == list(theirs) and all(equal(ours[name], theirs[name]) for name in ours)
    if isinstance(ours, (list, bytes)):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    return bool(ours == theirs or (ours != ours and theirs != theirs))


def rows_of(decoder: Any, payloads: list[bytes]) -> Iterator[dict[str, Any]]:
    columns = decoder.decode(Payloads.of(payloads))
    for column, field in zip(columns, decoder.fields(), strict=True):
        column.validate(full=True)
        assert column.type == field.type
    names = [field.name for field in decoder.fields()]
    for row in range(len(payloads)):
        yield {name: column[row].as_py() for name, column in zip(names, columns, strict=True)}


def mutated(payload: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(payload)
    for _ in range(int(rng.integers(1, 4))):
        if len(data) > 4:
            data[int(rng.integers(4, len(data)))] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(0, 256)]))
    return bytes(data[: int(rng.integers(0, len(data) + 1))] if rng.integers(0, 3) == 0 else data)


def test_every_standard_message_equals_rosbags_and_survives_damage() -> None:
    rng = np.random.default_rng(11)
    compared = refused = 0
    for name in [name for name in STORE.types if "/msg/" in name]:
        decoder = message_decoder(name, STORE.generate_msgdef(name, ros_version=2)[0])
        messages = [random_message(name, rng) for _ in range(2)]
        for little in (True, False):
            payloads = [bytes(STORE.serialize_cdr(message, name, little_endian=little)) for message in messages]
            for row, message in zip(rows_of(decoder, payloads), messages, strict=True):
                assert equal(row, plain(message)), name
                compared += 1
            try:
                list(rows_of(decoder, [payloads[0], mutated(payloads[1], rng)]))
            except CorruptLog:
                refused += 1
    assert compared > 500
    assert refused > 50


def test_the_comparison_notices_a_wrong_value() -> None:
    message = plain(random_message("sensor_msgs/msg/Imu", np.random.default_rng(1)))
    assert equal(message, message)
    assert not equal(message | {"angular_velocity": message["linear_acceleration"]}, message)


@pytest.mark.parametrize("name", ["talker", "wbag_0"])
def test_every_message_of_real_sqlite_bags_equals_rosbags(real_logs: Path, name: str) -> None:
    path = real_logs / f"rosbag2_sqlite/{name}.db3"
    connection = sqlite3.connect(path)
    query = "SELECT topics.name, topics.type, data FROM messages JOIN topics ON topics.id = topic_id ORDER BY timestamp, messages.id"
    expected: dict[str, list[Any]] = {}
    for topic, kind, data in connection.execute(query):
        if kind in STORE.types:
            expected.setdefault(topic, []).append(plain(STORE.deserialize_cdr(data, kind)))
    connection.close()
    compared = 0
    with open_log(path) as log:
        for topic, messages in expected.items():
            if topic in log.report.unsupported:
                continue
            rows = [row for batch in log.read(topic) for row in batch.to_pylist()]
            for row, message in zip(rows, messages, strict=True):
                assert equal({key: value for key, value in row.items() if not key.endswith("_ns")}, message)
                compared += 1
    assert compared > 0

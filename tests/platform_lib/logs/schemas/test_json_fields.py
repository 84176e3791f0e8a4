from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.faulty import FaultyPayload
from platform_lib.logs.schemas.json_fields import json_decoder

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "speed": {"type": "number"},
            "gear": {"type": ["integer", "null"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "pose": {"type": "object", "properties": {"x": {"type": "number"}}},
            "either": {"type": ["number", "string"]},
            "other": {"$ref": "#/definitions/other"},
        },
    }
)


def decode(*messages: Any) -> list[pa.Array]:
    return json_decoder(SCHEMA).decode(Payloads.of([json.dumps(message).encode() for message in messages]))


def test_types_come_from_the_schema_alone() -> None:
    expected = [
        pa.float64(),
        pa.int64(),
        pa.list_(pa.string()),
        pa.struct([("x", pa.float64())]),
        pa.string(),
        pa.string(),
    ]
    for messages in ((), ({},), ({"speed": 1, "tags": [], "pose": {}, "unknown": 5},)):
        assert [column.type for column in decode(*messages)] == expected


def test_values_and_what_is_missing() -> None:
    columns = decode({"speed": 1, "gear": None, "pose": {"x": 2, "y": 3}, "either": "1"}, {"either": 1, "other": [1]})
    assert [column.to_pylist() for column in columns] == [
        [1.0, None],
        [None, None],
        [None, None],
        [{"x": 2.0}, None],
        ['"1"', "1"],
        [None, "[1]"],
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": "fast"},
        {"gear": 1.5},
        {"tags": [1]},
        {"tags": "ab"},
        {"pose": 3},
        {"gear": True},
        [1],
    ],
)
def test_a_value_that_breaks_the_schema_is_refused_by_its_number(wrong: Any) -> None:
    with pytest.raises(FaultyPayload, match="JSON") as caught:
        decode({}, wrong, {})
    assert caught.value.row == 1


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000, b""])
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(FaultyPayload, match="no JSON"):
        json_decoder(SCHEMA).decode(Payloads.of([text]))


def test_without_a_schema_messages_stay_text() -> None:
    decoder = json_decoder("")
    assert decoder.decode(Payloads.of([b'{"a": 1}', b"3"]))[0].to_pylist() == ['{"a": 1}', "3"]
    assert decoder.decode(Payloads.of([b"3"]), []) == []


@pytest.mark.parametrize("text", ["{", "[]", '"a"', '{"properties": 3}'])
def test_schemas_that_are_none_are_named(text: str) -> None:
    with pytest.raises(UnsupportedLog, match="JSON schema"):
        json_decoder(text)


def test_integers_of_more_than_64_bits_are_sound_but_not_decoded() -> None:
    most = 2**63 - 1
    assert decode({"gear": most}, {"gear": -most - 1})[1].to_pylist() == [most, -most - 1]
    with pytest.raises(UnsupportedLog, match="more than 64 bits"):
        decode({"gear": 2**64 - 1})

"""What is other in one schema than in another, and what of it may not be taken in unasked."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_lib.catalog.schema_model import StreamField, StreamSchema
from platform_lib.contracts.evolution import Promise, against_promises, compare, is_wider, told
from platform_lib.lake.log_schemas import known_names, schema_of
from platform_lib.logs.model import Stream

_SPEED = StreamField("speed", "int16", "km/h")
_STEER = StreamField("steer", "double", None)


def _schema(*fields: StreamField, **other: object) -> StreamSchema:
    made = StreamSchema("CAN1/Speed", "CAN1/Speed", "signals", "Speed", fields, None, "12 fast")
    return replace(made, **other)  # type: ignore[arg-type] # of a test


_OLD = _schema(_SPEED, _STEER)


def _says(type_: str | None = None, unit: str | None = None) -> dict[str, Promise]:
    return {"speed": Promise("contract bus 2.0.0", type_, unit)}


@pytest.mark.parametrize(
    ("new", "promises", "breaks", "sentence"),
    [
        (_schema(replace(_SPEED, unit="m/s"), _STEER), {}, True, "speed: unit km/h, now m/s"),
        (_schema(replace(_SPEED, unit=None), _STEER), {}, True, "speed: unit km/h, now none"),
        (_schema(_SPEED, replace(_STEER, unit="deg")), {}, False, "steer: unit none, now deg"),
        (_schema(replace(_SPEED, type="int32"), _STEER), {}, False, "speed: type int16, now int32"),
        (_schema(replace(_SPEED, type="int8"), _STEER), {}, True, "speed: type int16, now int8"),
        (_schema(replace(_SPEED, type="uint16"), _STEER), {}, True, "speed: type int16, now uint16"),
        (_schema(replace(_SPEED, type="string"), _STEER), {}, True, "speed: type int16, now string"),
        (_schema(_SPEED, replace(_STEER, type="float")), {}, True, "steer: type double, now float"),
        (_schema(_SPEED, replace(_STEER, type="double[3]")), {}, True, "steer: type double, now double[3]"),
        (_schema(_SPEED), {}, False, "steer: is no longer there"),
        (_schema(_STEER), _says(), True, "speed: is no longer there, and contract bus 2.0.0 promises it"),
        (_schema(_SPEED, _STEER, StreamField("x", "double", "m")), {}, False, "x: is new (double, unit m)"),
        (_schema(replace(_SPEED, unit="m/s"), _STEER), _says(unit="km/h"), True, "speed: unit km/h, now m/s"),
        (_schema(replace(_SPEED, unit="m/s"), _STEER), _says(unit="m/s"), False, "speed: unit km/h, now m/s"),
        (_schema(replace(_SPEED, type="string"), _STEER), _says("string"), False, "speed: type int16, now string"),
        (_schema(_SPEED, _STEER, message_type="Velocity"), {}, True, "message type Speed, now Velocity"),
        (_schema(_SPEED, _STEER, kept_as="samples"), {}, True, "it was kept as signals, and now would be as samples"),
        (_schema(definition_sha256="d"), {}, True, "its definition is another, and no reader decodes it"),
    ],
)
def test_each_change_has_its_verdict(
    new: StreamSchema, promises: dict[str, Promise], breaks: bool, sentence: str
) -> None:
    (change,) = compare(_OLD, new, promises)
    assert (change.what, change.breaks) == (sentence, breaks)
    assert new.sha256 != _OLD.sha256


def test_what_is_the_same_is_no_change_whatever_the_order_and_the_reader() -> None:
    same = _schema(_STEER, _SPEED, reader="13 fast", stream="elsewhere")
    assert compare(_OLD, same, _says("double", "mph")) == []
    assert same.sha256 == _OLD.sha256


def test_another_reader_may_tell_other_types_but_never_other_units() -> None:
    new = _schema(replace(_SPEED, type="string"), _STEER, reader="13 fast")
    assert [item.breaks for item in compare(_OLD, new, {})] == [False]
    new = _schema(replace(_SPEED, unit="mph"), _STEER, reader="13 fast")
    assert [item.breaks for item in compare(_OLD, new, {})] == [True]


def test_what_breaks_is_told_first_and_the_rest_counted() -> None:
    new = _schema(*(StreamField(f"n{i}", "double", None) for i in range(4)), replace(_SPEED, unit="mph"))
    text = told(compare(_OLD, new, {}))
    assert text.startswith("speed: unit km/h, now mph; n0: is new")
    assert text.endswith("; and 3 more")


def test_the_first_log_is_held_against_the_contract() -> None:
    assert against_promises(_OLD, _says("int16", "km/h")) == []
    assert against_promises(_OLD, _says("int8")) == [], "wider, as a contract check tells"
    assert [item.what for item in against_promises(_OLD, _says("int32", "m/s"))] == [
        "speed: type int16, contract bus 2.0.0 says int32",
        "speed: unit km/h, contract bus 2.0.0 says m/s",
    ]
    assert [item.what for item in against_promises(_OLD, _says("string"))] == [
        "speed: type int16, contract bus 2.0.0 says string"
    ]
    assert against_promises(replace(_OLD, kept_as="samples"), _says("string", "m/s")) == []


@given(st.sampled_from(["int8", "int16", "float", "double", "uint8", "string", "double[3]", "int8[]", "int16[]"]))
def test_no_type_is_wider_than_itself(kind: str) -> None:
    assert not is_wider(kind, kind)


def test_arrays_widen_by_their_elements_and_keep_their_shape() -> None:
    assert is_wider("int8[]", "int16[]")
    assert is_wider("float[3]", "double[3]")
    assert not is_wider("float[3]", "double[4]")
    assert not is_wider("float", "double[]")


def _stream(kind: str, name: str, schema: pa.Schema, type_: str | None = None, text: str | None = None) -> Stream:
    return Stream(name, kind, schema, 1, type_, text)  # type: ignore[arg-type] # of a test


def test_a_log_tells_every_field_with_type_and_unit() -> None:
    point = pa.struct([pa.field("x", pa.float32(), metadata={"unit": "m"}), pa.field("hits", pa.list_(pa.int8()))])
    schema = pa.schema(
        [
            pa.field("timestamp_ns", pa.int64()),
            pa.field("publish_ns", pa.int64()),
            pa.field("speed", pa.float64(), metadata={"unit": " km/h "}),
            pa.field("gear", pa.dictionary(pa.int32(), pa.string())),
            pa.field("pose", pa.struct([pa.field("q", pa.list_(pa.float64(), 4))])),
            pa.field("points", pa.list_(point)),
        ]
    )
    found = schema_of(_stream("message", "/a", schema, "a/msg/B"), "/a", "/a", "samples", "12 fast", decoded=True)
    assert found.message_type == "a/B"
    assert found.definition_sha256 is None
    assert [(item.name, item.type, item.unit) for item in found.fields] == [
        ("speed", "double", "km/h"),
        ("gear", "string", None),
        ("pose.q", "double[4]", None),
        ("points", "struct[]", None),
        ("points[].x", "float", "m"),
        ("points[].hits", "int8[]", None),
    ]


def test_a_definition_that_nobody_decodes_is_known_by_its_text_without_comments() -> None:
    def of(text: str | None) -> StreamSchema:
        stream = _stream("message", "/a", pa.schema([]), "a/msg/B", text)
        return schema_of(stream, "/a", "/a", "samples", "12 fast", decoded=False)

    assert of("float64  x # metres\n\n").sha256 == of("# a point\nfloat64 x").sha256
    assert of("float64 x").sha256 != of("float32 x").sha256
    assert of(None).definition_sha256 is None


def test_a_channel_group_is_known_by_its_own_name_where_it_has_one_alone() -> None:
    plain = pa.schema([("timestamp_ns", pa.int64())])
    streams = [
        (_stream("signal", name, plain, type_), name)
        for name, type_ in (
            ("0:engine", None),
            ("1:", None),
            ("2:raster", None),
            ("3:raster", None),
            ("CAN1/Speed", "Speed"),
        )
    ]
    streams.append((_stream("message", "5:topic", plain), "5:topic"))
    assert known_names(streams) == {"0:engine": "engine", "CAN1/Speed": "CAN1/Speed", "5:topic": "5:topic"}

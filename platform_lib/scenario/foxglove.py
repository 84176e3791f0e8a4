"""Foxglove's messages as protobuf: the few that a replay needs, as descriptors that lie in the file beside them.

Field names and numbers as Foxglove publishes them, so that Foxglove, Rerun and any protobuf reader show them.
Source: https://docs.foxglove.dev/docs/sdk/schemas (protobuf), 2026-11-30.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, message_factory, timestamp_pb2

_Field = tuple[str, int, str]
# Type -> its fields; "[]" is repeated, "Timestamp" and "Duration" are protobuf's own.
_MESSAGES: dict[str, tuple[_Field, ...]] = {
    "Vector3": (("x", 1, "double"), ("y", 2, "double"), ("z", 3, "double")),
    "Point3": (("x", 1, "double"), ("y", 2, "double"), ("z", 3, "double")),
    "Quaternion": (("x", 1, "double"), ("y", 2, "double"), ("z", 3, "double"), ("w", 4, "double")),
    "Color": (("r", 1, "double"), ("g", 2, "double"), ("b", 3, "double"), ("a", 4, "double")),
    "Pose": (("position", 1, "Vector3"), ("orientation", 2, "Quaternion")),
    "KeyValuePair": (("key", 1, "string"), ("value", 2, "string")),
    "CubePrimitive": (("pose", 1, "Pose"), ("size", 2, "Vector3"), ("color", 3, "Color")),
    "LinePrimitive": (
        ("type", 1, "enum LinePrimitive.Type"), ("pose", 2, "Pose"), ("thickness", 3, "double"),
        ("scale_invariant", 4, "bool"), ("points", 5, "Point3[]"), ("color", 6, "Color"), ("colors", 7, "Color[]"),
        ("indices", 8, "fixed32[]"),
    ),
    "TextPrimitive": (
        ("pose", 1, "Pose"), ("billboard", 2, "bool"), ("font_size", 3, "double"), ("scale_invariant", 4, "bool"),
        ("color", 5, "Color"), ("text", 6, "string"),
    ),
    "SceneEntity": (
        ("timestamp", 1, "Timestamp"), ("frame_id", 2, "string"), ("id", 3, "string"), ("lifetime", 4, "Duration"),
        ("frame_locked", 5, "bool"), ("metadata", 6, "KeyValuePair[]"), ("cubes", 8, "CubePrimitive[]"),
        ("lines", 11, "LinePrimitive[]"), ("texts", 13, "TextPrimitive[]"),
    ),
    "SceneEntityDeletion": (("timestamp", 1, "Timestamp"), ("type", 2, "enum SceneEntityDeletion.Type"), ("id", 3, "string")),
    "SceneUpdate": (("deletions", 1, "SceneEntityDeletion[]"), ("entities", 2, "SceneEntity[]")),
    "FrameTransform": (
        ("timestamp", 1, "Timestamp"), ("parent_frame_id", 2, "string"), ("child_frame_id", 3, "string"),
        ("translation", 4, "Vector3"), ("rotation", 5, "Quaternion"),
    ),
    "PoseInFrame": (("timestamp", 1, "Timestamp"), ("frame_id", 2, "string"), ("pose", 3, "Pose")),
    "PosesInFrame": (("timestamp", 1, "Timestamp"), ("frame_id", 2, "string"), ("poses", 3, "Pose[]")),
    "CompressedImage": (
        ("timestamp", 1, "Timestamp"), ("data", 2, "bytes"), ("format", 3, "string"), ("frame_id", 4, "string"),
    ),
    "Log": (
        ("timestamp", 1, "Timestamp"), ("level", 2, "enum Log.Level"), ("message", 3, "string"), ("name", 4, "string"),
        ("file", 5, "string"), ("line", 6, "fixed32"),
    ),
}  # fmt: skip
_ENUMS: dict[str, tuple[tuple[str, int], ...]] = {
    "LinePrimitive.Type": (("LINE_STRIP", 0), ("LINE_LOOP", 1), ("LINE_LIST", 2)),
    "SceneEntityDeletion.Type": (("MATCHING_ID", 0), ("ALL", 1)),
    "Log.Level": (("UNKNOWN", 0), ("DEBUG", 1), ("INFO", 2), ("WARNING", 3), ("ERROR", 4), ("FATAL", 5)),
}
# Our own: what the car was told to do, by which the drive can be driven again.
_OWN: dict[str, tuple[_Field, ...]] = {
    "Control": (("timestamp", 1, "Timestamp"), ("accel_mps2", 2, "double"), ("steer_rad", 3, "double"))
}
_FOXGLOVE, _DRIVETRAIN = "foxglove", "drivetrain"
_FIELD = descriptor_pb2.FieldDescriptorProto


@cache
def descriptors() -> bytes:
    """Return the serialised ``FileDescriptorSet`` that MCAP's protobuf schemas carry."""
    return bytes(descriptor_pb2.FileDescriptorSet(file=_files()).SerializeToString())


@cache
def message_class(name: str) -> Any:
    """Return the class of a message, for example ``foxglove.SceneUpdate``."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()  # one of our own: a program may hold Foxglove's own package as well
    for file in _files():
        pool.Add(file)
    return pool


def _files() -> list[descriptor_pb2.FileDescriptorProto]:
    own: list[tuple[str, dict[str, tuple[_Field, ...]]]] = [(_FOXGLOVE, _MESSAGES), (_DRIVETRAIN, _OWN)]
    known = [timestamp_pb2, duration_pb2]
    found = []
    for module in known:
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        found.append(file)
    return [*found, *(_file(package, messages, [file.name for file in found]) for package, messages in own)]


def _file(
    package: str, messages: dict[str, tuple[_Field, ...]], imports: list[str]
) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}/replay.proto", package=package, syntax="proto3", dependency=imports
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for enum, values in _ENUMS.items():
            owner, _, inner = enum.partition(".")
            if owner == name and package == _FOXGLOVE:
                kind = message.enum_type.add(name=inner)
                for label, number in values:
                    kind.value.add(name=label, number=number)
        for label, number, kind_name in fields:
            _add(message, label, number, kind_name, package)
    return file


def _add(message: descriptor_pb2.DescriptorProto, label: str, number: int, kind: str, package: str) -> None:
    many = kind.endswith("[]")
    kind = kind.removesuffix("[]")
    field = message.field.add(name=label, number=number, json_name=label)
    field.label = _FIELD.LABEL_REPEATED if many else _FIELD.LABEL_OPTIONAL
    if kind.startswith("enum "):
        field.type, field.type_name = _FIELD.TYPE_ENUM, f".{package}.{kind.removeprefix('enum ')}"
    elif kind in ("Timestamp", "Duration"):
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".google.protobuf.{kind}"
    elif kind in _MESSAGES:
        field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{_FOXGLOVE}.{kind}"
    else:
        field.type = getattr(_FIELD, f"TYPE_{kind.upper()}")

"""ROS message definitions (ros2msg, ros1msg text) -> a tree of types. Pure.

Source: ROS 2 interface definition, https://docs.ros.org/en/rolling/Concepts/Basic/About-Interfaces.html (2026-11-20).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.schemas import kinds
from platform_lib.logs.schemas.kinds import Array, Struct, Text, Type

_SEPARATOR = re.compile(r"^=+[ \t\r]*$", re.MULTILINE)  # definitions from Windows end their lines with CR LF
_FIELD = re.compile(
    r"^(?P<type>[A-Za-z][A-Za-z0-9_/]*)(?:<=\d+)?(?P<array>\[(?:<=)?\d*\])?\s+(?P<name>[A-Za-z][A-Za-z0-9_]*)\s*(?P<rest>.*)$"
)

_NUMBERS = {
    "bool": kinds.BOOL,
    "int8": kinds.INT8,
    "uint8": kinds.UINT8,
    "int16": kinds.INT16,
    "uint16": kinds.UINT16,
    "int32": kinds.INT32,
    "uint32": kinds.UINT32,
    "int64": kinds.INT64,
    "uint64": kinds.UINT64,
    "float32": kinds.FLOAT32,
    "float64": kinds.FLOAT64,
    "char": kinds.UINT8,
}
_ROS2 = _NUMBERS | {"byte": kinds.UINT8}
_ROS1 = _NUMBERS | {"byte": kinds.INT8}
_ROS1_TIMES: dict[str, Type] = {
    "time": Struct("time", (("sec", _NUMBERS["uint32"]), ("nsec", _NUMBERS["uint32"]))),
    "duration": Struct("duration", (("sec", _NUMBERS["int32"]), ("nsec", _NUMBERS["int32"]))),
}
# Recorders may leave these two out of the definitions that they bundle.
_BUILTIN: dict[str, Type] = {
    f"builtin_interfaces/msg/{name}": Struct(
        f"builtin_interfaces/msg/{name}", (("sec", _NUMBERS["int32"]), ("nanosec", _NUMBERS["uint32"]))
    )
    for name in ("Time", "Duration")
}


@dataclass(frozen=True, slots=True)
class _Declaration:
    type_name: str
    array: str | None
    name: str


def parse_definition(message_type: str, text: str, *, ros1: bool = False) -> Struct:
    """Parse a message definition with its dependencies.

    Args:
        message_type: The root type, ``package/msg/Name`` or ``package/Name``.
        text: The root's fields, then ``===`` lines each followed by ``MSG: package/Name`` and that type's fields.
        ros1: Read the text as ros1msg: ``time``, ``duration``, ``Header`` and a signed ``byte``.

    Raises:
        UnsupportedLog: A line that is no field, a type without definition, a type that is not decoded, recursion.
    """
    sections = _SEPARATOR.split(text)
    definitions = {normal_name(message_type): _declarations(sections[0], message_type)}
    for section in sections[1:]:
        head, _, body = section.strip("\r\n").partition("\n")
        if not head.startswith("MSG:"):
            raise _unsupported(message_type, f"a section that starts with {head[:40]!r}")
        name = normal_name(head.removeprefix("MSG:").strip())
        definitions.setdefault(name, _declarations(body, name))
    resolver = _Resolver(message_type, definitions, ros1=ros1)
    root = resolver.struct(normal_name(message_type))
    if not isinstance(root, Struct):
        raise _unsupported(message_type, "a root that is no message")
    return root


def normal_name(name: str) -> str:
    """Return ``package/msg/Name`` for ``package/Name``; any other form as it is."""
    parts = name.split("/")
    return f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else name


def _declarations(body: str, where: str) -> list[_Declaration]:
    result = []
    for raw in body.splitlines():
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        match = _FIELD.match(line)
        if match is None:
            raise _unsupported(where, f"the line {line[:60]!r}")
        if not match["rest"].startswith("="):  # `uint8 DEBUG=10` is a constant
            result.append(_Declaration(match["type"], match["array"], match["name"]))
    return result


class _Resolver:
    def __init__(self, root: str, definitions: dict[str, list[_Declaration]], *, ros1: bool) -> None:
        self._root = root
        self._definitions = definitions
        self._numbers = _ROS1 if ros1 else _ROS2
        self._times = _ROS1_TIMES if ros1 else {}
        self._done: dict[str, Type] = {}
        self._open: list[str] = []

    def struct(self, name: str) -> Type:
        if name in self._done:
            return self._done[name]
        if name in self._open:
            raise _unsupported(self._root, f"the recursive type '{name}'")
        if name not in self._definitions:
            if name in _BUILTIN:
                return _BUILTIN[name]
            raise _unsupported(self._root, f"'{name}', which it does not define")
        self._open.append(name)
        fields = tuple((item.name, self._field(item, name)) for item in self._definitions[name])
        self._open.pop()
        self._done[name] = Struct(name, fields)
        return self._done[name]

    def _field(self, item: _Declaration, owner: str) -> Type:
        base = self._base(item.type_name, owner)
        if item.array is None:
            return base
        bound = item.array[1:-1]
        return Array(base, int(bound) if bound.isdecimal() else None)

    def _base(self, name: str, owner: str) -> Type:
        if name in self._numbers:
            return self._numbers[name]
        if name == "string":
            return Text()
        if name == "wstring":
            return Text(wide=True)
        if name in self._times:
            return self._times[name]
        if "/" in name:
            return self.struct(normal_name(name))
        sibling = f"{owner.partition('/')[0]}/msg/{name}"
        if name == "Header" and sibling not in self._definitions:
            return self.struct("std_msgs/msg/Header")
        return self.struct(sibling)


def _unsupported(where: str, what: str) -> UnsupportedLog:
    return UnsupportedLog(
        f"the message definition holds {what}", where=where, remedy="read the payload with decode=False"
    )

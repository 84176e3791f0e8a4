"""JSON messages -> Arrow columns, typed by their JSON Schema.

Only what a schema says plainly becomes a type: number, integer, string, boolean, object, array, each also "or null".
Anything else (a union, a missing ``type``, no schema at all) stays JSON text, so that no value is bent to fit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.faulty import FaultyPayload

Check = Callable[[Any], Any]
_MOST_DEPTH = 32
_INTEGERS = 1 << 63


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{_shown(value)} is no number")
    return float(value)


def _integer(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise ValueError(f"{_shown(value)} is no integer")
    if not -_INTEGERS <= value < _INTEGERS:  # which the schema allows, and int64 does not hold
        raise UnsupportedLog(f"the integer {_shown(value)} takes more than 64 bits with its sign")
    return int(value)


def _instance(kind: type, name: str) -> Check:
    def check(value: Any) -> Any:
        if not isinstance(value, kind):
            raise ValueError(f"{_shown(value)} is no {name}")
        return value

    return check


def _shown(value: Any) -> str:
    return repr(value)[:40]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A type: its Arrow type, and what refuses values of any other (Arrow would bend 1.5 to 1, "ab" to ["a", "b"])."""

    arrow: pa.DataType
    check: Check

    def value(self, value: Any) -> Any:
        """Return a value as Arrow takes it; ``None`` for null."""
        return None if value is None else self.check(value)


_SCALARS = {
    "number": _Kind(pa.float64(), _number),
    "integer": _Kind(pa.int64(), _integer),
    "string": _Kind(pa.string(), _instance(str, "string")),
    "boolean": _Kind(pa.bool_(), _instance(bool, "boolean")),
}
_ANYTHING = _Kind(pa.string(), json.dumps)


@dataclass(frozen=True, slots=True)
class _Field:
    """One property."""

    name: str
    kind: _Kind

    def column(self, rows: list[dict[str, Any]]) -> pa.Array:
        """Return the property of all messages."""
        return pa.array([self.kind.value(row.get(self.name)) for row in rows], type=self.kind.arrow)


@dataclass(frozen=True, slots=True)
class JsonDecoder:
    """Decodes JSON objects of one schema; a property that a message lacks is null, one that no schema has is left."""

    properties: tuple[_Field, ...]

    def fields(self) -> list[pa.Field]:
        """Return the Arrow fields, in the schema's order; without a schema one text column ``json``."""
        if not self.properties:
            return [pa.field("json", pa.string())]
        return [pa.field(item.name, item.kind.arrow) for item in self.properties]

    def decode(self, payloads: Payloads, wanted: Sequence[int] | None = None) -> list[pa.Array]:
        """Decode payloads, see `platform_lib.logs.schemas.decoders.TopicDecoder`."""
        texts = list(payloads.each())
        rows = [_parsed(row, text) for row, text in enumerate(texts)]
        if not self.properties:
            columns = [pa.array([text.decode() for text in texts], type=pa.string())]
            return columns if wanted is None or len(wanted) else []
        for row, value in enumerate(rows):
            if not isinstance(value, dict):
                raise FaultyPayload.at(row, "a message is not the JSON object that its schema promises")
        chosen = self.properties if wanted is None else [self.properties[number] for number in wanted]
        return [_column(item, rows) for item in chosen]


def _parsed(row: int, text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FaultyPayload.at(row, f"a message is no JSON ({error})") from error


def _column(item: _Field, rows: list[dict[str, Any]]) -> pa.Array:
    try:
        return item.column(rows)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        pass
    for row, value in enumerate(rows):  # which message was it?
        try:
            item.column([value])
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            what = f"property '{item.name}' is not what its JSON schema promises ({error})"
            raise FaultyPayload.at(row, what) from error
    raise FaultyPayload.at(0, f"property '{item.name}' does not fit one batch")


def json_decoder(schema_text: str | None) -> JsonDecoder:
    """Return the decoder of a JSON Schema; without one, messages become one text column ``json``.

    Raises:
        UnsupportedLog: The schema is no JSON object.
    """
    if not schema_text or not schema_text.strip():
        return JsonDecoder(())
    try:
        schema = json.loads(schema_text)
        properties = schema.get("properties", {})
        return JsonDecoder(tuple(_Field(name, _kind(value, 0) or _ANYTHING) for name, value in properties.items()))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UnsupportedLog(f"its JSON schema cannot be parsed ({error})") from error


def _kind(schema: Any, depth: int) -> _Kind | None:
    """Return the type that a schema names plainly; ``None`` if it does not."""
    if not isinstance(schema, dict) or depth > _MOST_DEPTH:
        return None
    name = schema.get("type")
    if isinstance(name, list):  # "number or null"; every column takes null
        named = [item for item in name if item != "null"]
        name = named[0] if len(named) == 1 else None
    if isinstance(name, str) and name in _SCALARS:
        return _SCALARS[name]
    if name == "array":
        return _array(_kind(schema.get("items"), depth + 1))
    if name == "object" and schema.get("properties"):
        return _object({key: _kind(value, depth + 1) for key, value in schema["properties"].items()})
    return None


def _array(item: _Kind | None) -> _Kind | None:
    if item is None:
        return None
    is_list = _instance(list, "array")
    return _Kind(pa.list_(item.arrow), lambda value: [item.value(part) for part in is_list(value)])


def _object(members: dict[str, _Kind | None]) -> _Kind | None:
    known = {name: kind for name, kind in members.items() if kind is not None}
    if len(known) < len(members):
        return None
    is_object = _instance(dict, "object")
    arrow = pa.struct([pa.field(name, kind.arrow) for name, kind in known.items()])

    def check(value: Any) -> Any:
        found = is_object(value)
        return {name: kind.value(found.get(name)) for name, kind in known.items()}

    return _Kind(arrow, check)

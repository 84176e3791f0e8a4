"""JSON messages -> Arrow columns, typed by their JSON Schema.

Only what a schema says plainly becomes a type: number, integer, string, boolean, object, array, each also "or null".
Anything else (a union, a missing ``type``, no schema at all) stays JSON text, so that no value is bent to fit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from platform_lib.errors import UnsupportedLog
from platform_lib.logs.payloads import Payloads
from platform_lib.logs.schemas.faulty import FaultyPayload

_SCALARS = {"number": pa.float64(), "integer": pa.int64(), "string": pa.string(), "boolean": pa.bool_()}
_MOST_DEPTH = 32


@dataclass(frozen=True, slots=True)
class _Field:
    """One property; `arrow` is ``None`` where the value stays JSON text."""

    name: str
    arrow: pa.DataType | None

    def column(self, rows: list[dict[str, Any]]) -> pa.Array:
        """Return the property of all messages."""
        values = [row.get(self.name) for row in rows]
        if self.arrow is None:
            return pa.array([None if value is None else json.dumps(value) for value in values], type=pa.string())
        return pa.array(values, type=self.arrow)


@dataclass(frozen=True, slots=True)
class JsonDecoder:
    """Decodes JSON objects of one schema; a property that a message lacks is null, one that no schema has is left."""

    properties: tuple[_Field, ...]

    def fields(self) -> list[pa.Field]:
        """Return the Arrow fields, in the schema's order; without a schema one text column ``json``."""
        if not self.properties:
            return [pa.field("json", pa.string())]
        return [pa.field(item.name, item.arrow or pa.string()) for item in self.properties]

    def decode(self, payloads: Payloads, wanted: Sequence[int] | None = None) -> list[pa.Array]:
        """Decode payloads, see `platform_lib.logs.schemas.decoders.TopicDecoder`."""
        texts = list(payloads.each())
        rows = [_parsed(row, text) for row, text in enumerate(texts)]
        if not self.properties:
            return [pa.array([text.decode() for text in texts], type=pa.string())] if wanted != () else []
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
        return JsonDecoder(tuple(_Field(name, _type(value, 0)) for name, value in properties.items()))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UnsupportedLog(f"its JSON schema cannot be parsed ({error})") from error


def _type(schema: Any, depth: int) -> pa.DataType | None:
    if not isinstance(schema, dict) or depth > _MOST_DEPTH:
        return None
    kind = schema.get("type")
    if isinstance(kind, list):  # "number or null"; every column takes null
        named = [item for item in kind if item != "null"]
        kind = named[0] if len(named) == 1 else None
    if isinstance(kind, str) and kind in _SCALARS:
        return _SCALARS[kind]
    if kind == "array":
        item = _type(schema.get("items"), depth + 1)
        return None if item is None else pa.list_(item)
    if kind == "object" and schema.get("properties"):
        members = {name: _type(value, depth + 1) for name, value in schema["properties"].items()}
        if all(member is not None for member in members.values()):
            return pa.struct([pa.field(name, member) for name, member in members.items()])
    return None

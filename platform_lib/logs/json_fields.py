"""JSON messages -> Arrow columns, typed by their JSON Schema.

Only what a schema says plainly becomes a type: number, integer, string, boolean, object, array. Anything else (a union,
a missing ``type``, no schema at all) stays JSON text, so that no value is bent to fit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from platform_lib.errors import CorruptLog, UnsupportedLog

Index = npt.NDArray[np.int64]
_SCALARS = {"number": pa.float64(), "integer": pa.int64(), "string": pa.string(), "boolean": pa.bool_()}
_MOST_DEPTH = 32


@dataclass(frozen=True, slots=True)
class _Field:
    """One property; `arrow` is ``None`` where the value stays JSON text."""

    name: str
    arrow: pa.DataType | None


@dataclass(frozen=True, slots=True)
class JsonDecoder:
    """Decodes JSON objects of one schema; a property that a message lacks is null."""

    properties: tuple[_Field, ...]

    def fields(self) -> list[pa.Field]:
        """Return the Arrow fields, in the schema's order; without a schema one text column ``json``."""
        if not self.properties:
            return [pa.field("json", pa.string())]
        return [pa.field(item.name, item.arrow or pa.string()) for item in self.properties]

    def decode(self, raw: npt.NDArray[np.uint8], start: Index, length: Index) -> list[pa.Array]:
        """Decode the payloads ``raw[start : start + length]``.

        Raises:
            CorruptLog: A payload is no JSON object, or breaks its schema.
        """
        texts = [raw[at : at + size].tobytes() for at, size in zip(start.tolist(), length.tolist(), strict=True)]
        try:
            rows = [json.loads(text) for text in texts]
            if not self.properties:
                return [pa.array([text.decode() for text in texts], type=pa.string())]
            return [_column(item, [row.get(item.name) for row in rows]) for item in self.properties]
        except (ValueError, AttributeError, TypeError, RecursionError, pa.ArrowException) as error:
            raise CorruptLog(f"a message is not the JSON that its schema promises ({error})") from error


def _column(item: _Field, values: list[Any]) -> pa.Array:
    if item.arrow is None:
        return pa.array([None if value is None else json.dumps(value) for value in values], type=pa.string())
    return pa.array(values, type=item.arrow)


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

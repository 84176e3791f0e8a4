"""JSON that means one thing to every reader, in bounded memory. Pure.

Readers differ about a key given twice, and about NaN; a deep or crowded document costs far more memory than its bytes.
A signature says nothing about either, so a document with any of them is refused before it becomes an object.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from platform_lib.refusals import first_problem

# The demo's largest document has 12,000 values; a key that a model does not know costs 2 kB until it is refused.
_MAX_VALUES = 250_000
_Kind = TypeVar("_Kind", bound=BaseModel)


def parse(kind: type[_Kind], data: bytes) -> _Kind:
    """Read one document into its model.

    Raises:
        ValueError: It is not JSON, gives a key twice, holds NaN, is too crowded or too deep, or is no such model.
    """
    values(data)
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise ValueError(first_problem(error)) from error


def values(data: bytes) -> JsonValue:
    """Read one document as plain values.

    Raises:
        ValueError: It is not JSON, gives a key twice, holds NaN, or is too crowded or too deep.
    """
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > _MAX_VALUES:
        raise ValueError(f"more than {_MAX_VALUES} values")
    try:
        found: JsonValue = json.loads(data, object_pairs_hook=_each_key_once, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return found


def _each_key_once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    found = dict(pairs)
    if len(found) < len(pairs):
        doubled = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {doubled[:80]!r} is given twice")
    return found


def _refuse_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is no number")

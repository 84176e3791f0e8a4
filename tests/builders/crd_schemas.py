"""Custom resource definitions as validators: strict where an API server would drop a field without a word."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import celpy
import celpy.celtypes
import jsonschema
import re2
import yaml

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "crds"
WHY_SKIPPED = f"the upstream definitions are not at {FOLDER}"


@dataclass(frozen=True)
class Definition:
    """One version of a kind.

    Attributes:
        schema: Its schema, closed: a field that is not in it is refused.
        rules: CEL rules: path of schema parts, and what holds there.
    """

    schema: dict[str, Any]
    source: dict[str, Any]


def _plural(kind: str) -> str:
    low = kind.lower()
    for end, many in (("class", "classes"), ("topology", "topologies")):
        if low.endswith(end):
            return low.removesuffix(end) + many
    return f"{low}s"


@functools.cache
def definition(api_version: str, kind: str) -> Definition | None:
    """Return a kind's definition; None where its file is not there."""
    group, _, version = api_version.partition("/")
    path = FOLDER / f"{group}_{_plural(kind)}.yaml"
    if not path.is_file():
        return None
    document = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
    assert document["spec"]["names"]["kind"] == kind
    source = next(item for item in document["spec"]["versions"] if item["name"] == version)
    assert source["served"]
    schema = source["schema"]["openAPIV3Schema"]
    closed = _closed(schema)
    closed["properties"]["metadata"] = {"type": "object"}  # Kubernetes' own
    return Definition(closed, schema)


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a structural schema as JSON schema that refuses what pruning would drop."""
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]} | {key: schema[key] for key in ("pattern",) if key in schema}
    found = {
        key: value
        for key, value in schema.items()
        if not key.startswith("x-") and key not in {"default", "nullable", "format"}
    }
    for key in ("properties",):
        if key in schema:
            found[key] = {name: _closed(item) for name, item in schema[key].items()}
    if isinstance(schema.get("items"), dict):
        found["items"] = _closed(schema["items"])
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        found["additionalProperties"] = _closed(more)
    elif more is None and schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
        found["additionalProperties"] = False
    for key in ("allOf", "anyOf", "oneOf"):
        found.pop(key, None)
        if key in schema:
            # These parts restrict and declare nothing: they stay as they are.
            found[key] = schema[key]
    return found


def problems(document: dict[str, Any], found: Definition) -> list[str]:
    """Return what a document has that its kind does not allow."""
    validator = jsonschema.Draft4Validator(found.schema)
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(document)]


# CEL -------------------------------------------------------------------------------------------------------------


def rules(document: Any, schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Give every CEL rule that concerns a part of a document: path, rule, part."""
    for rule in schema.get("x-kubernetes-validations", ()):
        yield path, rule, document
    if isinstance(document, dict):
        for name, value in document.items():
            inner = schema.get("properties", {}).get(name)
            more = schema.get("additionalProperties")
            inner = inner or (more if isinstance(more, dict) else None)
            if inner is not None:
                yield from rules(value, inner, f"{path}.{name}")
    elif isinstance(document, list) and isinstance(schema.get("items"), dict):
        for number, value in enumerate(document):
            yield from rules(value, schema["items"], f"{path}[{number}]")


def _find(text: Any, pattern: Any) -> celpy.celtypes.StringType:
    match = re2.search(str(pattern), str(text))
    return celpy.celtypes.StringType(match.group(0) if match else "")


def _split(text: Any, separator: Any) -> celpy.celtypes.ListType:
    return celpy.celtypes.ListType([celpy.celtypes.StringType(item) for item in str(text).split(str(separator))])


@functools.cache
def _program(text: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(text), functions={"find": _find, "split": _split})


def broken_rules(document: dict[str, Any], found: Definition) -> tuple[list[str], int]:
    """Return which of a kind's CEL rules a document breaks, and how many were held against it.

    Rules on a change (`oldSelf`) hold of every new object.
    """
    broken, count = [], 0
    for path, rule, part in rules(document, found.source):
        if "oldSelf" in rule["rule"]:
            continue
        count += 1
        value = celpy.json_to_cel(part)
        if not bool(_program(rule["rule"]).evaluate({"self": value})):
            broken.append(f"{path}: {rule.get('message', rule['rule'])}")
    return broken, count

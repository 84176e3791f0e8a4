"""From a contract's document to the rules it states (pure).

| rule | of | comes from |
|---|---|---|
| `present` | stream, column | the object or the property being listed |
| `unit` | column of a stream | `customProperties.unit` |
| `type` | column | `physicalType` |
| `nullValues` | column | `required: true` |
| `duplicateValues` | column of a view or a dataset | `unique: true` |
| the entry's `id` | object, column | `quality` |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from open_data_contract_standard.model import DataQuality, SchemaObject, SchemaProperty

from platform_lib.contracts.model import SEVERITIES, Contract, Kind, Limit, Rule, Severity, custom

KINDS: tuple[Kind, ...] = get_args(Kind)
ENGINE = "drivetrain"
OPERATORS = (
    "mustBe",
    "mustNotBe",
    "mustBeGreaterThan",
    "mustBeGreaterOrEqualTo",
    "mustBeLessThan",
    "mustBeLessOrEqualTo",
    "mustBeBetween",
    "mustNotBeBetween",
)
_ZERO = Limit("mustBe", 0.0)


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the engine ``drivetrain``.

    Attributes:
        of: Whether it is of a whole stream or of one column.
        unit: Of its figure and of `maximum`.
        arguments: What it needs beside `maximum`, by name and type.
    """

    of: str
    unit: str
    arguments: tuple[tuple[str, type], ...] = ()


CHECKS = {
    "non_monotonic": Check("stream", "rows"),
    "gap": Check("stream", "ms"),
    "dropout": Check("stream", "percent", (("rate_hz", float),)),
    "clock_skew": Check("stream", "ms"),
    "sensor_sync": Check("stream", "ms", (("with", str),)),
    "stuck": Check("column", "s"),
}
"""What each is, see `docs/reference/contracts.md`. `stuck` takes ``except``, a value at which a signal may rest."""

STREAM_METRICS = {"rowCount": "rows", "nullValues": "rows", "missingValues": "rows", "invalidValues": "rows"}
TABLE_METRICS = {**STREAM_METRICS, "duplicateValues": "rows"}


def kind_of(item: SchemaObject) -> Kind | None:
    """Say what an object is; None where its physical type is none of ours."""
    return next((kind for kind in KINDS if kind == item.physicalType), None)


def physical_name(item: SchemaObject | SchemaProperty) -> str:
    """Return the name under which the data has it."""
    return str(item.physicalName or item.name)


def rules_of(contract: Contract) -> tuple[Rule, ...]:
    """List the rules of a contract; what the house lint refuses of it is left out."""
    return tuple(rule for item in contract.document.schema_ or () for rule in _object_rules(item))


def _object_rules(item: SchemaObject) -> Iterator[Rule]:
    kind = kind_of(item)
    if kind is None:
        return
    name = physical_name(item)
    prefix = str(item.name)
    if kind == "stream" and name != "*":
        present: Severity = "info" if custom(item.customProperties).get("optional") is True else "error"
        yield Rule(f"{prefix}.present", present, kind, name, None, "present", Limit("mustBe", 1.0), "streams")
    for quality in item.quality or ():
        if (rule := _quality_rule(quality, prefix, kind, name, None)) is not None:
            yield rule
    for column in item.properties or ():
        yield from _column_rules(column, prefix, kind, name)


def _column_rules(column: SchemaProperty, prefix: str, kind: Kind, name: str) -> Iterator[Rule]:
    own, at = physical_name(column), f"{prefix}.{column.name}"
    unit = custom(column.customProperties).get("unit")

    def rule(check: str, limit: Limit, said: str) -> Rule:
        return Rule(f"{at}.{check}", "error", kind, name, own, check, limit, said)

    yield rule("present", Limit("mustBe", 1.0), "columns")
    if column.physicalType:
        yield rule("type", Limit("mustBe", column.physicalType), "")
    if kind == "stream" and unit is not None:
        yield rule("unit", Limit("mustBe", str(unit)), "")
    if column.required:
        yield rule("nullValues", _ZERO, "rows")
    if column.unique and kind != "stream":
        yield rule("duplicateValues", _ZERO, "rows")
    for quality in column.quality or ():
        if (found := _quality_rule(quality, at, kind, name, column)) is not None:
            yield found


def _quality_rule(
    quality: DataQuality, prefix: str, kind: Kind, name: str, column: SchemaProperty | None
) -> Rule | None:
    severity = next((item for item in SEVERITIES if item == quality.severity), None)
    check, limit = check_of(quality), limit_of(quality)
    if severity is None or check is None or limit is None or not quality.id:
        return None
    own = None if column is None else physical_name(column)
    arguments = _arguments(quality, column)
    return Rule(f"{prefix}.{quality.id}", severity, kind, name, own, check, limit, quality.unit or "", arguments)


def check_of(quality: DataQuality) -> str | None:
    """Name the check that an entry asks for; None for a text, and for what no engine here runs."""
    if quality.type == "sql":
        return "sql" if quality.query else None
    if quality.type == "custom":
        made = quality.implementation
        check = made.get("check") if quality.engine == ENGINE and isinstance(made, dict) else None
        return check if isinstance(check, str) and check in CHECKS else None
    if quality.type in ("library", None):
        return quality.metric if quality.metric in TABLE_METRICS else None
    return None


def limit_of(quality: DataQuality) -> Limit | None:
    """Return an entry's threshold; None where it has none that can be kept."""
    if quality.type == "custom":
        maximum = quality.implementation.get("maximum") if isinstance(quality.implementation, dict) else None
        return Limit("mustBeLessOrEqualTo", float(str(maximum))) if is_number(maximum) else None
    for operator in OPERATORS:
        value = getattr(quality, operator)
        if value is None:
            continue
        if isinstance(value, list):
            return Limit(operator, float(value[0]), float(value[1])) if all(map(is_number, value)) else None
        return Limit(operator, float(value) if is_number(value) else str(value))
    return None


def is_number(value: object) -> bool:
    """Whether a value is a number; truth values are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _arguments(quality: DataQuality, column: SchemaProperty | None) -> tuple[tuple[str, object], ...]:
    found: dict[str, Any] = {}
    if isinstance(quality.implementation, dict):
        found |= {key: value for key, value in quality.implementation.items() if key not in ("check", "maximum")}
    if quality.query:
        found["query"] = quality.query
    found |= quality.arguments or {}
    options = {} if column is None else column.logicalTypeOptions or {}
    if quality.metric == "invalidValues":
        found |= {key: options[key] for key in ("minimum", "maximum") if key in options}
    return tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in sorted(found.items()))

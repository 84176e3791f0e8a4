"""What changes from one version of a contract to the next, and for whom it breaks (pure).

A change that breaks is one after which a consumer finds less than was promised, or a producer's data that was good is
refused. Both take a new major version. Tightening helps consumers and may break producers; loosening the other way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from open_data_contract_standard.model import OpenDataContractStandard, SchemaObject, SchemaProperty

from platform_lib.contracts.lint import CLASSIFICATIONS
from platform_lib.contracts.model import Contract, Limit, Rule, custom
from platform_lib.contracts.rules import physical_name, rules_of

Breaks = Literal["consumers", "producers", "nobody"]
WIDENED = {
    ("float", "double"),
    ("int8", "int16"),
    ("int8", "int32"),
    ("int8", "int64"),
    ("int16", "int32"),
    ("int16", "int64"),
    ("int32", "int64"),
    ("uint8", "uint16"),
    ("uint8", "uint32"),
    ("uint8", "uint64"),
    ("uint16", "uint32"),
    ("uint16", "uint64"),
    ("uint32", "uint64"),
}
"""Every value of the first is one of the second, exactly."""
_DERIVED = frozenset({"present", "unit", "type", "nullValues", "duplicateValues"})
_ALIKE = 0.6


@dataclass(frozen=True, slots=True)
class Change:
    """One change.

    Attributes:
        where: Object, property, rule.
        what: What changed.
        breaks: For whom.
    """

    where: str
    what: str
    breaks: Breaks


def diff(old: Contract, new: Contract) -> list[Change]:
    """List the changes from one version to another, those that break first."""
    found = [*_document(old.document, new.document), *_objects(old.document, new.document), *_rules(old, new)]
    return sorted(found, key=lambda item: (item.breaks == "nobody", item.where))


def version_problem(old: Contract, new: Contract, changes: list[Change]) -> str | None:
    """Say what is wrong with the new version's number; None where it tells the changes."""
    before, after = _numbers(old.version), _numbers(new.version)
    breaking = [item for item in changes if item.breaks != "nobody"]
    if before is None or after is None:
        return "a version is not three numbers"
    if breaking and after[0] <= before[0]:
        return f"{len(breaking)} breaking changes need version {before[0] + 1}.0.0, and it is {new.version}"
    if changes and after <= before:
        return f"it changed, and {new.version} does not follow {old.version}"
    return None


def _numbers(version: str) -> tuple[int, ...] | None:
    parts = version.split(".")
    return tuple(map(int, parts)) if len(parts) == 3 and all(item.isdecimal() for item in parts) else None


def _document(old: OpenDataContractStandard, new: OpenDataContractStandard) -> Iterator[Change]:
    if old.id != new.id:
        yield Change("id", f"{old.id} -> {new.id}: another contract", "consumers")
    for name in ("domain", "dataProduct", "name"):
        if getattr(old, name) != getattr(new, name):
            yield Change(name, f"{getattr(old, name)} -> {getattr(new, name)}", "nobody")
    if old.team != new.team:
        yield Change("team", "changed", "nobody")
    before, after = (_retention(item) for item in (old, new))
    for element in sorted(before.keys() | after.keys()):
        kept, now = before.get(element), after.get(element)
        if kept != now:
            shorter = kept is not None and (now is None or now < kept)
            what = f"retention{f' of {element}' if element else ''}: {kept} d -> {now} d"
            yield Change("slaProperties", what, "consumers" if shorter else "nobody")
    bound, binds = (set(map(str, custom(item.customProperties).get("vehicles") or ())) for item in (old, new))
    if lost := sorted(bound - binds):
        yield Change("vehicles", f"no longer bound: {', '.join(lost)}", "consumers")
    if more := sorted(binds - bound):
        yield Change("vehicles", f"bound now: {', '.join(more)}", "producers")


def _retention(document: OpenDataContractStandard) -> dict[str, float]:
    said = [item for item in document.slaProperties or () if item.property == "retention"]
    return {item.element or "": float(str(item.value)) for item in said if isinstance(item.value, (int, float))}


def _objects(old: OpenDataContractStandard, new: OpenDataContractStandard) -> Iterator[Change]:
    before = {str(item.name): item for item in old.schema_ or ()}
    after = {str(item.name): item for item in new.schema_ or ()}
    yield from _lost_and_found(before, after, "object")
    for name in before.keys() & after.keys():
        yield from _object(name, before[name], after[name])


def _lost_and_found(
    before: dict[str, SchemaObject] | dict[str, SchemaProperty],
    after: dict[str, SchemaObject] | dict[str, SchemaProperty],
    what: str,
    prefix: str = "",
) -> Iterator[Change]:
    added = [name for name in after if name not in before]
    for name in before:
        if name not in after:
            like = max(added, key=lambda other: _likeness(name, other), default=None)
            renamed = like is not None and _likeness(name, like) >= _ALIKE
            yield Change(
                f"{prefix}{name}", f"{what} removed{f', perhaps renamed to {like}' if renamed else ''}", "consumers"
            )
    for name in added:
        # What is promised beside the rest has to be delivered.
        yield Change(f"{prefix}{name}", f"{what} added", "producers")


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _object(name: str, old: SchemaObject, new: SchemaObject) -> Iterator[Change]:
    if physical_name(old) != physical_name(new) or old.physicalType != new.physicalType:
        yield Change(name, f"is now {new.physicalType} {physical_name(new)}", "consumers")
    said, says = (custom(item.customProperties) for item in (old, new))
    if said.get("optional") is True and says.get("optional") is not True:
        yield Change(name, "has to be there now", "producers")
    if says.get("optional") is True and said.get("optional") is not True:
        yield Change(name, "may be missing now", "consumers")
    if said.get("splitGroup") != says.get("splitGroup"):
        yield Change(name, f"splitGroup {said.get('splitGroup')} -> {says.get('splitGroup')}", "consumers")
    before = {str(item.name): item for item in old.properties or ()}
    after = {str(item.name): item for item in new.properties or ()}
    yield from _lost_and_found(before, after, "column", f"{name}.")
    for column in before.keys() & after.keys():
        yield from _column(f"{name}.{column}", before[column], after[column])


def _column(at: str, old: SchemaProperty, new: SchemaProperty) -> Iterator[Change]:
    if physical_name(old) != physical_name(new):
        yield Change(at, f"physical name {physical_name(old)} -> {physical_name(new)}", "consumers")
    for name in ("physicalType", "logicalType"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            wider = (before, after) in WIDENED
            how = "widened" if wider else "narrowed" if (after, before) in WIDENED else "changed"
            yield Change(at, f"{name} {how}: {before} -> {after}", "nobody" if wider else "consumers")
    said, says = (custom(item.customProperties) for item in (old, new))
    for name in ("unit", "definedUnit"):
        if said.get(name) != says.get(name):
            yield Change(at, f"{name}: {said.get(name)} -> {says.get(name)}", "consumers")
    for name, loss, gain in (
        ("required", "may be null now", "may not be null now"),
        ("unique", "may repeat now", "may not repeat now"),
        ("primaryKey", "is no key any more", "is a key now"),
    ):
        before, after = bool(getattr(old, name)), bool(getattr(new, name))
        if before != after:
            yield Change(at, loss if before else gain, "consumers" if before else "producers")
    yield from _classification(at, old, new)


def _classification(at: str, old: SchemaProperty, new: SchemaProperty) -> Iterator[Change]:
    before, after = old.classification, new.classification
    if before == after:
        return
    known = before in CLASSIFICATIONS and after in CLASSIFICATIONS
    loosened = not known or CLASSIFICATIONS.index(str(after)) < CLASSIFICATIONS.index(str(before))
    # Guarding more takes nothing from the data; guarding less is a decision that nobody makes in passing.
    yield Change(
        at,
        f"classification {'loosened' if loosened else 'tightened'}: {before} -> {after}",
        "consumers" if loosened else "nobody",
    )


def _rules(old: Contract, new: Contract) -> Iterator[Change]:
    before = {rule.id: rule for rule in rules_of(old) if rule.check not in _DERIVED}
    after = {rule.id: rule for rule in rules_of(new) if rule.check not in _DERIVED}
    for name, rule in before.items():
        if name not in after:
            yield Change(name, f"rule removed ({rule.limit} {rule.unit})", _side(rule, "consumers"))
    for name, rule in after.items():
        if name not in before:
            yield Change(name, f"rule added ({rule.limit} {rule.unit})", _side(rule, "producers"))
        else:
            yield from _rule(before[name], rule)


def _side(rule: Rule, side: Breaks) -> Breaks:
    return side if rule.severity == "error" else "nobody"


def _rule(old: Rule, new: Rule) -> Iterator[Change]:
    if old.severity != new.severity:
        what = f"severity {old.severity} -> {new.severity}"
        yield Change(
            new.id,
            what,
            "producers" if new.severity == "error" else "consumers" if old.severity == "error" else "nobody",
        )
    if (old.check, old.unit, old.arguments) != (new.check, new.unit, new.arguments):
        yield from _measured_otherwise(old, new)
    elif old.limit != new.limit:
        tighter = _is_tighter(old.limit, new.limit)
        how = "changed" if tighter is None else "stricter" if tighter else "looser"
        side: Breaks = "consumers" if tighter is False else "producers"
        yield Change(new.id, f"quality {how}: {old.limit} -> {new.limit} {new.unit}", _side(new, side))


def _measured_otherwise(old: Rule, new: Rule) -> Iterator[Change]:
    before, after = dict(old.arguments), dict(new.arguments)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    said = [f"{name} {before.get(name)} -> {after.get(name)}" for name in changed if name != "query"]
    what = ", ".join(said) or (
        "query changed" if "query" in changed else f"{old.check} {old.unit} -> {new.check} {new.unit}"
    )
    wider = set(changed) <= {"minimum", "maximum"} and _covers(after, before)
    yield Change(new.id, what, _side(new, "consumers" if wider else "producers"))


def _covers(outer: dict[str, object], inner: dict[str, object]) -> bool:
    """Whether one range holds all of the other; an end that is not given is open."""
    low, high = float("-inf"), float("inf")
    ends = [(float(str(item.get("minimum", low))), float(str(item.get("maximum", high)))) for item in (outer, inner)]
    return ends[0][0] <= ends[1][0] and ends[0][1] >= ends[1][1]


def _is_tighter(old: Limit, new: Limit) -> bool | None:
    """Whether a limit lets less pass than before; None where the two cannot be ordered."""
    if old.operator != new.operator or isinstance(old.value, str) or isinstance(new.value, str):
        return None
    match new.operator:
        case "mustBeLessThan" | "mustBeLessOrEqualTo":
            return new.value < old.value
        case "mustBeGreaterThan" | "mustBeGreaterOrEqualTo":
            return new.value > old.value
        case "mustBeBetween" if old.high is not None and new.high is not None:
            if old.value <= new.value and new.high <= old.high:
                return True
            return False if new.value <= old.value and old.high <= new.high else None
    return None

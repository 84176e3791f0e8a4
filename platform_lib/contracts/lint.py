"""The house lint: what the official schema of ODCS lets pass and this platform does not (pure).

The schema takes any text as a severity, a team as the list that version 3.0 had, a threshold without a unit, and
says nothing of owners, retention, personal data and split groups. Each rule has a code that stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from open_data_contract_standard.model import (
    DataQuality,
    OpenDataContractStandard,
    SchemaObject,
    SchemaProperty,
    Team,
)

from platform_lib.contracts.model import SEVERITIES, custom
from platform_lib.contracts.rules import (
    CHECKS,
    ENGINE,
    KINDS,
    STREAM_METRICS,
    TABLE_METRICS,
    check_of,
    is_number,
    kind_of,
    limit_of,
    physical_name,
)

CLASSIFICATIONS = ("public", "internal", "restricted", "personal")
"""From open to guarded. Personal: tells something of a person, GDPR article 4(1)."""
ADMITTED_PII = frozenset({"none_present", "blurred"})
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_NUMBERS = ("integer", "number")
_TABLES = {"view", "dataset"}

LINT_RULES = {
    "DC01": "a quality rule's severity is error, warning or info",
    "DC02": "team is an object with a name and members, not the list of version 3.0",
    "DC03": "a member of the team has the role owner",
    "DC04": "slaProperties say the retention in d (days)",
    "DC05": "every property has a classification: public, internal, restricted or personal",
    "DC06": "where a property is personal, customProperties name the lawfulBasis",
    "DC07": "an object that holds personal pictures says their pii_state, and admits none_present and blurred alone",
    "DC08": "a dataset names its splitGroup, a property of its own",
    "DC09": "a threshold has its unit, the one that the check measures in",
    "DC10": "every quality rule has an id, once in its object",
    "DC11": "a quality rule is one that can be run here: a metric, a query on a table, a check of this engine",
    "DC12": "a number has a unit (as the log names it) or a definedUnit (where it is defined elsewhere)",
    "DC13": "version is three numbers, as in 1.4.0",
    "DC14": "apiVersion is v3.1.0",
    "DC15": "an object is a stream, a view or a dataset, and names are there once",
    "DC16": "customProperties name the vehicles that are bound",
    "DC17": "name, domain and dataProduct are there: a product is owned by a domain",
    "DC18": "a range has its lower end below its upper end",
    "DC19": "a property is a column that its table, or the log named with --log, has",
}


@dataclass(frozen=True, slots=True)
class Lint:
    """One thing that the house lint refuses.

    Attributes:
        code: Of `LINT_RULES`.
        where: Object, property, rule.
        what: What is wrong there.
    """

    code: str
    where: str
    what: str


def lint(document: OpenDataContractStandard, columns: Mapping[str, Collection[str]] | None = None) -> list[Lint]:
    """Hold a document that the official schema accepts against every rule of the house.

    Args:
        document: Of the contract.
        columns: Physical names of tables and streams -> the columns they have. What is not among them is not looked at.
    """
    found = [item for rule in (_header, _team, _retention, _personal) for item in rule(document)]
    names = Counter(item.name for item in document.schema_ or ())
    found += [Lint("DC15", str(name), f"{count} objects of that name") for name, count in names.items() if count > 1]
    if not names:
        found.append(Lint("DC15", "schema", "there is no object in it"))
    for item in document.schema_ or ():
        found += _object(item)
        found += _columns(item, columns or {})
    return found


def streams_without(document: OpenDataContractStandard, columns: Collection[str]) -> list[str]:
    """Return the streams of a contract that are not among these: nothing of theirs was looked up."""
    streams = [physical_name(item) for item in document.schema_ or () if kind_of(item) == "stream"]
    return [name for name in streams if name not in columns]


def _columns(item: SchemaObject, columns: Mapping[str, Collection[str]]) -> Iterator[Lint]:
    known = columns.get(physical_name(item))
    for column in item.properties or ():
        if known is not None and physical_name(column) not in known:
            yield Lint("DC19", f"{item.name}.{column.name}", f"{physical_name(item)} has no '{physical_name(column)}'")


def _header(document: OpenDataContractStandard) -> Iterator[Lint]:
    if not _VERSION.fullmatch(str(document.version)):
        yield Lint("DC13", "version", f"'{document.version}'")
    if document.apiVersion != "v3.1.0":
        yield Lint("DC14", "apiVersion", f"'{document.apiVersion}'")
    for name in ("name", "domain", "dataProduct"):
        if not str(getattr(document, name) or "").strip():
            yield Lint("DC17", name, "missing")
    vehicles = custom(document.customProperties).get("vehicles")
    if not isinstance(vehicles, list) or not vehicles or not all(isinstance(item, str) and item for item in vehicles):
        yield Lint("DC16", "customProperties", 'no list of patterns such as ["dt-*"]')


def _team(document: OpenDataContractStandard) -> Iterator[Lint]:
    team = document.team
    if not isinstance(team, Team):
        yield Lint("DC02", "team", "missing" if team is None else "a list, as in version 3.0")
        return
    if not team.name or not team.members:
        yield Lint("DC02", "team", f"no {'members' if team.name else 'name'}")
    if not any(item.role == "owner" and item.username for item in team.members or ()):
        yield Lint("DC03", "team", "nobody is the owner")


def _retention(document: OpenDataContractStandard) -> Iterator[Lint]:
    said = [item for item in document.slaProperties or () if item.property == "retention"]
    if not said:
        yield Lint("DC04", "slaProperties", "no retention")
    for item in said:
        value = item.value
        if item.unit != "d" or not is_number(value) or not float(str(value)) > 0:
            yield Lint("DC04", "slaProperties", f"a retention of {value} {item.unit or 'without a unit'}")


def _personal(document: OpenDataContractStandard) -> Iterator[Lint]:
    columns = [(item, column) for item in document.schema_ or () for column in item.properties or ()]
    personal = [(item, column) for item, column in columns if column.classification == "personal"]
    if personal and not custom(document.customProperties).get("lawfulBasis"):
        yield Lint("DC06", f"{personal[0][0].name}.{personal[0][1].name}", "personal, and no lawfulBasis is named")
    for item in {id(item): item for item, column in personal if _is_picture(column)}.values():
        states = [column for column in item.properties or () if physical_name(column) == "pii_state"]
        admitted = [_valid_values(rule) for column in states for rule in column.quality or ()]
        if not any(values and values <= ADMITTED_PII for values in admitted):
            what = "pii_state admits other states" if any(admitted) else "no pii_state with valid values"
            yield Lint("DC07", str(item.name), what)


def _is_picture(column: SchemaProperty) -> bool:
    return column.physicalType in ("large_binary", "binary")


def _valid_values(rule: DataQuality) -> frozenset[str]:
    values = (rule.arguments or {}).get("validValues") if rule.severity == "error" else None
    return frozenset(map(str, values)) if isinstance(values, list) and rule.metric == "invalidValues" else frozenset()


def _object(item: SchemaObject) -> Iterator[Lint]:
    where, kind = str(item.name), kind_of(item)
    if kind is None:
        yield Lint("DC15", where, f"physicalType '{item.physicalType}' is none of {', '.join(KINDS)}")
    names = Counter(physical_name(column) for column in item.properties or ())
    yield from (Lint("DC15", where, f"'{name}' is there {count} times") for name, count in names.items() if count > 1)
    group = custom(item.customProperties).get("splitGroup")
    if kind == "dataset" and group not in {column.name for column in item.properties or ()}:
        yield Lint("DC08", where, "no splitGroup" if group is None else f"'{group}' is no property of it")
    yield from _rules(item.quality, where, kind, None)
    for column in item.properties or ():
        yield from _column(column, where, kind)


def _column(column: SchemaProperty, where: str, kind: str | None) -> Iterator[Lint]:
    at, said = f"{where}.{column.name}", custom(column.customProperties)
    if column.classification not in CLASSIFICATIONS:
        yield Lint("DC05", at, f"'{column.classification}'" if column.classification else "missing")
    if column.logicalType in _NUMBERS and not (said.get("unit") or said.get("definedUnit")):
        yield Lint("DC12", at, "no unit")
    options = column.logicalTypeOptions or {}
    low, high = options.get("minimum"), options.get("maximum")
    if is_number(low) and is_number(high) and not float(str(low)) < float(str(high)):
        yield Lint("DC18", at, f"{low} ... {high}")
    yield from _rules(column.quality, at, kind, column)


def _rules(
    rules: list[DataQuality] | None, where: str, kind: str | None, column: SchemaProperty | None
) -> Iterator[Lint]:
    ids = Counter(rule.id for rule in rules or ())
    yield from (Lint("DC10", where, f"the id '{name}' is there {n} times") for name, n in ids.items() if name and n > 1)
    for number, rule in enumerate(rules or ()):
        at = f"{where}.{rule.id or f'quality[{number}]'}"
        if not rule.id:
            yield Lint("DC10", at, "no id")
        if rule.severity not in SEVERITIES:
            yield Lint("DC01", at, f"'{rule.severity}'" if rule.severity else "missing")
        if rule.type != "text":
            for look in (_runs, _unit, _range):
                yield from look(rule, at, kind, column)


_Look = Callable[[DataQuality, str, str | None, SchemaProperty | None], Iterator[Lint]]


def _runs(rule: DataQuality, at: str, kind: str | None, column: SchemaProperty | None) -> Iterator[Lint]:
    check = check_of(rule)
    if check is None:
        what = rule.metric or rule.engine or rule.type or "nothing"
        yield Lint("DC11", at, f"'{what}' is no metric of a table and no check of the engine '{ENGINE}'")
    elif limit_of(rule) is None:
        yield Lint("DC11", at, "no threshold that can be kept")
    elif check == "sql" and kind not in _TABLES:
        yield Lint("DC11", at, "a query is of a view or a dataset, not of a stream")
    elif check in CHECKS:
        yield from _engine(rule, check, at, kind, column)
    elif check not in (STREAM_METRICS if kind == "stream" else {**TABLE_METRICS, "sql": ""}):
        yield Lint("DC11", at, f"{check} is not of a stream")
    elif check not in ("rowCount", "sql") and column is None:
        yield Lint("DC11", at, f"{check} is of a property")
    elif check == "invalidValues" and column is not None and not _can_be_invalid(rule, column):
        yield Lint("DC11", at, "nothing says what is valid: validValues, or minimum and maximum")


def _engine(rule: DataQuality, check: str, at: str, kind: str | None, column: SchemaProperty | None) -> Iterator[Lint]:
    asked = CHECKS[check]
    if kind != "stream" or (asked.of == "column") != (column is not None):
        yield Lint("DC11", at, f"{check} is of a {'property of a ' if asked.of == 'column' else ''}stream")
    given = rule.implementation if isinstance(rule.implementation, dict) else {}
    needed = dict(asked.arguments)
    for name, kind_ in needed.items():
        value = given.get(name)
        if not (is_number(value) and float(str(value)) > 0 if kind_ is float else isinstance(value, kind_)):
            yield Lint("DC11", at, f"{check} needs '{name}'")
    allowed = {"check", "maximum", *needed, *({"except"} if check == "stuck" else ())}
    if unknown := sorted(set(map(str, given)) - allowed):
        yield Lint("DC11", at, f"{check} takes no '{unknown[0]}'")


def _can_be_invalid(rule: DataQuality, column: SchemaProperty) -> bool:
    options = column.logicalTypeOptions or {}
    valid = (rule.arguments or {}).get("validValues")
    return (
        bool(valid) if isinstance(valid, list) else any(is_number(options.get(end)) for end in ("minimum", "maximum"))
    )


def _unit(rule: DataQuality, at: str, kind: str | None, column: SchemaProperty | None) -> Iterator[Lint]:
    del kind, column
    check = check_of(rule)
    due = CHECKS[check].unit if check in CHECKS else TABLE_METRICS.get(str(check))
    if not rule.unit:
        yield Lint("DC09", at, "no unit")
    elif due is not None and rule.unit != due:
        yield Lint("DC09", at, f"'{rule.unit}', and {check} measures {due}")


def _range(rule: DataQuality, at: str, kind: str | None, column: SchemaProperty | None) -> Iterator[Lint]:
    del kind, column
    ends = rule.mustBeBetween or rule.mustNotBeBetween
    if ends is not None and not float(ends[0]) < float(ends[1]):
        yield Lint("DC18", at, f"{ends[0]} ... {ends[1]}")

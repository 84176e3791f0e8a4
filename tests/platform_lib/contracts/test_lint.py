"""The official schema and the house lint: the shipped contracts pass, and every rule catches its planted fault."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from platform_lib.contracts.columns import columns_of_tables
from platform_lib.contracts.document import (
    PRODUCTS,
    contract_paths,
    read_contract,
    read_contracts,
    read_document,
    schema_problems,
)
from platform_lib.contracts.lint import LINT_RULES, lint
from platform_lib.contracts.rules import rules_of
from platform_lib.errors import ConfigError, MissingPartError

Change = Callable[[dict[str, Any]], object]


@cache
def _shipped(name: str) -> dict[str, Any]:
    return dict(read_document(PRODUCTS / f"{name}.odcs.yaml")[0])


def _changed(tmp_path: Path, name: str, change: Change) -> Path:
    values = copy.deepcopy(_shipped(name))
    change(values)
    path = tmp_path / f"{name}.odcs.yaml"
    path.write_text(json.dumps(values))  # which is YAML too
    return path


def _codes(path: Path) -> set[str]:
    assert schema_problems(read_document(path)[0]) == [], "the official schema takes it"
    return {item.code for item in lint(read_contract(path).document, columns_of_tables())}


@pytest.mark.parametrize("path", contract_paths(None), ids=lambda path: path.name)
def test_the_shipped_contracts_are_sound(path: Path) -> None:
    assert _codes(path) == set()
    assert rules_of(read_contract(path))


def _object(values: dict[str, Any], index: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = values["schema"][index]
    return found


def _column(values: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(c for o in values["schema"] for c in o.get("properties", ()) if c["name"] == name)
    return found


def _rule(values: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(rule for rule in _object(values)["quality"] if rule["id"] == name)
    return found


def _drop(values: dict[str, Any], property_: str) -> None:
    values["customProperties"] = [item for item in values["customProperties"] if item["property"] != property_]


FAULTS: list[tuple[str, str, str, Change]] = [
    ("DC01", "a severity of our own", "vehicle-signals", lambda v: _rule(v, "no_gap").update(severity="catastrophic")),
    ("DC01", "no severity", "vehicle-signals", lambda v: _rule(v, "no_gap").pop("severity")),
    ("DC02", "a team as a list", "vehicle-signals", lambda v: v.update(team=v["team"]["members"])),
    ("DC02", "no team", "vehicle-signals", lambda v: v.pop("team")),
    ("DC02", "a team of nobody", "vehicle-signals", lambda v: v["team"].update(members=[])),
    ("DC03", "no owner", "vehicle-signals", lambda v: v["team"]["members"].pop(0)),
    ("DC04", "no retention", "vehicle-signals", lambda v: v.pop("slaProperties")),
    ("DC04", "a retention in months", "vehicle-signals", lambda v: v["slaProperties"][0].update(unit="m")),
    ("DC04", "a retention of a text", "vehicle-signals", lambda v: v["slaProperties"][0].update(value="long")),
    ("DC05", "no classification", "vehicle-signals", lambda v: _column(v, "YawRate").pop("classification")),
    ("DC05", "a classification of our own", "drives", lambda v: _column(v, "labels").update(classification="secretish")),
    ("DC06", "no lawful basis", "ego-motion", lambda v: _drop(v, "lawfulBasis")),
    ("DC07", "pictures without pii_state", "camera-samples", lambda v: _object(v)["properties"].remove(_column(v, "pii_state"))),
    ("DC07", "un-blurred pictures admitted", "camera-samples", lambda v: _column(v, "pii_state")["quality"][0]["arguments"].update(validValues=["present", "blurred"])),
    ("DC07", "no more than a warning of them", "camera-samples", lambda v: _column(v, "pii_state")["quality"][0].update(severity="warning")),
    ("DC08", "no split group", "dataset-samples", lambda v: _object(v).pop("customProperties")),
    ("DC08", "a split group that is no column", "dataset-samples", lambda v: _object(v)["customProperties"][0].update(value="city")),
    ("DC09", "a threshold without unit", "vehicle-signals", lambda v: _rule(v, "no_gap").pop("unit")),
    ("DC09", "a gap in seconds", "vehicle-signals", lambda v: _rule(v, "no_gap").update(unit="s")),
    ("DC10", "a rule without id", "vehicle-signals", lambda v: _rule(v, "no_gap").pop("id")),
    ("DC10", "an id twice", "vehicle-signals", lambda v: _rule(v, "no_gap").update(id="no_long_gap")),
    ("DC11", "an engine we have not got", "vehicle-signals", lambda v: _rule(v, "no_gap").update(engine="soda")),
    ("DC11", "a check that is none", "vehicle-signals", lambda v: _rule(v, "no_gap")["implementation"].update(check="smell")),
    ("DC11", "no threshold", "vehicle-signals", lambda v: _rule(v, "no_gap")["implementation"].pop("maximum")),
    ("DC11", "a threshold that is a truth", "vehicle-signals", lambda v: _rule(v, "no_gap")["implementation"].update(maximum=True)),
    ("DC11", "a misspelt argument", "vehicle-signals", lambda v: _rule(v, "no_gap")["implementation"].update(rate=3)),
    ("DC11", "a dropout without rate", "vehicle-signals", lambda v: _rule(v, "few_dropouts")["implementation"].pop("rate_hz")),
    ("DC11", "a query on a stream", "vehicle-signals", lambda v: _object(v)["quality"].append({"id": "q", "type": "sql", "query": "SELECT 1", "mustBe": 1, "unit": "rows", "severity": "error"})),
    ("DC11", "a range that no end tells", "vehicle-signals", lambda v: _column(v, "YawRate").pop("logicalTypeOptions")),
    ("DC11", "duplicates of a stream", "vehicle-signals", lambda v: _column(v, "YawRate")["quality"][0].update(metric="duplicateValues")),
    ("DC11", "nulls of a whole view", "drives", lambda v: _object(v, 1)["quality"][0].update(metric="nullValues")),
    ("DC11", "stuck on a stream", "vehicle-signals", lambda v: _rule(v, "no_gap").update(unit="s", implementation={"check": "stuck", "maximum": 1})),
    ("DC12", "a number without unit", "vehicle-signals", lambda v: _column(v, "YawRate").pop("customProperties")),
    ("DC13", "a version of two numbers", "vehicle-signals", lambda v: v.update(version="1.0")),
    ("DC14", "an older standard", "vehicle-signals", lambda v: v.update(apiVersion="v3.0.2")),
    ("DC15", "a topic", "vehicle-signals", lambda v: _object(v).update(physicalType="topic")),
    ("DC15", "a column twice", "vehicle-signals", lambda v: _object(v)["properties"].append(_column(v, "timestamp_ns"))),
    ("DC15", "an object twice", "vehicle-signals", lambda v: v["schema"].append(_object(v))),
    ("DC15", "no object", "vehicle-signals", lambda v: v.update(schema=[])),
    ("DC16", "nobody bound", "vehicle-signals", lambda v: _drop(v, "vehicles")),
    ("DC17", "no domain", "vehicle-signals", lambda v: v.pop("domain")),
    ("DC18", "a range upside down", "vehicle-signals", lambda v: _column(v, "YawRate").update(logicalTypeOptions={"minimum": 5, "maximum": -5})),
    ("DC19", "a column the table has not got", "drives", lambda v: v["schema"][-1]["properties"][0].update(name="ingest")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "name", "change"), [(f[0], f[2], f[3]) for f in FAULTS], ids=[f"{f[0]}: {f[1]}" for f in FAULTS]
)
def test_a_planted_fault_passes_the_official_schema_and_not_the_house(
    tmp_path: Path, code: str, name: str, change: Change
) -> None:
    assert code in _codes(_changed(tmp_path, name, change))


def test_every_rule_has_its_planted_fault() -> None:
    assert {fault[0] for fault in FAULTS} == set(LINT_RULES)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: v.update(kind="Contract"), "kind"),
        (lambda v: v.pop("id"), "'id' is a required property"),
        (lambda v: v.update(owner="me"), "owner"),
        (lambda v: _object(v)["properties"][0].update(logicalType="float"), "logicalType"),
        (lambda v: _object(v)["quality"][0].update(treshold=3), "treshold"),
    ],
    ids=["kind", "id", "unknown key", "logical type", "misspelt key of a rule"],
)
def test_what_the_official_schema_refuses_is_told_with_its_place(tmp_path: Path, change: Change, said: str) -> None:
    path = _changed(tmp_path, "vehicle-signals", change)
    assert any(said in problem for problem in schema_problems(read_document(path)[0]))
    with pytest.raises(ConfigError, match="no ODCS contract"):
        read_contract(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a: [", "not YAML"),
        (b"- a\n", "no mapping"),
        (b"id: a\nid: b\n", "stands twice"),
        (b"1: a\n", "is no text"),
        (b"a: !!python/object/apply:os.getcwd []\n", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
        (b"[" * 300_000 + b"]" * 300_000, "nested deeper than 40"),
        (b"a: &x [1]\nb: [*x, *x]\n", "alias"),
    ],
    ids=["cut", "a list", "a key twice", "a number as key", "a Python object", "not text", "a tower", "an alias"],
)
def test_what_is_no_contract_is_refused(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "x.odcs.yaml"
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=said):
        read_document(path)


def test_a_home_replaces_a_contract_and_two_of_its_own_may_not_share_an_id(tmp_path: Path) -> None:
    shipped = {item.id: item.sha256 for item in read_contracts(tmp_path)}
    folder = tmp_path / "contracts"
    folder.mkdir()
    _changed(folder, "vehicle-signals", lambda v: v.update(version="1.1.0"))
    own = {item.id: item for item in read_contracts(tmp_path)}
    assert set(own) == set(shipped)
    assert (own["vehicle-signals"].version, own["vehicle-signals"].path.parent) == ("1.1.0", folder)
    (folder / "again.odcs.yaml").write_bytes((folder / "vehicle-signals.odcs.yaml").read_bytes())
    with pytest.raises(ConfigError, match="is that of"):
        read_contracts(tmp_path)
    with pytest.raises(MissingPartError):
        read_contract(tmp_path / "none.odcs.yaml")


def test_streams_that_a_log_does_not_have_are_named(tmp_path: Path) -> None:
    from tiny_logs import write_tiny_log

    from platform_lib.contracts.columns import columns_of_log
    from platform_lib.contracts.commands import _lint_one

    path = tmp_path / "contract.yaml"
    path.write_text(json.dumps(_shipped("vehicle-signals")))
    in_log = columns_of_log(write_tiny_log(tmp_path / "a.mcap", 1), ())
    found, absent = _lint_one(path, in_log)
    assert absent
    assert [(item.code, item.where) for item in found] == [("DC19", "schema")]
    known = {**in_log, **{name: [] for name in absent[1:]}}
    found, absent_now = _lint_one(path, known)
    assert absent_now == absent[:1]
    assert ("DC19", "schema") not in [(item.code, item.where) for item in found]
    assert _lint_one(path, None) == ([], [])

"""Changes between two versions of a contract: each that breaks is named with whom it breaks, and nothing else is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from open_data_contract_standard.model import OpenDataContractStandard

from platform_lib.contracts.diff import diff, version_problem
from platform_lib.contracts.document import PRODUCTS, read_document
from platform_lib.contracts.model import Contract

Change = Callable[[dict[str, Any]], object]


@cache
def _shipped(name: str) -> dict[str, Any]:
    return dict(read_document(PRODUCTS / f"{name}.odcs.yaml")[0])


def _contract(change: Change = lambda _: None, name: str = "vehicle-signals", version: str = "1.0.0") -> Contract:
    values = copy.deepcopy(_shipped(name))
    change(values)
    values["version"] = version
    return Contract(OpenDataContractStandard.model_validate(values), "0" * 64, Path("x"))


def _stream(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = values["schema"][0]
    return found


def _column(values: dict[str, Any], name: str = "WheelSpeedRearLeft") -> dict[str, Any]:
    found: dict[str, Any] = next(c for o in values["schema"] for c in o.get("properties", ()) if c["name"] == name)
    return found


def _gap(values: dict[str, Any], rule: str = "no_long_gap") -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in _stream(values)["quality"] if item["id"] == rule)
    return found


ADDED = {"name": "SpareSpeed", "logicalType": "number", "classification": "internal"}

CHANGES: list[tuple[str, str, str, Change]] = [
    ("consumers", "column removed", "column removed", lambda v: _stream(v)["properties"].pop()),
    ("consumers", "column renamed", "perhaps renamed to WheelSpeedRearL", lambda v: _column(v).update(name="WheelSpeedRearL")),
    ("consumers", "its physical name", "physical name WheelSpeedRearLeft -> RL", lambda v: _column(v).update(physicalName="RL")),
    ("consumers", "stream removed", "object removed", lambda v: v["schema"].pop()),
    ("consumers", "stream moved", "is now stream CAN2/WheelSpeeds", lambda v: _stream(v).update(physicalName="CAN2/WheelSpeeds")),
    ("consumers", "type narrowed", "physicalType narrowed: double -> float", lambda v: _column(v).update(physicalType="float")),
    ("consumers", "type changed", "physicalType changed: double -> string", lambda v: _column(v).update(physicalType="string")),
    ("consumers", "unit changed", "unit: km/h -> m/s", lambda v: _column(v)["customProperties"][0].update(value="m/s")),
    ("consumers", "required made optional", "may be null now", lambda v: _column(v).pop("required")),
    ("producers", "repeating no more", "may not repeat now", lambda v: _column(v, "YawRate").update(unique=True)),
    ("consumers", "classification loosened", "classification loosened: internal -> public", lambda v: _column(v).update(classification="public")),
    ("nobody", "classification tightened", "classification tightened", lambda v: _column(v).update(classification="restricted")),
    ("producers", "stricter quality", "quality stricter: <= 1000 -> <= 500", lambda v: _gap(v)["implementation"].update(maximum=500)),
    ("consumers", "looser quality", "quality looser: <= 1000 -> <= 2000", lambda v: _gap(v)["implementation"].update(maximum=2000)),
    ("nobody", "a stricter warning", "quality stricter", lambda v: _gap(v, "no_gap")["implementation"].update(maximum=100)),
    ("producers", "a warning made an error", "severity warning -> error", lambda v: _gap(v, "no_gap").update(severity="error")),
    ("consumers", "an error made a warning", "severity error -> warning", lambda v: _gap(v).update(severity="warning")),
    ("consumers", "rule removed", "rule removed", lambda v: _stream(v)["quality"].remove(_gap(v))),
    ("producers", "range narrowed", "maximum 300 -> 200", lambda v: _column(v)["logicalTypeOptions"].update(maximum=200)),
    ("consumers", "range widened", "maximum 300 -> 400", lambda v: _column(v)["logicalTypeOptions"].update(maximum=400)),
    ("consumers", "retention shortened", "retention: 90.0 d -> 30.0 d", lambda v: v["slaProperties"][0].update(value=30)),
    ("nobody", "retention prolonged", "retention: 90.0 d -> 365.0 d", lambda v: v["slaProperties"][0].update(value=365)),
    ("producers", "column added", "column added", lambda v: _stream(v)["properties"].append(ADDED)),
    ("consumers", "a stream may be missing", "may be missing now", lambda v: _stream(v).update(customProperties=[{"property": "optional", "value": True}])),
    ("consumers", "vehicles let go", "no longer bound: dt-*", lambda v: v["customProperties"][0].update(value=["xx-*"])),
    ("producers", "vehicles bound", "bound now: xx-*", lambda v: v["customProperties"][0].update(value=["dt-*", "xx-*"])),
    ("nobody", "another team", "changed", lambda v: v["team"].update(name="other")),
    ("consumers", "another contract", "another contract", lambda v: v.update(id="other")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("breaks", "said", "change"), [(c[0], c[2], c[3]) for c in CHANGES], ids=[c[1] for c in CHANGES]
)
def test_a_change_is_named_and_takes_the_version_it_needs(breaks: str, said: str, change: Change) -> None:
    old = _contract()
    changes = diff(old, _contract(change, version="1.1.0"))
    assert any((item.breaks, said in item.what) == (breaks, True) for item in changes), changes
    assert (version_problem(old, _contract(change, version="1.1.0"), changes) is None) == (breaks == "nobody")
    assert version_problem(old, _contract(change, version="2.0.0"), changes) is None
    assert "does not follow" in str(version_problem(old, _contract(change), changes)) or breaks != "nobody"


def test_a_contract_does_not_differ_from_itself_nor_by_its_words() -> None:
    for name in ("vehicle-signals", "ego-motion", "camera-samples", "drives", "dataset-samples"):
        old, new = _contract(name=name), _contract(lambda v: v["description"].update(purpose="x"), name=name)
        assert diff(old, new) == []
        assert version_problem(old, new, []) is None


def test_a_type_that_holds_all_of_the_other_breaks_nobody() -> None:
    old = _contract(lambda v: _column(v).update(physicalType="float"))
    assert [item.breaks for item in diff(old, _contract())] == ["nobody"]

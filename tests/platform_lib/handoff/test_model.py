from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from platform_lib.handoff.model import FileEntry, HandoffManifest, Tool, Unknown


def _nulls(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        if value.keys() == {"value", "reason"} and value["value"] is None and value["reason"]:
            return
        for key, item in value.items():
            yield from _nulls(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nulls(item, f"{path}[{index}]")
    elif value is None:
        yield path


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, (*path, key))


def test_every_group_is_there_and_what_is_unknown_says_why(signed: Any) -> None:
    document = json.loads((signed.folder / "manifest.json").read_text())
    groups = "header item model targets data evaluation parity safety tools provenance approvals deployment signature"
    assert set(groups.split()) <= document.keys()
    assert list(_nulls(document)) == []
    assert document["approvals"] == []
    assert document["item"]["rxswin_candidates"]["reason"] == "the vehicle maker assigns it (UN R156)"


def test_a_bare_null_is_refused_wherever_it_stands(signed: Any) -> None:
    text = (signed.folder / "manifest.json").read_text()
    document = json.loads(text)
    document["evaluation"] = document["evaluation"][:1]
    tried = 0
    for path in list(_paths(document)):
        if path[-1] == "value" and path[0] != "evaluation":
            continue  # the one null that an unknown has
        changed = json.loads(json.dumps(document))
        place = changed
        for key in path[:-1]:
            place = place[key]
        if place[path[-1]] is None:
            continue
        place[path[-1]] = None
        with pytest.raises(ValidationError):
            HandoffManifest.model_validate_json(json.dumps(changed))
        tried += 1
    assert tried > 300


def test_an_unknown_needs_its_reason() -> None:
    assert Unknown.model_validate({"value": None, "reason": "not measured"}).reason == "not measured"
    for bad in ({"value": None}, {"value": None, "reason": ""}, {"value": 0, "reason": "x"}, {"reason": "x"}):
        with pytest.raises(ValidationError):
            Unknown.model_validate(bad)


@pytest.mark.parametrize(("ti", "td", "tcl"), [(1, 1, 1), (1, 3, 1), (2, 1, 1), (2, 2, 2), (2, 3, 3)])
def test_tool_confidence_follows_the_standard(ti: int, td: int, tcl: int) -> None:
    def tool(level: int) -> Tool:
        return Tool.model_validate(
            {"name": "t", "version": "1", "use": "u", "ti": ti, "td": td, "tcl": level, "qualification": "none"}
        )

    assert tool(tcl).tcl == tcl
    for wrong in {1, 2, 3} - {tcl}:
        with pytest.raises(ValidationError, match="TCL"):
            tool(wrong)


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "a//b", "./a", ""])
def test_files_lie_in_the_bundle(path: str) -> None:
    with pytest.raises(ValidationError):
        FileEntry(path=path, role="x", sha256="0" * 64, bytes=1)


def test_approval_takes_two_people_of_this_bundle(signed: Any) -> None:
    document = json.loads((signed.folder / "manifest.json").read_text())
    mine = document["header"]["package_id"]

    def approved(*people: tuple[str, str]) -> HandoffManifest:
        given = [
            {"person": who, "role": "r", "approved_utc": "2026-01-01T00:00:00Z", "package_id": what}
            for who, what in people
        ]
        header = document["header"] | {"state": "approved", "blocking": []}
        return HandoffManifest.model_validate_json(json.dumps(document | {"header": header, "approvals": given}))

    assert approved(("one", mine), ("two", mine)).header.state == "approved"
    for people in ([], [("one", mine)], [("one", mine), ("one", mine)], [("one", mine), ("two", "another-bundle")]):
        with pytest.raises(ValidationError, match="2 people"):
            approved(*people)

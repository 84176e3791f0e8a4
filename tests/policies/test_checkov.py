"""The second door: the real checkov loads every rule, and finds what the rules find in process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import plan_examples as build
import pytest
from plan_examples import Document, plan
from rule_examples import EXAMPLES

import policies.checkov
from policies.catalogue import RULES
from policies.checkov_scan import Checkov, ScanError, find_checkov, run_checkov, scan_plans
from policies.high_severity import HIGH_SEVERITY
from policies.plan_view import PlanView

DOOR = Path(policies.checkov.__file__).parent
FOUND = find_checkov()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FOUND is None, reason="checkov is not installed: make tools"),
]


@pytest.fixture(scope="module")
def checkov() -> Checkov:
    assert FOUND is not None
    return FOUND


def _documents() -> dict[str, Document]:
    found = {f"{rule}-good-{place}": item for rule, cases in EXAMPLES.items() for place, item in enumerate(cases.good)}
    for rule, cases in EXAMPLES.items():
        found.update({f"{rule}-bad-{place}": item for place, (_, item) in enumerate(cases.bad.values())})
    return found


@pytest.fixture(scope="module")
def reports(checkov: Checkov, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Run checkov once over every example of every rule."""
    folder = tmp_path_factory.mktemp("plans")
    for name, document in _documents().items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    files = [f"{name}.json" for name in _documents()]
    return run_checkov(checkov, folder, files, checks=list(RULES), rules=DOOR)


def _told(reports: list[dict[str, Any]], result: str) -> set[tuple[str, str, str]]:
    return {
        (Path(item["file_path"]).stem, item["check_id"], item["resource_address"])
        for report in reports
        for item in report["results"][result]
    }


def test_every_rule_was_loaded(reports: list[dict[str, Any]]) -> None:
    asked = {check for result in ("passed_checks", "failed_checks") for _, check, _ in _told(reports, result)}
    assert asked == set(RULES)


def test_both_doors_find_the_same(reports: list[dict[str, Any]]) -> None:
    today = datetime.now(UTC).date()
    expected = {
        (name, rule.id, item.address)
        for name, document in _documents().items()
        for rule in RULES.values()
        for item in rule.find(PlanView.of(document, today))
        if not item.undecided
    }
    assert _told(reports, "failed_checks") == expected
    assert len(expected) > len(RULES)


def test_a_folder_without_init_loads_nothing_and_that_is_noticed(checkov: Checkov, tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "plan_rules.py").write_text((DOOR / "plan_rules.py").read_text())
    (tmp_path / "plan.json").write_text(json.dumps(plan(build.database(publicly_accessible=True))))
    reports = run_checkov(checkov, tmp_path, ["plan.json"], checks=list(RULES), rules=tmp_path / "rules")
    assert not any(report.get("results", {}).get("failed_checks") for report in reports)


def test_the_checks_deemed_high_are_all_known_to_this_checkov(checkov: Checkov) -> None:
    package = next(checkov.program.parents[1].glob("lib/python*/site-packages/checkov/terraform"))
    text = "\n".join(path.read_text() for suffix in ("py", "yaml", "json") for path in package.rglob(f"*.{suffix}"))
    assert [check for check in HIGH_SEVERITY if f'"{check}"' not in text and f"'{check}'" not in text] == []


def _scan(plans: Mapping[str, Document], folder: Path, checkov: Checkov) -> set[tuple[str, str, str]]:
    return set(scan_plans(plans, folder, checkov).failed)


def test_its_own_checks_find_what_is_wrong_and_are_not_asked_twice(
    checkov: Checkov, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = plan(build.cluster()), plan(build.database(publicly_accessible=True))
    found = _scan({"cluster": good, "metadata": bad}, tmp_path, checkov)
    assert ("CKV_AWS_17", "metadata", "aws_db_instance.it") in found
    assert not any(check == "CKV_AWS_39" for check, _, _ in found)

    absent = Checkov(tmp_path / "gone", checkov.version)
    assert _scan({"cluster": good, "metadata": bad}, tmp_path, absent) == found
    with pytest.raises(ScanError, match="did not run"):
        _scan({"cluster": good, "metadata": plan(build.database())}, tmp_path, absent)


def test_what_it_cannot_read_is_an_error_not_a_pass(checkov: Checkov, tmp_path: Path) -> None:
    broken = {"planned_values": {"root_module": {"resources": [{"address": "aws_vpc.it"}]}}}
    with pytest.raises(ScanError):
        scan_plans({"one": broken}, tmp_path, checkov)
    assert not list(tmp_path.glob("*.found.json"))

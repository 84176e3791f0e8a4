"""What fails stops; what is accepted does not, until its day; and what was not looked at is not called clean."""

from __future__ import annotations

import json
import os
import re
from datetime import date
from pathlib import Path

import plan_examples as build
import pytest
from plan_examples import plan

from platform_lib.errors import ConfigError
from policies.baseline import FILE, Accepted, Baseline, read_baseline
from policies.catalogue import RULES
from policies.checkov_scan import find_checkov, scan_plans
from policies.high_severity import HIGH_SEVERITY
from policies.verdict import Scan, Verdict, judge

TODAY = date(2026, 11, 30)
BAD = {"metadata": plan(build.database(deletion_protection=False))}
CLEAN = Scan("3.3.30")


def accepted(**changed: object) -> Accepted:
    made = {
        "checks": ("CKV_DT_25",),
        "environments": ("local",),
        "address": "aws_db_instance.*",
        "reason": "an emulated database is thrown away with its emulator",
        "owner": "platform",
        "expires": TODAY,
    }
    return Accepted.model_validate({**made, **changed})


def verdict(*entries: Accepted, environment: str = "local", scan: Scan = CLEAN, today: date = TODAY) -> Verdict:
    return judge(BAD, environment=environment, today=today, scan=scan, baseline=Baseline(accepted=entries))


def test_what_fails_is_a_failure() -> None:
    (item,) = verdict().failures
    assert (item.check, item.stack, item.address) == ("CKV_DT_25", "metadata", "aws_db_instance.it")
    assert item.remedy


def test_what_is_accepted_is_none_and_is_said() -> None:
    found = verdict(accepted())
    assert found.failures == ()
    ((item, entry),) = found.accepted
    assert item.check in entry.checks


@pytest.mark.parametrize(
    "changed",
    [
        {"environments": ("dev",)},
        {"checks": ("CKV_DT_26",)},
        {"address": "aws_db_instance.other"},
        {"stack": "network-*"},
        {"expires": "2026-11-29"},
    ],
)
def test_another_acceptance_does_not_count(changed: dict[str, object]) -> None:
    assert verdict(accepted(**changed)).failures


def test_an_acceptance_of_nothing_is_named() -> None:
    assert verdict(accepted(), accepted(checks=("CKV_DT_16",))).unused == (accepted(checks=("CKV_DT_16",)),)
    # Where checkov did not run, its findings are absent and not mended.
    other = accepted(checks=("CKV_AWS_17",))
    assert verdict(accepted(), other, scan=CLEAN).unused == (other,)
    assert verdict(accepted(), other, scan=Scan(None)).unused == ()
    # Nor is an entry about a stack that was not planned, or is taken away whole.
    elsewhere = accepted(checks=("CKV_DT_16",), stack="network-*")
    assert verdict(accepted(), elsewhere).unused == ()
    assert (
        judge(
            {"metadata": plan()},
            environment="local",
            today=TODAY,
            scan=CLEAN,
            baseline=Baseline(accepted=(accepted(),)),
        ).unused
        == ()
    )


def test_checkovs_own_findings_fail_too() -> None:
    found = verdict(accepted(), scan=Scan("3.3.30", (("CKV_AWS_17", "metadata", "aws_db_instance.it"),)))
    assert [item.check for item in found.failures] == ["CKV_AWS_17"]


def test_the_digest_changes_with_what_was_found() -> None:
    digests = {verdict().sha256, verdict(accepted()).sha256, verdict(scan=Scan(None)).sha256}
    assert len(digests) == 3
    assert verdict().sha256 == verdict().sha256


def test_a_plan_without_checkov_says_so() -> None:
    assert verdict(scan=Scan(None)).checkov is None


def test_high_findings_come_first() -> None:
    both = {"lake": plan(*build.bucket(versions=None, private=None))}
    found = judge(both, environment="dev", today=TODAY, scan=CLEAN, baseline=Baseline())
    assert [item.check for item in found.failures] == ["CKV_DT_14", "CKV_DT_21"]


def test_the_baseline_of_this_release_is_well_formed() -> None:
    for entry in read_baseline().accepted:
        for check in entry.checks:
            assert check in RULES or check in HIGH_SEVERITY, f"{check} is asked by nobody"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accepted: [{checks: [CKV_AWS_1]}]", "accepted.0"),
        ("allowed: []", "allowed"),
        ("accepted: [", "no YAML"),
        (
            "accepted: [{checks: [CKV_AWS_1], environments: ['*'], address: '*', reason: no, owner: me, expires: 2027-01-01}]",
            "reason",
        ),
    ],
)
def test_another_baseline_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "baseline.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_baseline(path)


def test_a_missing_baseline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_baseline(tmp_path / "none.yaml")
    assert FILE.is_file()


@pytest.mark.skipif("CI" not in os.environ, reason="a developer may test without checkov; CI installs it")
def test_ci_has_checkov() -> None:
    assert find_checkov() is not None, "the tests against the real checkov would be skipped: make tools"


def test_what_make_tools_installs_is_pinned() -> None:
    lines = (FILE.parent / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert any(line.startswith("checkov==") for line in wanted)
    assert [line for line in wanted if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+", line)] == []


def test_without_checkov_nothing_was_looked_at(tmp_path: Path) -> None:
    assert find_checkov(tmp_path) is None
    assert scan_plans(BAD, tmp_path, None) == Scan(None)
    assert json.dumps(list(tmp_path.iterdir())) == "[]"

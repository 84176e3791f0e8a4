"""Version steps: what they replace, what goes with them, and the steps that must not be taken."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from synthesised_stacks import synthesise_into

import cdk.operating.compatibility as table
from cdk.config import load_environment
from cdk.model import Addon, Environment
from cdk.operating.compatibility import TABLE, Fit, Part, companions
from cdk.operating.upgrade import UpgradeRefusedError, changes, check_step
from cdk.support import EKS_VERSIONS

TODAY = date(2026, 11, 30)
PROD = load_environment("prod", today=TODAY)


def at(version: str, *, extended: bool = False) -> Environment:
    changed = {"version": version, "allow_extended_support": extended}
    return PROD.model_copy(update={"kubernetes": PROD.kubernetes.model_copy(update=changed)})


def test_a_step_of_one_minor_version_is_checked() -> None:
    step = check_step(PROD, "1.36", TODAY)
    assert (step.before, step.after, step.supported_until) == ("1.35", "1.36", date(2027, 8, 2))
    assert step.blockers == ()
    pools = {item.pool: item for item in step.pools}
    assert set(pools) == {item.name for item in PROD.pools}
    assert pools["ai100"].what.startswith("untouched: its own image must be built anew")
    assert pools["cpu"].manager == "karpenter"
    assert pools["system"].nodes_now == 3
    # What nobody saw is a short list, each with the reason.
    assert [item.partition(":")[0] for item in step.unknown] == [
        "node image release",
        "nvidia device plugin",
        "kuberay",
    ]


@pytest.mark.parametrize(
    ("before", "target", "what"),
    [
        ("1.34", "1.36", "skips 1 minor version: EKS"),
        ("1.33", "1.36", "skips 2 minor versions: EKS"),
        ("1.35", "1.35", "is what runs"),
        ("1.35", "1.34", "cannot go back"),
        ("1.35", "1.37", "is not known here"),
        ("1.35", "2.0", "is not known here"),
        ("1.35", "latest", "is not known here"),
    ],
)
def test_a_step_that_must_not_be_taken_is_refused(before: str, target: str, what: str) -> None:
    with pytest.raises(UpgradeRefusedError, match=what) as refused:
        check_step(at(before), target, TODAY)
    assert refused.value.remedy


def test_a_version_out_of_support_is_refused_unless_extended_support_is_paid() -> None:
    later = date(2027, 1, 15)
    with pytest.raises(UpgradeRefusedError, match="out of support since 2026-12-02"):
        check_step(at("1.33"), "1.34", later)
    assert check_step(at("1.33", extended=True), "1.34", later).support.value == "extended"
    with pytest.raises(UpgradeRefusedError, match="out of support"):
        check_step(at("1.33", extended=True), "1.34", date(2029, 1, 1))


def test_every_known_version_has_every_part_with_a_source_and_a_date() -> None:
    assert {(row.kubernetes, row.part) for row in TABLE} == {(v, part) for v in EKS_VERSIONS for part in Part}
    assert len({(row.kubernetes, row.part) for row in TABLE}) == len(TABLE)
    for row in TABLE:
        assert row.read <= TODAY
        assert len(row.source) > 20, row
        # A number was read somewhere; what is unknown has a reason instead.
        assert row.version is None or re.fullmatch(r"\d+(\.\d+)*", row.version), row


def test_what_is_unknown_stays_unknown_and_says_whom_to_ask() -> None:
    for item in companions("1.36"):
        if item.fit is Fit.UNKNOWN:
            assert item.wanted == "unknown"
            reason, _, ask = item.source.partition("; ask: ")
            assert reason
            assert ask
    assert {item.part for item in companions("1.36")} >= {f"add-on {addon.value}" for addon in Addon}


def test_a_part_of_ours_that_is_too_old_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table.OURS, Part.KARPENTER, "1.9.0")
    step = check_step(PROD, "1.36", TODAY)
    assert step.blockers == ("karpenter 1.9.0 is too old: >= 1.13 is needed",)
    monkeypatch.setitem(table.OURS, Part.KARPENTER, "1.13.0")
    assert check_step(PROD, "1.36", TODAY).blockers == ()


@pytest.mark.parametrize(
    ("part", "older", "wanted"),
    [(Part.CERT_MANAGER, "1.20.4", ">= 1.21"), (Part.ARGO_CD, "3.4.9", ">= 3.5"), (Part.KUEUE, "0.18.3", ">= 0.19")],
)
def test_what_was_not_tested_on_a_version_blocks_the_step(
    monkeypatch: pytest.MonkeyPatch, part: Part, older: str, wanted: str
) -> None:
    assert check_step(PROD, "1.36", TODAY).blockers == ()
    monkeypatch.setitem(table.OURS, part, older)
    assert check_step(PROD, "1.36", TODAY).blockers == (f"{part.value} {older} is too old: {wanted} is needed",)


@pytest.mark.parametrize("version", list(EKS_VERSIONS))
def test_what_we_run_goes_with_every_supported_version_as_far_as_is_known(version: str) -> None:
    assert [item for item in companions(version) if item.fit is Fit.TOO_OLD] == []


def test_an_unknown_add_on_says_whom_to_ask() -> None:
    asked = next(item for item in companions("1.34") if item.part == "add-on aws-ebs-csi-driver")
    assert asked.fit is Fit.UNKNOWN
    assert "ask: aws eks describe-addon-versions --kubernetes-version 1.34" in asked.source


def test_versions_are_compared_as_numbers() -> None:
    row = replace(TABLE[0], version="1.9", part=Part.KARPENTER)
    assert table._companion(row).fit is Fit.FITS  # 1.14 is later than 1.9


@pytest.mark.slow
def test_the_stacks_themselves_say_what_changes(tmp_path: Path) -> None:
    dev = load_environment("dev", today=TODAY)
    later = dev.model_copy(update={"kubernetes": dev.kubernetes.model_copy(update={"version": "1.36"})})
    found = list(
        changes(synthesise_into(tmp_path / "a", dev).documents, synthesise_into(tmp_path / "b", later).documents)
    )
    versions = [item for item in found if item.attribute == "version"]
    assert {item.address.partition(".")[0] for item in versions} == {"aws_eks_cluster", "aws_eks_node_group"}
    assert all((item.before, item.after) == ("1.35", "1.36") for item in versions)
    assert any(item.attribute == "addon_version" and item.after == "v1.14.3-eksbuild.14" for item in found)
    # A pool with its own image keeps it.
    assert not any("ai100" in item.address for item in found)
    assert list(changes({}, {})) == []

"""Every dangerous kind is found when it is deleted or replaced, and a harmless change is not."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from cdk.delivery import danger
from cdk.delivery.danger import Danger, Harm, Waiver, find_dangers, unwaived
from cdk.delivery.waivers import read_waivers
from platform_lib.errors import ConfigError

TODAY = date(2026, 11, 30)


def plan(*changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"s": {"resource_changes": list(changes)}}


def change(kind: str, actions: list[str], before: Any = None, after: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "address": f"{kind}.it",
        "type": kind,
        "change": {"actions": actions, "before": before, "after": after, "after_unknown": {}, **more},
    }


@pytest.mark.parametrize("kind", danger._DESTROYED)
@pytest.mark.parametrize(
    ("actions", "action"),
    [(["delete"], "delete"), (["delete", "create"], "replace"), (["create", "delete"], "replace")],
)
def test_what_destroys_is_found(kind: str, actions: list[str], action: str) -> None:
    (found,) = find_dangers(plan(change(kind, actions)))
    assert (found.harm, found.action, found.kind) == (Harm.DESTROYS, action, kind)


@pytest.mark.parametrize("kind", danger._INTERRUPTED)
def test_what_interrupts_is_found(kind: str) -> None:
    (found,) = find_dangers(plan(change(kind, ["delete", "create"])))
    assert found.harm is Harm.INTERRUPTS


@pytest.mark.parametrize("actions", [["create"], ["no-op"], ["read"], ["update"]])
def test_what_is_made_or_left_alone_is_no_danger(actions: list[str]) -> None:
    assert find_dangers(plan(*(change(kind, actions) for kind in danger._DESTROYED))) == []


def test_the_attribute_that_forces_a_replacement_is_named() -> None:
    (found,) = find_dangers(
        plan(change("aws_eks_cluster", ["delete", "create"], replace_paths=[["encryption_config", 0, "resources"]]))
    )
    assert "because 'encryption_config.0.resources' changes" in found.why


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in danger._RESTARTS.items() for name in names])
def test_updates_that_restart_are_found_and_others_not(kind: str, name: str) -> None:
    (found,) = find_dangers(plan(change(kind, ["update"], {name: "a", "tags": 1}, {name: "b", "tags": 2})))
    assert found.harm is Harm.INTERRUPTS
    assert f"'{name}' changes" in found.why
    assert find_dangers(plan(change(kind, ["update"], {name: "a", "tags": 1}, {name: "a", "tags": 2}))) == []


def test_a_pool_that_shrinks_below_what_runs_is_found() -> None:
    def sized(desired: int, most: int) -> dict[str, Any]:
        return {"scaling_config": [{"desired_size": desired, "max_size": most, "min_size": 0}]}

    (found,) = find_dangers(plan(change("aws_eks_node_group", ["update"], sized(8, 8), sized(4, 4))))
    assert "below the 8 nodes it has" in found.why
    assert find_dangers(plan(change("aws_eks_node_group", ["update"], sized(2, 8), sized(2, 4)))) == []


BUCKET = Danger("s", "aws_s3_bucket.raw", "aws_s3_bucket", "delete", Harm.DESTROYS, "why")


def waiver(**change: Any) -> Waiver:
    fields = {
        "stack": "s",
        "address": "aws_s3_bucket.*",
        "action": "delete",
        "reason": "the old raw zone was copied",
        "approver": "data lead",
        "expires": date(2026, 12, 31),
    }
    return Waiver(**{**fields, **change})


def test_a_waiver_covers_what_it_names() -> None:
    assert unwaived([BUCKET], [waiver()], TODAY) == []
    assert unwaived([BUCKET], [waiver(stack="*")], TODAY) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"expires": date(2026, 11, 29)},
        {"action": "replace"},
        {"stack": "other"},
        {"address": "aws_kms_key.*"},
    ],
)
def test_a_waiver_covers_nothing_else(fault: dict[str, Any]) -> None:
    assert unwaived([BUCKET], [waiver(**fault)], TODAY) == [BUCKET]


def test_waivers_are_read_and_refused_with_their_line(tmp_path: Path) -> None:
    assert read_waivers("dev", tmp_path) == ()
    good = (
        "waivers:\n  - stack: s\n    address: aws_s3_bucket.raw\n    action: delete\n"
        "    reason: the old raw zone was copied\n    approver: data lead\n    expires: 2026-12-31\n"
    )
    (tmp_path / "dev.yaml").write_text(good)
    assert unwaived([BUCKET], read_waivers("dev", tmp_path), TODAY) == []
    (tmp_path / "dev.yaml").write_text(good.replace("    reason: the old raw zone was copied\n", "    reason: no\n"))
    with pytest.raises(ConfigError, match="reason") as caught:
        read_waivers("dev", tmp_path)
    assert str(caught.value.where).endswith("dev.yaml:5")

"""What is done at apply must have been approved: unknowns and stand-ins may become values, nothing else may change."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cdk.delivery.covering import beyond_approval

STAND_IN = {"net_vpc_id": "vpc-00000000000000000", "net_subnets": ("subnet-0", "subnet-1")}
REAL = {"net_vpc_id": "vpc-0a1b2c3d4e5f60718", "net_subnets": ("subnet-a0", "subnet-b1")}


def change(address: str, actions: list[str], after: Any, unknown: Any = None) -> dict[str, Any]:
    return {"address": address, "change": {"actions": actions, "after": after, "after_unknown": unknown or {}}}


def plan(*changes: dict[str, Any]) -> dict[str, Any]:
    return {"resource_changes": list(changes)}


APPROVED = plan(
    change(
        "aws_vpc_thing.a", ["create"], {"vpc": "vpc-00000000000000000", "subnets": ["subnet-0", "subnet-1"], "n": 2}
    ),
    change("aws_key.k", ["create"], {"name": "k", "arn": None}, {"arn": True}),
    change("aws_use.u", ["update"], {"policy": '{"vpc":"vpc-00000000000000000"}', "key": None}, {"key": True}),
    change("aws_idle.i", ["no-op"], {"x": 1}),
)


def beyond(actual: dict[str, Any], inputs: dict[str, Any] = REAL) -> list[str]:
    found = beyond_approval(APPROVED, actual, approved_inputs=STAND_IN, actual_inputs=inputs)
    return [f"{item.address}: {item.what}" for item in found]


def actual() -> dict[str, Any]:
    return plan(
        change(
            "aws_vpc_thing.a",
            ["create"],
            {"vpc": "vpc-0a1b2c3d4e5f60718", "subnets": ["subnet-a0", "subnet-b1"], "n": 2},
        ),
        change("aws_use.u", ["update"], {"policy": '{"vpc":"vpc-0a1b2c3d4e5f60718"}', "key": "arn:k"}),
    )


def test_the_same_plan_is_covered() -> None:
    assert beyond(APPROVED, STAND_IN) == []


def test_stand_ins_become_values_and_unknowns_known_and_what_is_done_already_is_missing() -> None:
    assert beyond(actual()) == []


FAULTS = {
    "another value": (lambda p: p["resource_changes"][0]["change"]["after"].update(n=3), "'n' is another value"),
    "another place": (
        lambda p: p["resource_changes"][0]["change"]["after"].update(subnets=["subnet-b1", "subnet-b1"]),
        "'subnets[0]' is another value",
    ),
    "one more": (
        lambda p: p["resource_changes"][0]["change"]["after"]["subnets"].append("subnet-c"),
        "'subnets' is another value",
    ),
    "inside a text": (
        lambda p: p["resource_changes"][1]["change"]["after"].update(policy='{"vpc":"*"}'),
        "'policy' is another value",
    ),
    "another action": (
        lambda p: p["resource_changes"][1]["change"].update(actions=["delete", "create"]),
        "delete/create, and update was approved",
    ),
    "a new resource": (
        lambda p: p["resource_changes"].append(change("aws_new.n", ["create"], {})),
        "aws_new.n: create, which was not approved",
    ),
    "an idle one": (
        lambda p: p["resource_changes"].append(change("aws_idle.i", ["delete"], None)),
        "aws_idle.i: delete, which was not approved",
    ),
    "a new attribute": (
        lambda p: p["resource_changes"][0]["change"]["after"].update(public=True),
        "'public' is another value",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_goes_beyond_is_named(fault: str) -> None:
    plant, expected = FAULTS[fault]
    changed = copy.deepcopy(actual())
    plant(changed)
    (found,) = beyond(changed)
    assert expected in found


def test_what_a_killed_apply_made_half_is_made_anew_and_what_it_did_not_make_is_not() -> None:
    half = plan(change("aws_key.k", ["delete", "create"], {"name": "k", "arn": None}, {"arn": True}))
    assert beyond(half) == ["aws_key.k: delete/create, and create was approved"]
    half["resource_changes"][0]["action_reason"] = "replace_because_tainted"
    assert beyond(half) == []
    whole = plan({**change("aws_use.u", ["delete", "create"], None), "action_reason": "replace_because_tainted"})
    assert beyond(whole) == ["aws_use.u: delete/create, and update was approved"]


def test_a_stand_in_that_is_the_beginning_of_another_is_not_mistaken() -> None:
    approved = plan(change("a.a", ["create"], {"x": "arn:1", "y": "arn:12"}))
    now = plan(change("a.a", ["create"], {"x": "arn:one", "y": "arn:twelve"}))
    before = {"one": "arn:1", "twelve": "arn:12"}
    after = {"one": "arn:one", "twelve": "arn:twelve"}
    assert beyond_approval(approved, now, approved_inputs=before, actual_inputs=after) == []
    swapped = plan(change("a.a", ["create"], {"x": "arn:twelve", "y": "arn:one"}))
    assert len(beyond_approval(approved, swapped, approved_inputs=before, actual_inputs=after)) == 2


def _between(approved: Any, now: Any) -> list[str]:
    real = {**REAL, "net_subnets": ("subnet-f0", "subnet-b1")}  # they sort otherwise than the stand-ins
    found = beyond_approval(
        plan(change("a.a", ["create"], {"x": approved})),
        plan(change("a.a", ["create"], {"x": now})),
        approved_inputs=STAND_IN,
        actual_inputs=real,
    )
    return [item.what for item in found]


def test_a_set_whose_stand_ins_sort_otherwise_is_the_same_set() -> None:
    assert _between(["subnet-0", "subnet-1"], ["subnet-b1", "subnet-f0"]) == []
    assert (
        _between(
            [{"to": "subnet-0", "n": 1}, {"to": "subnet-1", "n": 2}],
            [{"to": "subnet-b1", "n": 2}, {"to": "subnet-f0", "n": 1}],
        )
        == []
    )


def test_a_list_in_another_order_and_a_set_with_another_member_are_named() -> None:
    assert _between(["subnet-1", "subnet-0"], ["subnet-f0", "subnet-b1"]) != []
    assert _between(["subnet-0", "subnet-1"], ["subnet-b1", "subnet-c"]) != []
    assert (
        _between(
            [{"to": "subnet-0", "n": 1}, {"to": "subnet-1", "n": 2}],
            [{"to": "subnet-b1", "n": 1}, {"to": "subnet-f0", "n": 2}],
        )
        != []
    )

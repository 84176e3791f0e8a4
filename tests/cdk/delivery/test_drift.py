"""Drift is what somebody changed outside: not what another stack, AWS itself, or an emulator's memory makes of a resource."""

from __future__ import annotations

from typing import Any

import pytest

from cdk.delivery.drift import RouteKey, drift_of, ignored_in
from cdk.emulator import split

PEER: RouteKey = ("rtb-1", "10.17.0.0/20", None, None)
LOCAL = {"cidr_block": "10.16.0.0/20", "ipv6_cidr_block": "", "destination_prefix_list_id": "", "gateway_id": "local"}
TO_PEER = {
    "cidr_block": "10.17.0.0/20",
    "ipv6_cidr_block": "",
    "destination_prefix_list_id": "",
    "vpc_peering_connection_id": "pcx-1",
}
ROGUE = {"cidr_block": "0.0.0.0/0", "ipv6_cidr_block": "", "destination_prefix_list_id": "", "gateway_id": "igw-1"}


def refreshed(kind: str, before: dict[str, Any], after: dict[str, Any] | None) -> dict[str, Any]:
    return {"resource_drift": [{"address": f"{kind}.it", "type": kind, "change": {"before": before, "after": after}}]}


def differing(plan: dict[str, Any], *, emulated: bool = False, **written: Any) -> dict[str, list[str]]:
    """What differs, where every resource is written as `written`; an emulated one as an emulator's stack is."""
    kinds = {item["type"] for item in plan["resource_drift"]}
    document: dict[str, Any] = {"resource": {kind: {"it": dict(written)} for kind in kinds}}
    document = split(document)[0] if emulated else document
    found = drift_of(plan, "network", routes={PEER}, ignored=ignored_in(document))
    return {item.address: ["gone"] if item.gone else sorted(item.attributes) for item in found}


def table(*routes: dict[str, Any], tags: str = "a") -> dict[str, Any]:
    return {"id": "rtb-1", "route": list(routes), "tags": {"Name": tags}}


def test_a_route_of_another_stack_is_no_drift_of_its_table() -> None:
    assert differing(refreshed("aws_route_table", table(LOCAL), table(TO_PEER, LOCAL))) == {}
    assert (
        differing(refreshed("aws_route_table", table(LOCAL, TO_PEER), table(LOCAL))) == {}
    )  # the route itself is gone


def test_a_route_by_hand_is_drift() -> None:
    for before, after in ((table(LOCAL), table(LOCAL, TO_PEER, ROGUE)), (table(LOCAL, ROGUE), table(LOCAL))):
        assert differing(refreshed("aws_route_table", before, after)) == {"aws_route_table.it": ["route"]}
    other = {**TO_PEER, "cidr_block": "10.99.0.0/20"}
    assert differing(refreshed("aws_route_table", table(LOCAL), table(LOCAL, other))) == {
        "aws_route_table.it": ["route"]
    }


def test_of_a_table_with_another_stacks_route_the_rest_is_compared() -> None:
    after = table(LOCAL, TO_PEER, tags="b")
    assert differing(refreshed("aws_route_table", table(LOCAL), after)) == {"aws_route_table.it": ["tags"]}


@pytest.mark.parametrize("emulated", [False, True])
def test_what_aws_moves_on_by_itself_is_no_drift(emulated: bool) -> None:
    before, after = {"latest_restorable_time": "1", "port": 5432}, {"latest_restorable_time": "2", "port": 5432}
    assert differing(refreshed("aws_db_instance", before, after), emulated=emulated) == {}
    changed = refreshed("aws_db_instance", before, {**after, "port": 1})
    assert differing(changed, emulated=emulated) == {"aws_db_instance.it": ["port"]}


def test_what_an_emulator_keeps_differently_is_drift_of_a_real_account_alone() -> None:
    plan = refreshed("aws_db_parameter_group", {"parameter": [1], "name": "a"}, {"parameter": [], "name": "a"})
    assert differing(plan, emulated=True) == {}
    assert differing(plan) == {"aws_db_parameter_group.it": ["parameter"]}


def test_what_is_gone_is_drift() -> None:
    assert differing(refreshed("aws_route_table", table(LOCAL), None)) == {"aws_route_table.it": ["gone"]}


def test_what_a_stack_leaves_to_others_is_no_drift() -> None:
    """The autoscaler moves how many nodes a group has; who moves their limits did it by hand."""
    group = {"scaling_config": [{"min_size": 0, "desired_size": 1, "max_size": 4}], "version": "1.35"}
    grown = {"scaling_config": [{"min_size": 0, "desired_size": 3, "max_size": 4}], "version": "1.35"}
    raised = {"scaling_config": [{"min_size": 0, "desired_size": 3, "max_size": 40}], "version": "1.35"}
    lifecycle = {"ignore_changes": ["scaling_config[0].desired_size"]}
    assert differing(refreshed("aws_eks_node_group", group, grown), lifecycle=lifecycle) == {}
    assert differing(refreshed("aws_eks_node_group", group, grown)) == {"aws_eks_node_group.it": ["scaling_config"]}
    by_hand = refreshed("aws_eks_node_group", group, raised)
    assert differing(by_hand, lifecycle=lifecycle) == {"aws_eks_node_group.it": ["scaling_config"]}
    gone = refreshed("aws_eks_node_group", group, {"scaling_config": [], "version": "1.35"})
    assert differing(gone, lifecycle=lifecycle) == {"aws_eks_node_group.it": ["scaling_config"]}


def test_a_platform_that_aws_moved_on_is_no_drift_and_a_version_is() -> None:
    before, after = {"platform_version": "eks.23", "version": "1.35"}, {"platform_version": "eks.24", "version": "1.35"}
    assert differing(refreshed("aws_eks_cluster", before, after)) == {}
    moved = refreshed("aws_eks_cluster", before, {**after, "version": "1.36"})
    assert differing(moved) == {"aws_eks_cluster.it": ["version"]}


@pytest.mark.parametrize(
    ("now", "most", "differs"), [(30, 100, False), (10, 100, True), (200, 100, True), (30, 0, True)]
)
def test_storage_that_grew_within_its_limit_is_no_drift(now: int, most: int, differs: bool) -> None:
    before, after = ({"allocated_storage": size, "max_allocated_storage": most} for size in (20, now))
    found = differing(refreshed("aws_db_instance", before, after))
    assert found == ({"aws_db_instance.it": ["allocated_storage"]} if differs else {})

"""Drift is what somebody changed outside: not what another stack, AWS itself, or an emulator's memory makes of a resource."""

from __future__ import annotations

from typing import Any

import pytest

from cdk.delivery.drift import RouteKey, drift_of

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


def differing(plan: dict[str, Any], *, emulated: bool = False) -> dict[str, list[str]]:
    found = drift_of(plan, "network", routes={PEER}, emulated=emulated)
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

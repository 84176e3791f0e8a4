from __future__ import annotations

from dataclasses import replace

import pytest
from network_logs import T0, ZONE_IDS, example

from cost.network.addresses import INTERNET, AddressBook, Snapshot
from cost.network.cluster import Owner, Pod, node_of, pod_of, service_of, volume_zones
from cost.network.interfaces import Interface, interface_of, service_ranges, zone_ids
from cost.network.model import Kind, Zone, same_zone
from cost.network.quantities import amount_of, seconds_of

WORLD = example()
NODES = [node_of(item) for item in WORLD.node_list()["items"]]
PODS = tuple(pod_of(item) for item in WORLD.pod_list()["items"])
ENIS = [interface_of(item) for item in WORLD.interfaces()["NetworkInterfaces"]]
WEB = PODS[0]


def later(pod: Pod, name: str, start_s: int) -> Pod:
    return replace(pod, uid=f"uid-{name}", name=name, start_s=start_s, owner=Owner("drive", "Deployment", name))


def test_an_address_that_is_used_again_belongs_to_who_had_it_then() -> None:
    other = later(WEB, "cache", T0 + 1000)
    book = AddressBook(NODES, [Snapshot(T0, (WEB,)), Snapshot(T0 + 2000, (other,))])
    address = WEB.addresses[0]
    assert book.find(address, T0, T0 + 60).workload == "drive/Deployment/web"
    assert book.find(address, T0 + 1500, T0 + 1560).workload == "drive/Deployment/cache"
    # A window in which it changed hands is nobody's, but its node, and so its zone, is certain.
    both = book.find(address, T0 + 950, T0 + 1050)
    assert both.kind is Kind.UNKNOWN
    assert both.host == WEB.node
    assert both.zone == book.nodes[WEB.node].zone


def test_with_one_snapshot_alone_the_second_pod_would_take_the_first_ones_bytes() -> None:
    other = later(WEB, "cache", T0 - 7000)
    book = AddressBook(NODES, [Snapshot(T0 + 2000, (other,))])
    assert book.find(WEB.addresses[0], T0, T0 + 60).workload == "drive/Deployment/cache"


def test_a_pod_that_ended_has_its_address_no_longer() -> None:
    ended = replace(WEB, end_s=T0 + 100)
    book = AddressBook(NODES, [Snapshot(T0 + 200, (ended,))])
    assert book.find(WEB.addresses[0], T0, T0 + 60).kind is Kind.POD
    assert book.find(WEB.addresses[0], T0 + 150, T0 + 210).kind is Kind.UNKNOWN


def test_delegated_prefixes_and_nodes_and_what_nobody_owns() -> None:
    prefix = interface_of(
        {**WORLD.interfaces()["NetworkInterfaces"][0], "Ipv4Prefixes": [{"Ipv4Prefix": "10.9.0.0/28"}]}
    )
    book = AddressBook(NODES, [Snapshot(T0, PODS)], interfaces=[*ENIS, prefix])
    assert book.find("10.9.0.5", T0, T0).name == "node-a0"
    assert book.find("10.0.1.10", T0, T0).kind is Kind.NODE
    assert book.find("10.44.0.1", T0, T0).kind is Kind.UNKNOWN
    assert book.find(WORLD.nat_address, T0, T0).kind is Kind.NAT
    with pytest.raises(ValueError, match="does not appear"):
        book.find("10.0.1", T0, T0)


def test_an_address_of_two_interfaces_is_nobodys() -> None:
    twin = replace(ENIS[0], interface_id="eni-other", instance="", vpc="vpc-2", zone=Zone("us-east-1c"), account="9")
    book = AddressBook(NODES, [Snapshot(T0, PODS)], interfaces=[*ENIS, twin])
    assert book.find(ENIS[0].addresses[0], T0, T0).kind is Kind.UNKNOWN


def test_public_addresses_are_named_by_the_narrowest_service() -> None:
    book = AddressBook(NODES, [], ranges=service_ranges(WORLD.ranges()))
    assert book.find("52.216.1.10", T0, T0).name == "S3"
    assert book.find("8.8.8.8", T0, T0) is INTERNET
    assert AddressBook(NODES, []).find("52.216.1.10", T0, T0, "S3").name == "S3"
    assert AddressBook(NODES, []).find("52.216.1.10", T0, T0, "AMAZON") is INTERNET


def test_zone_names_of_two_accounts_are_not_compared() -> None:
    one, other = Zone("us-east-1a", None, "1"), Zone("us-east-1a", None, "2")
    assert same_zone(one, replace(one)) is True
    assert same_zone(one, other) is None
    assert same_zone(replace(one, zone_id="use1-az4"), replace(other, zone_id="use1-az6")) is False
    assert same_zone(Zone("us-east-1a", "use1-az4", "1"), Zone("us-east-1b", "use1-az4", "2")) is True
    assert same_zone(one, None) is None
    with pytest.raises(ValueError, match="without name"):
        Zone()


def test_ids_come_from_the_accounts_own_list_only() -> None:
    foreign = Interface(
        "eni-f", Kind.INTERFACE, "db", "999", "vpc-9", Zone("us-east-1a", None, "999"), "", ("10.8.0.1",), ()
    )
    book = AddressBook(NODES, [Snapshot(T0, PODS)], interfaces=[*ENIS, foreign], ids=zone_ids(WORLD.zones()))
    near = book.nodes["node-a0"].zone
    assert near is not None
    assert near.zone_id == ZONE_IDS["us-east-1a"]
    assert same_zone(near, book.find("10.8.0.1", T0, T0).zone) is None


def test_owners_gangs_and_requests() -> None:
    assert str(WEB.owner) == "drive/Deployment/web"
    item = WORLD.pod(WEB.name)
    item["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "nightly-29384720", "controller": True}]
    assert str(pod_of(item).owner) == "drive/CronJob/nightly"
    item["metadata"]["labels"]["ray.io/cluster"] = "train"
    assert pod_of(item).gang == "drive/ray.io/cluster/train"
    item["spec"]["initContainers"] = [
        {"resources": {"requests": {"cpu": "2"}}},
        {"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
    ]
    assert pod_of(item).requests["cpu"] == 2000  # the greatest init container, above 500m and the sidecar's 100m


@pytest.mark.parametrize(
    ("resource", "text", "amount"),
    [
        ("cpu", "1500m", 1500),
        ("cpu", "2", 2000),
        ("memory", "1Gi", 2**30),
        ("memory", "1e3", 1000),
        ("memory", "128974848", 128974848),
    ],
)
def test_quantities(resource: str, text: str, amount: int) -> None:
    assert amount_of(resource, text) == amount


def test_what_is_no_quantity_or_time_is_refused() -> None:
    with pytest.raises(ValueError, match="no quantity"):
        amount_of("cpu", "two")
    with pytest.raises(ValueError, match="no time zone"):
        seconds_of("2026-11-25T10:00:00")


def test_services_that_spread_nothing_and_zones_of_volumes() -> None:
    service = WORLD.service_list(["web"])["items"][0]
    found = service_of(service)
    assert found is not None
    assert found.selects("drive", WEB.labels)
    assert not found.selects("other", WEB.labels)
    assert service_of({**service, "spec": {**service["spec"], "clusterIP": "None"}}) is None
    volume = {
        "kind": "PersistentVolume",
        "spec": {"claimRef": {"namespace": "drive", "name": "data-0"}, "nodeAffinity": {"required": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1b"]}]}
        ]}}},
    }  # fmt: skip
    assert volume_zones([volume]) == {("drive", "data-0"): frozenset({"us-east-1b"})}


@pytest.mark.parametrize(
    ("kind", "said", "expected", "name"),
    [
        ("nat_gateway", "Interface for NAT Gateway nat-0abc", Kind.NAT, "nat-0abc"),
        ("vpc_endpoint", "VPC Endpoint Interface vpce-0123", Kind.ENDPOINT, "vpce-0123"),
        ("network_load_balancer", "ELB net/logs/50dc6c495c0c9188", Kind.NETWORK_BALANCER, "logs"),
        ("interface", "ELB app/web/50dc6c495c0c9188", Kind.BALANCER, "web"),
        ("interface", "ELB classic", Kind.BALANCER, "classic"),
        ("interface", "RDSNetworkInterface", Kind.INTERFACE, "RDSNetworkInterface"),
    ],
)
def test_interfaces_are_named_by_what_they_are_of(kind: str, said: str, expected: Kind, name: str) -> None:
    item = {**WORLD.interfaces()["NetworkInterfaces"][-1], "InterfaceType": kind, "Description": said}
    found = interface_of(item)
    assert (found.kind, found.name) == (expected, name)


def test_a_finished_pod_runs_no_longer_though_nobody_says_when_it_ended() -> None:
    item = WORLD.pod(WEB.name)
    item["status"]["phase"] = "Succeeded"
    assert pod_of(item).end_s == WEB.start_s
    item["status"]["conditions"] = [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-25T09:30:00Z"}]
    assert pod_of(item).end_s == T0 - 1800

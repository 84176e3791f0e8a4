"""A small cluster and its flow logs, in the forms that kubectl and AWS write; what was sent is known to the byte."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

T0 = 1_795_600_800  # 2026-11-25T10:00:00Z
ACCOUNT = "111122223333"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
ZONE_IDS = {"us-east-1a": "use1-az4", "us-east-1b": "use1-az6", "us-east-1c": "use1-az1"}
S3_ADDRESS = "52.216.1.10"
GIB = 2**30
CUSTOM = (
    "version account-id interface-id instance-id srcaddr dstaddr pkt-srcaddr pkt-dstaddr srcport dstport protocol packets bytes "
    "start end action log-status az-id flow-direction traffic-path pkt-src-aws-service pkt-dst-aws-service"
).split()
DEFAULT = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
).split()


def at(second: int) -> str:
    """Return a time as Kubernetes writes it."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class World:
    """Two nodes a zone, pods on them, and who sent whom how much.

    Attributes:
        pods: Name of a pod: (workload kind, workload, node, address, cpu).
        sent: (from, to, bytes): pods' names, `s3` or `internet`.
        nat_zone: Where the NAT gateway is.
    """

    pods: dict[str, tuple[str, str, str, str, str]] = field(default_factory=dict)
    sent: list[tuple[str, str, int]] = field(default_factory=list)
    nat_zone: str = "us-east-1a"
    specs: dict[str, dict[str, Any]] = field(default_factory=dict)
    window_s: int = 3600

    @property
    def nodes(self) -> list[str]:
        return [f"node-{zone[-1]}{number}" for zone in ZONES for number in (0, 1)]

    def node_address(self, node: str) -> str:
        return f"10.0.{ord(node[5]) - 96}.{10 + int(node[6])}"

    def zone(self, node: str) -> str:
        return f"us-east-1{node[5]}"

    @property
    def nat_address(self) -> str:
        return f"10.0.{ord(self.nat_zone[-1]) - 96}.250"

    def add(
        self, kind: str, workload: str, places: Sequence[str], *, cpu: str = "500m", spec: dict[str, Any] | None = None
    ) -> None:
        """Add a workload, one pod a node that is named."""
        for number, node in enumerate(places):
            name = f"{workload}-{number}" if kind == "StatefulSet" else f"{workload}-7d4b9c-x{number}"
            address = f"10.0.{ord(node[5]) - 96}.{100 + len(self.pods)}"
            self.pods[name] = (kind, workload, node, address, cpu)
        self.specs[workload] = spec or {}

    def of(self, workload: str) -> list[str]:
        """Return the names of a workload's pods."""
        return [name for name, pod in self.pods.items() if pod[1] == workload]

    # What kubectl and aws write.

    def pod_list(self, names: Sequence[str] | None = None) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "List", "items": [self.pod(name) for name in names or self.pods]}

    def pod(self, name: str) -> dict[str, Any]:
        kind, workload, node, address, cpu = self.pods[name]
        labels = {"app": workload}
        owner = {"apiVersion": "apps/v1", "kind": kind, "name": workload, "uid": f"o-{workload}", "controller": True}
        if kind == "Deployment":
            labels["pod-template-hash"] = "7d4b9c"
            owner |= {"kind": "ReplicaSet", "name": f"{workload}-7d4b9c"}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "drive", "uid": f"uid-{name}", "labels": labels, "ownerReferences": [owner],
                "creationTimestamp": at(T0 - 7200),
            },
            "spec": {
                "nodeName": node,
                "containers": [{"name": "main", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": "256Mi"}}}],
                **self.specs[workload],
            },
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": at(T0 - 7000)},
        }  # fmt: skip

    def node_list(self, cpu: str = "8") -> dict[str, Any]:
        items = [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": node, "labels": {
                    "topology.kubernetes.io/zone": self.zone(node), "topology.kubernetes.io/region": "us-east-1",
                }},
                "spec": {"providerID": f"aws:///{self.zone(node)}/i-{node}"},
                "status": {
                    "addresses": [{"type": "InternalIP", "address": self.node_address(node)}],
                    "allocatable": {"cpu": cpu, "memory": "32Gi", "pods": "58"},
                    "conditions": [{"type": "Ready", "status": "True"}],
                },
            }
            for node in self.nodes
        ]  # fmt: skip
        return {"apiVersion": "v1", "kind": "List", "items": items}

    def service_list(self, workloads: Sequence[str]) -> dict[str, Any]:
        items = [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "drive"},
             "spec": {"clusterIP": "172.20.0.9", "selector": {"app": name}, "ports": [{"port": 80}]}}
            for name in workloads
        ]  # fmt: skip
        return {"apiVersion": "v1", "kind": "List", "items": items}

    def interfaces(self) -> dict[str, Any]:
        found = [
            {
                "NetworkInterfaceId": f"eni-{node}", "InterfaceType": "interface", "Description": "", "OwnerId": ACCOUNT,
                "VpcId": "vpc-1", "AvailabilityZone": self.zone(node), "Attachment": {"InstanceId": f"i-{node}"},
                "PrivateIpAddress": self.node_address(node),
                "PrivateIpAddresses": [
                    {"Primary": True, "PrivateIpAddress": self.node_address(node)},
                    *({"Primary": False, "PrivateIpAddress": pod[3]} for pod in self.pods.values() if pod[2] == node),
                ],
                "TagSet": [],
            }
            for node in self.nodes
        ]  # fmt: skip
        found.append({
            "NetworkInterfaceId": "eni-nat", "InterfaceType": "nat_gateway", "OwnerId": ACCOUNT, "VpcId": "vpc-1",
            "Description": "Interface for NAT Gateway nat-0abc", "AvailabilityZone": self.nat_zone,
            "PrivateIpAddress": self.nat_address, "PrivateIpAddresses": [{"PrivateIpAddress": self.nat_address}], "TagSet": [],
        })  # fmt: skip
        return {"NetworkInterfaces": found}

    def zones(self) -> dict[str, Any]:
        return {"AvailabilityZones": [{"ZoneName": name, "ZoneId": number} for name, number in ZONE_IDS.items()]}

    def ranges(self) -> dict[str, Any]:
        return {
            "syncToken": "1", "createDate": "2026-11-20-00-00-00",
            "prefixes": [
                {"ip_prefix": "52.216.0.0/15", "region": "us-east-1", "service": "AMAZON", "network_border_group": "us-east-1"},
                {"ip_prefix": "52.216.0.0/15", "region": "us-east-1", "service": "S3", "network_border_group": "us-east-1"},
            ],
            "ipv6_prefixes": [],
        }  # fmt: skip

    # Flow logs.

    def records(self, *, windows: int = 6) -> list[dict[str, str]]:
        """Return all records of all interfaces, as a custom format with every field has them."""
        found = []
        for number in range(windows):
            start = T0 + number * self.window_s // windows
            for sender, receiver, size in self.sent:
                part = size // windows + (size % windows if number == 0 else 0)
                found += self._recorded(sender, receiver, part, start, start + self.window_s // windows - 1)
        return found

    def _recorded(self, sender: str, receiver: str, size: int, start: int, end: int) -> list[dict[str, str]]:
        ports = {"srcport": "40000", "dstport": "443"}
        times = {"bytes": str(size), "start": str(start), "end": str(end), **ports}
        if receiver in self.pods:
            source, target = self.pods[sender], self.pods[receiver]
            if source[2] == target[2]:
                return []  # it never leaves the node
            return [
                self._line(source[2], "egress", self.node_address(source[2]), target[3], source[3], target[3], times),
                self._line(target[2], "ingress", source[3], self.node_address(target[2]), source[3], target[3], times),
            ]
        node, outside = self.pods[sender][2], S3_ADDRESS if receiver == "s3" else "8.8.4.4"
        own, nat = self.node_address(node), self.nat_address  # a pod's address does not leave its node
        return [
            {**self._line(node, "egress", own, outside, own, outside, times), "traffic-path": "1"},
            self._line("nat", "ingress", own, nat, own, outside, times),
            {**self._line("nat", "egress", nat, outside, nat, outside, times), "traffic-path": "8"},
        ]

    def _line(
        self, owner: str, direction: str, near: str, far: str, source: str, target: str, times: dict[str, str]
    ) -> dict[str, str]:
        zone = self.nat_zone if owner == "nat" else self.zone(owner)
        return {
            "version": "5", "account-id": ACCOUNT, "interface-id": f"eni-{owner}", "srcaddr": near, "dstaddr": far,
            "instance-id": "-" if owner == "nat" else f"i-{owner}", "pkt-srcaddr": source, "pkt-dstaddr": target, "protocol": "6",
            "packets": "10", "action": "ACCEPT", "log-status": "OK", "az-id": ZONE_IDS[zone], "flow-direction": direction,
            "traffic-path": "1" if direction == "egress" else "-",
            "pkt-src-aws-service": "-", "pkt-dst-aws-service": "S3" if target == S3_ADDRESS else "-", **times,
        }  # fmt: skip


def text_of(records: Sequence[dict[str, str]], fields: Sequence[str] = CUSTOM, *, header: bool = True) -> str:
    """Return a log's text in a format."""
    lines = [" ".join(fields)] if header else []
    return (
        "\n".join(
            [*lines, *(" ".join({**item, "version": item["version"]}[name] for name in fields) for item in records)]
        )
        + "\n"
    )


def write(
    folder: Path, world: World, *, fields: Sequence[str] = CUSTOM, services: Sequence[str] = ()
) -> dict[str, Path]:
    """Write everything a command takes."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = {
        "pods": world.pod_list(), "nodes": world.node_list(), "enis": world.interfaces(), "zones": world.zones(),
        "ranges": world.ranges(), "services": world.service_list(services),
    }  # fmt: skip
    paths = {}
    for name, document in documents.items():
        paths[name] = folder / f"{name}.json"
        paths[name].write_text(json.dumps(document))
    paths["flows"] = folder / "flows.log.gz"
    paths["flows"].write_bytes(gzip.compress(text_of(world.records(), fields).encode()))
    return paths


def example() -> World:
    """Return a front end, an API, a store and a loader, badly placed."""
    world = World()
    world.add("Deployment", "web", ["node-a0", "node-b0", "node-c0"])
    world.add("Deployment", "api", ["node-a1", "node-b1", "node-c1"])
    world.add("StatefulSet", "store", ["node-a0", "node-b0", "node-c0"])
    world.add("Deployment", "loader", ["node-c1"], cpu="2")
    world.add("Deployment", "trainer", ["node-a1"], cpu="4")
    for web in world.of("web"):
        for api in world.of("api"):
            world.sent.append((web, api, 3 * GIB))
    world.sent.append((world.of("loader")[0], world.of("trainer")[0], 50 * GIB))
    for number, api in enumerate(world.of("api")):
        world.sent.append((api, world.of("store")[(number + 1) % 3], 2 * GIB))
    world.sent.append((world.of("loader")[0], "s3", 40 * GIB))
    world.sent.append((world.of("web")[0], "internet", 1 * GIB))
    return world

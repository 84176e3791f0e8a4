from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from network_logs import GIB, T0, World

from cost.network.addresses import AddressBook, Snapshot
from cost.network.analysis import find_placement
from cost.network.cluster import Pod, node_of, pod_of, service_of
from cost.network.flow_format import FlowFormat
from cost.network.grouping import bounds_of, groups_of, may_move, zones_of
from cost.network.ledger import Ledger
from cost.network.packing import unpacked
from cost.network.patches import patches_of
from cost.network.placement.problem import RuleKind
from cost.network.placing import Cluster, make_placing
from cost.network.scheduling import fits_node, selects

ZONE = "topology.kubernetes.io/zone"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def spread(app: str, skew: int = 1, **more: Any) -> dict[str, Any]:
    rule = {"maxSkew": skew, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule", **more}
    return {"topologySpreadConstraints": [{**rule, "labelSelector": {"matchLabels": {"app": app}}}]}


def apart(kind: str, app: str) -> dict[str, Any]:
    return {"affinity": {kind: {REQUIRED: [{"topologyKey": ZONE, "labelSelector": {"matchLabels": {"app": app}}}]}}}


def pods_of(world: World) -> tuple[Pod, ...]:
    return tuple(pod_of(item) for item in world.pod_list()["items"])


def cluster_of(world: World, *, services: tuple[str, ...] = (), cpu: str = "8") -> Cluster:
    nodes = tuple(node_of(item) for item in world.node_list(cpu)["items"])
    spreading = [service_of(item) for item in world.service_list(services)["items"]]
    return Cluster(pods_of(world), nodes, tuple(item for item in spreading if item is not None), None)


def bounds(world: World, keep_zones: int = 1) -> list[tuple[RuleKind, int, int]]:
    cluster = cluster_of(world)
    zone_of = {node.name: node.zone.name or "" for node in cluster.nodes if node.zone}
    found = bounds_of([pod for pod in cluster.pods if may_move(pod)], zone_of, keep_zones=keep_zones)
    return [(item.kind, item.limit, len(item.pods)) for item in found]


def world_of(spec: dict[str, Any] | None = None) -> World:
    world = World()
    world.add("Deployment", "web", ["node-a0", "node-b0", "node-c0"], spec=spec)
    world.add("Deployment", "db", ["node-a1", "node-b1"])
    return world


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (spread("web"), (RuleKind.SKEW, 1, 3)),
        (spread("web", 2, matchLabelKeys=["pod-template-hash"]), (RuleKind.SKEW, 2, 3)),
        (apart("podAntiAffinity", "web"), (RuleKind.AT_MOST, 1, 3)),
        (apart("podAntiAffinity", "db"), (RuleKind.APART, 0, 3)),
        (apart("podAffinity", "db"), (RuleKind.NEAR, 0, 3)),
    ],
)
def test_what_a_pod_asks_for_becomes_a_rule(spec: dict[str, Any], expected: tuple[RuleKind, int, int]) -> None:
    assert expected in bounds(world_of(spec))


def test_soft_wishes_and_other_keys_bind_nothing() -> None:
    soft = spread("web", whenUnsatisfiable="ScheduleAnyway")
    hosts = {
        "topologySpreadConstraints": [
            {**spread("web")["topologySpreadConstraints"][0], "topologyKey": "kubernetes.io/hostname"}
        ]
    }
    assert bounds(world_of(soft)) == bounds(world_of(hosts)) == bounds(world_of()) == []


def test_a_workload_stays_in_as_many_zones_as_today_unless_told() -> None:
    assert (RuleKind.AT_MOST, 2, 3) in bounds(world_of(), keep_zones=2)
    assert (RuleKind.AT_MOST, 1, 2) in bounds(world_of(), keep_zones=2)
    assert (RuleKind.AT_MOST, 1, 3) in bounds(world_of(), keep_zones=3)
    # A workload's own rule is enough.
    assert (RuleKind.AT_MOST, 2, 3) not in bounds(world_of(spread("web")), keep_zones=2)


def test_gangs_and_what_keeps_itself_together_are_one() -> None:
    together = pods_of(world_of(apart("podAffinity", "web")))
    assert sorted(len(group.pods) for group in groups_of(together)) == [1, 1, 3]
    gang = [replace(pod, gang="drive/g/1") for pod in pods_of(world_of())]
    assert [len(group.pods) for group in groups_of(gang)] == [5]


def test_volumes_selectors_and_taints_say_where_a_pod_may_be() -> None:
    world = world_of({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]})
    cluster = cluster_of(world)
    now = {node.name: node.zone.name or "" for node in cluster.nodes if node.zone}
    (web, *_) = groups_of(cluster.pods)
    assert zones_of(web, cluster.nodes, None, now) == {"us-east-1a"}  # not known where else: it stays
    assert zones_of(web, cluster.nodes, {("drive", "data"): frozenset({"us-east-1c"})}, now) == {"us-east-1c"}
    pod = replace(web.pods[0], spec={"nodeSelector": {ZONE: "us-east-1b"}})
    assert [node.name for node in cluster.nodes if fits_node(pod, node)] == ["node-b0", "node-b1"]
    tainted = replace(cluster.nodes[0], taints=(("nvidia.com/gpu", "true", "NoSchedule"),))
    assert not fits_node(web.pods[0], tainted)
    tolerant = replace(web.pods[0], spec={"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}]})
    assert fits_node(tolerant, tainted)
    passing = replace(cluster.nodes[0], taints=(("node.kubernetes.io/not-ready", "", "NoExecute"),))
    assert fits_node(web.pods[0], passing)


@pytest.mark.parametrize(
    ("rule", "labels", "fits"),
    [
        ({"key": "a", "operator": "In", "values": ["1"]}, {"a": "1"}, True),
        ({"key": "a", "operator": "NotIn", "values": ["1"]}, {}, True),
        ({"key": "a", "operator": "Exists"}, {}, False),
        ({"key": "a", "operator": "DoesNotExist"}, {"a": "1"}, False),
        ({"key": "a", "operator": "Gt", "values": ["3"]}, {"a": "4"}, True),
        ({"key": "a", "operator": "Lt", "values": ["3"]}, {"a": "x"}, False),
    ],
)
def test_expressions(rule: dict[str, Any], labels: dict[str, str], fits: bool) -> None:
    assert selects({"matchExpressions": [rule]}, labels) is fits


def test_an_empty_selector_selects_everything_and_none_nothing() -> None:
    assert selects({}, {"a": "1"})
    assert not selects(None, {"a": "1"})


def placed(world: World, cluster: Cluster, seconds: float = 1.0) -> Any:
    form = FlowFormat.of(list(world.records()[0]))
    ledger = Ledger(AddressBook(cluster.nodes, [Snapshot(T0, cluster.pods)]))
    for item in world.records():
        ledger.add(form.record(list(item.values())))
    placing = make_placing(cluster, ledger.settle(), factor=Decimal(730), keep_zones=1)
    return find_placement(cluster, placing, seconds=seconds, clock=time.process_time, folder=None)


@pytest.mark.parametrize("seed", range(4))
def test_no_constraint_of_a_pod_is_ever_broken(seed: int) -> None:
    # Held against the pods' own specifications, not against what was made of them.
    generator, world = random.Random(seed), World()  # noqa: S311 - draws, no secrets
    nodes = world.nodes
    world.add("Deployment", "spread", [nodes[0], nodes[2], nodes[4], nodes[1]], spec=spread("spread"))
    world.add("StatefulSet", "alone", [nodes[1], nodes[3], nodes[5]], spec=apart("podAntiAffinity", "alone"))
    world.add("Deployment", "pinned", [nodes[2]], spec={"nodeSelector": {ZONE: "us-east-1b"}})
    world.add("Deployment", "free", [generator.choice(nodes) for _ in range(5)])
    names = list(world.pods)
    for _ in range(25):
        one, other = generator.sample(names, 2)
        world.sent.append((one, other, generator.randrange(1, 20) * GIB))
    cluster = cluster_of(world)
    found = placed(world, cluster)
    assert found.outcome.placement is not None
    zones = found.placing.problem.zones
    where = {
        pod.name: zones[zone]
        for group, zone in zip(found.placing.groups, found.outcome.placement, strict=True)
        for pod in (group.pods if group else ())
    }
    counts = Counter(where[name] for name in world.of("spread"))
    assert max(counts.values()) - min(counts[zone] for zone in zones) <= 1
    assert len({where[name] for name in world.of("alone")}) == 3
    assert {where[name] for name in world.of("pinned") if name in where} <= {"us-east-1b"}
    assert found.outcome.crossing_bytes <= found.placing.now_bytes + 1


def test_what_a_zone_gets_must_fit_its_nodes_one_by_one() -> None:
    # Two nodes of 8 cores hold 16 by the sum, but no two pods of 5 and one of 6.
    world = World()
    world.add("Deployment", "hub", ["node-a0"], cpu="5")
    world.add("Deployment", "five", ["node-b0"], cpu="5")
    world.add("Deployment", "six", ["node-c0"], cpu="6")
    for other in ("five", "six"):
        world.sent.append((world.of("hub")[0], world.of(other)[0], 10 * GIB))
    cluster = cluster_of(world)
    found = placed(world, cluster)
    assert found.outcome.placement is not None
    assert not unpacked(cluster, found.placing, found.outcome.placement)
    together = (0,) * (len(found.placing.problem.units) - 3) + (0, 1, 2)
    assert unpacked(cluster, found.placing, together)[0]  # the planted fault: all three in one zone


def test_a_patch_keeps_what_the_workload_already_requires() -> None:
    required = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}
    ]}}}  # fmt: skip
    world = World()
    world.add("Deployment", "hub", ["node-a0"], cpu="4", spec={"affinity": required})
    world.add("Deployment", "leaf", ["node-b0"], spec={"nodeSelector": {ZONE: "us-east-1b"}})
    world.sent.append((world.of("hub")[0], world.of("leaf")[0], 10 * GIB))
    documents = world.node_list()
    for item in documents["items"]:
        item["metadata"]["labels"]["kubernetes.io/os"] = "linux"
    cluster = replace(cluster_of(world), nodes=tuple(node_of(item) for item in documents["items"]))
    found = placed(world, cluster)
    (patch,) = patches_of(found.placing, found.outcome.placement, ())
    (term,) = patch.body["spec"]["template"]["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert {item["key"]: item["values"] for item in term["matchExpressions"]} == {
        "kubernetes.io/os": ["linux"],
        ZONE: ["us-east-1b"],
    }


def test_jobs_and_ray_clusters_get_lines_to_put_into_their_template() -> None:
    world = World()
    world.add("RayCluster", "train", ["node-a0"])
    world.add("Deployment", "leaf", ["node-b0"], spec={"nodeSelector": {ZONE: "us-east-1b"}})
    world.sent.append((world.of("train")[0], world.of("leaf")[0], 10 * GIB))
    cluster = cluster_of(world)
    found = placed(world, cluster)
    (patch,) = patches_of(found.placing, found.outcome.placement, ())
    assert patch.command is None
    assert "pod template" in patch.why

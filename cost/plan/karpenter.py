"""Karpenter's node pools, from their manifests: no Terraform plan knows them, and every bill does. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from cost.amount import ZERO
from cost.plan.kinds.compute import Nodes, node_lines
from cost.plan.kinds.rule import Context, number
from cost.plan.model import Json, Line, Rate, Resource
from cost.prices.model import Meter

KIND = "karpenter_node_pool"
_LABELS = {"drivetrain.io/pool": "pool", "drivetrain.io/team": "team", "drivetrain.io/cost-center": "cost-center"}
_SIZE = re.compile(r"\.(?:(\d+)?xlarge|large)$")
_GIB = {"Gi": Decimal(1), "Ti": Decimal(1024), "Mi": Decimal(1) / 1024}
ASKED = "how many nodes there are is decided by the pods that wait: give nodes.average_nodes"


def pools_of(manifests: Iterable[tuple[str | None, Json]]) -> tuple[Resource, ...]:
    """Return the node pools among manifests, each with its class's disk beside it.

    Args:
        manifests: Objects, each with the region whose cluster it belongs to; None where only its zones tell.
    """
    known = list(manifests)
    classes = {(region, item["metadata"]["name"]): item for region, item in known if item.get("kind") == "EC2NodeClass"}
    return tuple(_pools(known, classes))


def _pools(known: list[tuple[str | None, Json]], classes: Mapping[tuple[str | None, str], Json]) -> Iterator[Resource]:
    for region, item in known:
        if item.get("kind") != "NodePool":
            continue
        name = item["metadata"]["name"]
        template = item["spec"]["template"]
        wanted = (template["spec"].get("nodeClassRef") or {}).get("name")
        labels = (template.get("metadata") or {}).get("labels") or {}
        zones = _required(template["spec"], "topology.kubernetes.io/zone")
        tags = {f"drivetrain:{tag}": str(labels[key]) for key, tag in _LABELS.items() if key in labels}
        place = region or (zones[0].rstrip("abcdef") if zones else None)
        yield Resource(
            stack=f"karpenter-{place}" if place else "karpenter",
            account="",
            region=place,
            address=f"NodePool/{name}",
            kind=KIND,
            values={"pool": item, "class": classes.get((region, str(wanted)), {})},
            tags={"drivetrain:pool": name, **tags},
        )


def _required(spec: Json, key: str) -> tuple[str, ...]:
    found = [item for item in spec.get("requirements") or () if item.get("key") == key and item.get("operator") == "In"]
    return tuple(str(value) for item in found for value in item.get("values") or ())


def karpenter_lines(resource: Resource, context: Context) -> list[Line]:
    """Return what a node pool costs: from nothing to its limit, at the cheapest to the dearest type it may take."""
    pool = resource.values.get("pool")
    if pool is None:
        unknown = Rate(lacking="no manifests given: --manifests tells which node pools Karpenter makes, if any")
        return [Line(Meter("ec2", "nodes that Karpenter makes"), "hour", unknown, None, None, ASKED)]
    spec = pool["spec"]["template"]["spec"]
    types = _required(spec, "node.kubernetes.io/instance-type")
    capacities = _required(spec, "karpenter.sh/capacity-type")
    if not types:
        unknown = Rate(lacking="the pool may take any instance type")
        return [Line(Meter("ec2", "nodes of any type"), "hour", unknown, None, None, ASKED)]
    capacity = "spot" if "spot" in capacities else capacities[0] if capacities else "on-demand"
    nodes = Nodes(
        types,
        capacity,
        desired=None,
        maximum=_most(pool["spec"].get("limits") or {}, types),
        zones=_required(spec, "topology.kubernetes.io/zone"),
        cheapest_first=True,
        disk_gib=_disk_gib(resource.values["class"]),
        lacking=ASKED,
    )
    return node_lines(context, resource, nodes)


def _most(limits: Json, types: tuple[str, ...]) -> Decimal | None:
    """Return how many nodes the limits allow: by number, else by processors of the smallest type."""
    found = [number(limits.get("nodes"))]
    processors = number(limits.get("cpu"))
    sizes = [vcpus(item) for item in types]
    known = [item for item in sizes if item is not None]
    if processors is not None and known and len(known) == len(sizes):
        # Nodes start as long as the limit is not reached, so that the last may pass it.
        found.append(-(-processors // min(known)))
    given = [item for item in found if item is not None]
    return min(given) if given else None


def vcpus(instance_type: str) -> int | None:
    """Return a type's virtual processors by its size; None where the size does not tell.

    Source: AWS, "Amazon EC2 instance types", read 2026-11-20: `large` has 2, `xlarge` 4, `Nxlarge` 4N, whatever the
    family, but for the smallest and for bare metal.
    """
    found = _SIZE.search(instance_type)
    if found is None:
        return None
    return 2 if instance_type.endswith(".large") else 4 * int(found[1] or 1)


def _disk_gib(node_class: Mapping[str, Any]) -> Decimal | None:
    sizes = []
    for mapping in (node_class.get("spec") or {}).get("blockDeviceMappings") or ():
        text = str((mapping.get("ebs") or {}).get("volumeSize"))
        size = number(text[:-2])
        if size is None or text[-2:] not in _GIB:
            return None
        sizes.append(size * _GIB[text[-2:]])
    return sum(sizes, ZERO) if sizes else None

"""Nodes and their disks: node groups, instances, reservations, clusters. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from cost.amount import ZERO
from cost.plan.kinds.rule import Context, Rule, always, line, number
from cost.plan.model import HOURS, Line, Rate, Resource
from cost.prices.model import Book, Meter, Price

# The last day of standard support. Source: AWS, "Amazon EKS Kubernetes release calendar", read 2026-11-20.
_STANDARD_SUPPORT = {"1.34": date(2026, 12, 2), "1.35": date(2027, 3, 27), "1.36": date(2027, 8, 2)}
_GP3_IOPS, _GP3_MIB_S = 3000, 125  # included in gp3's price. Source: AWS, "Amazon EBS volume types", read 2026-11-20
_DEFAULT_DISK_GIB = Decimal(20)  # EKS's own, where no template says. Source: AWS, CreateNodegroup "diskSize"


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of one pool.

    Attributes:
        types: Their instance types, the preferred first.
        capacity: `on-demand`, `spot`, `reserved`, `block`.
        desired: How many the plan asks for; None where something else decides.
        maximum: How many at most.
        zones: Where they may lie; empty for anywhere in the region.
        cheapest_first: Whether the cheapest type is taken, as Karpenter does, and not the first, as node groups do.
        disk_gib: Each node's disk; None where it is not known.
        disk_type: Its kind.
        lacking: Why `desired` is not known.
    """

    types: tuple[str, ...]
    capacity: str
    desired: Decimal | None
    maximum: Decimal | None
    zones: tuple[str, ...] = ()
    cheapest_first: bool = False
    disk_gib: Decimal | None = None
    disk_type: str = "gp3"
    lacking: str = ""


def node_lines(context: Context, resource: Resource, nodes: Nodes) -> list[Line]:
    """Return the lines of nodes: their hours and their disks."""
    average = context.used("nodes", resource, "average_nodes")
    desired = nodes.desired if average is None else average
    maximum = nodes.maximum
    name = nodes.types[0] if len(nodes.types) == 1 else "any of " + ", ".join(nodes.types)
    found = [
        Line(
            meter=Meter("ec2", f"{nodes.capacity} {name}"),
            unit="hour",
            rate=node_rate(context.book, resource.region, nodes),
            desired=None if desired is None else desired * HOURS,
            maximum=None if maximum is None else maximum * HOURS,
            lacking=nodes.lacking,
            spot=nodes.capacity == "spot",
        )
    ]
    if nodes.disk_gib is not None:
        disks = [None if count is None else count * nodes.disk_gib for count in (desired, maximum)]
        made = line(context, resource, ("ebs", nodes.disk_type), disks[0], unit="GB-month", maximum=disks[1])
        found.append(Line(made.meter, made.unit, made.rate, made.desired, disks[1], nodes.lacking))
    return found


def node_rate(book: Book, region: str | None, nodes: Nodes) -> Rate:
    """Return what an hour of one node costs: one price, or a range over types and over spot's history."""
    if nodes.capacity == "block":
        return Rate(lacking="a capacity block is paid before it starts, at a price of its own")
    known = {kind: price for kind in nodes.types if (price := book.on_demand(kind, region)) is not None}
    if nodes.capacity == "spot":
        return _spot_rate(book, region, nodes, known)
    missing = [kind for kind in nodes.types if kind not in known]
    place = region or "a region that the plan does not name"
    lacking = f"no price of ec2: on-demand {', '.join(missing)} in {place}" if missing else ""
    prices = [price.usd for price in known.values()]
    if not prices:
        return Rate(lacking=lacking)
    if missing:  # the cheapest may be the one that nobody knows
        chosen = None if nodes.cheapest_first or nodes.types[0] in missing else known[nodes.types[0]].usd
        return Rate(None, chosen, None, None, tuple(known.values()), "" if chosen is not None else lacking)
    expected = min(prices) if nodes.cheapest_first else known[nodes.types[0]].usd
    return Rate(min(prices), expected, max(prices), max(prices), tuple(known.values()))


def _spot_rate(book: Book, region: str | None, nodes: Nodes, on_demand: dict[str, Price]) -> Rate:
    # Nobody bids: a node is never paid above its on-demand price. Source: AWS, "Spot Instance pricing history" and
    # "SpotOptions: MaxPrice", read 2026-11-20.
    ceiling = max(item.usd for item in on_demand.values()) if len(on_demand) == len(nodes.types) else None
    seen = {kind: book.spot_of(kind, region, nodes.zones) for kind in nodes.types}
    place = region or "a region that the plan does not name"
    missing = [kind for kind in nodes.types if not seen[kind]]
    if missing:
        lacking = f"no spot price of {', '.join(missing)} in {place}"
        return Rate(ceiling=ceiling, high=ceiling, sources=tuple(on_demand.values()), lacking=lacking)
    ranges = [item for items in seen.values() for item in items]
    low, high = min(item.low for item in ranges), max(item.high for item in ranges)
    middles = [item.middle for item in ranges if item.middle is not None]
    expected = sum(middles, ZERO) / len(middles) if len(middles) == len(ranges) else None
    lacking = "" if expected is not None else f"of spot {', '.join(nodes.types)} only the range seen is known"
    return Rate(low, expected, high, ceiling, (*ranges, *on_demand.values()), lacking)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _eks_cluster(resource: Resource, context: Context) -> list[Line]:
    version = str(resource.get("version"))
    end = _STANDARD_SUPPORT.get(version)
    if resource.get("upgrade_policy.support_type") == "STANDARD" or (end is not None and context.side.today <= end):
        return [always(context, resource, ("eks", "cluster standard support"))]
    if end is None and version not in {"None", ""} and _older(version):
        return [always(context, resource, ("eks", "cluster extended support"))]
    if end is not None:
        return [always(context, resource, ("eks", "cluster extended support"))]
    unknown = Rate(lacking=f"whether Kubernetes {version} is in standard support is not known")
    return [Line(Meter("eks", "cluster"), "hour", unknown, HOURS, HOURS)]


def _older(version: str) -> bool:
    first = min(_STANDARD_SUPPORT, key=_parts)
    return _parts(version) < _parts(first)


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _node_group(resource: Resource, context: Context) -> list[Line]:
    template = context.side.linked(resource, "launch_template", "aws_launch_template")
    types = _texts(resource.get("instance_types"))
    if not types and template is not None and isinstance(template.get("instance_type"), str):
        types = (str(template.get("instance_type")),)
    types = types or ("t3.medium",)  # EKS's own choice. Source: AWS, CreateNodegroup "instanceTypes"
    capacity = {"SPOT": "spot", "CAPACITY_BLOCK": "block"}.get(str(resource.get("capacity_type")), "on-demand")
    disk_gib, disk_type = template_disk(template)
    if template is None:
        disk_gib, disk_type = number(resource.get("disk_size")) or _DEFAULT_DISK_GIB, "gp2"
    desired = number(resource.get("scaling_config.desired_size"))
    return node_lines(
        context,
        resource,
        Nodes(
            types,
            capacity,
            desired,
            number(resource.get("scaling_config.max_size")),
            disk_gib=disk_gib,
            disk_type=disk_type,
            lacking="how many nodes there are to be is told by the apply alone",
        ),
    )


def template_disk(template: Resource | None) -> tuple[Decimal | None, str]:
    """Return size and kind of the disk that a launch template gives each node."""
    if template is None:
        return None, "gp3"
    sizes = [number(item) for block in template.blocks("block_device_mappings") for item in _sizes(block.get("ebs"))]
    known = [item for item in sizes if item is not None]
    kind = template.get("block_device_mappings.ebs.volume_type")
    return (sum(known, ZERO) if known and len(known) == len(sizes) else None), str(kind or "gp3")


def _sizes(ebs: object) -> Sequence[object]:
    blocks = ebs if isinstance(ebs, list) else [ebs]
    return [item.get("volume_size") for item in blocks if isinstance(item, dict)]


def _group(resource: Resource, context: Context) -> list[Line]:
    template = context.side.linked(resource, "launch_template", "aws_launch_template")
    kind = None if template is None else template.get("instance_type")
    if not isinstance(kind, str):
        unknown = Rate(lacking="the instance type of the launch template is not in the plan")
        return [Line(Meter("ec2", "instances of a group"), "hour", unknown, None, None)]
    disk_gib, disk_type = template_disk(template)
    most = number(resource.get("max_size"))
    desired = number(resource.get("desired_capacity"))
    nodes = Nodes((kind,), "on-demand", desired, most, disk_gib=disk_gib, disk_type=disk_type)
    return node_lines(context, resource, nodes)


def _instance(resource: Resource, context: Context) -> list[Line]:
    kind = str(resource.get("instance_type"))
    market = resource.get("instance_market_options.market_type")
    spot = market == "spot" or resource.kind == "aws_spot_instance_request"
    found = node_lines(context, resource, Nodes((kind,), "spot" if spot else "on-demand", Decimal(1), Decimal(1)))
    for block in (*resource.blocks("root_block_device"), *resource.blocks("ebs_block_device")):
        size = number(block.get("volume_size"))
        if size is not None:
            found.append(
                line(context, resource, ("ebs", str(block.get("volume_type") or "gp3")), size, unit="GB-month")
            )
    return found


def _reservation(resource: Resource, context: Context) -> list[Line]:
    # Paid for at the on-demand price whether anything runs in it or not.
    # Source: AWS, "On-Demand Capacity Reservations pricing and billing", read 2026-11-20.
    count = number(resource.get("instance_count"))
    kind = str(resource.get("instance_type"))
    return node_lines(context, resource, Nodes((kind,), "on-demand", count, count))


def _volume(resource: Resource, context: Context) -> list[Line]:
    kind = str(resource.get("type") or "gp2")
    item = "io1 and io2 storage" if kind in {"io1", "io2"} else kind
    found = [line(context, resource, ("ebs", item), number(resource.get("size")), unit="GB-month")]
    iops, speed = number(resource.get("iops")) or ZERO, number(resource.get("throughput")) or ZERO
    if kind in {"io1", "io2"}:
        found.append(line(context, resource, ("ebs", f"{kind} provisioned IOPS"), iops, unit="IOPS-month"))
    if kind == "gp3" and (iops > _GP3_IOPS or speed > _GP3_MIB_S):
        extra = max(iops - _GP3_IOPS, ZERO)
        found.append(line(context, resource, ("ebs", "gp3 IOPS above 3000"), extra, unit="IOPS-month"))
        extra = max(speed - _GP3_MIB_S, ZERO)
        found.append(line(context, resource, ("ebs", "gp3 throughput above 125 MiB/s"), extra, unit="MiB/s-month"))
    return found


COMPUTE: dict[str, Rule] = {
    "aws_autoscaling_group": _group,
    "aws_ebs_volume": _volume,
    "aws_ec2_capacity_reservation": _reservation,
    "aws_eks_cluster": _eks_cluster,
    "aws_eks_node_group": _node_group,
    "aws_instance": _instance,
    "aws_spot_instance_request": _instance,
}

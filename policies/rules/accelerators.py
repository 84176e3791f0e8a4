"""How accelerators are bought, and where they lie. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from policies.model import Rule, Severity, Violation, say, undecided
from policies.plan_view import PlanView, Resource

EXPIRES, REASON = "drivetrain:exception-expires", "drivetrain:exception-reason"
# Families with accelerators: p and g of NVIDIA, dl of Habana and Qualcomm, trn and inf of Annapurna.
# m7g and the like end in g, which stands for Graviton.
_ACCELERATED = re.compile(r"^(p|g|dl|trn|inf)\d")
_REASON_CHARS = 10


def _types(plan: PlanView, group: Resource) -> list[str]:
    own = group.get("instance_types")
    if isinstance(own, list) and own:
        return [str(item) for item in own]
    template = _template(plan, group)
    kind = template.get("instance_type") if template else None
    return [str(kind)] if kind else []


def _template(plan: PlanView, group: Resource) -> Resource | None:
    found = plan.target(group, "launch_template.id", "aws_launch_template")
    return found or plan.target(group, "launch_template.name", "aws_launch_template", by=("name",))


def _accelerated(plan: PlanView, group: Resource) -> bool:
    return any(_ACCELERATED.match(item) for item in _types(plan, group))


def _excepted(item: Resource, today: date) -> str | None:
    """Return what is wrong with an exception; None where one counts."""
    expires, reason = item.tags.get(EXPIRES, ""), item.tags.get(REASON, "")
    if not expires:
        return "without an exception"
    try:
        last = date.fromisoformat(expires)
    except ValueError:
        return f"and its exception's day '{expires}' is none"
    if last < today:
        return f"and its exception ran out on {expires}"
    if len(reason) < _REASON_CHARS:
        return "and its exception gives no reason"
    return None


def _reserved(template: Resource | None) -> bool:
    if template is None:
        return False
    path = "capacity_reservation_specification.capacity_reservation_target"
    return bool(
        template.get(f"{path}.capacity_reservation_id")
        or template.get(f"{path}.capacity_reservation_resource_group_arn")
    )


def _bought_well(plan: PlanView) -> Iterator[Violation]:
    for group in plan.kind("aws_eks_node_group"):
        types = _types(plan, group)
        if not types:
            yield say(group, "names no instance type, neither itself nor in its launch template")
            continue
        if not _accelerated(plan, group) or group.get("capacity_type") in {"SPOT", "CAPACITY_BLOCK"}:
            continue
        if _reserved(_template(plan, group)):
            continue
        if wrong := _excepted(group, plan.today):
            yield say(group, f"{', '.join(types)} is bought on demand, {wrong}")
    for item in plan.kind("aws_instance"):
        market = item.get("instance_market_options.market_type")
        if _ACCELERATED.match(str(item.get("instance_type"))) and market not in {"spot", "capacity-block"}:
            if wrong := _excepted(item, plan.today):
                yield say(item, f"{item.get('instance_type')} is bought on demand, {wrong}")


def _one_zone(plan: PlanView) -> Iterator[Violation]:
    for group in plan.kind("aws_eks_node_group"):
        template = _template(plan, group)
        if template is None:
            continue
        fabric = any(
            str(card.get("interface_type") or "").startswith("efa") for card in template.blocks("network_interfaces")
        )
        placed = template.get("placement.group_name")
        if not fabric and not placed:
            continue
        subnets = group.get("subnet_ids")
        count = len(subnets) if isinstance(subnets, list) else 0
        if count == 0:
            count = sum(1 for name in group.references("subnet_ids") if name.startswith("aws_subnet."))
        if count == 0:
            yield undecided(group, "its subnets are not known yet")
        elif count != 1:
            word = "EFA" if fabric else f"placement group '{placed}'"
            yield say(group, f"{word} needs one subnet, and it has {count}")


def _blocks_named(plan: PlanView) -> Iterator[Violation]:
    for group in plan.kind("aws_eks_node_group"):
        if group.get("capacity_type") != "CAPACITY_BLOCK":
            continue
        template = _template(plan, group)
        if template is None or template.get("instance_market_options.market_type") != "capacity-block":
            yield say(group, "its launch template does not buy from a Capacity Block")
        elif not _reserved(template):
            yield say(group, "its launch template names no Capacity Block")


def _tainted(plan: PlanView) -> Iterator[Violation]:
    for group in plan.kind("aws_eks_node_group"):
        effects = {block.get("effect") for block in group.blocks("taint")}
        if _accelerated(plan, group) and not effects & {"NO_SCHEDULE", "NO_EXECUTE"}:
            yield say(group, "has no taint, so that any pod may land on it")


RULES = (
    Rule(
        id="CKV_DT_3",
        title="Accelerators are spot, reserved or a Capacity Block, or carry a dated exception",
        severity=Severity.HIGH,
        reason="One eight-GPU node on demand costs 20 to 140 USD an hour, several times its spot price.",
        remedy=f"set `capacity` of the pool, or give it `exception` with reason and day (tags {EXPIRES}, {REASON})",
        kinds=("aws_eks_node_group", "aws_instance"),
        find=_bought_well,
    ),
    Rule(
        id="CKV_DT_4",
        title="Pools with EFA or a placement group lie in one subnet",
        severity=Severity.HIGH,
        reason="Training across zones pays for every gradient, and EFA does not reach the other zone at all.",
        remedy="name one zone in `zones` of the pool",
        kinds=("aws_eks_node_group",),
        find=_one_zone,
    ),
    Rule(
        id="CKV_DT_5",
        title="A pool of a Capacity Block names its block",
        severity=Severity.MEDIUM,
        reason="Without it the prepaid block stays empty, and the pool gets no node.",
        remedy="set `reservation_id` of the pool",
        kinds=("aws_eks_node_group",),
        find=_blocks_named,
    ),
    Rule(
        id="CKV_DT_31",
        title="Accelerator pools are tainted",
        severity=Severity.MEDIUM,
        reason="A pod that needs no accelerator would keep a node of 50 USD an hour alive.",
        remedy="give the node group a taint with NO_SCHEDULE",
        kinds=("aws_eks_node_group",),
        find=_tainted,
    ),
)

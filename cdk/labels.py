"""Labels and taints of nodes, by pool: what schedules pods, and what splits the bill. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cdk.instances import accelerator_of
from cdk.model import Capacity, Pool, PoolKind

KIND = "drivetrain.io/kind"
POOL = "drivetrain.io/pool"
CAPACITY = "drivetrain.io/capacity"
ACCELERATOR = "drivetrain.io/accelerator"
COST_CENTER = "drivetrain.io/cost-center"
TEAM = "drivetrain.io/team"


@dataclass(frozen=True, slots=True)
class Taint:
    """What keeps pods away that do not ask for it.

    Attributes:
        key: The resource's name, which device plugins tolerate.
        value: Its value.
        effect: As Kubernetes spells it; EKS spells it in capitals.
    """

    key: str
    value: str = "present"
    effect: str = "NoSchedule"


_TAINTS = {PoolKind.NVIDIA: Taint("nvidia.com/gpu"), PoolKind.QUALCOMM: Taint("qualcomm.com/qaic")}


def labels_of(pool: Pool) -> dict[str, str]:
    """Return the labels of a pool's nodes."""
    labels = {
        KIND: pool.kind.value,
        POOL: pool.name,
        CAPACITY: pool.capacity.value.replace("_", "-"),
        COST_CENTER: pool.cost_center,
        TEAM: pool.team,
    }
    accelerators = {accelerator_of(item) for item in pool.instance_types}
    if len(accelerators) == 1 and (only := accelerators.pop()) is not None:
        labels[ACCELERATOR] = only
    return labels


def cost_labels(pool: Pool) -> dict[str, str]:
    """Return who pays for what runs on a pool, or at its expense: admission asks for both labels."""
    return {COST_CENTER: pool.cost_center, TEAM: pool.team}


def taints_of(pool: Pool) -> list[Taint]:
    """Return the taints of a pool's nodes: accelerators are kept for those who ask for them."""
    taint = _TAINTS.get(pool.kind)
    return [] if taint is None else [taint]


def tags_of(pool: Pool) -> dict[str, str]:
    """Return the tags of a pool's instances, disks and interfaces."""
    return {
        "drivetrain:pool": pool.name,
        "drivetrain:cost-center": pool.cost_center,
        "drivetrain:team": pool.team,
        "drivetrain:capacity": pool.capacity.value.replace("_", "-"),
        # Whether an accelerator was meant to be bought on demand is read off the bill, and by policy.
        **_exception_tags(pool),
    }


def _exception_tags(pool: Pool) -> dict[str, str]:
    if pool.exception is None:
        return {}
    # AWS takes letters, digits, spaces and these signs in a tag's value, 256 at most.
    reason = re.sub(r"[^\w +\-=.:/@]", "", pool.exception.reason)[:256]
    return {"drivetrain:exception-expires": pool.exception.expires, "drivetrain:exception-reason": reason}


def is_spot(pool: Pool) -> bool:
    """Whether a pool's nodes may be taken back."""
    return pool.capacity is Capacity.SPOT

"""What instance types are made of, as far as launching them needs it: accelerators, EFA cards, local disks. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# m7g, c8gn, r8gd: a g right after the generation is Graviton.
_ARM = re.compile(r"^[a-z]+\d+g")


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One instance type with accelerators.

    Attributes:
        accelerator: Its kind, as labels name it.
        accelerators: How many.
        efa_cards: Network cards that carry EFA.
        efa_first_card: The first of them; card 0 carries the node's own address in any case.
        nvme_gb: Local disks together, GB.
    """

    accelerator: str
    accelerators: int
    efa_cards: int
    efa_first_card: int
    nvme_gb: int


# Source: AWS, "Accelerated computing instances" and "Maximize network bandwidth on Amazon EC2 instances with multiple
# network cards", 2026-07; card 0 of p6-b300 carries no EFA.
INSTANCE_TYPES: dict[str, InstanceType] = {
    "dl2q.24xlarge": InstanceType("qualcomm-ai100", 8, 1, 0, 0),
    "p4d.24xlarge": InstanceType("nvidia-a100", 8, 4, 0, 8000),
    "p5.4xlarge": InstanceType("nvidia-h100", 1, 1, 0, 3800),
    "p5.48xlarge": InstanceType("nvidia-h100", 8, 32, 0, 30400),
    "p5en.48xlarge": InstanceType("nvidia-h200", 8, 16, 0, 30400),
    "p6-b200.48xlarge": InstanceType("nvidia-b200", 8, 8, 0, 30400),
    "p6-b300.48xlarge": InstanceType("nvidia-b300", 8, 16, 1, 30400),
    "g6e.48xlarge": InstanceType("nvidia-l40s", 8, 4, 0, 7600),
    "g7e.48xlarge": InstanceType("nvidia-rtx-pro-6000", 8, 4, 0, 15200),
}
# Types of the same families that this release does not know card by card still have a known accelerator.
_FAMILIES = {"g6e": "nvidia-l40s", "g7e": "nvidia-rtx-pro-6000", "g6": "nvidia-l4", "g5": "nvidia-a10g"}


def is_arm(instance_type: str) -> bool:
    """Whether an instance type computes with Graviton."""
    return _ARM.match(instance_type) is not None


def accelerator_of(instance_type: str) -> str | None:
    """Return the accelerator that a type carries, as labels name it; None where this release does not know."""
    known = INSTANCE_TYPES.get(instance_type)
    return known.accelerator if known else _FAMILIES.get(instance_type.partition(".")[0])


def efa_layout(instance_type: str) -> tuple[int, int] | None:
    """Return how many EFA cards a type has and which is the first; None where this release does not know."""
    known = INSTANCE_TYPES.get(instance_type)
    return None if known is None or known.efa_cards == 0 else (known.efa_cards, known.efa_first_card)


def has_local_disks(instance_type: str) -> bool:
    """Whether a type has local NVMe disks, as far as this release knows."""
    known = INSTANCE_TYPES.get(instance_type)
    return known is not None and known.nvme_gb > 0

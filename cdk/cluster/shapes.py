"""How much of a node pods can have: quotas, limits and the size of Ray's workers come from here. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cdk.instances import INSTANCE_TYPES, accelerator_of
from cdk.model import Pool, PoolKind
from platform_lib.errors import ConfigError

NVIDIA = "nvidia.com/gpu"
QUALCOMM = "qualcomm.com/qaic"
EFA = "vpc.amazonaws.com/efa"

# Source: AWS, "Amazon EC2 instance types", 2026-07: GiB of memory a vCPU, by family.
_GIB_PER_VCPU = {"c": 2, "m": 4, "r": 8}
_SIZES = {"medium": 1, "large": 2, "xlarge": 4}
_GENERAL = re.compile(r"^([cmr])\d+[a-z-]*$")
# vCPU and GiB; the table of accelerators is `cdk.instances`.
_KNOWN = {
    "dl2q.24xlarge": (96, 768),
    "p4d.24xlarge": (96, 1152),
    "p5.4xlarge": (16, 256),
    "p5.48xlarge": (192, 2048),
    "p5en.48xlarge": (192, 2048),
    "p6-b200.48xlarge": (192, 2048),
    "p6-b300.48xlarge": (192, 4096),
    "g7e.48xlarge": (192, 2048),
}
# Source: AWS, "EC2 G6e instances", 2026-07: 8 GiB a vCPU, GPUs by size.
_G6E_GPUS = {1: 1, 2: 1, 4: 1, 8: 1, 12: 4, 16: 1, 24: 4, 48: 8}
_G6E_GIB_PER_VCPU = 8
# What the kubelet, the system and daemons (network, metrics, device plugins) take, rounded up: 1 to 8 % of the memory
# by the number of pods, and about a core and a half.
_RESERVED_CPU = 2
_USABLE_MEMORY = 0.9
_RESERVED_GIB = 1


@dataclass(frozen=True, slots=True)
class Shape:
    """What one node has.

    Attributes:
        vcpu: vCPUs.
        memory_gib: Memory, GiB.
        accelerators: How many.
        efa_cards: Cards that carry EFA.
    """

    vcpu: int
    memory_gib: int
    accelerators: int
    efa_cards: int

    @property
    def pod_cpu(self) -> int:
        """CPUs that pods can ask for."""
        return max(1, self.vcpu - _RESERVED_CPU)

    @property
    def pod_memory_gib(self) -> int:
        """Memory that pods can ask for, GiB."""
        return max(1, int(self.memory_gib * _USABLE_MEMORY) - _RESERVED_GIB)


def shape_of(instance_type: str) -> Shape | None:
    """Return what an instance type has; None where this release does not know."""
    known = INSTANCE_TYPES.get(instance_type)
    family, _, size = instance_type.partition(".")
    if instance_type in _KNOWN:
        vcpu, memory = _KNOWN[instance_type]
        return Shape(vcpu, memory, known.accelerators if known else 0, known.efa_cards if known else 0)
    factor = _factor(size)
    if factor is None:
        return None
    if family == "g6e" and factor % 4 == 0 and factor // 4 in _G6E_GPUS:
        return Shape(
            factor, factor * _G6E_GIB_PER_VCPU, _G6E_GPUS[factor // 4], known.efa_cards if known is not None else 0
        )
    general = _GENERAL.match(family)
    if general is None or accelerator_of(instance_type) is not None:
        return None
    return Shape(factor, factor * _GIB_PER_VCPU[general.group(1)], 0, 0)


def _factor(size: str) -> int | None:
    if size in _SIZES:
        return _SIZES[size]
    number = size.removesuffix("xlarge")
    return int(number) * _SIZES["xlarge"] if number.isdigit() and number != size else None


def smallest_shape(pool: Pool) -> Shape:
    """Return what every node of a pool has at least, whichever of its types it is.

    Raises:
        ConfigError: This release does not know one of its types: a quota by guess would admit jobs that never start.
    """
    shapes = [_shape_or_refuse(pool, item) for item in pool.instance_types]
    return Shape(
        min(item.vcpu for item in shapes),
        min(item.memory_gib for item in shapes),
        min(item.accelerators for item in shapes),
        min(item.efa_cards for item in shapes),
    )


def largest_shape(pool: Pool) -> Shape:
    """Return what no node of a pool exceeds; what a limit on a whole pool is reckoned by.

    Raises:
        ConfigError: This release does not know one of its types.
    """
    shapes = [_shape_or_refuse(pool, item) for item in pool.instance_types]
    return Shape(
        max(item.vcpu for item in shapes),
        max(item.memory_gib for item in shapes),
        max(item.accelerators for item in shapes),
        max(item.efa_cards for item in shapes),
    )


def _shape_or_refuse(pool: Pool, instance_type: str) -> Shape:
    shape = shape_of(instance_type)
    if shape is None:
        raise ConfigError(
            f"how many vCPUs and how much memory {instance_type} has is not known here",
            where=f"pool {pool.name}",
            remedy="add the type to cdk/cluster/shapes.py with its source, or take another",
        )
    return shape


def accelerator_resource(pool: Pool) -> str | None:
    """Return the resource by which pods ask for a pool's accelerators; None where it has none."""
    return {PoolKind.NVIDIA: NVIDIA, PoolKind.QUALCOMM: QUALCOMM}.get(pool.kind)

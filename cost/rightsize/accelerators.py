"""GPUs and the EC2 types that carry them, as far as right-sizing needs: memory, speed by datasheet, MIG slices. Pure.

What is not here is unknown, and nothing is proposed from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cost.rightsize.packing import Shape


@dataclass(frozen=True, slots=True)
class Gpu:
    """One model.

    Attributes:
        name: Short.
        memory_gib: Of one GPU.
        tflops: Dense FP16 on tensor cores.
        gb_per_s: Memory bandwidth.
        mig: (slices of seven, GiB, how many of them a GPU gives), the smallest first; empty: no MIG.
    """

    name: str
    memory_gib: float
    tflops: float
    gb_per_s: float
    mig: tuple[tuple[int, float, int], ...] = ()


# Source: NVIDIA datasheets of each model (dense, without sparsity; SXM where there are several) and "MIG User Guide", supported
# profiles; A10G: AWS, "Amazon EC2 G5 instances"; read by 2026-11.
GPUS: dict[str, Gpu] = {
    gpu.name: gpu
    for gpu in (
        Gpu("V100", 16, 125, 900),
        Gpu("V100-32", 32, 125, 900),
        Gpu("T4", 16, 65, 320),
        Gpu("A10G", 24, 70, 600),
        Gpu("L4", 24, 121, 300),
        Gpu("L40S", 48, 362, 864),
        Gpu("A100-40", 40, 312, 1555, ((1, 5, 7), (2, 10, 3), (3, 20, 2))),
        Gpu("A100-80", 80, 312, 2039, ((1, 10, 7), (2, 20, 3), (3, 40, 2))),
        Gpu("H100", 80, 989, 3350, ((1, 10, 7), (2, 20, 3), (3, 40, 2))),
        Gpu("H200", 141, 989, 4800, ((1, 18, 7), (2, 35, 3), (3, 71, 2))),
    )
}

_SIZES = {"": 1, "2": 2, "4": 4, "8": 8, "12": 12, "16": 16, "24": 24, "48": 48}


def _family(
    prefix: str, model: str, gib_per_vcpu: float, gpus: dict[str, int]
) -> dict[str, tuple[int, float, int, str]]:
    return {
        f"{prefix}.{size}xlarge": (4 * _SIZES[size], 4 * _SIZES[size] * gib_per_vcpu, count, model)
        for size, count in gpus.items()
    }


_ONE_TO_EIGHT = {"": 1, "2": 1, "4": 1, "8": 1, "16": 1, "12": 4, "24": 4, "48": 8}
# Source: AWS, "Accelerated computing" instance types (vCPU, GiB, GPUs), 2026-07; of g7e, p6 and dl2q nothing is proposed here.
TYPES: dict[str, tuple[int, float, int, str]] = {
    **_family("g4dn", "T4", 4, {"": 1, "2": 1, "4": 1, "8": 1, "16": 1, "12": 4}),
    **_family("g5", "A10G", 4, _ONE_TO_EIGHT),
    **_family("g6", "L4", 4, _ONE_TO_EIGHT),
    **_family("g6e", "L40S", 8, _ONE_TO_EIGHT),
    "p3.2xlarge": (8, 61, 1, "V100"),
    "p3.8xlarge": (32, 244, 4, "V100"),
    "p3.16xlarge": (64, 488, 8, "V100"),
    "p3dn.24xlarge": (96, 768, 8, "V100-32"),
    "p4d.24xlarge": (96, 1152, 8, "A100-40"),
    "p4de.24xlarge": (96, 1152, 8, "A100-80"),
    "p5.4xlarge": (16, 256, 1, "H100"),
    "p5.48xlarge": (192, 2048, 8, "H100"),
    "p5en.48xlarge": (192, 2048, 8, "H200"),
}
_PLAIN = re.compile(r"([cmr])[5-8][a-z]*\.(medium|large|(\d*)xlarge)")
_GIB_PER_VCPU = {"c": 2.0, "m": 4.0, "r": 8.0}
"""Source: AWS, "General purpose", "Compute optimized", "Memory optimized" instance types, 2026-07: generations 5 to 8 alike."""
_EVICTION_MIB, _RESERVED_MIB, _A_POD_MIB, _PODS = 100, 255, 11, 110
_VM_SHARE = 0.075
"""Source: Karpenter, settings `vmMemoryOverheadPercent` (0.075) and kubeReserved's defaults (255 MiB and 11 a pod); 2026-07."""


def capacity_of(instance_type: str) -> tuple[int, float, int, str] | None:
    """Return vCPU, GiB, GPUs and their model; None of a type that is not known here."""
    if instance_type in TYPES:
        return TYPES[instance_type]
    found = _PLAIN.fullmatch(instance_type)
    if found is None:
        return None
    vcpu = {"medium": 1, "large": 2}.get(found[2]) or 4 * int(found[3] or 1)
    return vcpu, vcpu * _GIB_PER_VCPU[found[1]], 0, ""


def shape_of(instance_type: str) -> Shape | None:
    """Return what a type has left for pods, after what the kubelet and the system keep; None of an unknown type."""
    found = capacity_of(instance_type)
    if found is None:
        return None
    vcpu, gib, gpus, model = found
    # 6 % of the first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest, as EKS reserves it.
    kept = 60 + (10 if vcpu > 1 else 0) + 5 * min(max(vcpu - 2, 0), 2) + 2.5 * max(vcpu - 4, 0)
    memory = gib * 1024 * (1 - _VM_SHARE) - _EVICTION_MIB - _RESERVED_MIB - _A_POD_MIB * _PODS
    return Shape(instance_type, int(vcpu * 1000 - kept), max(int(memory), 0), gpus, model)


def model_of(name: str) -> Gpu | None:
    """Return the GPU that DCGM's `modelName` means, such as `NVIDIA A100-SXM4-40GB`; None of one that is not known."""
    text = name.upper()
    for word, found in (("A10G", "A10G"), ("L40S", "L40S"), ("H200", "H200"), ("H100", "H100"), ("T4", "T4")):
        if word in text:
            return GPUS[found]
    if "A100" in text:
        return GPUS["A100-80" if "80GB" in text else "A100-40"]
    if "V100" in text:
        return GPUS["V100-32" if "32GB" in text else "V100"]
    return GPUS["L4"] if re.search(r"\bL4\b", text) else None

"""What nodes of a Ray cluster can do: the one place for the custom resources that nodes announce and work asks for.

Pools announce them (`cdk.cluster.ray_pods`), tasks ask for them (`ray_jobs.placement`), and recipes name pools by them
(`Processes.placed_on`). A node that somebody starts by hand joins in with ``ray start --resources='{"can-compile": 1}'``.
"""

from __future__ import annotations

from typing import Final, Literal

Ability = Literal["can-train", "can-compile", "can-evaluate"]
TRAINS: Final = "can-train"
"""Trains on an NVIDIA GPU."""
COMPILES: Final = "can-compile"
"""Has the compiler of a vehicle's chip and its emulator."""
EVALUATES: Final = "can-evaluate"
"""Drives planners in the simulator, and runs their graphs."""
ABILITIES: Final[tuple[Ability, ...]] = (TRAINS, COMPILES, EVALUATES)

GPU: Final = "GPU"
"""Ray's own name for NVIDIA GPUs."""
QAIC: Final = "qaic"
"""Cards of Qualcomm Cloud AI 100."""

SHARE: Final = 1e-3
"""What one task takes of an ability: so little that CPUs, and not this, decide how many run at once."""


def pool_resource(pool: str) -> str:
    """Return what nodes of a pool announce, for work that wants this very pool."""
    return f"pool-{pool}"


def offer(ability: str) -> str:
    """Return what a head announces for workers that its autoscaler may start: there may be none of them now."""
    return f"offers-{ability}"

"""Every stack of an environment, in the order in which each takes from those before it."""

from __future__ import annotations

from cdktn import App

from cdk.model import Environment, Workload
from cdk.stacks.base import PlatformStack
from cdk.stacks.network import NetworkCore, WorkloadNetwork


def build_stacks(app: App, environment: Environment) -> list[PlatformStack]:
    """Build all stacks of an environment."""
    stacks: list[PlatformStack] = []
    for region in environment.regions:
        core = NetworkCore(app, environment, region.name)
        networks = {item: WorkloadNetwork(app, environment, region, item, core) for item in Workload}
        stacks += [core, *networks.values()]
    return stacks

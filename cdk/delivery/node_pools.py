"""Karpenter's node pools beside a plan: Terraform does not make them, and what they may cost belongs on its page."""

from __future__ import annotations

from pathlib import Path

from cdk.cluster.doors.rendering import render
from cdk.cluster.nodes import nodes
from cdk.cluster.place import Outputs, Place
from cdk.cluster.reading import default_image_tag
from cdk.cluster.spot_order import SpotOrder
from cdk.model import Environment


def write_node_pools(environment: Environment, folder: Path) -> Path:
    """Write the pools that Karpenter makes, a folder a region, and return where.

    Raises:
        ConfigError: A pool that Karpenter cannot make.
    """
    for region in environment.regions:
        place = Place(environment, region, default_image_tag(), Outputs())
        render(nodes(place, SpotOrder()), folder / region.name)
    return folder

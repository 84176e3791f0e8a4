"""Karpenter's node pools beside a plan: Terraform does not make them, and what they may cost belongs on its page."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

from cdk.cluster.doors.rendering import render
from cdk.cluster.nodes import nodes
from cdk.cluster.place import Outputs, Place
from cdk.cluster.reading import default_image_tag
from cdk.cluster.spot_order import SpotOrder
from cdk.model import Environment


def write_node_pools(environment: Environment, folder: Path, left_out: Container[str] = ()) -> Path:
    """Write the pools that Karpenter makes, a folder a region, and return where.

    Args:
        environment: Whose.
        folder: Where.
        left_out: Stacks that are not planned: a plan without a region's Karpenter is not charged with its nodes.

    Raises:
        ConfigError: A pool that Karpenter cannot make.
    """
    for region in environment.regions:
        place = Place(environment, region, default_image_tag(), Outputs())
        planned = f"karpenter-{region.name}" not in left_out
        render(nodes(place, SpotOrder()) if planned else (), folder / region.name)
    return folder

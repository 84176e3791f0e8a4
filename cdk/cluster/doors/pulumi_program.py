"""The third door: a program for teams that run Pulumi, over the same objects."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from cdk.cluster.kinds.base import Manifest
from platform_lib.errors import MissingPartError

EXTRA = "pulumi"


def register(name: str, objects: Sequence[Manifest]) -> Any:
    """Register a cluster's objects as one group; Pulumi's provider orders them and waits for kinds that come later.

    Args:
        name: The group's name, unique in its stack.
        objects: One cluster's.

    Returns:
        The `ConfigGroup`.

    Raises:
        MissingPartError: Pulumi is not installed.
    """
    try:
        group = importlib.import_module("pulumi_kubernetes.yaml.v2").ConfigGroup
    except ModuleNotFoundError as error:
        raise MissingPartError(
            "Pulumi's Python packages are not installed",
            where="pulumi-kubernetes",
            remedy=f"pip install -c constraints.txt -e .[infra,{EXTRA}]",
        ) from error
    return group(name, objs=[item.document() for item in objects])

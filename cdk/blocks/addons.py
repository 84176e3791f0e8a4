"""Add-ons of a cluster, each at the version that goes with the cluster's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from cdktn import ITerraformDependable
from cdktn_provider_aws.data_aws_eks_addon_version import DataAwsEksAddonVersion
from cdktn_provider_aws.eks_addon import EksAddon

from cdk.labels import KIND
from cdk.model import Addon, Kubernetes, PoolKind
from cdk.stacks.base import PlatformStack
from cdk.support import addon_version

_SYSTEM_NODES = {KIND: PoolKind.SYSTEM.value}
# What runs as deployments: EKS calls it healthy, and Terraform ends waiting, once it has nodes to run on.
NEEDING_NODES: Mapping[Addon, dict[str, object]] = {
    Addon.COREDNS: {"nodeSelector": _SYSTEM_NODES},
    Addon.EBS_CSI: {"controller": {"nodeSelector": _SYSTEM_NODES}},
}


def install(
    stack: PlatformStack,
    kubernetes: Kubernetes,
    cluster_name: str,
    settings: Mapping[Addon, Mapping[str, object]],
    ready: Sequence[ITerraformDependable] = (),
) -> None:
    """Install add-ons with their settings, once `ready` stands."""
    for addon, values in settings.items():
        EksAddon(
            stack,
            f"addon-{addon.value}",
            cluster_name=cluster_name,
            addon_name=addon.value,
            addon_version=_version(stack, kubernetes, addon),
            configuration_values=json.dumps(values, sort_keys=True) if values else None,
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="PRESERVE",
            depends_on=list(ready) or None,
        )


def _version(stack: PlatformStack, kubernetes: Kubernetes, addon: Addon) -> str:
    pinned = kubernetes.addon_versions.get(addon) or addon_version(kubernetes.version, addon)
    if pinned is not None:
        return pinned
    source = DataAwsEksAddonVersion(
        stack, f"addon-{addon.value}-default", addon_name=addon.value, kubernetes_version=kubernetes.version
    )
    return str(source.version)

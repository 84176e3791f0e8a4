"""Device plugins: what makes GPUs, Cloud AI 100 cards and EFA cards something that pods can ask for.

EKS's images of Amazon Linux 2023 have NVIDIA's driver and not its plugin; only those of Bottlerocket have both.
"""

from __future__ import annotations

from dataclasses import dataclass

from cdk.cluster.kinds.base import LabelSelector, Manifest, Metadata, Toleration
from cdk.cluster.kinds.core import DaemonSet, DaemonSetSpec, DaemonSetStrategy, RollingUpdate
from cdk.cluster.kinds.pods import (
    Affinity,
    Capabilities,
    Container,
    HostPath,
    Mount,
    NodeAffinity,
    NodeCondition,
    NodeSelection,
    NodeTerm,
    PodSpec,
    PodTemplate,
    Resources,
    SecurityContext,
    TemplateMetadata,
    Variable,
    Volume,
)
from cdk.cluster.namespaces import DEVICES
from cdk.cluster.place import NAME, Place, labels_for
from cdk.cluster.versions import EFA_PLUGIN_IMAGE, NVIDIA_PLUGIN_IMAGE, QUALCOMM_PLUGIN_IMAGE
from cdk.labels import POOL, taints_of
from cdk.model import Pool, PoolKind

_PLUGINS = "/var/lib/kubelet/device-plugins"
_REQUESTS = {"cpu": "50m", "memory": "64Mi"}


@dataclass(frozen=True, slots=True)
class _Plugin:
    """A device plugin.

    Attributes:
        name: Its name.
        image: Its image.
        mounts: Folders of the node beside the kubelet's sockets.
        env: Its settings.
        security: What it may do on the node.
    """

    name: str
    image: str
    security: SecurityContext
    mounts: tuple[str, ...] = ()
    env: tuple[Variable, ...] = ()


_DROPPED = SecurityContext(
    allow_privilege_escalation=False, read_only_root_filesystem=True, capabilities=Capabilities(drop=("ALL",))
)
_NVIDIA = _Plugin(
    "nvidia-device-plugin",
    NVIDIA_PLUGIN_IMAGE,
    _DROPPED,
    env=(
        # A node whose driver is broken must say so, not look like a node without GPUs.
        Variable(name="FAIL_ON_INIT_ERROR", value="true"),
        Variable(name="DEVICE_LIST_STRATEGY", value="envvar"),
        Variable(name="MIG_STRATEGY", value="none"),
        Variable(name="NVIDIA_MIG_MONITOR_DEVICES", value="all"),
    ),
)
# It opens the cards, which the kernel lets root with all rights do.
_QUALCOMM = _Plugin(
    "qualcomm-device-plugin", QUALCOMM_PLUGIN_IMAGE, SecurityContext(privileged=True), mounts=("/dev", "/sys")
)
_EFA = _Plugin("efa-device-plugin", EFA_PLUGIN_IMAGE, _DROPPED, mounts=("/dev/infiniband",))


def device_plugins(place: Place) -> list[Manifest]:
    """Return the plugins that a cluster's pools need; none for what it has not."""
    pools = place.work_pools
    wanted = (
        (_NVIDIA, [item for item in pools if item.kind is PoolKind.NVIDIA]),
        (_QUALCOMM, [item for item in pools if item.kind is PoolKind.QUALCOMM]),
        (_EFA, [item for item in pools if item.efa]),
    )
    return [_daemons(plugin, found) for plugin, found in wanted if found]


def _daemons(plugin: _Plugin, pools: list[Pool]) -> DaemonSet:
    app = {NAME: plugin.name}
    taints = sorted({(item.key, item.effect) for pool in pools for item in taints_of(pool)})
    return DaemonSet(
        metadata=Metadata(name=plugin.name, namespace=DEVICES, labels=labels_for(plugin.name)),
        spec=DaemonSetSpec(
            selector=LabelSelector(match_labels=app),
            update_strategy=DaemonSetStrategy(rolling_update=RollingUpdate(max_unavailable="10%")),
            template=PodTemplate(
                metadata=TemplateMetadata(labels=labels_for(plugin.name)),
                spec=PodSpec(
                    priority_class_name="system-node-critical",
                    automount_service_account_token=False,
                    affinity=_on(pools),
                    tolerations=tuple(Toleration(key=key, operator="Exists", effect=effect) for key, effect in taints)
                    or None,
                    containers=(
                        Container(
                            name="plugin",
                            image=plugin.image,
                            env=plugin.env or None,
                            resources=Resources(requests=_REQUESTS, limits={"memory": "256Mi"}),
                            security_context=plugin.security,
                            volume_mounts=(
                                Mount(name="sockets", mount_path=_PLUGINS),
                                *(Mount(name=_volume(item), mount_path=item) for item in plugin.mounts),
                            ),
                        ),
                    ),
                    volumes=(
                        Volume(name="sockets", host_path=HostPath(path=_PLUGINS)),
                        *(Volume(name=_volume(item), host_path=HostPath(path=item)) for item in plugin.mounts),
                    ),
                ),
            ),
        ),
    )


def _volume(path: str) -> str:
    return path.strip("/").replace("/", "-")


def _on(pools: list[Pool]) -> Affinity:
    names = tuple(sorted(item.name for item in pools))
    condition = NodeCondition(key=POOL, operator="In", values=names)
    return Affinity(
        node_affinity=NodeAffinity(
            required_during_scheduling_ignored_during_execution=NodeSelection(
                node_selector_terms=(NodeTerm(match_expressions=(condition,)),)
            )
        )
    )

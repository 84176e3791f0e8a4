"""Every object of a cluster, once: what all three doors bring. Pure."""

from __future__ import annotations

from cdk.cluster.admission import admission
from cdk.cluster.alerts import alerts
from cdk.cluster.applications import applications
from cdk.cluster.definitions import WAVE, is_custom
from cdk.cluster.devices import device_plugins
from cdk.cluster.history import history
from cdk.cluster.kinds.addons import ARGO_NAMESPACE
from cdk.cluster.kinds.base import Manifest
from cdk.cluster.namespaces import namespaces, people
from cdk.cluster.nodes import nodes
from cdk.cluster.place import Place
from cdk.cluster.queues import queues
from cdk.cluster.ray import ray_objects
from cdk.cluster.spot_order import SpotOrder
from cdk.cluster.tracking import tracking
from cdk.cluster.traffic import policies

# What others need to be there goes first; within a rank by name, so that every rendering is the same.
_RANKS = {
    "Namespace": 0,
    "PriorityClass": 1,
    "StorageClass": 1,
    "ServiceAccount": 2,
    "ClusterRole": 3,
    "ClusterRoleBinding": 4,
    "RoleBinding": 4,
    "ResourceQuota": 5,
    "LimitRange": 5,
    "NetworkPolicy": 5,
    "AppProject": 6,
    "Application": 7,
    "ClusterSecretStore": 8,
    "ExternalSecret": 9,
    "Topology": 10,
    "ResourceFlavor": 11,
    "Cohort": 12,
    "ClusterQueue": 13,
    "LocalQueue": 14,
    "WorkloadPriorityClass": 14,
    "EC2NodeClass": 15,
    "NodePool": 16,
    "ValidatingAdmissionPolicy": 17,
    "ValidatingAdmissionPolicyBinding": 18,
}
_LAST = 20
_LATER = {WAVE: "1", "argocd.argoproj.io/sync-options": "SkipDryRunOnMissingResource=true"}


def objects_of(place: Place, order: SpotOrder | None = None) -> tuple[Manifest, ...]:
    """Return every object of a cluster, in the order in which they can be made.

    Args:
        place: The cluster.
        order: Which pools are tried first; the environment's order by default.

    Raises:
        ConfigError: Something that the environment asks for cannot be: a pool of unknown size, too many pools.
    """
    order = order or SpotOrder()
    found = [
        *namespaces(place),
        *people(place),
        *policies(place),
        *applications(place),
        *queues(place, order),
        *nodes(place, order),
        *device_plugins(place),
        *tracking(place),
        *ray_objects(place),
        *history(place),
        *alerts(),
        *admission(place),
    ]
    return tuple(sorted(map(_for_argo, found), key=rank))


def _for_argo(item: Manifest) -> Manifest:
    """Tell Argo CD that a kind may come later, with an application of an earlier wave."""
    if not is_custom(item) or item.metadata.namespace == ARGO_NAMESPACE:
        return item
    annotations = {**(item.metadata.annotations or {}), **_LATER}
    return item.model_copy(update={"metadata": item.metadata.model_copy(update={"annotations": annotations})})


def rank(item: Manifest) -> tuple[int, str, str, str]:
    """Return an object's place among others."""
    return _RANKS.get(item.kind, _LAST), item.kind, item.metadata.namespace or "", item.metadata.name

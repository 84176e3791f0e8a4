"""The history server: dashboards of Ray clusters that are gone."""

from __future__ import annotations

from cdk.access import IDENTITIES, Workload
from cdk.cluster.kinds.base import LabelSelector, Manifest, Metadata, ObjectReference
from cdk.cluster.kinds.core import (
    ClusterRole,
    Deployment,
    DeploymentSpec,
    DisruptionBudgetSpec,
    PodDisruptionBudget,
    RoleBinding,
    Rule,
    Service,
    ServicePort,
    ServiceSpec,
    Subject,
)
from cdk.cluster.kinds.pods import (
    RESTRICTED,
    Container,
    ContainerPort,
    PodSpec,
    PodTemplate,
    Probe,
    Resources,
    TcpSocket,
    TemplateMetadata,
)
from cdk.cluster.namespaces import RAY, SERVICES
from cdk.cluster.place import NAME, SYSTEM_NODES, Place, labels_for
from cdk.cluster.ray import history_variables
from cdk.cluster.ray_pods import security
from cdk.cluster.traffic import HISTORY_PORT
from cdk.cluster.versions import HISTORY_SERVER_IMAGE
from cdk.labels import cost_labels

_NAME = "ray-history"
_APP = {NAME: _NAME}
_RBAC = "rbac.authorization.k8s.io"


def history(place: Place) -> list[Manifest]:
    """Return the history server of a cluster."""
    account = IDENTITIES[Workload.RAY_HISTORY].service_account
    meta = Metadata(name=_NAME, namespace=RAY, labels=labels_for(_NAME))
    return [
        ClusterRole(
            metadata=Metadata(name=_NAME, labels=labels_for(_NAME)),
            rules=(Rule(api_groups=("ray.io",), resources=("rayclusters",), verbs=("get", "list", "watch")),),
        ),
        RoleBinding(
            metadata=meta,
            role_ref=ObjectReference(api_group=_RBAC, kind="ClusterRole", name=_NAME),
            subjects=(Subject(kind="ServiceAccount", name=account, namespace=RAY),),
        ),
        Deployment(
            metadata=meta,
            spec=DeploymentSpec(replicas=1, selector=LabelSelector(match_labels=_APP), template=_pods(place, account)),
        ),
        Service(
            metadata=meta,
            spec=ServiceSpec(
                selector=_APP,
                ports=(ServicePort(name="http", port=80, target_port="http"),),
                traffic_distribution=place.traffic_distribution,
            ),
        ),
        PodDisruptionBudget(
            metadata=meta,
            # One replica: a drain may take it, and it starts elsewhere; a budget that forbade it would stop upgrades.
            spec=DisruptionBudgetSpec(max_unavailable=1, selector=LabelSelector(match_labels=_APP)),
        ),
    ]


def _pods(place: Place, account: str) -> PodTemplate:
    return PodTemplate(
        metadata=TemplateMetadata(labels=labels_for(_NAME, **cost_labels(place.system_pools[0]))),
        spec=PodSpec(
            service_account_name=account,
            automount_service_account_token=True,
            priority_class_name=SERVICES,
            node_selector=dict(SYSTEM_NODES),
            security_context=security(),
            containers=(
                Container(
                    name="history",
                    image=HISTORY_SERVER_IMAGE,
                    env=history_variables(place),
                    ports=(ContainerPort(name="http", container_port=HISTORY_PORT),),
                    # Sessions that people opened stay in memory: past the limit it starts anew, with an empty cache.
                    resources=Resources(requests={"cpu": "200m", "memory": "1Gi"}, limits={"memory": "4Gi"}),
                    security_context=RESTRICTED,
                    readiness_probe=Probe(tcp_socket=TcpSocket(port="http"), period_seconds=10),
                    liveness_probe=Probe(tcp_socket=TcpSocket(port="http"), period_seconds=30, failure_threshold=5),
                ),
            ),
        ),
    )

"""Namespaces with Pod Security, limits, service accounts, priorities, disks, and who may do what."""

from __future__ import annotations

from dataclasses import dataclass

from cdk.access import IDENTITIES, Workload
from cdk.cluster.kinds.addons import ARGO_NAMESPACE
from cdk.cluster.kinds.base import Labels, Manifest, Metadata, ObjectReference
from cdk.cluster.kinds.core import (
    ClusterRole,
    ClusterRoleBinding,
    LimitItem,
    LimitRange,
    LimitSpec,
    Namespace,
    PriorityClass,
    QuotaSpec,
    ResourceQuota,
    Rule,
    ServiceAccount,
    StorageClass,
    Subject,
)
from cdk.cluster.place import PART_OF, PRODUCT, Place, labels_for
from cdk.labels import TEAM

RAY = "ray"
MLFLOW = "mlflow"
EDGE = "edge"
DEVICES = "device-plugins"
# The team of namespaces in which every team's jobs run: by that label admission knows where people work. Who pays is on
# each pod.
SHARED = "shared"
# The groups that access entries give people.
ADMINS = "drivetrain:admins"
VIEWERS = "drivetrain:viewers"
DISK_CLASS = "gp3-encrypted"
# Which jobs a namespace's own objects may be at most; what they may use is Kueue's to say.
_OBJECTS = {"count/rayjobs.ray.io": "500", "count/rayclusters.ray.io": "500", "pods": "5000", "services": "1500"}
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class _Space:
    """A namespace.

    Attributes:
        name: Its name.
        security: The Pod Security level that is enforced.
        jobs: Whether people's jobs run there, under quotas and defaults.
        warned: The level whose violations are told; the enforced one by default.
    """

    name: str
    security: str
    jobs: bool = False
    warned: str | None = None


# Daemons that reach the node's devices and metrics need more than `restricted`; nothing that people submit does. Where
# `restricted` is told and not enforced, an operator puts containers beside ours that carry no security context.
_SPACES = (
    _Space(RAY, "baseline", jobs=True, warned="restricted"),
    _Space(EDGE, "restricted", jobs=True),
    _Space(MLFLOW, "restricted"),
    _Space(DEVICES, "privileged"),
    _Space("monitoring", "privileged"),
    _Space("cert-manager", "restricted"),
    _Space("external-secrets", "restricted"),
    _Space("kuberay-system", "restricted"),
    _Space("kueue-system", "baseline", warned="restricted"),
    _Space("opencost", "baseline", warned="restricted"),
)

CRITICAL = "drivetrain-critical"
SERVICES = "drivetrain-services"
JOBS = "drivetrain-jobs"
_PRIORITIES = (
    PriorityClass(
        metadata=Metadata(name=CRITICAL, labels=labels_for("priorities")),
        value=1_000_000,
        description="What others cannot run without: heads of Ray clusters, device plugins",
    ),
    PriorityClass(
        metadata=Metadata(name=SERVICES, labels=labels_for("priorities")),
        value=100_000,
        description="What people wait for: tracking, history",
    ),
    PriorityClass(
        metadata=Metadata(name=JOBS, labels=labels_for("priorities")),
        value=1_000,
        # Kueue decides which job runs; a scheduler that also pushed out would undo half a gang.
        preemption_policy="Never",
        description="Workers of jobs; they push nobody out, Kueue does",
    ),
)


def namespaces(place: Place) -> list[Manifest]:
    """Return namespaces and what belongs to them."""
    found: list[Manifest] = [_namespace(place, item) for item in _SPACES]
    # Argo CD is there before us, with labels of its own; where it is not, its applications have a place all the same.
    found.append(Namespace(metadata=Metadata(name=ARGO_NAMESPACE, labels=_environment(place))))
    for item in _SPACES:
        if item.jobs:
            found += [_quota(item.name), _limits(item.name)]
    found += _service_accounts()
    found += _PRIORITIES
    found.append(_disks(place))
    return found


def _namespace(place: Place, space: _Space) -> Namespace:
    told = space.warned or space.security
    security = {
        f"pod-security.kubernetes.io/{mode}": level
        for mode, level in (("enforce", space.security), ("audit", told), ("warn", told))
    }
    return Namespace(
        metadata=Metadata(
            name=space.name,
            labels={PART_OF: PRODUCT, **_environment(place), **security, **({TEAM: SHARED} if space.jobs else {})},
        )
    )


def _environment(place: Place) -> Labels:
    return {"drivetrain.io/environment": place.environment.environment}


def _quota(namespace: str) -> ResourceQuota:
    return ResourceQuota(
        metadata=Metadata(name="objects", namespace=namespace, labels=labels_for("limits")),
        spec=QuotaSpec(hard={**_OBJECTS, "requests.storage": "2Ti"}),
    )


def _limits(namespace: str) -> LimitRange:
    return LimitRange(
        metadata=Metadata(name="defaults", namespace=namespace, labels=labels_for("limits")),
        spec=LimitSpec(
            limits=(
                # What init containers that the operator injects get, and who forgets to ask.
                LimitItem(
                    type="Container",
                    default={"memory": "1Gi"},
                    default_request={"cpu": "100m", "memory": "256Mi"},
                ),
                LimitItem(type="PersistentVolumeClaim", max={"storage": "1Ti"}),
            )
        ),
    )


def _service_accounts() -> list[Manifest]:
    """Those with a role by Pod Identity; charts make their own."""
    own = (Workload.INGEST, Workload.JOBS, Workload.RAY_HISTORY, Workload.MLFLOW, Workload.EDGE_COMPILE)
    return [
        ServiceAccount(
            metadata=Metadata(
                name=IDENTITIES[item].service_account,
                namespace=IDENTITIES[item].namespace,
                labels=labels_for("identities"),
            ),
            # AWS credentials come by Pod Identity; who speaks to the API server says so in its pod.
            automount_service_account_token=False,
        )
        for item in own
    ]


def _disks(place: Place) -> StorageClass:
    return StorageClass(
        metadata=Metadata(name=DISK_CLASS, labels=labels_for("disks")),
        provisioner="ebs.csi.aws.com",
        parameters={"type": "gp3", "encrypted": "true", "kmsKeyId": place.disk_key_alias},
    )


def people(place: Place) -> list[Manifest]:
    """Return what people may do, by the groups that access entries give them."""
    reads = ("get", "list", "watch")
    viewer = ClusterRole(
        metadata=Metadata(name="drivetrain-viewer", labels=labels_for("people")),
        rules=(
            Rule(api_groups=("ray.io",), resources=("rayclusters", "rayjobs", "rayservices"), verbs=reads),
            Rule(
                api_groups=("kueue.x-k8s.io",),
                resources=("clusterqueues", "localqueues", "workloads", "resourceflavors", "cohorts", "topologies"),
                verbs=reads,
            ),
            Rule(api_groups=("karpenter.sh",), resources=("nodepools", "nodeclaims"), verbs=reads),
            Rule(api_groups=("karpenter.k8s.aws",), resources=("ec2nodeclasses",), verbs=reads),
            Rule(api_groups=("argoproj.io",), resources=("applications", "appprojects"), verbs=reads),
            Rule(
                api_groups=("monitoring.coreos.com",),
                resources=("podmonitors", "prometheusrules", "servicemonitors"),
                verbs=reads,
            ),
            Rule(api_groups=("",), resources=("nodes",), verbs=reads),
        ),
    )
    # Submitting is running code of one's own in the namespace of jobs; it gives no secret and no pod's shell.
    submitter = ClusterRole(
        metadata=Metadata(name="drivetrain-admin", labels=labels_for("people")),
        rules=(
            Rule(
                api_groups=("ray.io",),
                resources=("rayclusters", "rayjobs"),
                verbs=(*reads, "create", "delete", "patch", "update"),
            ),
            Rule(
                api_groups=("kueue.x-k8s.io",),
                resources=("workloads", "localqueues", "clusterqueues"),
                verbs=(*reads, "patch", "update"),
            ),
            Rule(
                api_groups=("karpenter.sh",), resources=("nodepools", "nodeclaims"), verbs=(*reads, "delete", "patch")
            ),
            Rule(api_groups=("argoproj.io",), resources=("applications",), verbs=(*reads, "patch")),
        ),
    )
    return [
        viewer,
        submitter,
        _binding("drivetrain-viewers", "drivetrain-viewer", VIEWERS),
        _binding("drivetrain-admins-view", "drivetrain-viewer", ADMINS),
        _binding("drivetrain-admins", "drivetrain-admin", ADMINS),
    ]


def _binding(name: str, role: str, group: str) -> ClusterRoleBinding:
    return ClusterRoleBinding(
        metadata=Metadata(name=name, labels=labels_for("people")),
        role_ref=ObjectReference(api_group=_RBAC, kind="ClusterRole", name=role),
        subjects=(Subject(kind="Group", name=group, api_group=_RBAC),),
    )

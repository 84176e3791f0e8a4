"""Every admission policy. Pure; standard library alone."""

from __future__ import annotations

from collections.abc import Sequence

from policies.kubernetes.model import AdmissionPolicy, Kind, Manifest, Validation

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
COST_LABELS = ("drivetrain.io/team", "drivetrain.io/cost-center")
# Namespace and name of the cluster that stays for people, outside of every queue.
SHARED_CLUSTER = ("ray", "shared")
ACCELERATORS = ("nvidia.com/gpu", "qualcomm.com/qaic", "aws.amazon.com/neuron", "aws.amazon.com/neuroncore")
# KubeRay refuses more, and says so only in its operator's log. Source: KubeRay 1.5 with Kueue, 16 pod sets and the head.
MOST_WORKER_GROUPS = 17

_PODS = Kind("", ("v1",), ("pods", "pods/ephemeralcontainers"))
_PODS_ALONE = Kind("", ("v1",), ("pods",))
_RAY_JOBS = Kind("ray.io", ("v1",), ("rayjobs",))
_RAY_CLUSTERS = Kind("ray.io", ("v1",), ("rayclusters",))
_JOBS = Kind("batch", ("v1",), ("jobs",))

# `dyn`: to an API server that checks types, the three lists are of different ones and cannot be added.
_LASTING = "(has(object.spec.initContainers) ? dyn(object.spec.initContainers) : []) + dyn(object.spec.containers)"
_ALL = f"{_LASTING} + (has(object.spec.ephemeralContainers) ? dyn(object.spec.ephemeralContainers) : [])"
_POD_CONTEXT = "has(object.spec.securityContext)"


def _words(values: Sequence[str]) -> str:
    return "[" + ", ".join(f"'{item}'" for item in values) + "]"


def _labelled(key: str) -> str:
    return f"has(object.metadata.labels) && '{key}' in object.metadata.labels && object.metadata.labels['{key}'] != ''"


def admission_policies(registries: Sequence[str]) -> tuple[AdmissionPolicy, ...]:
    """Return every policy.

    Args:
        registries: Where images may come from, as their names begin: `111111111111.dkr.ecr.us-east-1.amazonaws.com/`.

    Raises:
        ValueError: A registry's name does not end in `/`: another registry's name could begin with it.
    """
    wrong = [item for item in registries if not item.endswith("/") or "'" in item or "\\" in item]
    if wrong or not registries:
        raise ValueError(f"a registry's name ends in '/': {', '.join(wrong) or 'none given'}")
    return (
        _images(registries),
        _isolation(),
        _non_root(),
        _resources(),
        _cost_labels(),
        _queued(),
        _ray_jobs(),
        _ray_clusters(),
        _priority(),
        _network(),
        _services(),
        _node_pools(),
    )


def manifests(registries: Sequence[str]) -> list[Manifest]:
    """Return every policy and binding as Kubernetes objects."""
    return [item for policy in admission_policies(registries) for item in policy.manifests()]


def _images(registries: Sequence[str]) -> AdmissionPolicy:
    return AdmissionPolicy(
        name="drivetrain-images",
        reason="An image that moves, or comes from anywhere, runs code that nobody reviewed.",
        kinds=(_PODS,),
        variables={"containers": _ALL, "registries": _words(registries)},
        validations=(
            Validation(
                "variables.containers.all(c, variables.registries.exists(r, c.image.startsWith(r)))",
                f"an image comes from a registry that is not allowed; allowed are {', '.join(registries)}",
            ),
            Validation(
                "variables.containers.all(c, c.image.contains('@sha256:') || c.image.matches('^[^@]*:[^:/@]+$'))",
                "an image has neither digest nor version: name one",
            ),
            Validation(
                "variables.containers.all(c, c.image.contains('@sha256:') || !c.image.endsWith(':latest'))",
                "an image has the tag 'latest', which moves: name a version or a digest",
            ),
        ),
    )


def _isolation() -> AdmissionPolicy:
    context = "!has(c.securityContext)"
    capabilities = "!has(c.securityContext.capabilities) || !has(c.securityContext.capabilities.add)"
    return AdmissionPolicy(
        name="drivetrain-isolation",
        reason="A pod that holds the node holds every other pod on it. Device plugins have a namespace of their own.",
        kinds=(_PODS,),
        variables={"containers": _ALL},
        validations=(
            Validation(
                f"variables.containers.all(c, {context} || !has(c.securityContext.privileged)"
                " || !c.securityContext.privileged)",
                "a container is privileged",
            ),
            Validation(
                f"variables.containers.all(c, {context} || {capabilities} ||"
                " c.securityContext.capabilities.add.all(a, a in ['NET_BIND_SERVICE', 'IPC_LOCK']))",
                "a container adds capabilities other than NET_BIND_SERVICE and IPC_LOCK",
            ),
            Validation(
                "(!has(object.spec.hostNetwork) || !object.spec.hostNetwork)"
                " && (!has(object.spec.hostPID) || !object.spec.hostPID)"
                " && (!has(object.spec.hostIPC) || !object.spec.hostIPC)",
                "the pod uses the node's network, processes or shared memory",
            ),
            Validation(
                "!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.hostPath))",
                "the pod mounts a path of its node: use an emptyDir, or a volume claim",
            ),
        ),
    )


def _non_root() -> AdmissionPolicy:
    pod = f"{_POD_CONTEXT} && has(object.spec.securityContext.runAsNonRoot) && object.spec.securityContext.runAsNonRoot"
    own = "has(c.securityContext) && has(c.securityContext.runAsNonRoot)"
    # The operator puts containers without a securityContext beside those that were asked for; the pod's own keeps root away.
    of_ray = (
        "has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(o, has(o.controller)"
        " && o.controller && o.kind == 'RayCluster' && o.apiVersion.startsWith('ray.io/'))"
    )
    return AdmissionPolicy(
        name="drivetrain-non-root",
        reason="Root in a container is root on the node one kernel fault later.",
        kinds=(_PODS,),
        variables={"containers": _ALL, "pod": pod, "of_ray": of_ray},
        validations=(
            Validation(
                f"variables.containers.all(c, {own} ? c.securityContext.runAsNonRoot : variables.pod)",
                "set runAsNonRoot: true in the pod's securityContext; images of this platform run as user 1000",
            ),
            Validation(
                f"(!{_POD_CONTEXT} || !has(object.spec.securityContext.runAsUser)"
                " || object.spec.securityContext.runAsUser != 0)"
                " && variables.containers.all(c, !has(c.securityContext) || !has(c.securityContext.runAsUser)"
                " || c.securityContext.runAsUser != 0)",
                "runAsUser is 0",
            ),
            Validation(
                "variables.of_ray || variables.containers.all(c, has(c.securityContext)"
                " && has(c.securityContext.allowPrivilegeEscalation) && !c.securityContext.allowPrivilegeEscalation)",
                "set allowPrivilegeEscalation: false in each container's securityContext",
            ),
        ),
    )


def _resources() -> AdmissionPolicy:
    return AdmissionPolicy(
        name="drivetrain-resources",
        reason="A pod without requests is put anywhere and billed to nobody; one without a memory limit ends its neighbours.",
        kinds=(_PODS_ALONE,),
        variables={"containers": _LASTING},
        tenants_only=True,
        validations=(
            Validation(
                "variables.containers.all(c, has(c.resources) && has(c.resources.requests)"
                " && 'cpu' in c.resources.requests && 'memory' in c.resources.requests)",
                "each container needs resources.requests of cpu and memory",
            ),
            # A limit of cpu throttles data loaders while cores lie idle, so that none is asked for.
            Validation(
                "variables.containers.all(c, has(c.resources) && has(c.resources.limits)"
                " && 'memory' in c.resources.limits)",
                "each container needs resources.limits of memory",
            ),
        ),
    )


def _cost_labels() -> AdmissionPolicy:
    # KubeRay puts its own labels on the Job that submits, and no other. Source: KubeRay, rayjob_controller, createNewK8sJob,
    # read 2026-11-30. The pod of that Job is made of the RayJob's template and is asked like any other.
    submits = (
        "has(object.kind) && object.kind == 'Job' && has(object.metadata.ownerReferences)"
        " && object.metadata.ownerReferences.exists(o, has(o.controller) && o.controller && o.kind == 'RayJob'"
        " && o.apiVersion.startsWith('ray.io/'))"
    )
    return AdmissionPolicy(
        name="drivetrain-cost-labels",
        reason="What has no team and no cost centre appears in nobody's part of the bill.",
        kinds=(_PODS_ALONE, _JOBS, _RAY_JOBS, _RAY_CLUSTERS),
        variables={"submits": submits},
        tenants_only=True,
        validations=tuple(
            Validation(f"variables.submits || ({_labelled(key)})", f"label '{key}' is missing or empty")
            for key in COST_LABELS
        ),
    )


def _queued() -> AdmissionPolicy:
    wanted = (
        "variables.containers.exists(c, has(c.resources) && has(c.resources.limits)"
        f" && {_words(ACCELERATORS)}.exists(a, a in c.resources.limits))"
    )
    owned = (
        "has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(o, has(o.controller)"
        " && o.controller && o.kind in ['RayCluster', 'Job'])"
    )
    return AdmissionPolicy(
        name="drivetrain-queued-accelerators",
        reason="An accelerator taken past the queue is taken from whoever waits in it.",
        kinds=(_PODS_ALONE,),
        variables={"containers": _LASTING, "accelerated": wanted, "owned": owned, "queued": _labelled(QUEUE_LABEL)},
        validations=(
            Validation(
                "!variables.accelerated || variables.queued || variables.owned",
                f"accelerators are given out by Kueue: submit a RayJob or Job with label '{QUEUE_LABEL}'",
            ),
        ),
    )


def _ray_jobs() -> AdmissionPolicy:
    groups = "object.spec.rayClusterSpec.workerGroupSpecs"
    return AdmissionPolicy(
        name="drivetrain-ray-jobs",
        reason="A RayJob that leaves its cluster behind pays for idle accelerators until somebody looks.",
        kinds=(_RAY_JOBS,),
        variables={},
        tenants_only=True,
        validations=(
            Validation(
                "has(object.spec.shutdownAfterJobFinishes) && object.spec.shutdownAfterJobFinishes",
                "set spec.shutdownAfterJobFinishes: true",
            ),
            Validation(_labelled(QUEUE_LABEL), f"label '{QUEUE_LABEL}' is missing: Kueue would not see this job"),
            Validation(
                "has(object.spec.rayClusterSpec) && !has(object.spec.clusterSelector)",
                "a RayJob brings a cluster of its own (spec.rayClusterSpec): a shared one is never given back",
            ),
            Validation(
                f"!has(object.spec.rayClusterSpec) || !has({groups}) || size({groups}) <= {MOST_WORKER_GROUPS}",
                f"at most {MOST_WORKER_GROUPS} worker groups: put pods of one shape into one group",
            ),
        ),
    )


def _ray_clusters() -> AdmissionPolicy:
    limits = f"has(c.resources) && has(c.resources.limits) && {_words(ACCELERATORS)}.exists(a, a in c.resources.limits)"
    in_group = f"has(g.template) && g.template.spec.containers.exists(c, {limits})"
    of_job = (
        "has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(o, has(o.controller)"
        " && o.controller && o.kind == 'RayJob' && o.apiVersion.startsWith('ray.io/'))"
    )
    return AdmissionPolicy(
        name="drivetrain-ray-clusters",
        # The pods of a RayCluster are let past `drivetrain-queued-accelerators`, since their cluster was admitted.
        reason="A RayCluster made by hand takes accelerators past the queue, for as long as nobody deletes it.",
        kinds=(_RAY_CLUSTERS,),
        variables={
            "accelerated": f"(has(object.spec.headGroupSpec) && [object.spec.headGroupSpec].exists(g, {in_group}))"
            f" || (has(object.spec.workerGroupSpecs) && object.spec.workerGroupSpecs.exists(g, {in_group}))",
            "of_job": of_job,
            "queued": _labelled(QUEUE_LABEL),
            # People's cluster: it takes a quarter of each pool at most.
            "shared": f"object.metadata.namespace == '{SHARED_CLUSTER[0]}' && object.metadata.name == '{SHARED_CLUSTER[1]}'",
        },
        tenants_only=True,
        validations=(
            Validation(
                "!variables.accelerated || variables.of_job || variables.queued || variables.shared",
                f"accelerators are given out by Kueue: submit a RayJob, or label the RayCluster '{QUEUE_LABEL}'",
            ),
        ),
    )


def _priority() -> AdmissionPolicy:
    return AdmissionPolicy(
        name="drivetrain-priority",
        reason="A job with a system priority drives out whatever keeps the node running.",
        kinds=(_PODS_ALONE,),
        variables={},
        validations=(
            Validation(
                "!has(object.spec.priorityClassName) || !object.spec.priorityClassName.startsWith('system-')",
                "priorityClassName system-* is for the nodes' own pods",
            ),
        ),
    )


def _network() -> AdmissionPolicy:
    anywhere = "has(f.ipBlock) && f.ipBlock.cidr in ['0.0.0.0/0', '::/0']"
    return AdmissionPolicy(
        name="drivetrain-network-policies",
        reason="Each namespace denies by default; one policy that lets everybody in would undo that for all its pods.",
        kinds=(Kind("networking.k8s.io", ("v1",), ("networkpolicies",)),),
        variables={},
        tenants_only=True,
        validations=(
            Validation(
                f"!has(object.spec.ingress) || object.spec.ingress.all(i, has(i.from) && size(i.from) > 0"
                f" && i.from.all(f, !({anywhere})))",
                "an ingress rule lets everybody in: name who may, in `from`",
            ),
        ),
    )


def _services() -> AdmissionPolicy:
    scheme = "service.beta.kubernetes.io/aws-load-balancer-scheme"
    return AdmissionPolicy(
        name="drivetrain-services",
        reason="A service of type LoadBalancer is on the internet unless it says otherwise.",
        kinds=(Kind("", ("v1",), ("services",)),),
        variables={},
        validations=(
            Validation(
                "!has(object.spec.type) || object.spec.type != 'NodePort'",
                "type NodePort opens a port on every node: use ClusterIP",
            ),
            Validation(
                "!has(object.spec.type) || object.spec.type != 'LoadBalancer' || (has(object.metadata.annotations)"
                f" && '{scheme}' in object.metadata.annotations"
                f" && object.metadata.annotations['{scheme}'] == 'internal')",
                f"type LoadBalancer needs annotation {scheme}: internal",
            ),
        ),
    )


def _node_pools() -> AdmissionPolicy:
    wanted = "object.spec.template.spec.requirements"
    types = _words(("node.kubernetes.io/instance-type", "karpenter.k8s.aws/instance-family"))
    named = f"(r.key in {types} && has(r.values) && r.values.exists(v, v.matches('^(p|g|dl|trn|inf)[0-9]')))"
    counted = "r.key in ['karpenter.k8s.aws/instance-gpu-count', 'karpenter.k8s.aws/instance-accelerator-count']"
    cheap = "r.key == 'karpenter.sh/capacity-type' && r.operator == 'In' && has(r.values) && r.values.all(v, v in ['spot', 'reserved'])"
    annotated = " && ".join(
        f"'{key}' in object.metadata.annotations && object.metadata.annotations['{key}'] != ''"
        for key in ("drivetrain.io/exception-expires", "drivetrain.io/exception-reason")
    )
    return AdmissionPolicy(
        name="drivetrain-node-pools",
        reason="Karpenter buys what a pool allows, at any price and without end.",
        kinds=(Kind("karpenter.sh", ("v1",), ("nodepools",)),),
        variables={
            "accelerated": f"{wanted}.exists(r, {named} || {counted})",
            "cheap": f"{wanted}.exists(r, {cheap})",
            # CEL knows no clock: that the day has not passed is asked where the environment is read.
            "excepted": f"has(object.metadata.annotations) && {annotated}",
        },
        validations=(
            Validation(
                "has(object.spec.limits) && ('cpu' in object.spec.limits || 'nodes' in object.spec.limits)",
                "spec.limits needs cpu or nodes: without, nothing ends what it buys",
            ),
            Validation(
                "!variables.accelerated || variables.cheap || variables.excepted",
                "accelerators are bought as spot or reserved (karpenter.sh/capacity-type In), or by an exception:"
                " annotations drivetrain.io/exception-expires and drivetrain.io/exception-reason",
            ),
            Validation(
                "!variables.accelerated || has(object.spec.template.spec.terminationGracePeriod)",
                "a pool of accelerators needs terminationGracePeriod: expireAfter ends nodes whatever runs on them",
            ),
        ),
    )

"""Every admission policy lets its good example in, and refuses each planted fault with a message that says why."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

import celpy
import pytest
from admission import REGISTRY, Manifest, container, context, pod, ray_job, refused, without_label

from policies.kubernetes.catalogue import admission_policies, manifests

POLICIES = {item.name: item for item in admission_policies([REGISTRY, "public.ecr.aws/karpenter/"])}
GPU = {"requests": {"cpu": "4", "memory": "8Gi"}, "limits": {"memory": "8Gi", "nvidia.com/gpu": "8"}}


def _network(*ingress: Manifest) -> Manifest:
    return {"kind": "NetworkPolicy", "metadata": {"name": "it"}, "spec": {"podSelector": {}, "ingress": list(ingress)}}


def _service(kind: str | None, **annotations: str) -> Manifest:
    metadata: Manifest = {"name": "it", **({"annotations": annotations} if annotations else {})}
    return {"kind": "Service", "metadata": metadata, "spec": {"type": kind} if kind else {}}


def _owned(kind: str, subject: Manifest, *, api_version: str = "v1") -> Manifest:
    subject = deepcopy(subject)
    subject["metadata"]["labels"].pop("kueue.x-k8s.io/queue-name", None)
    subject["metadata"]["ownerReferences"] = [
        {"apiVersion": api_version, "kind": kind, "name": "it", "controller": True}
    ]
    return subject


def _ray_cluster(
    workers: Manifest, *, head: Manifest | None = None, name: str = "it", namespace: str = "ray", **labels: str
) -> Manifest:
    def group(resources: Manifest) -> Manifest:
        return {"template": {"spec": {"containers": [container(resources=resources)]}}}

    return {
        "kind": "RayCluster",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"headGroupSpec": group(head or {}), "workerGroupSpecs": [{}, group(workers)]},
    }


def _node_pool(*values: str, capacity: str = "spot", **changed: Any) -> Manifest:
    requirements = [
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": list(values)},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": [capacity]},
        {"key": "karpenter.k8s.aws/instance-local-nvme", "operator": "Exists"},
    ]
    template = {"spec": {"requirements": requirements, "terminationGracePeriod": "24h"}}
    return {"metadata": {"name": "it"}, "spec": {"template": template, "limits": {"cpu": "960"}, **changed}}


def _graceless(pool: Manifest) -> Manifest:
    del pool["spec"]["template"]["spec"]["terminationGracePeriod"]
    return pool


DIGEST = "a" * 64
EXCEPTED = {"drivetrain.io/exception-expires": "2027-06-30", "drivetrain.io/exception-reason": "no spot of it"}
INTERNAL = {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internal"}
GOOD: list[tuple[str, str, Manifest]] = [
    ("drivetrain-images", "a version", pod()),
    ("drivetrain-images", "a digest", pod(containers=[container(image=f"{REGISTRY}a/b@sha256:{DIGEST}")])),
    ("drivetrain-images", "latest by digest", pod(containers=[container(image=f"{REGISTRY}b:latest@sha256:{DIGEST}")])),
    ("drivetrain-images", "another registry", pod(containers=[container(image="public.ecr.aws/karpenter/c:1.14.0")])),
    ("drivetrain-isolation", "nothing of the node", pod()),
    (
        "drivetrain-isolation",
        "no contexts, no volumes",
        {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "b"}]}},
    ),
    ("drivetrain-isolation", "locked memory", pod(containers=[context(capabilities={"add": ["IPC_LOCK"]})])),
    ("drivetrain-non-root", "by the pod", pod()),
    ("drivetrain-non-root", "by the container", pod(securityContext={}, containers=[context(runAsNonRoot=True)])),
    ("drivetrain-resources", "both", pod()),
    ("drivetrain-cost-labels", "both", pod()),
    ("drivetrain-cost-labels", "of a RayJob", ray_job()),
    ("drivetrain-queued-accelerators", "by label", pod(containers=[container(resources=GPU)])),
    (
        "drivetrain-queued-accelerators",
        "by its cluster",
        _owned("RayCluster", pod(containers=[container(resources=GPU)])),
    ),
    ("drivetrain-queued-accelerators", "none", without_label(pod(), "kueue.x-k8s.io/queue-name")),
    ("drivetrain-ray-jobs", "as it should be", ray_job()),
    ("drivetrain-ray-jobs", "17 groups", ray_job(rayClusterSpec={"workerGroupSpecs": [{}] * 17})),
    ("drivetrain-ray-jobs", "no workers", ray_job(rayClusterSpec={})),
    ("drivetrain-ray-clusters", "no accelerators", _ray_cluster({})),
    ("drivetrain-ray-clusters", "of a job", _owned("RayJob", _ray_cluster(GPU), api_version="ray.io/v1")),
    ("drivetrain-ray-clusters", "by label", _ray_cluster(GPU, **{"kueue.x-k8s.io/queue-name": "team-a"})),
    ("drivetrain-ray-clusters", "for people", _ray_cluster(GPU, name="shared")),
    ("drivetrain-ray-clusters", "empty", {"metadata": {"name": "it", "namespace": "ray"}, "spec": {}}),
    ("drivetrain-priority", "none", pod()),
    ("drivetrain-priority", "its own", pod(priorityClassName="training")),
    ("drivetrain-network-policies", "deny all", _network()),
    ("drivetrain-network-policies", "named", _network({"from": [{"podSelector": {}}]})),
    ("drivetrain-services", "inside", _service(None)),
    ("drivetrain-services", "internal", _service("LoadBalancer", **INTERNAL)),
    ("drivetrain-node-pools", "spot", _node_pool("p5.48xlarge")),
    ("drivetrain-node-pools", "cpu on demand", _graceless(_node_pool("m7g.large", capacity="on-demand"))),
    (
        "drivetrain-node-pools",
        "an exception",
        {**_node_pool("g6e.48xlarge", capacity="on-demand"), "metadata": {"name": "it", "annotations": EXCEPTED}},
    ),
]
BAD: list[tuple[str, str, Manifest]] = [
    ("drivetrain-images", "not allowed", pod(containers=[container(image="docker.io/library/python:3.11")])),
    ("drivetrain-images", "not allowed", pod(initContainers=[container(image="alpine:3.20")])),
    ("drivetrain-images", "not allowed", pod(ephemeralContainers=[container(image="busybox:1")])),
    ("drivetrain-images", "not allowed", pod(containers=[container(image=f"{REGISTRY[:-1]}.evil.example/a:1")])),
    ("drivetrain-images", "neither digest nor version", pod(containers=[container(image=f"{REGISTRY}drivetrain/ray")])),
    ("drivetrain-images", "'latest'", pod(containers=[container(image=f"{REGISTRY}drivetrain/ray:latest")])),
    ("drivetrain-isolation", "privileged", pod(containers=[context(privileged=True)])),
    ("drivetrain-isolation", "privileged", pod(initContainers=[context(privileged=True)])),
    ("drivetrain-isolation", "capabilities", pod(containers=[context(capabilities={"add": ["SYS_ADMIN"]})])),
    ("drivetrain-isolation", "network, processes", pod(hostNetwork=True)),
    ("drivetrain-isolation", "network, processes", pod(hostPID=True)),
    ("drivetrain-isolation", "network, processes", pod(hostIPC=True)),
    ("drivetrain-isolation", "path of its node", pod(volumes=[{"name": "a", "hostPath": {"path": "/"}}])),
    ("drivetrain-non-root", "runAsNonRoot", pod(securityContext={})),
    (
        "drivetrain-non-root",
        "runAsNonRoot",
        {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "b"}]}},
    ),
    ("drivetrain-non-root", "runAsNonRoot", pod(containers=[context(runAsNonRoot=False)])),
    ("drivetrain-non-root", "runAsUser is 0", pod(containers=[context(runAsUser=0)])),
    ("drivetrain-non-root", "runAsUser is 0", pod(securityContext={"runAsNonRoot": True, "runAsUser": 0})),
    ("drivetrain-non-root", "allowPrivilegeEscalation", pod(containers=[container(securityContext={})])),
    ("drivetrain-resources", "requests", pod(containers=[container(resources={})])),
    ("drivetrain-resources", "requests", pod(initContainers=[container(resources={"requests": {"cpu": "1"}})])),
    (
        "drivetrain-resources",
        "limits",
        pod(containers=[container(resources={"requests": {"cpu": "1", "memory": "1"}})]),
    ),
    ("drivetrain-cost-labels", "drivetrain.io/team", without_label(pod(), "drivetrain.io/team")),
    ("drivetrain-cost-labels", "cost-center", without_label(ray_job(), "drivetrain.io/cost-center")),
    ("drivetrain-cost-labels", "cost-center", {"metadata": {"name": "bare"}}),
    (
        "drivetrain-queued-accelerators",
        "Kueue",
        without_label(pod(containers=[container(resources=GPU)]), "kueue.x-k8s.io/queue-name"),
    ),
    ("drivetrain-queued-accelerators", "Kueue", _owned("ReplicaSet", pod(containers=[container(resources=GPU)]))),
    ("drivetrain-ray-jobs", "shutdownAfterJobFinishes", ray_job(shutdownAfterJobFinishes=False)),
    ("drivetrain-ray-jobs", "queue-name", without_label(ray_job(), "kueue.x-k8s.io/queue-name")),
    ("drivetrain-ray-jobs", "at most 17", ray_job(rayClusterSpec={"workerGroupSpecs": [{}] * 18})),
    ("drivetrain-ray-jobs", "cluster of its own", ray_job(clusterSelector={"ray.io/cluster": "shared"})),
    ("drivetrain-ray-clusters", "given out by Kueue", _ray_cluster(GPU)),
    ("drivetrain-ray-clusters", "given out by Kueue", _ray_cluster({}, head=GPU)),
    ("drivetrain-ray-clusters", "given out by Kueue", _ray_cluster(GPU, name="shared", namespace="edge")),
    ("drivetrain-ray-clusters", "given out by Kueue", _owned("RayJob", _ray_cluster(GPU), api_version="x/v1")),
    ("drivetrain-priority", "system-*", pod(priorityClassName="system-node-critical")),
    ("drivetrain-network-policies", "everybody", _network({})),
    ("drivetrain-network-policies", "everybody", _network({"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]})),
    ("drivetrain-services", "NodePort", _service("NodePort")),
    ("drivetrain-services", "internal", _service("LoadBalancer")),
    ("drivetrain-node-pools", "spot or reserved", _node_pool("m7i.large", "p5.48xlarge", capacity="on-demand")),
    ("drivetrain-node-pools", "limits", _node_pool("m7i.large", limits={})),
    ("drivetrain-node-pools", "terminationGracePeriod", _graceless(_node_pool("dl2q.24xlarge"))),
]


def _policy(name: str) -> Manifest:
    return POLICIES[name].manifests()[0]


@pytest.mark.parametrize(("name", "why", "subject"), GOOD, ids=[f"{name}: {why}" for name, why, _ in GOOD])
def test_what_keeps_to_a_policy_is_let_in(name: str, why: str, subject: Manifest) -> None:
    assert refused(_policy(name), subject) == []


@pytest.mark.parametrize(
    ("name", "why", "subject"), BAD, ids=[f"{name}: {why} {place}" for place, (name, why, _) in enumerate(BAD)]
)
def test_what_does_not_is_refused_with_a_reason(name: str, why: str, subject: Manifest) -> None:
    found = refused(_policy(name), subject)
    assert any(why in message for message in found), found


def test_every_validation_of_every_policy_refuses_something() -> None:
    for name, policy in POLICIES.items():
        said = {message for other, _, subject in BAD if other == name for message in refused(_policy(name), subject)}
        assert said == {item.message for item in policy.validations}, name
        assert any(other == name for other, _, _ in GOOD)


def test_a_good_pod_passes_every_policy_about_pods() -> None:
    for policy in POLICIES.values():
        if any("pods" in kind.resources for kind in policy.kinds):
            assert refused(policy.manifests()[0], pod()) == [], policy.name


def test_what_is_being_deleted_is_let_go() -> None:
    going = pod(hostNetwork=True)
    assert refused(_policy("drivetrain-isolation"), going)
    going["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    assert refused(_policy("drivetrain-isolation"), going) == []


def test_each_policy_is_bound_and_denies() -> None:
    made = manifests([REGISTRY])
    policies = {item["metadata"]["name"] for item in made if item["kind"] == "ValidatingAdmissionPolicy"}
    bound = {item["spec"]["policyName"]: item for item in made if item["kind"] == "ValidatingAdmissionPolicyBinding"}
    assert policies == set(bound) == set(POLICIES)
    assert all("Deny" in item["spec"]["validationActions"] for item in bound.values())
    assert all(item["spec"]["failurePolicy"] == "Fail" for item in made if "failurePolicy" in item["spec"])


def test_expressions_keep_to_what_every_supported_api_server_knows() -> None:
    def texts(found: Any) -> list[str]:
        if isinstance(found, dict):
            own = [found["expression"]] if "expression" in found else []
            return own + [text for value in found.values() for text in texts(value)]
        return [text for item in found for text in texts(item)] if isinstance(found, list) else []

    for text in texts(manifests([REGISTRY])):
        # Optional fields and Kubernetes' own libraries came with different releases; `has` came with the first.
        assert not re.search(r"\.\?|orValue|quantity\(|\.join\(|cel\.bind|format\(|sets\.", text), text


BOOLEAN_CALLS = {"all", "exists", "exists_one", "startsWith", "endsWith", "contains", "matches", "has"}


def is_boolean(expression: str) -> bool:
    """Whether an expression's type is boolean for whoever knows no object's type: an API server refuses any other."""
    node = celpy.Environment().compile(expression)
    while len(node.children) == 1 and node.data not in {"member_dot_arg", "ident_arg"}:
        node = node.children[0]
        if not hasattr(node, "children"):
            return str(node) in {"true", "false"}
    if node.data == "unary":
        return node.children[0].data == "unary_not"
    if node.data in {"member_dot_arg", "ident_arg"}:
        return any(str(item) in BOOLEAN_CALLS for item in node.children if not hasattr(item, "children"))
    return node.data in {"conditionalor", "conditionaland", "relation"}


def test_every_condition_is_boolean_without_knowing_the_objects_type() -> None:
    for item in manifests([REGISTRY]):
        for part in ("matchConditions", "validations"):
            for found in item["spec"].get(part, ()):
                assert is_boolean(found["expression"]), found["expression"]
    for wrong in ("object.spec.hostNetwork", "has(object.a) ? object.a : object.b", "size(object.a)", "-1", "1 + 2"):
        assert not is_boolean(wrong), wrong


def test_what_kuberay_puts_beside_ours_is_let_in_and_what_people_put_is_not() -> None:
    """Its containers carry no securityContext; the pod's own says that none of them is root."""
    beside = pod(containers=[container(), {"name": "collector", "image": f"{REGISTRY}c:1"}])
    assert refused(_policy("drivetrain-non-root"), beside) == [
        "set allowPrivilegeEscalation: false in each container's securityContext"
    ]
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "it", "controller": True}
    beside["metadata"]["ownerReferences"] = [owner]
    assert refused(_policy("drivetrain-non-root"), beside) == []
    beside["metadata"]["ownerReferences"] = [{**owner, "apiVersion": "example.com/v1"}]
    assert refused(_policy("drivetrain-non-root"), beside)


@pytest.mark.parametrize("registries", [[], ["registry.example"], ["it's/"]])
def test_a_registry_that_another_name_could_begin_with_is_refused(registries: list[str]) -> None:
    with pytest.raises(ValueError, match="ends in '/'"):
        admission_policies(registries)

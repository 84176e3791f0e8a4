"""What no schema tells and an API server refuses all the same: names, order, keys of lists, and our own admission policies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from admission import refused
from clusters import all_places, forms, place_of
from edited_objects import edited
from server_rules import refusals

from cdk.cluster.admission import admission
from cdk.cluster.catalogue import objects_of
from cdk.cluster.coherence import _templates
from cdk.cluster.doors.rendering import INDEX, render
from cdk.cluster.kinds.admission import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding
from cdk.cluster.kinds.base import LabelRequirement, LabelSelector, Manifest, Metadata
from cdk.cluster.kinds.core import Namespace, ServiceAccount
from cdk.cluster.kinds.pods import Resources
from cdk.cluster.kinds.ray import RayJob
from cdk.cluster.place import NAMESPACE_NAME, Place
from policies.kubernetes.catalogue import admission_policies, manifests

LOCAL = place_of("local")
Json = dict[str, Any]


def deployment() -> Json:
    return next(item for item in objects_of(LOCAL) if item.kind == "Deployment").document()


@pytest.mark.parametrize("place", all_places(), ids=lambda place: str(place.name))
def test_a_server_refuses_no_object_in_this_order(place: Place) -> None:
    assert refusals(objects_of(place)) == []
    assert refusals(forms(place), there=("ray", "edge")) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (edited(deployment(), "metadata", "name", value="MLflow_1"), "no DNS subdomain"),
        (edited(deployment(), "metadata", "labels", "a/b/c", value="x"), "no label's key"),
        (edited(deployment(), "metadata", "labels", "team", value="x" * 64), "no label's value"),
        (
            edited(deployment(), "spec", "selector", "matchLabels", "app", value="other"),
            "selector",
        ),
        (
            edited(
                deployment(),
                "spec",
                "template",
                "spec",
                "volumes",
                value=[{"name": "a", "emptyDir": {}}, {"name": "a"}],
            ),
            "two entries",
        ),
        (
            edited(
                deployment(),
                "spec",
                "template",
                "spec",
                "containers",
                0,
                "resources",
                "limits",
                value={"memory": "1GB"},
            ),
            "no canonical quantity",
        ),
        (ServiceAccount(metadata=Metadata(name="a", namespace="nowhere")), "not there yet"),
        (ServiceAccount(metadata=Metadata(name="a")), "against its kind"),
        (Namespace(metadata=Metadata(name="a.b")), "no DNS label"),
    ],
)
def test_each_planted_fault_is_found(fault: Manifest, said: str) -> None:
    found = refusals([fault], there=("mlflow", "ray"))
    assert any(said in item for item in found), found


def test_an_object_that_is_there_twice_is_found() -> None:
    one = Namespace(metadata=Metadata(name="a"))
    assert refusals([one, one]) == ["Namespace a: is there twice"]


def test_a_rendered_folder_applied_by_name_has_namespaces_first_and_holds_objects_alone(tmp_path: Path) -> None:
    render(objects_of(LOCAL), tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file() and path.name != INDEX)
    namespaces = [path for path in files if path.parent.name == "0-namespaces"]
    assert files[: len(namespaces)] == namespaces
    assert len(namespaces) == sum(item.kind == "Namespace" for item in objects_of(LOCAL))
    # kubectl and Argo CD read every file of these endings; the index is none.
    assert Path(INDEX).suffix not in {".json", ".yaml", ".yml"}


def test_a_folder_with_the_index_of_an_earlier_release_is_taken_over(tmp_path: Path) -> None:
    render(objects_of(LOCAL), tmp_path)
    former = (tmp_path / INDEX).rename(tmp_path / ".drivetrain-manifests.json")
    render(objects_of(LOCAL)[:3], tmp_path)
    assert not former.exists()
    assert len(list(tmp_path.rglob("*.yaml"))) == 3


def test_the_admission_policies_are_among_the_objects_as_they_were_tested() -> None:
    own = LOCAL.image("any").partition("/")[0]
    assert [item.document() for item in admission(LOCAL)] == manifests((f"{own}/", "quay.io/kuberay/"))
    assert {item.identity for item in admission(LOCAL)} <= {item.identity for item in objects_of(LOCAL)}


def made_of(item: RayJob) -> Iterator[tuple[str, Json]]:
    """Give what KubeRay makes of a job: a cluster with the job's labels, and a Job with none of them but its own."""
    owner = {"apiVersion": item.api_version, "kind": item.kind, "name": item.metadata.name, "controller": True}
    meta = {"name": item.metadata.name, "namespace": item.metadata.namespace, "ownerReferences": [owner]}
    document = item.document()
    labels = document["metadata"]["labels"]
    yield (
        "ray.io/rayclusters",
        {"kind": "RayCluster", "metadata": {**meta, "labels": labels}, "spec": document["spec"]["rayClusterSpec"]},
    )
    submitter = document["spec"]["submitterPodTemplate"]
    yield (
        "batch/jobs",
        {
            "kind": "Job",
            "metadata": {**meta, "labels": {"ray.io/originated-from-crd": "RayJob"}},
            "spec": {"template": submitter},
        },
    )


def subjects(item: Manifest) -> Iterator[tuple[str, Json]]:
    """Give an object, and what its controller makes of it: pods, and what lies between."""
    group = item.api_version.rpartition("/")[0]
    yield (
        f"{group}/{item.kind.lower().removesuffix('y') + ('ies' if item.kind.endswith('y') else 's')}",
        item.document(),
    )
    if isinstance(item, RayJob):
        yield from made_of(item)
    owner = {"apiVersion": item.api_version, "kind": item.kind, "name": item.metadata.name, "controller": True}
    for template in _templates(item):
        if isinstance(item, RayJob):
            submits = template == item.spec.submitter_pod_template
            owner = {
                **owner,
                **(
                    {"apiVersion": "batch/v1", "kind": "Job"}
                    if submits
                    else {"apiVersion": "ray.io/v1", "kind": "RayCluster"}
                ),
            }
        made = template.rendered()
        yield "/pods", {"metadata": {**(made.get("metadata") or {}), "ownerReferences": [owner]}, "spec": made["spec"]}


def refusals_by_policy(objects: Sequence[Manifest]) -> tuple[list[str], set[tuple[str, str]]]:
    """Hold objects against the policies among them, each where its binding holds.

    Returns:
        What was refused, and which policy was asked in which namespace.
    """
    labels = {
        item.metadata.name: {**(item.metadata.labels or {}), NAMESPACE_NAME: item.metadata.name}
        for item in objects
        if isinstance(item, Namespace)
    }
    policies = {item.metadata.name: item.document() for item in objects if isinstance(item, ValidatingAdmissionPolicy)}
    bindings = {
        item.spec.policy_name: item.spec.match_resources.namespace_selector
        for item in objects
        if isinstance(item, ValidatingAdmissionPolicyBinding)
    }
    found: list[str] = []
    asked: set[tuple[str, str]] = set()
    for item in objects:
        namespace = item.metadata.namespace
        for resource, subject in subjects(item):
            for name, policy in policies.items():
                rules = policy["spec"]["matchConstraints"]["resourceRules"]
                about = {f"{rule['apiGroups'][0]}/{plural}" for rule in rules for plural in rule["resources"]}
                holds = namespace is None or bindings[name].selects(labels.get(namespace, {NAMESPACE_NAME: namespace}))
                if resource in about and holds:
                    asked.add((name, namespace or ""))
                    found += [
                        f"{name}: {item.kind} {item.metadata.name}, {resource}: {said}"
                        for said in refused(policy, subject)
                    ]
    return found, asked


TENANTS_ONLY = [item.name for item in admission_policies(["a/"]) if item.tenants_only]


@pytest.mark.parametrize("place", all_places(), ids=lambda place: str(place.name))
def test_what_we_make_keeps_to_the_policies_where_they_hold(place: Place) -> None:
    found, asked = refusals_by_policy([*objects_of(place), *forms(place)])
    assert found == []
    assert {("drivetrain-non-root", "ray"), ("drivetrain-images", "mlflow")} <= asked
    assert {(name, "ray") for name in TENANTS_ONLY} <= asked
    assert ("drivetrain-network-policies", "edge") in asked
    assert ("drivetrain-isolation", "device-plugins") not in asked
    assert ("drivetrain-cost-labels", "mlflow") not in asked


def test_karpenters_pools_are_asked() -> None:
    assert ("drivetrain-node-pools", "") in refusals_by_policy(objects_of(place_of("prod")))[1]


@pytest.mark.parametrize("place", all_places(), ids=lambda place: str(place.name))
def test_every_binding_selects_a_namespace_that_we_make(place: Place) -> None:
    objects = objects_of(place)
    names = [
        {**(item.metadata.labels or {}), NAMESPACE_NAME: item.metadata.name}
        for item in objects
        if isinstance(item, Namespace)
    ]
    bindings = [item for item in objects if isinstance(item, ValidatingAdmissionPolicyBinding)]
    assert len(bindings) == len(admission_policies(["a/"]))
    for item in bindings:
        selected = {
            labels[NAMESPACE_NAME] for labels in names if item.spec.match_resources.namespace_selector.selects(labels)
        }
        assert {"ray", "edge"} <= selected, item.metadata.name


def _unpaid(job: RayJob) -> RayJob:
    labels = {key: value for key, value in (job.metadata.labels or {}).items() if key != "drivetrain.io/team"}
    return job.model_copy(update={"metadata": job.metadata.model_copy(update={"labels": labels})})


def _head(job: RayJob, **changes: Any) -> RayJob:
    """Return a job whose head's template is changed."""
    cluster = job.spec.ray_cluster_spec
    head = cluster.head_group_spec
    head = head.model_copy(update={"template": head.template.model_copy(update=changes)})
    cluster = cluster.model_copy(update={"head_group_spec": head})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"ray_cluster_spec": cluster})})


def _unlimited(job: RayJob) -> RayJob:
    pod = job.spec.ray_cluster_spec.head_group_spec.template.spec
    container = pod.containers[0].model_copy(update={"resources": Resources(requests={"cpu": "1", "memory": "1Gi"})})
    return _head(job, spec=pod.model_copy(update={"containers": (container,)}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_unpaid, ["rayjobs: label 'drivetrain.io/team'", "rayclusters: label 'drivetrain.io/team'"]),
        (lambda job: _head(job, metadata=None), ["/pods: label 'drivetrain.io/cost-center'"]),
        (_unlimited, ["/pods: each container needs resources.limits of memory"]),
        (
            lambda job: job.model_copy(
                update={"spec": job.spec.model_copy(update={"shutdown_after_job_finishes": False})}
            ),
            ["rayjobs: set spec.shutdownAfterJobFinishes: true"],
        ),
    ],
)
def test_an_object_of_ours_that_breaks_a_policy_of_tenants_is_refused(
    spoil: Callable[[RayJob], RayJob], said: list[str]
) -> None:
    form = forms(LOCAL)[0]
    assert isinstance(form, RayJob)
    around = [*admission(LOCAL), *(item for item in objects_of(LOCAL) if isinstance(item, Namespace))]
    found, _ = refusals_by_policy([*around, spoil(form)])
    for part in said:
        assert any(part in item for item in found), found
    # Where no namespace is anybody's, the same object passes: that is how these policies held nowhere, and nobody saw it.
    unlabelled = [
        Namespace(metadata=Metadata(name=item.metadata.name)) if isinstance(item, Namespace) else item
        for item in around
    ]
    assert refusals_by_policy([*unlabelled, spoil(form)])[0] == []


def test_a_job_that_says_it_submits_is_asked_unless_a_rayjob_made_it() -> None:
    policy = next(item.manifests()[0] for item in admission_policies(["a/"]) if item.name == "drivetrain-cost-labels")
    form = forms(LOCAL)[0]
    assert isinstance(form, RayJob)
    job = dict(made_of(form))["batch/jobs"]
    assert refused(policy, job) == []
    for change in ({"controller": False}, {"kind": "CronJob"}, {"apiVersion": "example.com/v1"}):
        owner = {**job["metadata"]["ownerReferences"][0], **change}
        assert len(refused(policy, {**job, "metadata": {**job["metadata"], "ownerReferences": [owner]}})) == 2
    # The pods of that Job carry the labels themselves.
    assert len(refused(policy, {**job, "kind": "Pod"})) == 2


@pytest.mark.parametrize(
    ("operator", "holds"),
    [("In", (True, False, False)), ("NotIn", (False, True, True)), ("Exists", (True, True, False)), ("DoesNotExist", (False, False, True))],
)  # fmt: skip
def test_selectors_select_as_kubernetes_does(operator: str, holds: tuple[bool, ...]) -> None:
    values = ("a",) if operator.endswith("In") else None
    selector = LabelSelector(match_expressions=(LabelRequirement(key="k", operator=operator, values=values),))
    assert tuple(selector.selects(labels) for labels in ({"k": "a"}, {"k": "b"}, {"other": "a"})) == holds
    assert LabelSelector().selects({})
    assert not LabelSelector(match_labels={"k": "a"}).selects({"k": "b"})
    with pytest.raises(ValueError, match="Equals"):
        LabelRequirement(key="k", operator="Equals").holds({})

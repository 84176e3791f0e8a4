"""What no schema tells and an API server refuses all the same: names, order, keys of lists, and our own admission policies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from admission import refused
from clusters import all_places, forms, place_of
from server_rules import refusals

from cdk.cluster.admission import admission
from cdk.cluster.catalogue import objects_of
from cdk.cluster.coherence import _templates
from cdk.cluster.doors.rendering import INDEX, render
from cdk.cluster.kinds.base import Labels, Manifest, Metadata
from cdk.cluster.kinds.core import Namespace, ServiceAccount
from cdk.cluster.place import Place
from policies.kubernetes.catalogue import manifests

LOCAL = place_of("local")
Json = dict[str, Any]


def edited(document: Json, *path: str | int, value: Any) -> Manifest:
    """Return an object whose document was edited: no typed object lets these faults be written."""
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value

    class Edited(Manifest):
        def document(self) -> Json:
            return document

    Edited.api_version, Edited.kind = document["apiVersion"], document["kind"]
    Edited.namespaced = "namespace" in document["metadata"]
    meta = document["metadata"]
    return Edited(metadata=Metadata(name=meta["name"], namespace=meta.get("namespace")))


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


def bound(binding: Json, namespace: str, labels: Labels) -> bool:
    """Whether a binding holds in a namespace."""
    every = {**labels, "kubernetes.io/metadata.name": namespace}
    for item in binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]:
        values = item.get("values", ())
        if not (item["key"] in every if item["operator"] == "Exists" else every[item["key"]] not in values):
            return False
    return True


def subjects(item: Manifest) -> Iterator[tuple[str, Json]]:
    """Give an object, and the pods that are made of it, as its controller makes them."""
    group = item.api_version.rpartition("/")[0]
    yield (
        f"{group}/{item.kind.lower().removesuffix('y') + ('ies' if item.kind.endswith('y') else 's')}",
        item.document(),
    )
    owner = {"apiVersion": item.api_version, "kind": item.kind, "name": item.metadata.name, "controller": True}
    if item.kind == "RayJob":
        owner = {**owner, "kind": "RayCluster"}
    for template in _templates(item):
        made = template.rendered()
        yield "/pods", {"metadata": {**(made.get("metadata") or {}), "ownerReferences": [owner]}, "spec": made["spec"]}


def test_what_we_make_keeps_to_the_policies_where_they_hold() -> None:
    place = place_of("prod")
    objects = [*objects_of(place), *forms(place)]
    labels = {item.metadata.name: item.metadata.labels or {} for item in objects if item.kind == "Namespace"}
    made = [item.document() for item in admission(place)]
    policies = {item["metadata"]["name"]: item for item in made if item["kind"] == "ValidatingAdmissionPolicy"}
    bindings = {item["spec"]["policyName"]: item for item in made if item["kind"].endswith("Binding")}
    asked: set[tuple[str, str]] = set()
    for item in objects:
        namespace = item.metadata.namespace
        for resource, subject in subjects(item):
            for name, policy in policies.items():
                rules = policy["spec"]["matchConstraints"]["resourceRules"]
                about = {f"{rule['apiGroups'][0]}/{plural}" for rule in rules for plural in rule["resources"]}
                if resource not in about:
                    continue
                if namespace is not None and not bound(bindings[name], namespace, labels.get(namespace, {})):
                    continue
                asked.add((name, namespace or ""))
                assert refused(policy, subject) == [], f"{name}: {item.identity}"
    assert {("drivetrain-non-root", "ray"), ("drivetrain-images", "mlflow"), ("drivetrain-node-pools", "")} <= asked
    assert ("drivetrain-isolation", "device-plugins") not in asked

"""Every object against the schema of its kind, strictly: what an API server would drop is refused here."""

from __future__ import annotations

import copy
import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import kubernetes_validate.utils
import pytest
from clusters import all_places, forms, place_of
from crd_schemas import FOLDER, WHY_SKIPPED, broken_rules, definition, problems
from edited_objects import edited
from external_secrets import SCHEMAS as READ
from pydantic import ValidationError

from cdk.cluster.catalogue import objects_of
from cdk.cluster.definitions import is_custom
from cdk.cluster.kinds.base import Manifest, Metadata
from cdk.cluster.kinds.core import Service, ServicePort, ServiceSpec
from cdk.cluster.place import Place, traffic_distribution

VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
# Kinds that nothing here can hold, each with the reason. There is none: add to it only what has neither a core schema, nor
# an upstream definition, nor a reading of its own as `external_secrets` is.
UNHELD: dict[tuple[str, str], str] = {}
upstream = pytest.mark.skipif(not FOLDER.is_dir(), reason=WHY_SKIPPED)


@pytest.fixture(scope="module", autouse=True)
def _read_schemas_once() -> Iterator[None]:
    """The library reads a version's schemas from disk for every object, which takes ten times as long as validating."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            kubernetes_validate.utils, "schema_contents", functools.cache(kubernetes_validate.utils.schema_contents)
        )
        yield


def _all() -> list[tuple[Place, Manifest]]:
    return [(place, item) for place in all_places() for item in (*objects_of(place), *forms(place))]


@pytest.mark.parametrize("version", VERSIONS)
def test_core_kinds_fit_every_supported_kubernetes(version: str) -> None:
    place = place_of("prod")
    kubernetes = place.environment.kubernetes.model_copy(update={"version": version})
    place = Place(
        place.environment.model_copy(update={"kubernetes": kubernetes}), place.region, place.image_tag, place.outputs
    )
    checked = set()
    for item in objects_of(place):
        if not is_custom(item):
            kubernetes_validate.validate(item.document(), version, strict=True)
            checked.add(item.kind)
    assert {"Deployment", "Service", "NetworkPolicy", "DaemonSet", "PodDisruptionBudget", "ClusterRole"} <= checked


def test_core_kinds_of_every_cluster_fit_their_own_version() -> None:
    # What production's first region has too is held there already.
    seen = {json.dumps(item.document(), sort_keys=True) for item in objects_of(place_of("prod"))}
    for place, item in _all():
        text = json.dumps(item.document(), sort_keys=True)
        if not is_custom(item) and text not in seen:
            kubernetes_validate.validate(item.document(), place.environment.kubernetes.version, strict=True)
            seen.add(text)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_misspelt_field_of_a_core_kind_is_found(version: str) -> None:
    deployment = next(item for item in objects_of(place_of("local")) if item.kind == "Deployment").document()
    deployment["spec"]["template"]["spec"]["nodeSelectors"] = {"a": "b"}
    with pytest.raises(kubernetes_validate.ValidationError, match="nodeSelectors"):
        kubernetes_validate.validate(deployment, version, strict=True)


def _faults(item: Manifest, version: str) -> list[str]:
    """Hold one object against the schema of its kind, whichever there is.

    Raises:
        LookupError: Nobody validates this kind.
    """
    key, document = (item.api_version, item.kind), item.document()
    found = definition(*key)
    if found is not None:
        return [*problems(document, found), *broken_rules(document, found)[0]]
    if key in READ:
        return [error.message for error in jsonschema.Draft4Validator(READ[key]).iter_errors(document)]
    if key in UNHELD:
        return []
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        raise LookupError(f"{item.kind} of {item.api_version}: nobody validates it") from error
    except kubernetes_validate.ValidationError as error:
        return [error.message]
    return []


@upstream
def test_somebody_validates_every_kind_that_we_make() -> None:
    one_of_each = {(item.api_version, item.kind): (place, item) for place, item in _all()}
    assert len(one_of_each) > 30
    for place, item in one_of_each.values():
        assert _faults(item, place.environment.kubernetes.version) == [], item.identity
    # What is excepted is there, and what was read by hand is made: neither list outlives its reason.
    assert {*UNHELD, *READ} <= one_of_each.keys()
    assert all(UNHELD.values())


@pytest.mark.parametrize(
    ("api_version", "kind"), [("gateway.networking.k8s.io/v1", "Gateway"), ("apps/v1", "Deploymnt"), ("ray.io/v2", "RayThing")]
)  # fmt: skip
def test_an_object_whose_kind_nobody_validates_fails(api_version: str, kind: str) -> None:
    item = edited({"apiVersion": api_version, "kind": kind, "metadata": {"name": "it"}}, "spec", value={})
    with pytest.raises(LookupError, match=f"{kind} of {api_version}: nobody validates it"):
        _faults(item, "1.35")


@pytest.mark.parametrize(
    ("kind", "path", "value", "said"),
    [
        ("ExternalSecret", ("spec", "refreshIntervall"), "1h", "refreshIntervall"),
        ("ExternalSecret", ("spec", "refreshInterval"), 900, "is not of type 'string'"),
        ("ExternalSecret", ("spec", "refreshInterval"), "15 minutes", "does not match"),
        ("ExternalSecret", ("spec", "target", "creationPolicy"), "Own", "is not one of"),
        ("ExternalSecret", ("spec", "target", "template", "engineVersion"), "v1", "is not one of"),
        ("ExternalSecret", ("spec", "data", 0, "remoteRef"), {"name": "a"}, "'key' is a required property"),
        ("ClusterSecretStore", ("spec", "provider", "aws", "service"), "S3", "is not one of"),
        ("ClusterSecretStore", ("spec", "provider", "gcp"), {}, "gcp"),
    ],
)  # fmt: skip
def test_a_fault_in_a_kind_of_external_secrets_is_found(
    kind: str, path: tuple[str | int, ...], value: Any, said: str
) -> None:
    good = next(item for item in objects_of(place_of("prod")) if item.kind == kind)
    found = _faults(edited(good.document(), *path, value=value), "1.35")
    assert any(said in item for item in found), found


@upstream
def test_custom_kinds_fit_their_upstream_definitions_and_rules() -> None:
    held: dict[str, int] = {}
    for _, item in _all():
        if not is_custom(item):
            continue
        found = definition(item.api_version, item.kind)
        if found is None:
            assert _faults(item, "1.35") == [], item.identity
            continue
        document = item.document()
        assert problems(document, found) == [], item.identity
        broken, count = broken_rules(document, found)
        assert broken == [], item.identity
        held[item.kind] = held.get(item.kind, 0) + count
    assert {
        "RayCluster",
        "RayJob",
        "ClusterQueue",
        "NodePool",
        "EC2NodeClass",
        "Application",
        "PrometheusRule",
    } <= held.keys()
    # The rules were evaluated, not merely looked for.
    assert held["EC2NodeClass"] > 20
    assert held["NodePool"] > 10
    assert held["ClusterQueue"] > 5


def _inner(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every closed part of a document that holds named fields: its specification and all below it but free maps."""
    found = [document["spec"]] if isinstance(document.get("spec"), dict) else [document]
    for part in found:
        for key, value in part.items():
            items = value if isinstance(value, list) else [value]
            found += [item for item in items if isinstance(item, dict) and key not in _FREE]
    return found


# Maps whose keys are their users' own: labels, quantities, selectors, a chart's values.
_FREE = {
    "labels",
    "annotations",
    "matchLabels",
    "nodeSelector",
    "nodeLabels",
    "requests",
    "limits",
    "valuesObject",
    "tags",
    "resources",
    "rayStartParams",
    "hard",
    "metadata",
    "selector",
}


@upstream
@pytest.mark.parametrize(
    "kind",
    ["RayCluster", "RayJob", "ClusterQueue", "LocalQueue", "ResourceFlavor", "Topology", "Cohort", "WorkloadPriorityClass",
     "NodePool", "EC2NodeClass", "Application", "AppProject", "PrometheusRule", "PodMonitor"],
)  # fmt: skip
def test_a_misspelt_field_is_found_wherever_it_stands_in_a_custom_kind(kind: str) -> None:
    place = place_of("prod")
    item = next(item for item in (*objects_of(place), *forms(place)) if item.kind == kind)
    found = definition(item.api_version, item.kind)
    assert found is not None
    document = item.document()
    parts = len(_inner(document))
    missed = []
    for number in range(0, parts, max(1, parts // 12)):
        spoilt = copy.deepcopy(document)
        _inner(spoilt)[number]["mispelt"] = "x"
        if not any("mispelt" in problem for problem in problems(spoilt, found)):
            missed.append(number)
    assert missed == []


@upstream
@pytest.mark.parametrize(
    ("kind", "spoil", "message"),
    [
        ("EC2NodeClass", lambda spec: spec["amiSelectorTerms"][0].update(alias="al2023"), "alias"),
        ("EC2NodeClass", lambda spec: spec.update(role="r"), "role"),
        ("EC2NodeClass", lambda spec: spec["tags"].update({"karpenter.sh/nodepool": "x"}), "karpenter.sh/nodepool"),
        ("NodePool", lambda spec: spec["template"]["metadata"]["labels"].update({"kubernetes.io/hostname": "x"}), "hostname"),
        ("ResourceFlavor", lambda spec: spec.update(nodeLabels={}, topologyName="t"), "nodeLabel"),
        ("ClusterQueue", lambda spec: spec["resourceGroups"][0]["coveredResources"].append("x"), "resources"),
    ],
)  # fmt: skip
def test_a_broken_rule_of_a_custom_kind_is_found(kind: str, spoil: Any, message: str) -> None:
    item = next(item for item in objects_of(place_of("prod")) if item.kind == kind)
    found = definition(item.api_version, item.kind)
    assert found is not None
    document = item.document()
    spoil(document["spec"])
    broken, _ = broken_rules(document, found)
    assert broken
    assert re.search(message, " ".join(broken))


def test_a_field_that_a_kind_does_not_have_fails_when_the_object_is_made() -> None:
    with pytest.raises(ValidationError, match="traffic_distributon"):
        ServiceSpec(selector={}, ports=(), traffic_distributon="PreferSameZone")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="nodePorts"):
        Service(
            metadata=Metadata(name="a"),
            spec=ServiceSpec(selector={}, ports=(ServicePort(name="a", port=1, target_port=1, nodePorts=2),)),  # type: ignore[call-arg]
        )


def test_traffic_stays_in_its_zone_as_each_version_spells_it() -> None:
    assert [traffic_distribution(item) for item in VERSIONS] == ["PreferClose", "PreferClose", *["PreferSameZone"] * 3]
    services = [item for item in objects_of(place_of("prod")) if isinstance(item, Service)]
    assert services
    assert all(item.spec.traffic_distribution == "PreferSameZone" for item in services)

"""The admission policies of `policies/kubernetes`, as objects of a cluster. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.alias_generators import to_snake

from cdk.cluster.kinds.admission import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding
from cdk.cluster.kinds.base import Manifest
from cdk.cluster.place import Place
from policies.kubernetes.catalogue import manifests

# KubeRay's own images beside ours: the history server and the collector in each head's pod.
_KUBERAY = "quay.io/kuberay/"
_KINDS = {item.kind: item for item in (ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding)}
# Names of labels and annotations are no names of fields.
_AS_THEY_ARE = {"labels", "annotations"}


def admission(place: Place) -> list[Manifest]:
    """Return every policy and its binding; images come from the environment's own registry, and from KubeRay's."""
    own = place.image("any").partition("/")[0]
    return [
        _KINDS[item["kind"]].model_validate({"metadata": _fields(item["metadata"]), "spec": _fields(item["spec"])})
        for item in manifests((f"{own}/", _KUBERAY))
    ]


def _fields(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping) and name not in _AS_THEY_ARE:
        return {to_snake(key): _fields(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_fields(item) for item in value]
    return value

"""Which nodes a pod may run on, as the scheduler filters: selector, required affinity, taints. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cost.network.cluster import Node, Pod

Json = Mapping[str, Any]
_DYNAMIC = ("node.kubernetes.io/",)
"""Taints that come and go with a node's condition: what holds for a moment says nothing about where a pod belongs."""


def fits_node(pod: Pod, node: Node, *, without: frozenset[str] = frozenset()) -> bool:
    """Say whether a pod's selector, required node affinity and tolerations let it run on a node; room is not looked at.

    Args:
        pod: The pod.
        node: The node.
        without: Label keys whose requirements are not looked at.
    """
    spec = pod.spec
    for key, value in (spec.get("nodeSelector") or {}).items():
        if key not in without and node.labels.get(key) != value:
            return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if required is not None and not any(_term(term, node, without) for term in required.get("nodeSelectorTerms") or ()):
        return False
    return tolerates(pod, node)


def tolerates(pod: Pod, node: Node) -> bool:
    """Say whether a pod tolerates a node's lasting taints."""
    tolerations: Sequence[Json] = pod.spec.get("tolerations") or ()
    for key, value, effect in node.taints:
        if effect == "PreferNoSchedule" or key.startswith(_DYNAMIC):
            continue
        if not any(_tolerated(item, key, value, effect) for item in tolerations):
            return False
    return True


def _tolerated(item: Json, key: str, value: str, effect: str) -> bool:
    if item.get("effect") not in {None, "", effect}:
        return False
    if item.get("operator", "Equal") == "Exists":
        return not item.get("key") or item["key"] == key
    return item.get("key") == key and str(item.get("value", "")) == value


def _term(term: Json, node: Node, without: frozenset[str]) -> bool:
    rules = [item for item in term.get("matchExpressions") or () if item["key"] not in without]
    fields = term.get("matchFields") or ()
    return all(_expression(item, node.labels) for item in rules) and all(
        _expression(item, {"metadata.name": node.name}) for item in fields
    )


def _expression(rule: Json, labels: Mapping[str, str]) -> bool:
    value, operator = labels.get(rule["key"]), rule["operator"]
    values: Sequence[str] = rule.get("values") or ()
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator == "NotIn":
        return value not in values
    if value is None:
        return False
    if operator == "In":
        return value in values
    try:
        return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
    except (ValueError, IndexError):
        return False


def selects(selector: Json | None, labels: Mapping[str, str]) -> bool:
    """Say whether a label selector selects; none selects nothing, an empty one everything."""
    if selector is None:
        return False
    equal = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in equal) and all(
        _expression(item, labels) for item in selector.get("matchExpressions") or ()
    )

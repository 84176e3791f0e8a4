"""What an API server refuses though the kind's schema takes it: names, labels, keys of lists, selectors, order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from cdk.cluster.coherence import name_of
from cdk.cluster.kinds.base import Manifest

Json = Any
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?")
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
# Names that become part of DNS names of their own.
_LABEL_NAMED = {"Namespace", "Service", "RayCluster", "RayJob"}
# Names of these are path segments alone: they may hold a colon.
_PATH_NAMED = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
# Lists that are maps to the server, by their keys: two entries of one key are refused by server-side apply.
_KEYED = {
    "containers": ("name",),
    "initContainers": ("name",),
    "volumes": ("name",),
    "env": ("name",),
    "volumeMounts": ("mountPath",),
    "imagePullSecrets": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
_PORTS = {"containers": ("containerPort", "protocol"), "Service": ("port", "protocol")}
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
_QUANTITIES = {"requests", "limits", "hard", "default", "defaultRequest", "max", "min"}
_MOST_ANNOTATION_BYTES = 256 << 10
_FIRST = {"Namespace"}


def refusals(objects: Sequence[Manifest], *, there: Sequence[str] = ("kube-system", "default")) -> list[str]:
    """Return what a server would refuse of a cluster's objects, applied in this order; empty where all is well.

    Args:
        objects: In the order in which they are applied.
        there: Namespaces that are there before.
    """
    found: list[str] = []
    known = set(there)
    seen: set[tuple[str, str, str, str]] = set()
    for item in objects:
        document = item.document()
        where = name_of(item)
        if item.kind in _FIRST:
            known.add(item.metadata.name)
        if item.metadata.namespace is not None and item.metadata.namespace not in known:
            found.append(f"{where}: namespace {item.metadata.namespace} is not there yet")
        if (item.metadata.namespace is not None) is not item.namespaced:
            found.append(f"{where}: has a namespace, or lacks one, against its kind")
        if item.identity in seen:
            found.append(f"{where}: is there twice")
        seen.add(item.identity)
        found += [f"{where}: {what}" for what in _named(item)]
        found += [f"{where}: {what}" for what in _walk(document, ())]
        found += [f"{where}: {what}" for what in _selected(document)]
    return found


def _named(item: Manifest) -> Iterator[str]:
    name = item.metadata.name
    if item.kind in _LABEL_NAMED:
        if not DNS_LABEL.fullmatch(name) or len(name) > 63:
            yield f"name '{name}' is no DNS label"
    elif item.kind in _PATH_NAMED:
        if not name or "/" in name or "%" in name or name in {".", ".."}:
            yield f"name '{name}' is no path segment"
    elif not DNS_SUBDOMAIN.fullmatch(name) or len(name) > 253:
        yield f"name '{name}' is no DNS subdomain"


def _key_is_valid(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    good_prefix = not slash or (DNS_SUBDOMAIN.fullmatch(prefix) is not None and len(prefix) <= 253)
    return good_prefix and LABEL.fullmatch(name) is not None and len(name) <= 63


def _walk(value: Json, at: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, dict):
        last = at[-1] if at else ""
        if last in {"labels", "matchLabels", "nodeSelector", "selector", "nodeLabels"}:
            yield from _labels(value, at)
        if last == "annotations":
            yield from _annotations(value, at)
        if last in _QUANTITIES:
            for key, item in value.items():
                if isinstance(item, (str, int)) and not _QUANTITY.fullmatch(str(item)):
                    yield f"{'.'.join((*at, key))}: '{item}' is no canonical quantity"
        for key, item in value.items():
            yield from _walk(item, (*at, key))
    elif isinstance(value, list):
        yield from _twice(value, at)
        for place, item in enumerate(value):
            yield from _walk(item, (*at, str(place)))


def _labels(labels: dict[str, Json], at: tuple[str, ...]) -> Iterator[str]:
    for key, item in labels.items():
        if not isinstance(item, str):
            continue  # a selector that is an object of its own is walked further
        if not _key_is_valid(key):
            yield f"{'.'.join(at)}: '{key}' is no label's key"
        if item and (not LABEL.fullmatch(item) or len(item) > 63):
            yield f"{'.'.join(at)}.{key}: '{item}' is no label's value"


def _annotations(annotations: dict[str, Json], at: tuple[str, ...]) -> Iterator[str]:
    for key, item in annotations.items():
        if not _key_is_valid(key.lower()):
            yield f"{'.'.join(at)}: '{key}' is no annotation's key"
        if not isinstance(item, str):
            yield f"{'.'.join(at)}.{key}: is no text"
    if len(str(annotations)) > _MOST_ANNOTATION_BYTES:
        yield f"{'.'.join(at)}: are too long"


def _twice(items: list[Json], at: tuple[str, ...]) -> Iterator[str]:
    name = at[-1]
    keys = _KEYED.get(name)
    if name == "ports":
        keys = _PORTS["containers"] if any("containerPort" in item for item in items) else _PORTS["Service"]
    if keys is None:
        return
    held = [tuple(item.get(key, "TCP" if key == "protocol" else None) for key in keys) for item in items]
    if len(set(held)) != len(held):
        yield f"{'.'.join(at)}: two entries have the same {', '.join(keys)}"


def _selected(document: Json) -> Iterator[str]:
    """A Deployment's or DaemonSet's selector must choose its own pods, for it never changes again."""
    spec = document.get("spec", {})
    if document["kind"] not in {"Deployment", "DaemonSet", "StatefulSet"}:
        return
    chosen = spec["selector"].get("matchLabels", {})
    labels = spec["template"]["metadata"]["labels"]
    if not chosen or not chosen.items() <= labels.items():
        yield f"its selector {chosen} does not choose its pods {labels}"
    if moving := sorted(key for key in chosen if "version" in key):
        yield f"its selector holds {moving}, which the next release changes, and a selector never may"

"""What `kubectl get ... -o json` says: containers with their requests, whose pod is whose, nodes. Broken items are counted and named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cost.rightsize import quantity
from cost.rightsize.model import BrokenCounter, BrokenRows, ContainerKey, Requested
from platform_lib.errors import ConfigError

_REMEDY = "write it with: kubectl get pods,deployments,statefulsets,daemonsets -A -o json"
# Kubernetes' generated names use these letters alone (apimachinery/pkg/util/rand).
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
_REPLICA = re.compile(rf"(.+)-({_SAFE}{{6,10}})-({_SAFE}{{5}})")
_REPLICA_SET = re.compile(rf"(.+)-({_SAFE}{{6,10}})")
_ORDINAL = re.compile(r"(.+)-(\d+)")
_GENERATED = re.compile(rf"(.+)-({_SAFE}{{5}})")
_TEMPLATED = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"}
_GONE = {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class Workloads:
    """What runs.

    Attributes:
        requested: By container.
        of_pod: (namespace, pod) -> workload.
        broken: What could not be taken.
    """

    requested: Mapping[ContainerKey, Requested]
    of_pod: Mapping[tuple[str, str], str]
    broken: BrokenRows

    def workload_of(self, namespace: str, pod: str) -> str:
        """Return a pod's workload: as Kubernetes said, or, of a pod that is gone, as its name says."""
        return self.of_pod.get((namespace, pod)) or guessed_workload(pod)


def guessed_workload(pod: str) -> str:
    """Return the workload that a pod's name points at, by the rules that Kubernetes makes names with."""
    if found := _REPLICA.fullmatch(pod):
        return f"Deployment/{found[1]}"
    if found := _ORDINAL.fullmatch(pod):
        return f"StatefulSet/{found[1]}"
    if found := _GENERATED.fullmatch(pod):
        return f"DaemonSet/{found[1]}"
    return f"Pod/{pod}"


def read_workloads(path: Path) -> Workloads:
    """Read a list of pods and workloads; pods that are gone count for names, not for replicas.

    Raises:
        ConfigError: It cannot be read, or is no such list.
    """
    counter = BrokenCounter()
    requested: dict[ContainerKey, Requested] = {}
    running: dict[ContainerKey, int] = {}
    of_pod: dict[tuple[str, str], str] = {}
    for number, item in enumerate(items(path)):
        place = _place(item, number)
        try:
            for key, asked, pod in _containers(item):
                requested[key] = asked
                if pod is not None:
                    of_pod[key.namespace, pod] = key.workload
                    gone = (item.get("status") or {}).get("phase") in _GONE
                    running[key] = running.get(key, 0) + (0 if gone else 1)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            counter.add(f"no workload ({type(error).__name__})", f"{place}: {error}")
    for key, count in running.items():
        asked = requested[key]
        requested[key] = Requested(
            asked.cpu_request_cores, asked.cpu_limit_cores, asked.memory_request_bytes, asked.memory_limit_bytes, count
        )
    return Workloads(requested, of_pod, counter.found())


def items(path: Path) -> list[Any]:
    """Return a list's items.

    Raises:
        ConfigError: It cannot be read, or is no list of Kubernetes.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read as JSON: {error}", where=path, remedy=_REMEDY) from error
    found = document.get("items") if isinstance(document, dict) else None
    if not isinstance(found, list):
        raise ConfigError("is no list of Kubernetes: it has no `items`", where=path, remedy=_REMEDY)
    return found


def _place(item: object, number: int) -> str:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"item {number}" + (f" ({name})" if name else "")


def _containers(item: Any) -> Iterator[tuple[ContainerKey, Requested, str | None]]:
    kind, metadata = item["kind"], item["metadata"]
    namespace, name = str(metadata["namespace"]), str(metadata["name"])
    if kind == "Pod":
        workload, spec, pod, replicas = owner_of(metadata), item["spec"], name, 1
    elif kind in _TEMPLATED:
        workload, spec, pod = f"{kind}/{name}", item["spec"]["template"]["spec"], None
        replicas = int(item["spec"].get("replicas", (item.get("status") or {}).get("desiredNumberScheduled", 1)))
    else:
        return
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        asked, limits = resources.get("requests") or {}, resources.get("limits") or {}
        yield (
            ContainerKey(namespace, workload, str(container["name"])),
            Requested(
                # A limit without a request is the request as well; Kubernetes fills it in.
                _given(asked, "cpu", _given(limits, "cpu")),
                _given(limits, "cpu"),
                _given(asked, "memory", _given(limits, "memory")),
                _given(limits, "memory"),
                replicas,
            ),
            pod,
        )


def owner_of(metadata: Any) -> str:
    """Return a pod's workload from its owner; a ReplicaSet's is its Deployment."""
    name = str(metadata["name"])
    owners = [owner for owner in metadata.get("ownerReferences") or () if owner.get("controller", True)]
    if not owners:
        return f"Pod/{name}"
    kind, owner = str(owners[0]["kind"]), str(owners[0]["name"])
    if kind == "ReplicaSet" and (found := _REPLICA_SET.fullmatch(owner)):
        return f"Deployment/{found[1]}"
    return f"{kind}/{owner}"


def _given(values: Mapping[str, object], name: str, default: float | None = None) -> float | None:
    return quantity.parse(values[name]) if name in values else default

"""Evaluates a ValidatingAdmissionPolicy as an API server would, by a CEL library; and pods to evaluate it on."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import celpy

Manifest = dict[str, Any]
REGISTRY = "111111111111.dkr.ecr.us-east-1.amazonaws.com/"


@cache
def _program(expression: str) -> Any:
    environment = celpy.Environment()
    return environment.program(environment.compile(expression))


def refused(policy: Manifest, subject: Manifest) -> list[str]:
    """Return the messages of a policy's validations that are not true; an error refuses, as failurePolicy Fail says."""
    known: dict[str, Any] = {"object": celpy.json_to_cel(subject)}
    variables: dict[Any, Any] = {}
    found = []
    if not all(_program(item["expression"]).evaluate(known) for item in policy["spec"]["matchConditions"]):
        return []
    for item in policy["spec"].get("variables", ()):
        variables[celpy.celtypes.StringType(item["name"])] = _program(item["expression"]).evaluate(
            {**known, "variables": celpy.celtypes.MapType(variables)}
        )
    for item in policy["spec"]["validations"]:
        kept = _program(item["expression"]).evaluate({**known, "variables": celpy.celtypes.MapType(variables)})
        if not isinstance(kept, (bool, celpy.celtypes.BoolType)):
            raise TypeError(f"{item['expression']} gives {type(kept).__name__}, and must give a boolean")
        if not kept:
            found.append(item["message"])
    return found


def pod(**changed: Any) -> Manifest:
    """Return a pod that keeps to every policy; `changed` goes into its spec."""
    spec: Manifest = {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
        "containers": [container()],
        "volumes": [{"name": "scratch", "emptyDir": {}}],
    }
    labels = {
        "drivetrain.io/team": "planning",
        "drivetrain.io/cost-center": "research",
        "kueue.x-k8s.io/queue-name": "training",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "it", "namespace": "planning", "labels": labels},
        "spec": {**spec, **changed},
    }


def container(**changed: Any) -> Manifest:
    """Return a container that keeps to every policy."""
    made: Manifest = {
        "name": "main",
        "image": f"{REGISTRY}drivetrain/ray-cuda:2.58.0",
        "resources": {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"memory": "16Gi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {**made, **changed}


def context(**changed: Any) -> Manifest:
    """Return a container whose security context is changed."""
    made = container()
    made["securityContext"] = {**made["securityContext"], **changed}
    return made


def ray_job(**changed: Any) -> Manifest:
    """Return a RayJob that keeps to every policy."""
    spec: Manifest = {
        "entrypoint": "drivetrain train",
        "shutdownAfterJobFinishes": True,
        "rayClusterSpec": {"workerGroupSpecs": [{"groupName": "gpu"}]},
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": deepcopy(pod()["metadata"]),
        "spec": {**spec, **changed},
    }


def without_label(subject: Manifest, key: str) -> Manifest:
    """Return an object that lacks a label."""
    made = deepcopy(subject)
    del made["metadata"]["labels"][key]
    return made

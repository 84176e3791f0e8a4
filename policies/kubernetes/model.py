"""A ValidatingAdmissionPolicy with its binding, typed. Pure; standard library alone.

Expressions keep to what CEL itself defines (no optional fields, no quantities, no list functions of Kubernetes): any API
server of 1.30 or newer knows them, and so does an evaluator in a test. What may be absent is asked for with `has` first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]
_API = "admissionregistration.k8s.io/v1"
# EKS's own add-ons, device plugins and what measures nodes: they are part of the node and need the node.
NODE_NAMESPACES = ("kube-system", "device-plugins", "monitoring")
# Where Argo CD puts what charts of pinned versions bring, with images of their publishers; people put nothing there.
OPERATOR_NAMESPACES = ("argocd", "cert-manager", "external-secrets", "kuberay-system", "kueue-system", "opencost")
# Namespaces that people and jobs work in carry this label.
TENANT_LABEL = "drivetrain.io/team"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a policy is asked about.

    Attributes:
        group: Its API group, empty for the core.
        versions: Its API versions.
        resources: Plural names, with subresources.
        operations: When.
    """

    group: str
    versions: Sequence[str]
    resources: Sequence[str]
    operations: Sequence[str] = ("CREATE", "UPDATE")

    def rule(self) -> Manifest:
        """Return it as a rule of `matchConstraints`."""
        return {
            "apiGroups": [self.group],
            "apiVersions": list(self.versions),
            "operations": list(self.operations),
            "resources": list(self.resources),
        }


@dataclass(frozen=True, slots=True)
class Validation:
    """One thing that must be true.

    Attributes:
        expression: CEL.
        message: What is wrong where it is not, and what to do.
    """

    expression: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionPolicy:
    """One policy.

    Attributes:
        name: Its name, and its binding's.
        reason: One sentence: what happens without it.
        kinds: What it is asked about.
        validations: What must be true.
        variables: Named expressions, each may use those before it.
        tenants_only: Whether it holds only where people and jobs work; else everywhere but in namespaces of nodes and operators.
    """

    name: str
    reason: str
    kinds: tuple[Kind, ...]
    validations: tuple[Validation, ...]
    variables: Mapping[str, str]
    tenants_only: bool = False

    def manifests(self) -> list[Manifest]:
        """Return the policy and its binding."""
        return [self._policy(), self._binding()]

    def _policy(self) -> Manifest:
        spec: Manifest = {
            # An API server that cannot evaluate it refuses: a policy that fails open is none.
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [item.rule() for item in self.kinds]},
            # What goes is let go: a finalizer is taken off by an update, which is no time to refuse.
            "matchConditions": [{"name": "stays", "expression": "!has(object.metadata.deletionTimestamp)"}],
            "validations": [
                {"expression": item.expression, "message": item.message, "reason": "Forbidden"}
                for item in self.validations
            ],
        }
        if self.variables:
            spec["variables"] = [{"name": name, "expression": text} for name, text in self.variables.items()]
        annotations = {"drivetrain.io/reason": self.reason}
        metadata = {"name": self.name, "annotations": annotations, "labels": _LABELS}
        return {"apiVersion": _API, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec}

    def _binding(self) -> Manifest:
        where: Manifest
        if self.tenants_only:
            where = {"key": TENANT_LABEL, "operator": "Exists"}
        else:
            where = {
                "key": "kubernetes.io/metadata.name",
                "operator": "NotIn",
                "values": [*NODE_NAMESPACES, *OPERATOR_NAMESPACES],
            }
        return {
            "apiVersion": _API,
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": self.name, "labels": _LABELS},
            "spec": {
                "policyName": self.name,
                "validationActions": ["Deny", "Audit"],
                "matchResources": {"namespaceSelector": {"matchExpressions": [where]}},
            },
        }


_LABELS = {"app.kubernetes.io/part-of": "drivetrain", "app.kubernetes.io/component": "policy"}

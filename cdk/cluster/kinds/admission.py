"""What the API server asks of everything before it takes it."""

from __future__ import annotations

from typing import ClassVar

from cdk.cluster.kinds.base import LabelSelector, Manifest, Part

_API = "admissionregistration.k8s.io/v1"


class ResourceRule(Part):
    """Resources and operations that a policy is asked about."""

    api_groups: tuple[str, ...]
    api_versions: tuple[str, ...]
    operations: tuple[str, ...]
    resources: tuple[str, ...]


class MatchConstraints(Part):
    """What a policy is asked about."""

    resource_rules: tuple[ResourceRule, ...]


class Expression(Part):
    """A named expression in CEL."""

    name: str
    expression: str


class Validation(Part):
    """What must be true, and what is said where it is not."""

    expression: str
    message: str
    reason: str


class PolicySpec(Part):
    """A policy; `variables` may use those before them."""

    failure_policy: str
    match_constraints: MatchConstraints
    match_conditions: tuple[Expression, ...]
    validations: tuple[Validation, ...]
    variables: tuple[Expression, ...] | None = None


class ValidatingAdmissionPolicy(Manifest):
    """What objects must keep to."""

    api_version: ClassVar[str] = _API
    kind: ClassVar[str] = "ValidatingAdmissionPolicy"
    namespaced: ClassVar[bool] = False
    spec: PolicySpec


class MatchResources(Part):
    """Where a policy holds."""

    namespace_selector: LabelSelector


class BindingSpec(Part):
    """Where a policy holds, and what happens to what does not keep to it."""

    policy_name: str
    validation_actions: tuple[str, ...]
    match_resources: MatchResources


class ValidatingAdmissionPolicyBinding(Manifest):
    """Where a policy holds."""

    api_version: ClassVar[str] = _API
    kind: ClassVar[str] = "ValidatingAdmissionPolicyBinding"
    namespaced: ClassVar[bool] = False
    spec: BindingSpec

"""What every Kubernetes object is made of."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import AliasGenerator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from cdk.labels import Taint

# A document as YAML and JSON have it; its schema is that of its kind, and tests hold it against that.
Document = dict[str, Any]
Labels = dict[str, str]


class Part(BaseModel):
    """A part of an object: written `in_python`, rendered `inKubernetes`; a field it does not have is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=AliasGenerator(serialization_alias=to_camel))

    def rendered(self) -> Document:
        """Return it as Kubernetes spells it, without what is not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Metadata(Part):
    """An object's name, place and labels."""

    name: str
    namespace: str | None = None
    labels: Labels | None = None
    annotations: Labels | None = None
    finalizers: tuple[str, ...] | None = None


class Manifest(Part):
    """One object.

    Attributes:
        metadata: Its name, place and labels.
    """

    api_version: ClassVar[str]
    kind: ClassVar[str]
    # Whether its kind lives in a namespace.
    namespaced: ClassVar[bool] = True

    metadata: Metadata

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """API group and version, kind, namespace (empty where it has none), name: unique in a cluster."""
        return self.api_version, self.kind, self.metadata.namespace or "", self.metadata.name

    def document(self) -> Document:
        """Return the whole document, as YAML has it."""
        return {"apiVersion": self.api_version, "kind": self.kind, **self.rendered()}


class LabelRequirement(Part):
    """One condition on labels."""

    key: str
    operator: str
    values: tuple[str, ...] | None = None

    def holds(self, labels: Labels) -> bool:
        """Whether it holds of an object with these labels, as Kubernetes has it: `NotIn` holds where there is none.

        Raises:
            ValueError: An operator that Kubernetes does not have.
        """
        value, values = labels.get(self.key), self.values or ()
        answers = {
            "In": value in values,
            "NotIn": value not in values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if self.operator not in answers:
            raise ValueError(f"no operator of label selectors: {self.operator}")
        return answers[self.operator]


class LabelSelector(Part):
    """Objects by label; an empty one selects all."""

    match_labels: Labels | None = None
    match_expressions: tuple[LabelRequirement, ...] | None = None

    def selects(self, labels: Labels) -> bool:
        """Whether it selects an object with these labels."""
        return (self.match_labels or {}).items() <= labels.items() and all(
            item.holds(labels) for item in self.match_expressions or ()
        )


class Toleration(Part):
    """A taint that a pod may live with."""

    key: str | None = None
    operator: str = "Equal"
    value: str | None = None
    effect: str | None = None
    toleration_seconds: int | None = None


class NodeTaint(Part):
    """What keeps pods from a node."""

    key: str
    value: str | None = None
    effect: str


class ObjectReference(Part):
    """Another object, by name."""

    api_group: str
    kind: str
    name: str


class Empty(Part):
    """A part without fields, as `emptyDir: {}` and `tlsOptions: {}`."""


def tolerating(taints: list[Taint]) -> tuple[Toleration, ...] | None:
    """Return tolerations of exactly these taints; None where there are none."""
    found = tuple(Toleration(key=item.key, value=item.value, effect=item.effect) for item in taints)
    return found or None


def tainting(taints: list[Taint]) -> tuple[NodeTaint, ...] | None:
    """Return taints as Kubernetes has them; None where there are none."""
    return tuple(NodeTaint(key=item.key, value=item.value, effect=item.effect) for item in taints) or None


def spelled(name: str) -> Any:
    """Return a field whose Kubernetes name no rule of capitals gives, as `clusterIP`; it is not set by default."""
    return Field(default=None, serialization_alias=name)

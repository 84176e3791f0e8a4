"""What a rule is, and what it finds. Standard library alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from policies.plan_view import PlanView, Resource


class Severity(StrEnum):
    """How bad it is. Every finding stops an approval, whatever its severity: it says what to mend first."""

    HIGH = "high"
    MEDIUM = "medium"


@dataclass(frozen=True, slots=True)
class Violation:
    """One resource that does not keep to a rule.

    Attributes:
        address: The resource.
        what: In which way.
        undecided: Whether the plan does not tell yet: what is judged is known only after the first apply.
    """

    address: str
    what: str
    undecided: bool = False


Find = Callable[[PlanView], Iterator[Violation]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule.

    Attributes:
        id: `CKV_DT_n`; never given to another rule.
        title: What holds where it is kept.
        severity: What to mend first.
        reason: One sentence: what happens where it is not kept.
        remedy: What mends it.
        kinds: Terraform types it judges; `aws_*` for all.
        find: The rule itself.
    """

    id: str
    title: str
    severity: Severity
    reason: str
    remedy: str
    kinds: tuple[str, ...]
    find: Find


def say(resource: Resource, what: str) -> Violation:
    """Return a violation by a resource."""
    return Violation(resource.address, what)


def undecided(resource: Resource, what: str) -> Violation:
    """Return that a plan does not tell yet whether a resource keeps to a rule."""
    return Violation(resource.address, what, undecided=True)

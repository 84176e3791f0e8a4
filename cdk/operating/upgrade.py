"""One step of the Kubernetes version: whether it may be taken, what it replaces, and what must go with it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from cdk.model import Environment, Manager, Pool
from cdk.operating.compatibility import Companion, Fit, companions
from cdk.support import EKS_VERSIONS, Support, support_of
from platform_lib.errors import ConfigError

Documents = Mapping[str, Mapping[str, Any]]


class UpgradeRefusedError(ConfigError):
    """A version step that must not be taken so."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """What a step does to the nodes of one pool.

    Attributes:
        pool: Its name.
        manager: Who makes its nodes.
        nodes_now: How many always run, or were asked for.
        nodes_most: How many there are at most.
        what: What happens to them.
    """

    pool: str
    manager: str
    nodes_now: int
    nodes_most: int
    what: str


@dataclass(frozen=True, slots=True)
class Changed:
    """One attribute that a step changes.

    Attributes:
        stack: Whose.
        address: The resource.
        attribute: Which.
        before: What it is.
        after: What it becomes.
    """

    stack: str
    address: str
    attribute: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Step:
    """A step that may be taken.

    Attributes:
        before: The version now.
        after: The version then.
        support: How that one is supported today.
        supported_until: Last day of its standard support.
        pools: What happens to nodes.
        companions: What goes with it.
    """

    before: str
    after: str
    support: Support
    supported_until: date | None
    pools: tuple[Replaced, ...]
    companions: tuple[Companion, ...]

    @property
    def blockers(self) -> tuple[str, ...]:
        """What has to be mended before the step."""
        return tuple(
            f"{item.part} {item.ours} is too old: {item.wanted} is needed"
            for item in self.companions
            if item.fit is Fit.TOO_OLD
        )

    @property
    def unknown(self) -> tuple[str, ...]:
        """What nobody here knows, and whom to ask."""
        return tuple(f"{item.part}: {item.source}" for item in self.companions if item.fit is Fit.UNKNOWN)


def check_step(environment: Environment, target: str, today: date) -> Step:
    """Return what a step to a version would do.

    Raises:
        UpgradeRefusedError: The version is not known, not one minor version on, or no longer supported.
    """
    before = environment.kubernetes.version
    where = f"environment {environment.environment}, kubernetes.version {before}"
    _require_known(target, where)
    distance = _minor(target) - _minor(before)
    if distance <= 0:
        what = "is what runs" if distance == 0 else f"is older than {before}: a control plane cannot go back"
        raise UpgradeRefusedError(
            f"{target} {what}",
            where=where,
            remedy=f"name a later version: {', '.join(_later(before)) or 'none is known'}",
        )
    if distance > 1:
        following = f"1.{_minor(before) + 1}"
        raise UpgradeRefusedError(
            f"{target} skips {distance - 1} minor version{'s' if distance > 2 else ''}: EKS takes one at a time",
            where=where,
            remedy=f"check and take {following} first",
        )
    support = support_of(target, today)
    if support is Support.ENDED or (support is Support.EXTENDED and not environment.kubernetes.allow_extended_support):
        raise UpgradeRefusedError(
            f"{target} is out of support since {EKS_VERSIONS[target].standard_until}",
            where=where,
            remedy="go on to a supported one in single steps, with kubernetes.allow_extended_support on the way",
        )
    return Step(
        before=before,
        after=target,
        support=support,
        supported_until=EKS_VERSIONS[target].standard_until,
        pools=tuple(_replaced(pool) for pool in environment.pools),
        companions=tuple(companions(target)),
    )


def changes(before: Documents, after: Documents) -> Iterator[Changed]:
    """Give every attribute that differs between the stacks of two versions, from the synthesised stacks themselves."""
    for stack in sorted({*before, *after}):
        old, new = _resources(before.get(stack, {})), _resources(after.get(stack, {}))
        for address in sorted({*old, *new}):
            one, other = old.get(address, {}), new.get(address, {})
            for name in sorted({*one, *other}):
                if one.get(name) != other.get(name):
                    yield Changed(stack, address, name, _text(one.get(name)), _text(other.get(name)))


def _resources(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        f"{kind}.{name}": body for kind, found in document.get("resource", {}).items() for name, body in found.items()
    }


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _replaced(pool: Pool) -> Replaced:
    if pool.ami_id is not None:
        what = "untouched: its own image must be built anew for the version, with its driver, and named in ami_id"
    elif pool.manager is Manager.KARPENTER:
        what = "replaced one after the other as drifted, a tenth at a time, once no pod forbids it"
    else:
        what = "replaced in place, a quarter at a time at most: what runs on them ends and starts again elsewhere"
    return Replaced(pool.name, pool.manager.value, max(pool.minimum, pool.desired), pool.maximum, what)


def _require_known(target: str, where: str) -> None:
    if target not in EKS_VERSIONS:
        raise UpgradeRefusedError(
            f"{target} is not known here",
            where=where,
            remedy=f"take one of {', '.join(EKS_VERSIONS)}, or add it, with its sources, to cdk/support.py and "
            "cdk/operating/compatibility.py",
        )


def _minor(version: str) -> int:
    return int(version.partition(".")[2])


def _later(version: str) -> list[str]:
    return [item for item in EKS_VERSIONS if _minor(item) > _minor(version)]

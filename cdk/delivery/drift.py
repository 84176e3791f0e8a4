"""What was changed outside of Terraform since it was applied."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from cdk.delivery.planning import Progress, Session, States, resolve

# What AWS itself moves on, and nobody can set or set back.
# Source: hashicorp/terraform-provider-aws 48505, of a cluster's platform version; AWS, "Gateway endpoints", of the ranges of
# a gateway's prefix list; both read 2026-11-30.
_MOVING: Mapping[str, frozenset[str]] = {
    "aws_db_instance": frozenset({"latest_restorable_time"}),
    "aws_eks_cluster": frozenset({"platform_version"}),
    "aws_vpc_endpoint": frozenset({"cidr_blocks"}),
}
_INDEX = re.compile(r"\[[^\]]*\]$")
_STEP = re.compile(r"[^.\[\]]+")
# Its table, and where it leads to: a block of addresses or a list of them.
RouteKey = tuple[Any, Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Drifted:
    """One resource that is not as it was applied.

    Attributes:
        stack: Whose.
        address: The resource.
        gone: Whether it is gone altogether.
        attributes: The attributes that differ, with what they were and are.
    """

    stack: str
    address: str
    gone: bool
    attributes: Mapping[str, tuple[Any, Any]]


def find_drift(session: Session, *, told: Progress = lambda _stack, _word: None) -> list[Drifted]:
    """Compare what is applied with what there is, stack by stack, two at once; stacks never applied are passed over.

    Raises:
        InfrastructureError: A stack cannot be compared.
    """
    states = States(session)
    known = {name: states.read(name) for name in session.wiring}
    outputs = {name: given for name, (_, given) in known.items()}
    routes = {
        _route_key(values)
        for name in (*session.wiring, *session.left_out)
        for values in states.resources(name, "aws_route")
    }

    def one(stack: str) -> list[Drifted]:
        if known[stack][0] == "absent":
            told(stack, "never applied")
            return []
        terraform = session.terraform(stack)
        inputs, _ = resolve(session.wiring[stack], outputs)
        ignored = ignored_in(json.loads(session.document(stack)))
        found = drift_of(terraform.refreshed(inputs), stack, routes=routes, ignored=ignored)
        told(stack, f"{len(found)} changed outside" if found else "as applied")
        return found

    with ThreadPoolExecutor(2) as pool:
        return [item for found in pool.map(one, session.wiring) for item in found]


def ignored_in(document: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return, by address, the attributes that a synthesised stack leaves to others (`ignore_changes`).

    A cluster's autoscaler moves how many nodes a group has; of an emulated stack, what the emulator keeps differently from AWS is
    among them. Terraform ignores them in a plan, and not where it only refreshes.
    """
    return {
        f"{kind}.{name}": tuple(body.get("lifecycle", {}).get("ignore_changes", ()))
        for kind, members in document.get("resource", {}).items()
        for name, body in members.items()
    }


def drift_of(
    plan: Mapping[str, Any], stack: str, *, routes: Set[RouteKey], ignored: Mapping[str, Sequence[str]]
) -> list[Drifted]:
    """Return what differs, of a plan in Terraform's JSON that only refreshes.

    A route that a resource of its own puts into a table is none, though the table was written down before it came; that resource
    is compared too. Nor is what AWS moves on by itself, or what the stack leaves to others.

    Args:
        plan: The plan.
        stack: Whose.
        routes: Table and destination of each route of the environment that is a resource of its own.
        ignored: What the stack leaves to others, by address.
    """
    found = []
    for item in plan.get("resource_drift", ()):
        kind, address = item["type"], item["address"]
        if item["change"]["after"] is None:
            found.append(Drifted(stack, address, gone=True, attributes={}))
            continue
        passed = (*_MOVING.get(kind, ()), *ignored.get(_INDEX.sub("", address), ()))
        before, after = (_without(item["change"][side] or {}, passed) for side in ("before", "after"))
        changed = {
            name: (before.get(name), after.get(name))
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        }
        excused = _EXCUSED.get(kind)
        if excused is not None and excused[0] in changed and excused[1](before, after, routes):
            del changed[excused[0]]
        if changed:
            found.append(Drifted(stack, address, gone=False, attributes=changed))
    return found


def _without(values: Mapping[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """Return attributes without those at `a` or `a[0].b`."""
    kept = deepcopy(dict(values))
    for path in paths:
        *way, last = [int(step) if step.isdecimal() else step for step in _STEP.findall(path)]
        place: Any = kept
        for step in way:
            there = isinstance(place, dict) if isinstance(step, str) else isinstance(place, list) and step < len(place)
            place = (place.get(step) if isinstance(step, str) else place[step]) if there else None
        if isinstance(place, dict):
            place.pop(last, None)
    return kept


def _route_key(values: Mapping[str, Any]) -> RouteKey:
    return values.get("route_table_id"), *_destination(values, "destination_")


def _destination(values: Mapping[str, Any], prefix: str) -> tuple[Any, Any, Any]:
    names = (f"{prefix}cidr_block", f"{prefix}ipv6_cidr_block", "destination_prefix_list_id")
    one, two, three = (values.get(name) or None for name in names)
    return one, two, three


def _same_routes(before: Mapping[str, Any], after: Mapping[str, Any], routes: Set[RouteKey]) -> bool:
    """Whether a table has the same routes as before, those aside that are a resource of their own, and are compared as one."""

    def own(table: Mapping[str, Any]) -> list[str]:
        return sorted(
            repr(sorted(route.items()))
            for route in table.get("route") or ()
            if (table.get("id"), *_destination(route, "")) not in routes
        )

    return own(before) == own(after)


def _grew_by_itself(before: Mapping[str, Any], after: Mapping[str, Any], _routes: Set[RouteKey]) -> bool:
    """Whether a database's storage grew within the limit to which RDS lets it grow."""
    was, now, most = (
        before.get("allocated_storage") or 0,
        after.get("allocated_storage") or 0,
        after.get("max_allocated_storage"),
    )
    return bool(most and was < now <= most)


# An attribute of a kind that may differ, and when.
_EXCUSED: Mapping[str, tuple[str, Callable[[Mapping[str, Any], Mapping[str, Any], Set[RouteKey]], bool]]] = {
    "aws_db_instance": ("allocated_storage", _grew_by_itself),
    "aws_route_table": ("route", _same_routes),
}

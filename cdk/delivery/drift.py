"""What was changed outside of Terraform since it was applied."""

from __future__ import annotations

from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cdk.delivery.planning import Progress, Session, States, resolve
from cdk.emulator import PERMANENT

# What AWS itself moves on, minute by minute.
_MOVING: Mapping[str, frozenset[str]] = {"aws_db_instance": frozenset({"latest_restorable_time"})}
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
        found = drift_of(terraform.refreshed(inputs), stack, routes=routes, emulated=session.environment.emulated)
        told(stack, f"{len(found)} changed outside" if found else "as applied")
        return found

    with ThreadPoolExecutor(2) as pool:
        return [item for found in pool.map(one, session.wiring) for item in found]


def drift_of(plan: Mapping[str, Any], stack: str, *, routes: Set[RouteKey], emulated: bool) -> list[Drifted]:
    """Return what differs, of a plan in Terraform's JSON that only refreshes.

    A route that a resource of its own puts into a table is none, though the table was written down before it came; that resource
    is compared too. Nor is what AWS moves on by itself, or what an emulator keeps differently.

    Args:
        plan: The plan.
        stack: Whose.
        routes: Table and destination of each route of the environment that is a resource of its own.
        emulated: Whether the environment is.
    """
    found = []
    for item in plan.get("resource_drift", ()):
        before, after = item["change"]["before"] or {}, item["change"]["after"]
        if after is None:
            found.append(Drifted(stack, item["address"], gone=True, attributes={}))
            continue
        kind = item["type"]
        passed = {*_MOVING.get(kind, ()), *(PERMANENT.get(kind, ()) if emulated else ())}
        changed = {
            name: (before.get(name), after.get(name))
            for name in sorted({*before, *after} - passed)
            if before.get(name) != after.get(name)
        }
        if kind == "aws_route_table" and "route" in changed and _same_routes(before, after, routes):
            del changed["route"]
        if changed:
            found.append(Drifted(stack, item["address"], gone=False, attributes=changed))
    return found


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

"""What was changed outside of Terraform since it was applied."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cdk.delivery.planning import Progress, Session, States, resolve


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

    def one(stack: str) -> list[Drifted]:
        if known[stack][0] == "absent":
            told(stack, "never applied")
            return []
        terraform = session.terraform(stack)
        inputs, _ = resolve(session.wiring[stack], outputs)
        found = _drift_of(terraform.refreshed(inputs), stack)
        told(stack, f"{len(found)} changed outside" if found else "as applied")
        return found

    with ThreadPoolExecutor(2) as pool:
        return [item for found in pool.map(one, session.wiring) for item in found]


def _drift_of(plan: Mapping[str, Any], stack: str) -> list[Drifted]:
    found = []
    for item in plan.get("resource_drift", ()):
        before, after = item["change"]["before"] or {}, item["change"]["after"]
        if after is None:
            found.append(Drifted(stack, item["address"], gone=True, attributes={}))
            continue
        changed = {
            name: (before.get(name), after.get(name))
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        }
        if changed:
            found.append(Drifted(stack, item["address"], gone=False, attributes=changed))
    return found

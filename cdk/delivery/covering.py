"""Whether what would be done now is what was approved. Pure.

A plan made before other stacks were applied holds stand-ins and unknowns; the plan made right before an apply holds what
they became. And after a failure half of what was approved is done. So the plan of now is not compared by its digest: each
of its changes must be one that was approved, value by value, where a stand-in or an unknown stands for what it became.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdk.model import StandIn


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a plan goes beyond the approved one.

    Attributes:
        address: The resource.
        what: In which way.
    """

    address: str
    what: str


@dataclass(frozen=True, slots=True)
class _Names:
    """Stand-ins and what they became, as one name: a text of either reads the same."""

    pattern: re.Pattern[str] | None
    names: Mapping[str, str]

    @classmethod
    def of(cls, approved: Mapping[str, StandIn], actual: Mapping[str, StandIn]) -> _Names:
        names: dict[str, str] = {}
        for variable, value in approved.items():
            now = actual.get(variable, value)
            for place, (before, after) in enumerate(zip(_texts(value), _texts(now), strict=False)):
                if before != after:
                    names[before] = names[after] = f"<{variable}.{place}>"
        # The longest first: an id may be the beginning of another.
        words = sorted((re.escape(item) for item in names if item), key=len, reverse=True)
        return cls(re.compile("|".join(words)) if words else None, names)

    def put(self, text: str) -> str:
        return text if self.pattern is None else self.pattern.sub(lambda found: self.names[found[0]], text)


def _texts(value: StandIn) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value


def beyond_approval(
    approved: Mapping[str, Any],
    actual: Mapping[str, Any],
    *,
    approved_inputs: Mapping[str, StandIn],
    actual_inputs: Mapping[str, StandIn],
) -> list[Difference]:
    """Return what a plan does that the approved one did not say; empty where all of it was approved.

    Args:
        approved: Terraform's JSON of the approved plan.
        actual: Terraform's JSON of the plan of now.
        approved_inputs: What the approved one was planned with.
        actual_inputs: What the one of now was planned with.
    """
    names = _Names.of(approved_inputs, actual_inputs)
    before = {item["address"]: item for item in _changing(approved)}
    return [found for change in _changing(actual) for found in _compare(before.get(change["address"]), change, names)]


def _changing(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for change in plan.get("resource_changes", ()):
        if change["change"]["actions"] not in (["no-op"], ["read"]):
            yield change


def _compare(approved: Mapping[str, Any] | None, actual: Mapping[str, Any], names: _Names) -> Iterator[Difference]:
    address = actual["address"]
    doing = "/".join(actual["change"]["actions"])
    if approved is None:
        yield Difference(address, f"{doing}, which was not approved")
        return
    was = "/".join(approved["change"]["actions"])
    # Made half by an apply that ended in the middle: Terraform takes it away and makes it, as approved.
    half_made = was == "create" and actual.get("action_reason") == "replace_because_tainted"
    if was != doing and not half_made:
        yield Difference(address, f"{doing}, and {was} was approved")
        return
    old, new = approved["change"], actual["change"]
    for at in _mismatches(old.get("after"), new.get("after"), old.get("after_unknown"), names, ""):
        yield Difference(address, f"'{at}' is another value than approved")


def _mismatches(approved: Any, actual: Any, unknown: Any, names: _Names, at: str) -> Iterator[str]:
    """Walk two values side by side; `unknown` marks what was not known when the first was approved."""
    if unknown is True:
        return
    if isinstance(approved, dict) and isinstance(actual, dict):
        for key in sorted({*approved, *actual}):
            yield from _mismatches(approved.get(key), actual.get(key), _part(unknown, key), names, _join(at, key))
    elif isinstance(approved, list) and isinstance(actual, list) and len(approved) == len(actual):
        found = [
            list(_mismatches(one, other, _part(unknown, place), names, f"{at}[{place}]"))
            for place, (one, other) in enumerate(zip(approved, actual, strict=True))
        ]
        if any(found) and not _same_set(approved, actual, unknown, names):
            for part in found:
                yield from part
    elif isinstance(approved, str) and isinstance(actual, str):
        if names.put(approved) != names.put(actual):
            yield at
    elif approved != actual:
        yield at


def _same_set(approved: list[Any], actual: list[Any], unknown: Any, names: _Names) -> bool:
    """Say whether two lists are one set in two orders.

    Terraform writes a set in the order of its values, so a stand-in lies elsewhere than what it became. Texts are
    given in sorted order then; a list of texts that is not sorted is no set, and its order counts.
    """
    if all(isinstance(item, str) for item in (*approved, *actual)):
        if approved != sorted(approved) or actual != sorted(actual):
            return False
        return sorted(map(names.put, approved)) == sorted(map(names.put, actual))
    left = list(actual)
    for place, one in enumerate(approved):
        partner = next(
            (item for item in left if not any(_mismatches(one, item, _part(unknown, place), names, ""))), None
        )
        if partner is None:
            return False
        left.remove(partner)
    return True


def _part(unknown: Any, key: str | int) -> Any:
    if isinstance(unknown, dict):
        return unknown.get(str(key))
    if isinstance(unknown, list) and isinstance(key, int) and key < len(unknown):
        return unknown[key]
    return None


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key

"""Whether plans keep to the rules: what fails, what is accepted, what cannot be told yet. Pure: the day is an argument."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from typing import Any

from policies.baseline import Accepted, Baseline
from policies.catalogue import RULES
from policies.high_severity import HIGH_SEVERITY
from policies.model import Severity
from policies.plan_view import RAW_DAYS, PlanView

_OWN_REMEDY = "mend it, or accept it in policies/baseline.yaml with reason, owner and expiry"


@dataclass(frozen=True, slots=True)
class Finding:
    """One resource that does not keep to a check.

    Attributes:
        check: Its id.
        severity: How bad.
        stack: Whose.
        address: The resource.
        what: In which way.
        remedy: What mends it.
    """

    check: str
    severity: str
    stack: str
    address: str
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What checkov's own checks found.

    Attributes:
        version: checkov's; None where it is not installed and nothing was looked at.
        failed: Check, stack and address of each failure.
    """

    version: str | None
    failed: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What policy says of a plan.

    Attributes:
        failures: What stops an approval.
        accepted: What would, were it not accepted, with the entry that accepts it.
        undecided: What the plan does not tell before the first apply.
        unused: Entries of the baseline for this environment that accept nothing here.
        checkov: checkov's version; None where its own checks were not run.
        rules: How many rules of our own were asked.
    """

    failures: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, Accepted], ...] = ()
    undecided: tuple[Finding, ...] = ()
    unused: tuple[Accepted, ...] = ()
    checkov: str | None = None
    rules: int = field(default_factory=lambda: len(RULES))

    @property
    def sha256(self) -> str:
        """Digest of what was found, for an approval to name."""
        content = {
            "failures": [asdict(item) for item in self.failures],
            "accepted": [(asdict(item), entry.model_dump(mode="json")) for item, entry in self.accepted],
            "undecided": [asdict(item) for item in self.undecided],
            "checkov": self.checkov,
            "rules": self.rules,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def judge(
    plans: Mapping[str, Mapping[str, Any]],
    *,
    environment: str,
    today: date,
    scan: Scan,
    baseline: Baseline,
    raw_days: int = RAW_DAYS,
) -> Verdict:
    """Hold every stack's plan against every rule.

    Args:
        plans: Terraform's JSON by stack.
        environment: Its name; the baseline may accept a finding in one and not in another.
        today: Exceptions and accepted findings run out.
        scan: What checkov's own checks found.
        baseline: Accepted findings.
        raw_days: After how many days the raw zone must be empty of an object.
    """
    undecided: list[Finding] = []
    found: list[Finding] = []
    views = {stack: PlanView.of(document, today, raw_days=raw_days) for stack, document in plans.items()}
    for stack, view in views.items():
        for item, open_question in _own(stack, view):
            (undecided if open_question else found).append(item)
    found += _foreign(scan)
    current = [item for item in baseline.accepted if today <= item.expires]
    failures: list[Finding] = []
    accepted: list[tuple[Finding, Accepted]] = []
    for item in found:
        entry = _entry(current, environment, item)
        if entry is None:
            failures.append(item)
        else:
            accepted.append((item, entry))
    used = {id(entry) for _, entry in accepted}
    standing = [stack for stack, view in views.items() if view.resources]
    return Verdict(
        failures=tuple(sorted(failures, key=_order)),
        accepted=tuple(accepted),
        undecided=tuple(undecided),
        unused=tuple(
            item for item in current if id(item) not in used and _could_be_used(item, environment, standing, scan)
        ),
        checkov=scan.version,
    )


def _could_be_used(item: Accepted, environment: str, standing: Sequence[str], scan: Scan) -> bool:
    """Whether an entry is about this environment, about a stack that was judged, and about a check that was asked."""
    asked = scan.version is not None or any(check in RULES for check in item.checks)
    return asked and environment in item.environments and any(fnmatchcase(stack, item.stack) for stack in standing)


def _own(stack: str, view: PlanView) -> Iterator[tuple[Finding, bool]]:
    for rule in RULES.values():
        for item in rule.find(view):
            yield Finding(rule.id, rule.severity, stack, item.address, item.what, rule.remedy), item.undecided


def _foreign(scan: Scan) -> list[Finding]:
    return [
        Finding(check, Severity.HIGH, stack, address, f"fails '{HIGH_SEVERITY.get(check, check)}'", _OWN_REMEDY)
        for check, stack, address in scan.failed
    ]


def _entry(current: Sequence[Accepted], environment: str, item: Finding) -> Accepted | None:
    return next((entry for entry in current if entry.covers(item.check, environment, item.stack, item.address)), None)


def _order(item: Finding) -> tuple[bool, str, str, str]:
    return item.severity != Severity.HIGH, item.stack, item.address, item.check

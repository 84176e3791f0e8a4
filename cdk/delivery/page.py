"""One page about a plan: what changes, what is dangerous, what policy says, what it costs. Pure.

Three forms of one content: `page_text` for a terminal, `page_markdown` for a pull request, `page_html` for a browser.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cdk.delivery.cost_of_plan import Cost
from cdk.delivery.judging import Judgement, whole
from cdk.delivery.plan_file import Changes, Plan, StackPlan
from cdk.delivery.scope import partial_line
from policies.verdict import Finding

ACTIONS = ("create", "update", "replace", "delete")
# What takes something away is named by its address; what is made is counted by kind.
NAMED = ("replace", "delete")


@dataclass(frozen=True, slots=True)
class StackRow:
    """What one stack would change.

    Attributes:
        name: Its name.
        account: Its account's id.
        region: Its region.
        changes: By action.
        provisional: Whether stand-ins stood for what is not applied yet.
        kinds: Changed resources, by action and kind.
        named: Addresses of what is replaced or deleted, by action.
        judged_only: Resources that are planned and judged, and not applied: the emulator lacks them.
    """

    name: str
    account: str
    region: str
    changes: Changes
    provisional: bool
    kinds: Mapping[str, Mapping[str, int]]
    named: Mapping[str, tuple[str, ...]]
    judged_only: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that is said about one plan.

    Attributes:
        plan: Its digest.
        environment: Its environment.
        program: What made it.
        destroy: Whether it takes everything away.
        stacks: Every stack; unchanged ones among them.
        judgement: Policy and dangers.
        cost: What is known of it.
        partial: What is to be known of a plan of some stacks; empty for one of all.
    """

    plan: str
    environment: str
    program: str
    destroy: bool
    stacks: tuple[StackRow, ...]
    judgement: Judgement
    cost: Cost
    partial: str = ""

    @property
    def total(self) -> Changes:
        """Changes of all stacks."""
        return Changes(**{action: sum(getattr(row.changes, action) for row in self.stacks) for action in ACTIONS})

    @property
    def changed(self) -> tuple[StackRow, ...]:
        """The stacks that change."""
        return tuple(row for row in self.stacks if row.changes.any)

    @property
    def headline(self) -> str:
        """One sentence."""
        parts = [f"{count} to {action}" for action, count in self.total.model_dump().items() if count]
        if not parts:
            return f"nothing changes in {len(self.stacks)} stacks"
        provisional = sum(row.provisional for row in self.changed)
        tail = f", {provisional} provisional" if provisional else ""
        return f"{', '.join(parts)} in {len(self.changed)} of {len(self.stacks)} stacks{tail}"

    @property
    def conclusion(self) -> str:
        """Whether it may be approved, and why not."""
        refusals = self.judgement.refusals
        return f"may not be approved: {'; '.join(refusals)}" if refusals else "may be approved"


def make_page(plan: Plan, judgement: Judgement, cost: Cost) -> Page:
    """Put together what is known of a plan."""
    return Page(
        plan=plan.sha256,
        environment=plan.environment,
        program=plan.program,
        destroy=plan.destroy,
        stacks=tuple(_row(name, stack) for name, stack in plan.stacks.items()),
        judgement=judgement,
        cost=cost,
        partial=partial_line(plan),
    )


def _row(name: str, stack: StackPlan) -> StackRow:
    kinds: dict[str, Counter[str]] = {action: Counter() for action in ACTIONS}
    named: dict[str, list[str]] = {action: [] for action in NAMED}
    for action, item in _changing(stack.terraform):
        kinds[action][item["type"]] += 1
        if action in named:
            named[action].append(item["address"])
    return StackRow(
        name=name,
        account=stack.account,
        region=stack.region,
        changes=stack.changes,
        provisional=stack.provisional,
        kinds={action: dict(sorted(count.items())) for action, count in kinds.items() if count},
        named={action: tuple(found) for action, found in named.items() if found},
        judged_only=len(whole(stack).get("resource_changes", ())) - len(stack.terraform.get("resource_changes", ())),
    )


def _changing(terraform: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for item in terraform.get("resource_changes", ()):
        actions = item["change"]["actions"]
        word = "replace" if {"create", "delete"} <= set(actions) else actions[0]
        if word in ACTIONS:
            yield word, item


def judged_only_line(page: Page) -> str:
    """Return what is not applied because an emulator lacks it; empty where nothing is."""
    count = sum(row.judged_only for row in page.stacks)
    return f"{count} more are planned and judged, and not applied: the emulator lacks them" if count else ""


def policy_line(page: Page) -> str:
    """Return what policy says, in one sentence."""
    verdict = page.judgement.verdict
    parts = [f"{verdict.rules} rules", f"{len(verdict.failures)} failures", f"{len(verdict.accepted)} accepted"]
    if verdict.undecided:
        parts.append(f"{len(verdict.undecided)} known only after the first apply")
    ran = (
        f"checkov {verdict.checkov}"
        if verdict.checkov
        else "checkov's own checks were NOT run: `make tools` installs it"
    )
    return f"{', '.join(parts)}; {ran}"


def cost_lines(page: Page) -> list[str]:
    """Return what it costs, a line each; an amount that is not known is said to be unknown."""
    cost = page.cost
    if cost.unknown is not None:
        return [f"unknown: {cost.unknown}"]
    shown = ", ".join(f"{case} {amount}" for case, amount in cost.amounts().items())
    lines = [f"USD a month: {shown}"]
    if cost.priced_as_of:
        lines[0] += f" (prices of {cost.priced_as_of})"
    if cost.unpriced:
        lines.append(f"without {len(cost.unpriced)} that are not known: {', '.join(cost.unpriced)}")
    lines += [f"over budget: {item}" for item in cost.over_budget]
    return lines


def document_of(page: Page) -> dict[str, Any]:
    """Return the page as plain content, all of it."""
    judgement = page.judgement
    verdict = judgement.verdict
    return {
        "environment": page.environment,
        "sha256": page.plan,
        "program": page.program,
        "destroy": page.destroy,
        "partial": page.partial,
        "headline": page.headline,
        "may_be_approved": not judgement.refusals,
        "refusals": judgement.refusals,
        "stacks": {
            row.name: {
                **row.changes.model_dump(),
                "provisional": row.provisional,
                "judged_only": row.judged_only,
                "account": row.account,
                "region": row.region,
                "kinds": row.kinds,
                "named": {action: list(found) for action, found in row.named.items()},
            }
            for row in page.stacks
        },
        "dangers": [
            {**asdict(danger), "waiver": None if waiver is None else waiver.model_dump(mode="json")}
            for danger, waiver in judgement.dangers
        ],
        "expired_waivers": [item.model_dump(mode="json") for item in judgement.expired],
        "policy": {
            "rules": verdict.rules,
            "checkov": verdict.checkov,
            "failures": [asdict(item) for item in verdict.failures],
            "accepted": [
                {**asdict(item), "because": entry.model_dump(mode="json")} for item, entry in verdict.accepted
            ],
            "undecided": [asdict(item) for item in verdict.undecided],
            "unused": [item.model_dump(mode="json") for item in verdict.unused],
        },
        "cost": page.cost.model_dump(mode="json"),
    }


def kinds_line(row: StackRow) -> str:
    """Return a stack's changed kinds: `create 3 aws_subnet, 1 aws_vpc`."""
    parts = []
    for action, kinds in row.kinds.items():
        parts.append(f"{action} {', '.join(f'{count} {kind}' for kind, count in kinds.items())}")
    return "; ".join(parts)


def grouped(findings: tuple[Finding, ...]) -> Iterator[tuple[Finding, list[Finding]]]:
    """Yield findings that say the same, the first and all of them, so that one fault in forty buckets is one line."""
    seen: dict[tuple[str, str], list[Finding]] = {}
    for item in findings:
        seen.setdefault((item.check, item.what), []).append(item)
    for items in seen.values():
        yield items[0], items

"""What speaks for and against a plan: policy, dangers and their waivers. Pure but for the two readers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from cdk.delivery.approval import ApprovalError
from cdk.delivery.danger import Danger, Waiver, find_dangers
from cdk.delivery.plan_file import Plan, StackPlan
from cdk.delivery.planning import Session, digest
from cdk.delivery.waivers import FOLDER, read_waivers
from cdk.emulator import as_wanted
from cdk.model import DataClass, Environment
from policies.baseline import FILE as BASELINE
from policies.baseline import read_baseline
from policies.checkov_scan import find_checkov, scan_plans
from policies.plan_view import RAW_DAYS, joined
from policies.verdict import Finding, Verdict, judge

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found about one plan on one day.

    Attributes:
        verdict: What policy says.
        dangers: Each dangerous change, with the waiver that covers it; None where none does.
        emulated: Whether the plan is of an emulated environment, which nobody's work depends on.
        destroy: Whether the plan takes everything away.
        expired: Waivers that would cover a danger, had they not run out.
    """

    verdict: Verdict
    dangers: tuple[tuple[Danger, Waiver | None], ...]
    emulated: bool
    destroy: bool
    expired: tuple[Waiver, ...] = ()

    @property
    def unwaived(self) -> list[Danger]:
        """The dangers that stop an approval. Taking an emulated environment away is what was asked for, and harms nothing."""
        if self.emulated and self.destroy:
            return []
        return [danger for danger, waiver in self.dangers if waiver is None]

    @property
    def refusals(self) -> list[str]:
        """Why this plan may not be approved; empty where it may."""
        found = []
        if self.verdict.failures:
            found.append(_counted(len(self.verdict.failures), "policy fails", "policies fail"))
        if self.verdict.checkov is None and not self.emulated:
            found.append("checkov's own checks were not run")
        if self.unwaived:
            found.append(
                _counted(len(self.unwaived), "dangerous change has no waiver", "dangerous changes have no waiver")
            )
        return found

    @property
    def sha256(self) -> str:
        """Digest of the findings, for an approval to name."""
        waived = [
            (item.address, item.action, waiver and waiver.model_dump(mode="json")) for item, waiver in self.dangers
        ]
        return digest([self.verdict.sha256, waived])


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def judge_plan(
    session: Session, plan: Plan, *, now: datetime, baseline: Path = BASELINE, waivers: Path = FOLDER
) -> Judgement:
    """Judge a plan as of a moment.

    Args:
        session: The environment.
        plan: Its plan.
        now: Waivers, exceptions and accepted findings run out.
        baseline: The file of accepted findings.
        waivers: The folder of waivers.

    Raises:
        ApprovalError: The plan is of a stack that the environment does not have.
        ConfigError: Baseline or waivers are not what they should be.
        ScanError: checkov is there and did not judge.
    """
    today = now.astimezone(UTC).date()
    documents = {name: _judged(session, name, stack, destroy=plan.destroy) for name, stack in plan.stacks.items()}
    verdict = judge(
        documents,
        environment=plan.environment,
        today=today,
        scan=scan_plans(documents, session.layout.scans, find_checkov()),
        baseline=read_baseline(baseline),
        raw_days=raw_days(session.environment),
    )
    if plan.left_out:
        verdict = replace(verdict, unused=())  # it may accept something in a stack that was not planned
    return weigh(
        plan, verdict, read_waivers(plan.environment, waivers), today=today, emulated=session.environment.emulated
    )


def _judged(session: Session, name: str, stack: StackPlan, *, destroy: bool) -> Mapping[str, Any]:
    document = whole(stack)
    if not session.environment.emulated or destroy:
        return document
    try:
        written = session.whole_document(name)
    except FileNotFoundError as error:
        raise ApprovalError(
            f"the plan is of a stack that the environment does not have: {name}",
            where=f"the plan of {session.environment.environment}",
        ) from error
    return as_wanted(document, json.loads(written))


def whole(stack: StackPlan) -> Mapping[str, Any]:
    """Return a stack's plan with what its emulator lacks: as the real one would be, so is it judged."""
    return stack.terraform if stack.not_emulated is None else joined(stack.terraform, stack.not_emulated)


def weigh(plan: Plan, verdict: Verdict, waivers: Sequence[Waiver], *, today: date, emulated: bool) -> Judgement:
    """Put a verdict beside the dangers of a plan and their waivers."""
    dangers = find_dangers({name: stack.terraform for name, stack in plan.stacks.items()})
    covered = tuple((item, next((one for one in waivers if one.covers(item, today)), None)) for item in dangers)
    late = [one for one in waivers if one.expires < today]
    expired = tuple(one for one in late if any(one.covers(item, one.expires) for item, by in covered if by is None))
    return Judgement(verdict, covered, emulated=emulated, destroy=plan.destroy, expired=expired)


def raw_days(environment: Environment) -> int:
    """Return after how many days raw drives must be gone: as the environment says, 90 where it says nothing."""
    raw = environment.data.buckets.get(DataClass.RAW)
    return raw.expire_days if raw is not None and raw.expire_days is not None else RAW_DAYS


def require_approvable(judgement: Judgement, plan: Plan) -> None:
    """Refuse a plan that policy or an unwaived danger forbids.

    Raises:
        ApprovalError: It may not be approved, nor applied.
    """
    if not judgement.refusals:
        return
    lines = [_finding(item) for item in judgement.verdict.failures]
    lines += [f"{item.stack}: {item.address}: {item.action}: {item.why}" for item in judgement.unwaived]
    shown = lines[:_SHOWN] + ([f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])
    what = "; ".join(judgement.refusals)
    raise ApprovalError(
        "\n  ".join([what, *shown]), where=f"the plan of {plan.environment}", remedy=_remedy(judgement, plan)
    )


def _finding(item: Finding) -> str:
    return f"{item.stack}: {item.address} {item.what} ({item.check})"


def _remedy(judgement: Judgement, plan: Plan) -> str:
    remedies = []
    if judgement.verdict.failures:
        remedies.append("mend what fails, or accept it with a reason in policies/baseline.yaml")
    if judgement.verdict.checkov is None and not judgement.emulated:
        remedies.append("make tools")
    if judgement.unwaived:
        remedies.append(f"waive what is wanted in cdk/waivers/{plan.environment}.yaml")
    return f"{'; '.join(remedies)}; then plan again: make plan ENV={plan.environment}"


def now_utc() -> datetime:
    """Return the moment; one place, so that everything of one command is judged as of the same day."""
    return datetime.now(UTC)

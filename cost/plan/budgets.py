"""Budgets and guardrails: limits that a plan is held against, and that can fail it by name. Reads nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cost.amount import Amount, money
from cost.plan import estimate as sums
from cost.plan.estimate import Cases, Estimate
from cost.plan.kinds.rule import number
from cost.plan.model import Resource

_Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
_SPLITS: dict[str, Callable[[Resource], str]] = {
    "account": sums.by_account,
    "cost_center": sums.by_cost_center,
    "pool": sums.by_pool,
    "stack": sums.by_stack,
    "team": sums.by_team,
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Budget(_Strict):
    """A month's limit of everything, or of what one account, team, cost centre, pool or stack has.

    Attributes:
        name: By which it fails.
        monthly_usd: The limit.
        case: Held against what the plan asks for, or against everything at its greatest.
        unknown: What it says where a part is unknown and the rest is within: `fail` or `allow`.
    """

    name: str = Field(min_length=1)
    monthly_usd: _Usd
    case: Literal["desired", "max"] = "desired"
    unknown: Literal["fail", "allow"] = "allow"
    account: str | None = None
    cost_center: str | None = None
    pool: str | None = None
    stack: str | None = None
    team: str | None = None

    @property
    def of(self) -> tuple[str, str] | None:
        """By what it is split, and which part it is of; None for everything."""
        given = [(name, value) for name in _SPLITS if (value := getattr(self, name)) is not None]
        return given[0] if given else None

    @model_validator(mode="after")
    def _one_part(self) -> Self:
        if sum(getattr(self, name) is not None for name in _SPLITS) > 1:
            raise ValueError(f"budget {self.name}: give one of {', '.join(_SPLITS)}, or none")
        return self


class Guardrail(_Strict):
    """A limit of a change.

    Attributes:
        name: By which it fails.
        max_increase_usd: Of a month as desired.
        max_increase_percent: Of what a month costs now.
        max_unpriced: How many reasons for unknown parts there may be.
        unknown: What it says where what changes is not all known: `fail` or `allow`.
    """

    name: str = Field(min_length=1)
    max_increase_usd: _Usd | None = None
    max_increase_percent: _Usd | None = None
    max_unpriced: int | None = Field(default=None, ge=0)
    unknown: Literal["fail", "allow"] = "allow"

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if [self.max_increase_usd, self.max_increase_percent, self.max_unpriced].count(None) != 2:
            raise ValueError(f"guardrail {self.name}: give one of max_increase_usd, max_increase_percent, max_unpriced")
        return self


class BudgetFile(_Strict):
    """The file."""

    format: Literal["drivetrain-budgets/1"]
    budgets: tuple[Budget, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [item.name for item in (*self.budgets, *self.guardrails)]
        if len(set(names)) < len(names):
            raise ValueError("a name is given twice")
        return self


class Verdict(StrEnum):
    """What a limit says; `unknown` is no pass."""

    WITHIN = "within"
    OVER = "over"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judged:
    """One limit and what it says.

    Attributes:
        name: Its name.
        verdict: What it says.
        said: The amount beside the limit.
        fails: Whether it fails the plan.
    """

    name: str
    verdict: Verdict
    said: str
    fails: bool


def judge(found: Estimate, limits: BudgetFile) -> tuple[Judged, ...]:
    """Hold an estimate against limits."""
    return (
        *(_budget(found, item) for item in limits.budgets),
        *(_guardrail(found, item) for item in limits.guardrails),
    )


def _budget(found: Estimate, budget: Budget) -> Judged:
    part = budget.of
    if part is None:
        amounts: Cases | None = found.monthly
    else:
        amounts = found.by(_SPLITS[part[0]]).get(part[1])
    of = "everything" if part is None else f"{part[0].replace('_', ' ')} {part[1]}"
    if amounts is None:  # misspelt, or nothing is planned there: never silently within
        return _judged(budget.name, Verdict.UNKNOWN, f"the plan has nothing of {of}", budget.unknown)
    amount = amounts.desired if budget.case == "desired" else amounts.most
    said = f"{of}, {budget.case}: {amount} of {money(budget.monthly_usd)} a month"
    return _judged(budget.name, _compare(amount, budget.monthly_usd), said, budget.unknown)


def _compare(amount: Amount, limit: Decimal) -> Verdict:
    if amount.usd > limit:
        return Verdict.OVER
    return Verdict.WITHIN if amount.complete else Verdict.UNKNOWN


def _judged(name: str, verdict: Verdict, said: str, unknown: str) -> Judged:
    return Judged(name, verdict, said, verdict is Verdict.OVER or (verdict is Verdict.UNKNOWN and unknown == "fail"))


def _guardrail(found: Estimate, rail: Guardrail) -> Judged:
    if rail.max_unpriced is not None:
        count = len(found.unpriced)
        verdict = Verdict.OVER if count > rail.max_unpriced else Verdict.WITHIN
        said = f"{count} reasons for unknown parts, {rail.max_unpriced} allowed"
        return _judged(rail.name, verdict, said, rail.unknown)
    change = sums.difference(found.priced)
    if rail.max_increase_usd is not None:
        limit = rail.max_increase_usd
        said = f"a month changes by {money(change.usd)}, {money(limit)} allowed"
    else:
        now = found.monthly.now
        percent = rail.max_increase_percent or Decimal(0)
        limit = now.usd * percent / 100
        said = f"a month changes by {money(change.usd)}, {percent} % of {now} is {money(limit)}"
        if not now.complete and change.usd > limit:
            # What is unknown now may be large: then the percentage is smaller than it looks.
            return _judged(rail.name, Verdict.UNKNOWN, said, rail.unknown)
    if change.usd > limit:
        return _judged(rail.name, Verdict.OVER, said, rail.unknown)
    verdict = Verdict.WITHIN if change.complete else Verdict.UNKNOWN
    return _judged(
        rail.name, verdict, said if change.complete else f"{said}; not all that changes is known", rail.unknown
    )


def budgets_in_plan(found: Estimate) -> Iterator[Judged]:
    """Hold each account against the budget that the plan itself gives it; these tell, and fail nothing."""
    accounts = found.by(sums.by_account)
    for item in found.priced:
        resource = item.resource
        limit = number(resource.get("limit_amount"))
        wanted = resource.kind == "aws_budgets_budget" and item.after and limit is not None
        if not wanted or limit is None or resource.get("time_unit") != "MONTHLY" or resource.account not in accounts:
            continue
        amount = accounts[resource.account].desired
        said = f"account {resource.account}, desired: {amount} of {money(limit)} a month"
        yield Judged(str(resource.get("name") or resource.address), _compare(amount, limit), said, fails=False)

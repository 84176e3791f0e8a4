"""What a plan costs: asked of `drivetrain cost plan`, which belongs to another room, by its command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from platform_lib.cli import COMMANDS

_TIME_LIMIT_S = 120.0
ABSENT = "`drivetrain cost plan` is not installed here"


class MonthlyUsd(BaseModel):
    """A month's cost, USD; None where it is not known, never 0.

    Attributes:
        now: Of what runs before the apply.
        desired: Of what the plan asks for.
        max: Of every pool at its maximum.
    """

    model_config = ConfigDict(frozen=True)

    now: float | None = None
    desired: float | None = None
    max: float | None = None


class Cost(BaseModel):
    """What is known of a plan's cost. Keys that `cost plan` may add later are left alone.

    Attributes:
        monthly_usd: By case.
        at_least: By case, whether a part of the amount is not known.
        unpriced: What has no price: these numbers are without it.
        over_budget: Budgets that the plan would break.
        priced_as_of: The day of the prices.
        unknown: Why nothing is known; None where something is.
    """

    model_config = ConfigDict(frozen=True)

    monthly_usd: MonthlyUsd = MonthlyUsd()
    at_least: Mapping[Literal["now", "desired", "max"], bool] = Field(default_factory=dict)
    unpriced: tuple[str, ...] = ()
    over_budget: tuple[str, ...] = ()
    priced_as_of: str | None = None
    unknown: str | None = Field(default=None, exclude=False)

    def amounts(self) -> dict[str, str]:
        """Return the amounts in words, by case."""
        known = {"now": self.monthly_usd.now, "desired": self.monthly_usd.desired, "max": self.monthly_usd.max}
        least = {case for case, partly in self.at_least.items() if partly}
        return {
            case: "unknown" if usd is None else f"{'at least ' if case in least else ''}{usd:,.2f}"
            for case, usd in known.items()
        }


def cost_of(plan: Path, node_pools: Path | None = None) -> Cost:
    """Return what the cost command says of a plan; what is not known is said, never taken as 0.

    Args:
        plan: The plan's file.
        node_pools: A folder with manifests of Karpenter's pools, which no plan knows.
    """
    if "cost" not in COMMANDS:
        return Cost(unknown=ABSENT)
    command = [sys.executable, "-m", "platform_lib.cli", "cost", "plan", str(plan), "--json"]
    if node_pools is not None:
        command += ["--manifests", str(node_pools)]
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command, capture_output=True, text=True, check=False, timeout=_TIME_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return Cost(unknown=f"`drivetrain cost plan` took longer than {_TIME_LIMIT_S:g} s")
    return read_cost(done.stdout, done.returncode)


def read_cost(text: str, status: int = 0) -> Cost:
    """Read what the cost command wrote."""
    try:
        document = json.loads(text)
        if "error" in document:
            return Cost(unknown=f"`drivetrain cost plan`: {document['error']['what']}")
        found = Cost.model_validate(document)
    except (ValueError, ValidationError, TypeError, KeyError):
        return Cost(unknown=f"`drivetrain cost plan` ended with status {status} and wrote no cost")
    known = found.monthly_usd
    if known.now is None and known.desired is None and known.max is None:
        return found.model_copy(update={"unknown": "`drivetrain cost plan` gave no amount"})
    return found

"""What a plan costs: asked of `drivetrain cost plan`, which belongs to another room, by its command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

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
        unpriced: What has no price: these numbers are without it.
        over_budget: Budgets that the plan would break.
        priced_as_of: The day of the prices.
        unknown: Why nothing is known; None where something is.
    """

    model_config = ConfigDict(frozen=True)

    monthly_usd: MonthlyUsd = MonthlyUsd()
    unpriced: tuple[str, ...] = ()
    over_budget: tuple[str, ...] = ()
    priced_as_of: str | None = None
    unknown: str | None = Field(default=None, exclude=False)


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

"""Registers every rule with checkov: `checkov -f plan.json --external-checks-dir policies/checkov`.

A rule looks at a whole plan, a check of checkov's at one resource: the check asks the rule once per plan and tells of each
resource what the rule found there.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

# checkov imports this file by its path, out of an environment in which this project is not installed.
sys.path.append(str(Path(__file__).resolve().parents[2]))

from checkov.common.models.enums import CheckCategories, CheckResult
from checkov.terraform.checks.resource.base_resource_check import BaseResourceCheck

from policies.catalogue import RULES
from policies.model import Rule
from policies.plan_view import RAW_DAYS, PlanView


def _today() -> date:
    given = os.environ.get("DRIVETRAIN_POLICY_DAY")
    return date.fromisoformat(given) if given else datetime.now(UTC).date()


def _named(scanned: str) -> Path:
    """Find a scanned file, which checkov names relative to a folder that it does not tell.

    Raises:
        FileNotFoundError: It is none of the files and folders of the command line; checkov ends with that.
    """
    relative = scanned.lstrip("/")
    for word in [".", *sys.argv[1:]]:
        place = Path(word)
        for path in (place / relative, place):
            if path.is_file() and path.as_posix().endswith(relative):
                return path
    raise FileNotFoundError(f"the plan '{scanned}' is none of the files and folders that checkov was given")


@cache
def _judged(path: Path, rule: str) -> dict[str, bool]:
    """Return the addresses that do not keep to a rule, and of each whether that is undecided."""
    document = json.loads(path.read_bytes())
    raw_days = int(os.environ.get("DRIVETRAIN_POLICY_RAW_DAYS", RAW_DAYS))
    found: dict[str, bool] = {}
    for item in RULES[rule].find(PlanView.of(document, _today(), raw_days=raw_days)):
        found[item.address] = found.get(item.address, True) and item.undecided
    return found


class PlanRule(BaseResourceCheck):
    """One rule as a check."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(
            name=rule.title,
            id=rule.id,
            categories=[CheckCategories.GENERAL_SECURITY],
            supported_resources=list(rule.kinds),
            guideline=f"{rule.reason} Remedy: {rule.remedy}.",
        )
        self._scanned = ""

    def run(self, scanned_file: str, *args: Any, **named: Any) -> Any:
        """Remember which plan is looked at, which checkov does not tell the check itself."""
        self._scanned = scanned_file
        return super().run(scanned_file, *args, **named)

    def scan_resource_conf(self, conf: dict[str, Any]) -> CheckResult:
        """Tell what the rule found at one resource."""
        address = conf["__address__"]
        found = _judged(_named(self._scanned), self.id)
        if address not in found:
            return CheckResult.PASSED
        return CheckResult.UNKNOWN if found[address] else CheckResult.FAILED


CHECKS = [PlanRule(rule) for rule in RULES.values()]

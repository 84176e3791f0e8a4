"""Which lines a resource has, by its kind; one module a family. A kind that stands in none is unknown."""

from __future__ import annotations

from cost.plan.kinds.compute import COMPUTE
from cost.plan.kinds.data import DATA
from cost.plan.kinds.free import FREE
from cost.plan.kinds.network import NETWORK
from cost.plan.kinds.rule import Rule
from cost.plan.kinds.services import SERVICES

RULES: dict[str, Rule] = {**COMPUTE, **NETWORK, **DATA, **SERVICES}
"""By Terraform's type."""

__all__ = ["FREE", "RULES", "Rule"]

"""Every rule, by its id. Pure; standard library alone."""

from __future__ import annotations

from collections.abc import Mapping

from policies.model import Rule
from policies.rules import accelerators, cluster, data, encryption, exposure, network, tags

RULES: Mapping[str, Rule] = {
    rule.id: rule
    for module in (tags, accelerators, network, encryption, exposure, data, cluster)
    for rule in module.RULES
}

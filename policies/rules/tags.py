"""Tags by which the bill is split. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policies.model import Rule, Severity, Violation, say
from policies.plan_view import PlanView

COST_TAGS = ("drivetrain:owner", "drivetrain:cost-center", "drivetrain:environment")
_INSTANCE_PARTS = ("instance", "volume")


def _missing(tags: Mapping[str, object]) -> str:
    return ", ".join(name for name in COST_TAGS if not tags.get(name))


def _cost_tags(plan: PlanView) -> Iterator[Violation]:
    for item in plan.resources:
        if item.taggable and (missing := _missing(item.tags)):
            yield say(item, f"has no tag {missing}")


def _template_tags(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_launch_template"):
        given = {block.get("resource_type"): block.get("tags") or {} for block in item.blocks("tag_specifications")}
        for part in _INSTANCE_PARTS:
            if missing := _missing(given.get(part, {})):
                yield say(item, f"gives no tag {missing} to each {part}")


RULES = (
    Rule(
        id="CKV_DT_1",
        title="Everything that takes tags carries owner, cost centre and environment",
        severity=Severity.MEDIUM,
        reason="What has no cost tags appears in nobody's part of the bill.",
        remedy="set `tags` in the environment's file; the provider puts them on everything",
        kinds=("aws_*",),
        find=_cost_tags,
    ),
    Rule(
        id="CKV_DT_2",
        title="Launch templates tag the instances and volumes they make",
        severity=Severity.MEDIUM,
        reason="Default tags stop at the template, so that nodes and their disks, the dearest part, would go untagged.",
        remedy="give the template `tag_specifications` for instance and volume",
        kinds=("aws_launch_template",),
        find=_template_tags,
    ),
)

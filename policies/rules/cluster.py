"""Clusters: who may enter, what is on record, and which versions run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from policies.model import Rule, Severity, Violation, say
from policies.plan_view import PlanView

_LOGS = {"api", "audit", "authenticator", "controllerManager", "scheduler"}


def _logs(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_eks_cluster"):
        if missing := _LOGS - set(item.get("enabled_cluster_log_types") or ()):
            yield say(item, f"keeps no log of {', '.join(sorted(missing))}")


def _pinned(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_eks_addon"):
        # One that a plan does not know yet is whatever AWS calls its default on the day of the apply.
        if not item.get("addon_version"):
            yield say(item, f"add-on {item.get('addon_name')} has no version")
        elif item.get("resolve_conflicts_on_update") == "OVERWRITE":
            yield say(item, f"add-on {item.get('addon_name')} overwrites what others set on every update")


def _entries(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_eks_cluster"):
        if item.get("access_config.authentication_mode") != "API":
            yield say(item, "lets people in by the aws-auth ConfigMap, which no plan shows")
        elif item.get("access_config.bootstrap_cluster_creator_admin_permissions") is not False:
            yield say(item, "makes whoever creates it an administrator for ever")


def _groups(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_cloudwatch_log_group"):
        if not item.get("retention_in_days"):
            yield say(item, "keeps its logs, and their bill, for ever")


def _trail(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_cloudtrail"):
        if item.get("is_multi_region_trail") is not True:
            yield say(item, "does not see other regions")
        elif item.get("enable_log_file_validation") is not True:
            yield say(item, "does not tell whether its files were changed")
        elif item.get("enable_logging") is False:
            yield say(item, "is switched off")


RULES = (
    Rule(
        id="CKV_DT_28",
        title="The control plane keeps all five logs",
        severity=Severity.MEDIUM,
        reason="Who did what in a cluster is in the audit log or nowhere.",
        remedy="enabled_cluster_log_types: api, audit, authenticator, controllerManager, scheduler",
        kinds=("aws_eks_cluster",),
        find=_logs,
    ),
    Rule(
        id="CKV_DT_29",
        title="Add-ons have a version",
        severity=Severity.MEDIUM,
        reason="Without one, the same code gives another cluster tomorrow.",
        remedy="set addon_version",
        kinds=("aws_eks_addon",),
        find=_pinned,
    ),
    Rule(
        id="CKV_DT_30",
        title="People enter clusters by access entries alone",
        severity=Severity.HIGH,
        reason="Entries of the aws-auth ConfigMap stand in no plan and no trail.",
        remedy="access_config: authentication_mode `API`, no administrator by creation",
        kinds=("aws_eks_cluster",),
        find=_entries,
    ),
    Rule(
        id="CKV_DT_32",
        title="Logs end",
        severity=Severity.MEDIUM,
        reason="A log group without retention is billed for ever.",
        remedy="set retention_in_days",
        kinds=("aws_cloudwatch_log_group",),
        find=_groups,
    ),
    Rule(
        id="CKV_DT_33",
        title="The trail covers all regions and shows tampering",
        severity=Severity.HIGH,
        reason="An intruder works in the region that nobody watches.",
        remedy="is_multi_region_trail and enable_log_file_validation",
        kinds=("aws_cloudtrail",),
        find=_trail,
    ),
)

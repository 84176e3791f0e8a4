"""What the emulator lacks, the one place of it. Pure.

A real environment's stacks hold everything. Of an emulated one, what the emulator lacks is taken out of the stack that is
applied and written into a document of its own, together with all it refers to: that one is validated, planned and held
against the policies as any other, and never applied. What the emulator keeps differently from AWS is ignored there alone,
so that a second plan of an emulated environment is empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

# Terraform JSON, as it is synthesised.
Document = dict[str, Any]
# A folder beside `stacks/`: what an emulated environment plans and validates only.
NOT_EMULATED = "not_emulated"

# Kinds of which moto 5.2 lacks an operation that the provider calls: tried, or absent from what it implements.
LACKING: dict[str, str] = {
    "aws_ce_anomaly_monitor": "Cost Explorer knows no anomaly monitors",
    "aws_ce_anomaly_subscription": "Cost Explorer knows no anomaly subscriptions",
    "aws_ce_cost_allocation_tag": "Cost Explorer knows no cost allocation tags",
    "aws_ebs_default_kms_key": "EC2 does not say which key it was given",
    "aws_eks_access_entry": "EKS knows no access entries",
    "aws_eks_access_policy_association": "EKS knows no access policies",
    "aws_eks_addon": "EKS knows no add-ons",
    "aws_eks_pod_identity_association": "EKS knows no Pod Identity",
    "aws_placement_group": "EC2 knows no placement groups",
    "aws_s3_bucket_intelligent_tiering_configuration": "S3 knows no tiers of Intelligent-Tiering",
    "aws_s3_account_public_access_block": "its address begins with the account's id, which no name on loopback does",
    "aws_budgets_budget": "Budgets cannot be read back with their tags and notifications",
    "aws_backup_plan": "Backup gives plans back without their tags",
    "aws_backup_selection": "Backup knows no selections",
    "aws_backup_vault": "Backup lists no recovery points, which deleting a vault asks for",
    "aws_backup_vault_lock_configuration": "it lies on a vault",
    "aws_db_instance_automated_backups_replication": "RDS copies no automated backups",
    "aws_secretsmanager_secret_rotation": "Secrets Manager takes no rotation away again that has no function of its own",
}
# What the emulator keeps differently, by kind: attributes whose changes an emulated environment ignores.
PERMANENT: dict[str, tuple[str, ...]] = {
    "aws_db_instance": (
        "performance_insights_enabled",
        "performance_insights_kms_key_id",
        "performance_insights_retention_period",
    ),
    "aws_db_parameter_group": ("parameter",),
    "aws_eks_cluster": ("access_config", "upgrade_policy"),
    # It cannot move a group to another version of its template either.
    "aws_eks_node_group": ("launch_template", "node_repair_config", "remote_access", "update_config"),
    "aws_flow_log": ("destination_options",),
    "aws_launch_template": ("tag_specifications",),
    "aws_s3_bucket_inventory": ("included_object_versions",),
    "aws_s3_bucket_replication_configuration": ("rule",),
    # Of rules between groups alone.
    "aws_vpc_security_group_egress_rule": ("description",),
    "aws_vpc_security_group_ingress_rule": ("description",),
}
# EKS makes a security group for a cluster; the emulator makes none and says so with an empty text.
CLUSTER_GROUP_ID = "sg-0e0000000000e0000"
_INDEX = re.compile(r"\[[^\]]*\]$")
_REFERENCE = re.compile(r"\b((?:data\.)?[a-z][a-z0-9_]*)\.([A-Za-z0-9_-]+)")


def split(document: Document) -> tuple[Document, Document | None]:
    """Split one synthesised stack of an emulated environment.

    Args:
        document: The whole stack.

    Returns:
        The stack that is applied, and what is planned and validated only: the lacking kinds and all they refer to; None
        where the stack has no such kind.
    """
    applied = _ignoring(document)
    lacking = {
        (kind, name) for kind, members in document.get("resource", {}).items() if kind in LACKING for name in members
    }
    if not lacking:
        return applied, None
    for kind in {kind for kind, _ in lacking}:
        del applied["resource"][kind]
    gone = {f"{kind}.{name}" for kind, name in lacking}
    for _, _, body in _resources(applied):
        kept = [item for item in body.get("depends_on", ()) if item not in gone]
        body.pop("depends_on", None)
        if kept:
            body["depends_on"] = kept
    wanted = _with_references(document, lacking)
    planned = {key: deepcopy(value) for key, value in document.items() if key not in {"resource", "data", "output"}}
    planned["terraform"].pop("backend", None)
    for section in ("resource", "data"):
        for kind, members in document.get(section, {}).items():
            prefix = "data." if section == "data" else ""
            chosen = {name: body for name, body in members.items() if (f"{prefix}{kind}", name) in wanted}
            if chosen:
                planned.setdefault(section, {})[kind] = deepcopy(chosen)
    return applied, planned


def together(applied: Document, planned: Document) -> Document:
    """Return one document of both parts of a split stack, so that one run of Terraform plans them.

    What is in both is the applied one's, which ignores what the emulator keeps differently.
    """
    whole = deepcopy(applied)
    for section in ("resource", "data"):
        for kind, members in planned.get(section, {}).items():
            into = whole.setdefault(section, {}).setdefault(kind, {})
            for name, body in members.items():
                into.setdefault(name, deepcopy(body))
    return whole


def apart(plan: Mapping[str, Any], applied: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split Terraform's JSON of a plan of both parts into what an apply does and what the emulator lacks.

    Args:
        plan: The plan of `together`.
        applied: The document of what is applied.

    Returns:
        The plan of the applied document, and the plan of all else.
    """
    named = {
        f"{prefix}{kind}.{name}"
        for section, prefix in (("resource", ""), ("data", "data."))
        for kind, members in applied.get(section, {}).items()
        for name in members
    }
    # What is in the state and in no document any more is about to be deleted: an apply does it.
    gone = {item["address"] for item in plan.get("resource_changes", ()) if "delete" in item["change"]["actions"]}

    def mine(item: Mapping[str, Any]) -> bool:
        return _INDEX.sub("", item["address"]) in named or item["address"] in gone

    def part(*, of_applied: bool) -> dict[str, Any]:
        found = {**plan}
        if "resource_changes" in plan:
            found["resource_changes"] = [item for item in plan["resource_changes"] if mine(item) is of_applied]
        for place in ("planned_values", "configuration"):
            root = plan.get(place, {}).get("root_module", {})
            if "resources" in root:
                kept = [item for item in root["resources"] if mine(item) is of_applied]
                found[place] = {**plan[place], "root_module": {**root, "resources": kept}}
        return found

    further = part(of_applied=False)
    for name in ("output_changes", "prior_state", "resource_drift", "relevant_attributes"):
        further.pop(name, None)
    return part(of_applied=True), further


def as_wanted(plan: Mapping[str, Any], document: Document) -> dict[str, Any]:
    """Return Terraform's JSON of a plan with what an emulated environment ignores as the document wants it.

    Once applied, such an attribute is in a plan what the emulator made of it; policies judge what a real account would get.

    Args:
        plan: The plan of an emulated stack.
        document: What was planned.
    """
    wanted = {
        f"{kind}.{name}": {
            attribute: [body[attribute]] if isinstance(body[attribute], dict) else body[attribute]
            for attribute in PERMANENT[kind]
            if attribute in body and "${" not in json.dumps(body[attribute])
        }
        for kind, name, body in _resources(document)
        if kind in PERMANENT
    }
    found = deepcopy(dict(plan))
    for item in found.get("planned_values", {}).get("root_module", {}).get("resources", ()):
        item.setdefault("values", {}).update(
            wanted.get(_INDEX.sub("", item["address"]), {})
        )  # absent where all is unknown
    for item in found.get("resource_changes", ()):
        if item["change"].get("after") is not None:
            item["change"]["after"].update(wanted.get(_INDEX.sub("", item["address"]), {}))
    return found


def lacking_addresses(document: Document) -> dict[str, str]:
    """Return the addresses of a whole stack's resources that the emulator lacks, each with the reason."""
    return {
        f"{kind}.{name}": LACKING[kind]
        for kind, members in sorted(document.get("resource", {}).items())
        if kind in LACKING
        for name in sorted(members)
    }


def references(body: object) -> set[tuple[str, str]]:
    """Return what an attribute's expressions and `depends_on` refer to, as kind (with `data.`) and name."""
    found: set[tuple[str, str]] = set()
    for text in _texts(body):
        for kind, name in _REFERENCE.findall(text):
            found.add((kind, name))
    return found


def _with_references(document: Document, start: set[tuple[str, str]]) -> set[tuple[str, str]]:
    members = {
        (f"{prefix}{kind}", name): body
        for section, prefix in (("resource", ""), ("data", "data."))
        for kind, named in document.get(section, {}).items()
        for name, body in named.items()
    }
    found, todo = set(start), list(start)
    while todo:
        for target in references(members[todo.pop()]):
            if target in members and target not in found:
                found.add(target)
                todo.append(target)
    return found


def _ignoring(document: Document) -> Document:
    applied = deepcopy(document)
    for kind, _, body in _resources(applied):
        attributes = PERMANENT.get(kind)
        if attributes:
            lifecycle = body.setdefault("lifecycle", {})
            lifecycle["ignore_changes"] = sorted({*lifecycle.get("ignore_changes", ()), *attributes})
    return applied


def _resources(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for kind, members in document.get("resource", {}).items():
        for name, body in members.items():
            yield kind, name, body


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        # Expressions stand between `${` and `}`; `depends_on` names addresses bare.
        if "${" in value or _REFERENCE.fullmatch(value):
            yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def marker(lacking: dict[str, dict[str, str]]) -> bytes:
    """Return the bytes of the file that says what of each stack is not applied, and why."""
    return json.dumps(lacking, indent=2, sort_keys=True).encode() + b"\n"

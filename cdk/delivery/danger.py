"""Which changes of a plan destroy what cannot be made again, or interrupt what runs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import StringConstraints

from cdk.model import Strict


class Harm(StrEnum):
    """What a change does to what is there."""

    DESTROYS = "destroys"
    INTERRUPTS = "interrupts"


@dataclass(frozen=True, slots=True)
class Danger:
    """One dangerous change.

    Attributes:
        stack: Whose.
        address: The resource.
        kind: Its Terraform type.
        action: `delete`, `replace` or `update`.
        harm: What it does.
        why: In one clause, with the attribute that forces it where there is one.
    """

    stack: str
    address: str
    kind: str
    action: str
    harm: Harm
    why: str


class Waiver(Strict):
    """Why a dangerous change is wanted.

    Attributes:
        stack: Whose; `*` for any.
        address: The resource; a pattern as of file names.
        action: `delete`, `replace` or `update`.
        reason: One sentence.
        approver: Who says so.
        expires: Last day.
    """

    stack: str
    address: str
    action: str
    reason: Annotated[str, StringConstraints(min_length=10)]
    approver: Annotated[str, StringConstraints(min_length=2)]
    expires: date

    def covers(self, danger: Danger, today: date) -> bool:
        """Say whether this waiver is about a danger and still counts."""
        return (
            today <= self.expires
            and self.action == danger.action
            and self.stack in {"*", danger.stack}
            and fnmatchcase(danger.address, self.address)
        )


# What holds data, names or money that no apply brings back, and what is lost with it.
_DESTROYED: Mapping[str, str] = {
    "aws_eks_cluster": "the cluster and everything that runs in it",
    "aws_eks_node_group": "every node of the pool, and the jobs on them",
    "aws_db_instance": "the metadata database",
    "aws_rds_cluster": "the metadata database",
    "aws_db_instance_automated_backups_replication": "the database's backups in the second region",
    "aws_s3_bucket": "the bucket and what it holds",
    "aws_s3_bucket_versioning": "old versions of objects are no longer kept",
    "aws_s3_bucket_object_lock_configuration": "locks on released bundles",
    "aws_s3_bucket_replication_configuration": "copies in the second region",
    "aws_kms_key": "a key, and with it all that it encrypts",
    "aws_kms_replica_key": "a key, and with it all that it encrypts",
    "aws_kms_alias": "the name by which state or data find their key",
    "aws_dynamodb_table": "a table and what it holds",
    "aws_ecr_repository": "images that clusters pull",
    "aws_backup_vault": "backups",
    "aws_backup_plan": "backups are no longer made",
    "aws_cloudtrail": "the record of who did what",
    "aws_organizations_account": "an account",
    "aws_organizations_policy_attachment": "a guardrail",
    "aws_ec2_capacity_block_reservation": "prepaid capacity",
    "aws_ec2_capacity_reservation": "reserved capacity",
    "aws_vpc": "the network and all that is in it",
    "aws_secretsmanager_secret": "a secret",
}
# What running jobs use every minute: gone for a while, they stop or lose their work.
_INTERRUPTED: Mapping[str, str] = {
    "aws_nat_gateway": "open connections to the internet end",
    "aws_subnet": "nodes in it end",
    "aws_route": "packets find no way meanwhile",
    "aws_route_table_association": "packets find no way meanwhile",
    "aws_vpc_endpoint": "calls to the service end meanwhile",
    "aws_vpc_peering_connection": "jobs lose the metadata database meanwhile",
    "aws_iam_role": "pods that use it are refused meanwhile",
    "aws_iam_role_policy": "pods that use it are refused meanwhile",
    "aws_iam_role_policy_attachment": "pods that use it are refused meanwhile",
    "aws_eks_pod_identity_association": "pods that use it are refused meanwhile",
    "aws_eks_access_entry": "people or nodes are refused meanwhile",
    "aws_eks_addon": "the add-on is away meanwhile",
    "aws_security_group": "nothing gets through meanwhile",
    "aws_vpc_security_group_ingress_rule": "what it let in is refused",
    "aws_sqs_queue": "Karpenter misses notices of interruption",
    "aws_placement_group": "nodes in it have to end",
    "aws_launch_template": "nodes made from it cannot be made meanwhile",
}
# Updates in place that restart or replace what runs.
_RESTARTS: Mapping[str, Mapping[str, str]] = {
    "aws_eks_cluster": {"version": "the control plane is upgraded; node groups follow, which replaces nodes"},
    "aws_eks_node_group": {
        "version": "nodes are replaced one after the other, and jobs on them restart",
        "release_version": "nodes are replaced one after the other, and jobs on them restart",
        "launch_template": "nodes are replaced one after the other, and jobs on them restart",
    },
    "aws_db_instance": {
        "instance_class": "the database restarts",
        "engine_version": "the database restarts, and cannot go back",
        "parameter_group_name": "the database restarts",
        "multi_az": "the database is slow while its standby is made or given up",
        "deletion_protection": "nothing keeps the database from being deleted",
    },
    "aws_kms_key": {"is_enabled": "nothing it encrypts can be read", "policy": "who may decrypt changes"},
    "aws_eks_access_policy_association": {"policy_arn": "what somebody may do in the cluster changes"},
}


def find_dangers(plans: Mapping[str, Mapping[str, Any]]) -> list[Danger]:
    """Return the dangerous changes of stacks' plans in Terraform's JSON, the destroying ones first."""
    found = [danger for stack, terraform in plans.items() for danger in _of_stack(stack, terraform)]
    return sorted(found, key=lambda item: (item.harm is not Harm.DESTROYS, item.stack, item.address))


def unwaived(dangers: Sequence[Danger], waivers: Sequence[Waiver], today: date) -> list[Danger]:
    """Return the dangers that no waiver covers today."""
    return [item for item in dangers if not any(waiver.covers(item, today) for waiver in waivers)]


def _of_stack(stack: str, terraform: Mapping[str, Any]) -> Iterator[Danger]:
    for item in terraform.get("resource_changes", ()):
        change = item["change"]
        actions = change["actions"]
        if "delete" in actions:
            yield from _taken_away(stack, item, "replace" if "create" in actions else "delete")
        elif actions == ["update"]:
            yield from _restarted(stack, item)


def _taken_away(stack: str, item: Mapping[str, Any], action: str) -> Iterator[Danger]:
    kind = item["type"]
    forced = _forced_by(item["change"])
    because = f", because '{forced}' changes" if forced else ""
    if kind in _DESTROYED:
        yield Danger(stack, item["address"], kind, action, Harm.DESTROYS, f"{_DESTROYED[kind]} would be lost{because}")
    elif kind in _INTERRUPTED and not _made_first(item["change"], kind):
        yield Danger(stack, item["address"], kind, action, Harm.INTERRUPTS, f"{_INTERRUPTED[kind]}{because}")


def _made_first(change: Mapping[str, Any], kind: str) -> bool:
    """Whether the new one is made before the old one goes; what others point to by address is interrupted all the same."""
    return change["actions"] == ["create", "delete"] and kind in {"aws_launch_template", "aws_security_group"}


def _restarted(stack: str, item: Mapping[str, Any]) -> Iterator[Danger]:
    kind, change = item["type"], item["change"]
    before, after, unknown = change.get("before") or {}, change.get("after") or {}, change.get("after_unknown") or {}
    for name, why in _RESTARTS.get(kind, {}).items():
        if before.get(name) != after.get(name) or unknown.get(name):
            yield Danger(stack, item["address"], kind, "update", Harm.INTERRUPTS, f"'{name}' changes: {why}")
    if kind == "aws_eks_node_group":
        yield from _shrunk(stack, item, before, after)


def _shrunk(
    stack: str, item: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Danger]:
    was: Mapping[str, Any] = next(iter(before.get("scaling_config") or [{}]), {})
    now: Mapping[str, Any] = next(iter(after.get("scaling_config") or [{}]), {})
    if (now.get("max_size") or 0) < (was.get("desired_size") or 0):
        yield Danger(
            stack,
            item["address"],
            item["type"],
            "update",
            Harm.INTERRUPTS,
            f"the pool shrinks below the {was['desired_size']} nodes it has: jobs on the others end",
        )


def _forced_by(change: Mapping[str, Any]) -> str:
    paths = change.get("replace_paths") or []
    return ".".join(map(str, paths[0])) if paths else ""

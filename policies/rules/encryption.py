"""Encryption by keys of our own, which rotate. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policies.model import Rule, Severity, Violation, say, undecided
from policies.plan_view import PlanView, Resource

_KEY_KINDS = {"aws_kms_key", "aws_kms_replica_key", "aws_kms_alias", "aws_kms_external_key"}
# Where each kind names its key.
KEY_PATHS: Mapping[str, str] = {
    "aws_backup_vault": "kms_key_arn",
    "aws_cloudtrail": "kms_key_id",
    "aws_cloudwatch_log_group": "kms_key_id",
    "aws_db_instance": "kms_key_id",
    "aws_db_instance_automated_backups_replication": "kms_key_id",
    "aws_dynamodb_table": "server_side_encryption.kms_key_arn",
    "aws_ebs_volume": "kms_key_id",
    "aws_ecr_repository": "encryption_configuration.kms_key",
    "aws_efs_file_system": "kms_key_id",
    "aws_eks_cluster": "encryption_config.provider.key_arn",
    "aws_launch_template": "block_device_mappings.ebs.kms_key_id",
    "aws_secretsmanager_secret": "kms_key_id",
    "aws_sns_topic": "kms_master_key_id",
    "aws_sqs_queue": "kms_master_key_id",
}
# What has to be said beside the key; each as Terraform's plan has it.
_SWITCHES: Mapping[str, tuple[str, str]] = {
    "aws_db_instance": ("storage_encrypted", "true"),
    "aws_ebs_volume": ("encrypted", "true"),
    "aws_ecr_repository": ("encryption_configuration.encryption_type", "KMS"),
    "aws_efs_file_system": ("encrypted", "true"),
}
_SYMMETRIC = {None, "", "SYMMETRIC_DEFAULT"}
_LEAST_WAIT_DAYS = 7


def own_key(resource: Resource, path: str, value: object) -> str | None:
    """Return what is wrong with the key that an attribute names; None where it is one of our own."""
    if isinstance(value, str) and value:
        if "alias/aws/" in value:
            return f"uses AWS's own key '{value}', whose policy nobody here decides"
        return None
    if resource.is_unknown(path):
        # A key that this plan makes: its ARN is known after the apply, its kind is known now.
        named = resource.references(path)
        kinds = {name.rsplit(".", 2)[-2] for name in named if name.count(".") >= 1 and not name.startswith("var.")}
        if not named or kinds & _KEY_KINDS or any(name.startswith(("var.", "local.", "module.")) for name in named):
            return None
        return f"names {', '.join(sorted(named))}, which is no key"
    return "names no key of its own"


def _by_own_key(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind(*KEY_PATHS):
        path = KEY_PATHS[item.kind]
        if item.kind == "aws_launch_template":
            yield from _disks(item)
            continue
        if item.kind == "aws_db_instance" and item.get("replicate_source_db"):
            continue  # a replica of the same region has its source's key
        switch, wanted = _SWITCHES.get(item.kind, ("", ""))
        if switch and str(item.get(switch)).lower() != wanted.lower():
            yield say(item, f"is not encrypted: '{switch}' is {item.get(switch)}")
        elif wrong := own_key(item, path, item.get(path)):
            yield say(item, wrong)
        elif item.kind == "aws_eks_cluster" and "secrets" not in (item.get("encryption_config.resources") or ()):
            yield say(item, "does not encrypt its secrets")


def _disks(template: Resource) -> Iterator[Violation]:
    disks = template.blocks("block_device_mappings.ebs")
    if not disks:
        yield say(template, "leaves its disks as the image has them, unencrypted perhaps")
    for disk in disks:
        if str(disk.get("encrypted")).lower() != "true":
            yield say(template, "makes a disk that is not encrypted")
        elif wrong := own_key(template, KEY_PATHS[template.kind], disk.get("kms_key_id")):
            yield say(template, f"makes a disk that {wrong}")


def _buckets(plan: PlanView) -> Iterator[Violation]:
    path = "rule.apply_server_side_encryption_by_default"
    for bucket in plan.kind("aws_s3_bucket"):
        found = plan.pointing(
            "aws_s3_bucket_server_side_encryption_configuration", "bucket", bucket, by=("id", "bucket")
        )
        if not found:
            yield say(bucket, "is encrypted by a key that all of S3 shares")
        for item in found:
            if item.get(f"{path}.sse_algorithm") not in {"aws:kms", "aws:kms:dsse"}:
                yield say(bucket, f"is encrypted with {item.get(f'{path}.sse_algorithm')}, not with a key of its own")
            elif wrong := own_key(item, f"{path}.kms_master_key_id", item.get(f"{path}.kms_master_key_id")):
                yield say(bucket, wrong)


def _rotation(plan: PlanView) -> Iterator[Violation]:
    for key in plan.kind("aws_kms_key"):
        if key.get("customer_master_key_spec") in _SYMMETRIC and key.get("enable_key_rotation") is not True:
            yield say(key, "does not rotate")
        window = key.get("deletion_window_in_days")
        if isinstance(window, (int, float)) and window < _LEAST_WAIT_DAYS:
            yield say(key, f"is gone {window:g} days after somebody deletes it")
        if key.is_unknown("enable_key_rotation"):
            yield undecided(key, "whether it rotates is known after the apply")


RULES = (
    Rule(
        id="CKV_DT_11",
        title="Buckets are encrypted by a key of their own",
        severity=Severity.HIGH,
        reason="Under a shared key whoever may read the bucket may decrypt it, and no record tells who did.",
        remedy="add aws_s3_bucket_server_side_encryption_configuration with aws:kms and a key's ARN",
        kinds=("aws_s3_bucket",),
        find=_buckets,
    ),
    Rule(
        id="CKV_DT_12",
        title="Databases, disks, secrets, logs, queues, images, trails and backups are encrypted by a key of their own",
        severity=Severity.HIGH,
        reason="Only a key of one's own can be withdrawn, and only its use is on record.",
        remedy="name the ARN of a key that this project makes",
        kinds=tuple(KEY_PATHS),
        find=_by_own_key,
    ),
    Rule(
        id="CKV_DT_13",
        title="Keys rotate, and are not deleted at once",
        severity=Severity.MEDIUM,
        reason="A key that leaked would open everything ever written with it.",
        remedy="set enable_key_rotation, and deletion_window_in_days to 7 or more",
        kinds=("aws_kms_key",),
        find=_rotation,
    ),
)

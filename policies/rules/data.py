"""What keeps data, and what makes it go when it must. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.model import Rule, Severity, Violation, say
from policies.plan_view import PlanView, Resource

DATA_CLASS = "drivetrain:data-class"
_LEAST_BACKUP_DAYS = 7


def _parts(plan: PlanView, kind: str, bucket: Resource) -> list[Resource]:
    return plan.pointing(kind, "bucket", bucket, by=("id", "bucket"))


def _of_class(plan: PlanView, name: str) -> Iterator[Resource]:
    return (item for item in plan.kind("aws_s3_bucket") if item.tags.get(DATA_CLASS) == name)


def _rules(plan: PlanView, bucket: Resource) -> list[Mapping[str, Any]]:
    found = _parts(plan, "aws_s3_bucket_lifecycle_configuration", bucket)
    return [rule for item in found for rule in item.blocks("rule") if rule.get("status") == "Enabled"]


def _block(rule: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = rule.get(name)
    first = found[0] if isinstance(found, list) and found else found
    return first if isinstance(first, Mapping) else {}


def _whole(rule: Mapping[str, Any]) -> bool:
    """Whether a lifecycle rule is about every object."""
    chosen = _block(rule, "filter")
    named = [value for name, value in chosen.items() if name != "prefix" and value not in (None, "", [], {}, 0)]
    return not chosen.get("prefix") and not rule.get("prefix") and not named


def _versions(plan: PlanView) -> Iterator[Violation]:
    for bucket in plan.kind("aws_s3_bucket"):
        found = _parts(plan, "aws_s3_bucket_versioning", bucket)
        if not any(item.get("versioning_configuration.status") == "Enabled" for item in found):
            yield say(bucket, "keeps no versions: what is overwritten is gone")


def _locked(plan: PlanView) -> Iterator[Violation]:
    for bucket in _of_class(plan, "releases"):
        locks = _parts(plan, "aws_s3_bucket_object_lock_configuration", bucket)
        days = [item.get("rule.default_retention.days") or 0 for item in locks]
        years = [item.get("rule.default_retention.years") or 0 for item in locks]
        modes = {item.get("rule.default_retention.mode") for item in locks}
        if bucket.get("object_lock_enabled") is not True or not any((*days, *years)):
            yield say(bucket, "holds releases, and whoever may write may delete them")
        elif modes != {"COMPLIANCE"}:
            yield say(bucket, "holds releases, and its lock can be lifted (mode GOVERNANCE)")


def _raw_goes(plan: PlanView) -> Iterator[Violation]:
    for bucket in _of_class(plan, "raw"):
        rules = [rule for rule in _rules(plan, bucket) if _whole(rule)]
        days = [int(found) for rule in rules if (found := _block(rule, "expiration").get("days"))]
        old = [
            int(found)
            for rule in rules
            if (found := _block(rule, "noncurrent_version_expiration").get("noncurrent_days"))
        ]
        if not days or min(days) > plan.raw_days:
            yield say(
                bucket, f"keeps raw drives {f'{min(days)} days' if days else 'for ever'}, not {plan.raw_days} days"
            )
        elif not old or min(old) > plan.raw_days:
            # In a bucket with versions, expiry puts a marker in front of the object and deletes nothing.
            yield say(bucket, "keeps old versions of raw drives: what expired is still there")


def _uploads(plan: PlanView) -> Iterator[Violation]:
    for bucket in plan.kind("aws_s3_bucket"):
        rules = [rule for rule in _rules(plan, bucket) if _whole(rule)]
        if not any(_block(rule, "abort_incomplete_multipart_upload").get("days_after_initiation") for rule in rules):
            yield say(bucket, "keeps and bills uploads that never ended")


def _protected(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_db_instance", "aws_rds_cluster"):
        if item.get("deletion_protection") is not True:
            yield say(item, "can be deleted by one call")
        elif item.get("skip_final_snapshot") is not False:
            yield say(item, "leaves no snapshot when it is deleted")


def _backed_up(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_db_instance"):
        days = item.get("backup_retention_period")
        if not item.get("replicate_source_db") and (not isinstance(days, (int, float)) or days < _LEAST_BACKUP_DAYS):
            yield say(item, f"can be restored to a point of the last {days or 0} days, not {_LEAST_BACKUP_DAYS}")


def _images(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_ecr_repository"):
        if item.get("image_tag_mutability") != "IMMUTABLE":
            yield say(item, "lets a tag be moved to another image")
        elif item.get("image_scanning_configuration.scan_on_push") is not True:
            yield say(item, "does not scan what is pushed")


RULES = (
    Rule(
        id="CKV_DT_21",
        title="Buckets keep versions",
        severity=Severity.MEDIUM,
        reason="An overwritten dataset cannot be trained on again.",
        remedy="add aws_s3_bucket_versioning with status `Enabled`",
        kinds=("aws_s3_bucket",),
        find=_versions,
    ),
    Rule(
        id="CKV_DT_22",
        title="Releases are locked",
        severity=Severity.HIGH,
        reason="What a vehicle runs must be there, unchanged, as long as it may be asked for.",
        remedy="set `lock_days` of the releases bucket",
        kinds=("aws_s3_bucket",),
        find=_locked,
    ),
    Rule(
        id="CKV_DT_23",
        title="The raw zone empties itself, old versions included",
        severity=Severity.HIGH,
        reason="Raw drives show people who never agreed; the privacy rules give a day by which they are gone.",
        remedy="set `expire_days` and `old_version_days` of the raw bucket",
        kinds=("aws_s3_bucket",),
        find=_raw_goes,
    ),
    Rule(
        id="CKV_DT_24",
        title="Uploads that never ended are deleted",
        severity=Severity.MEDIUM,
        reason="Their parts are billed and no listing shows them.",
        remedy="add a lifecycle rule with abort_incomplete_multipart_upload",
        kinds=("aws_s3_bucket",),
        find=_uploads,
    ),
    Rule(
        id="CKV_DT_25",
        title="Databases are protected from deletion",
        severity=Severity.HIGH,
        reason="Every dataset and model is found through the metadata database.",
        remedy="set deletion_protection, and skip_final_snapshot to false",
        kinds=("aws_db_instance", "aws_rds_cluster"),
        find=_protected,
    ),
    Rule(
        id="CKV_DT_26",
        title="Databases can be restored to any point of the last week",
        severity=Severity.HIGH,
        reason="A wrong migration is often found days later.",
        remedy="set `database.backup_days` to 7 or more",
        kinds=("aws_db_instance",),
        find=_backed_up,
    ),
    Rule(
        id="CKV_DT_27",
        title="Image tags do not move, and images are scanned",
        severity=Severity.MEDIUM,
        reason="A moved tag runs code that nobody reviewed.",
        remedy="image_tag_mutability `IMMUTABLE`, scan_on_push true",
        kinds=("aws_ecr_repository",),
        find=_images,
    ),
)

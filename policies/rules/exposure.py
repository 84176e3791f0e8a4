"""What could be reached by somebody who should not: buckets, databases, clusters, nodes' roles, policies. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from policies.model import Rule, Severity, Violation, say, undecided
from policies.plan_view import PlanView, Resource
from policies.ranges import anywhere

_BLOCKS = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
_RESOURCE_POLICIES: Mapping[str, str] = {
    "aws_ecr_repository_policy": "policy",
    "aws_kms_key": "policy",
    "aws_s3_bucket_policy": "policy",
    "aws_secretsmanager_secret_policy": "policy",
    "aws_sns_topic_policy": "policy",
    "aws_sqs_queue": "policy",
    "aws_sqs_queue_policy": "policy",
}
_WHO = frozenset({"aws:principalarn"})
# Keys of conditions that say who asks, or from where. Not `aws:SecureTransport` and the like, which everybody can meet.
_WHO_OR_WHENCE = _WHO | {
    "aws:principalaccount",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "kms:calleraccount",
}
_IDENTITY_POLICIES = ("aws_iam_policy", "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy")


def _bucket_parts(plan: PlanView, kind: str, bucket: Resource) -> list[Resource]:
    return plan.pointing(kind, "bucket", bucket, by=("id", "bucket"))


def _private_buckets(plan: PlanView) -> Iterator[Violation]:
    for bucket in plan.kind("aws_s3_bucket"):
        found = _bucket_parts(plan, "aws_s3_bucket_public_access_block", bucket)
        if not found:
            yield say(bucket, "has no public access block")
        for item in found:
            if off := [name for name in _BLOCKS if item.get(name) is not True]:
                yield say(bucket, f"may be opened to the public: {', '.join(off)} is not set")


def _tls_alone(plan: PlanView) -> Iterator[Violation]:
    for bucket in plan.kind("aws_s3_bucket"):
        found = _bucket_parts(plan, "aws_s3_bucket_policy", bucket)
        if not found:
            yield say(bucket, "has no policy, so that it can be read without TLS")
        for item in found:
            statements = _statements(item, "policy")
            if statements is None:
                yield undecided(bucket, "its policy is known after the apply")
            elif not any(map(_denies_plain, statements)):
                yield say(bucket, "its policy does not deny what comes without TLS")


def _denies_plain(statement: Mapping[str, Any]) -> bool:
    conditions = statement.get("Condition") or {}
    plain = conditions.get("Bool", {}).get("aws:SecureTransport")
    everybody = statement.get("Principal") in ("*", {"AWS": "*"}) and not statement.get("NotPrincipal")
    everything = bool({"s3:*", "*"} & set(_list(statement.get("Action"))))
    return statement.get("Effect") == "Deny" and everybody and everything and str(plain).lower() == "false"


def _database(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_db_instance", "aws_rds_cluster_instance"):
        if item.get("publicly_accessible") is True:
            yield say(item, "has a public address")


def _endpoint(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_eks_cluster"):
        if item.get("vpc_config.endpoint_private_access") is not True:
            yield say(item, "its API server cannot be reached from inside the VPC")
        public = item.get("vpc_config.endpoint_public_access")
        ranges = item.get("vpc_config.public_access_cidrs") or ("0.0.0.0/0",)
        # Left out, both are what AWS takes: public, to everybody.
        if public is not False and anywhere(ranges):
            yield say(item, "its API server can be reached by the whole internet")


def _metadata_service(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_launch_template", "aws_instance"):
        if item.get("metadata_options.http_endpoint") == "disabled":
            continue
        if item.get("metadata_options.http_tokens") != "required":
            yield say(item, "answers for its role without a token (IMDSv1)")
        elif item.get("metadata_options.http_put_response_hop_limit") != 1:
            yield say(item, "answers pods for the node's role: its hop limit is not 1")


def _administrators(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind(*_IDENTITY_POLICIES):
        for statement in _statements(item, "policy") or ():
            if statement.get("Effect") != "Allow" or "*" not in _list(statement.get("Resource")):
                continue
            if {"*", "*:*"} & set(_list(statement.get("Action"))):
                yield say(item, "allows everything on everything")
            elif statement.get("NotAction"):
                yield say(item, "allows everything but what it names, on everything (NotAction)")
    for item in plan.kind("aws_iam_role_policy_attachment", "aws_iam_user_policy_attachment"):
        if str(item.get("policy_arn")).endswith(":policy/AdministratorAccess"):
            yield say(item, "makes its role an administrator of the account")


def _everybody(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind(*_RESOURCE_POLICIES):
        for statement in _statements(item, _RESOURCE_POLICIES[item.kind]) or ():
            principal = statement.get("Principal")
            named = _list(principal.get("AWS")) if isinstance(principal, Mapping) else _list(principal)
            open_to_all = "*" in named or statement.get("NotPrincipal")
            if statement.get("Effect") == "Allow" and open_to_all and not _narrowed(statement, _WHO_OR_WHENCE):
                yield say(item, f"lets everybody in by statement '{statement.get('Sid', '?')}'")


def _trusts(plan: PlanView) -> Iterator[Violation]:
    for item in plan.kind("aws_iam_role"):
        for statement in _statements(item, "assume_role_policy") or ():
            principal = statement.get("Principal")
            named = _list(principal.get("AWS")) if isinstance(principal, Mapping) else _list(principal)
            wide = [str(name) for name in named if name == "*" or str(name).endswith(":root") or str(name).isdigit()]
            if statement.get("Effect") == "Allow" and wide and not _narrowed(statement, _WHO):
                yield say(item, f"may be taken by whoever {wide[0]} says, and no condition names roles there")


def _narrowed(statement: Mapping[str, Any], keys: frozenset[str]) -> bool:
    """Whether a condition names who is meant, by one of some keys: patterns count, `*` alone does not."""
    for operator, asked in (statement.get("Condition") or {}).items():
        # Each of these also holds for somebody who is not named: `Null` asks only whether a key is there.
        if operator.endswith("IfExists") or "Not" in operator or operator.startswith(("ForAllValues", "Null")):
            continue
        for key, given in asked.items():
            values = _list(given) if key.lower() in keys else []
            if values and not any(str(value).strip("*") == "" for value in values) and not anywhere(values):
                return True
    return False


def _statements(item: Resource, path: str) -> list[Mapping[str, Any]] | None:
    """Return the statements of a policy; None where it is not known yet."""
    text = item.get(path)
    if not isinstance(text, str) or not text:
        return None if item.is_unknown(path) else []
    try:
        found = json.loads(text)
    except ValueError:
        return []
    return [one for one in _list(found.get("Statement")) if isinstance(one, Mapping)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


RULES = (
    Rule(
        id="CKV_DT_14",
        title="Buckets cannot be opened to the public",
        severity=Severity.HIGH,
        reason="One wrong ACL would publish faces and number plates.",
        remedy="add aws_s3_bucket_public_access_block with all four switches on",
        kinds=("aws_s3_bucket",),
        find=_private_buckets,
    ),
    Rule(
        id="CKV_DT_15",
        title="Buckets are read and written by TLS alone",
        severity=Severity.MEDIUM,
        reason="Without it a signed request can be read on its way.",
        remedy="deny s3:* to everybody where aws:SecureTransport is false",
        kinds=("aws_s3_bucket",),
        find=_tls_alone,
    ),
    Rule(
        id="CKV_DT_16",
        title="The metadata database has no public address",
        severity=Severity.HIGH,
        reason="A database on the internet is tried with every leaked password.",
        remedy="set publicly_accessible to false",
        kinds=("aws_db_instance", "aws_rds_cluster_instance"),
        find=_database,
    ),
    Rule(
        id="CKV_DT_17",
        title="The API server of a cluster is private, or open to named ranges",
        severity=Severity.HIGH,
        reason="Left out, AWS opens it to the whole internet.",
        remedy="name ranges in `kubernetes.public_endpoint_cidrs`, or none",
        kinds=("aws_eks_cluster",),
        find=_endpoint,
    ),
    Rule(
        id="CKV_DT_18",
        title="Nodes answer for their role to themselves alone (IMDSv2, one hop)",
        severity=Severity.HIGH,
        reason="A pod that reaches the metadata service has the node's role.",
        remedy="metadata_options: http_tokens `required`, http_put_response_hop_limit 1",
        kinds=("aws_launch_template", "aws_instance"),
        find=_metadata_service,
    ),
    Rule(
        id="CKV_DT_19",
        title="No policy allows everything on everything",
        severity=Severity.HIGH,
        reason="Whoever takes over such a role has the account.",
        remedy="name actions and resources",
        kinds=(*_IDENTITY_POLICIES, "aws_iam_role_policy_attachment", "aws_iam_user_policy_attachment"),
        find=_administrators,
    ),
    Rule(
        id="CKV_DT_20",
        title="No resource lets everybody in",
        severity=Severity.HIGH,
        reason="`Principal: *` without a condition on who asks is any AWS account in the world.",
        remedy="name principals, or give a condition on who asks or from where, as aws:PrincipalOrgID",
        kinds=tuple(_RESOURCE_POLICIES),
        find=_everybody,
    ),
    Rule(
        id="CKV_DT_34",
        title="A role that another account may take names the roles there",
        severity=Severity.HIGH,
        reason="Trust in an account's root is trust in everybody whom that account's administrators ever let in.",
        remedy="name roles as principals, or give a condition on aws:PrincipalArn",
        kinds=("aws_iam_role",),
        find=_trusts,
    ),
)

"""For policy rules: plans one step inside and one step outside each limit, where an example is far from it.

Each was added because the rule could be weakened there and no example told.
"""

from __future__ import annotations

import json
from typing import Any

import plan_examples as build
from plan_examples import KEY, TAGS, Document, plan, resource, tagged
from rule_examples import Examples

_GROUP, _TEMPLATE, _CLUSTER = "aws_eks_node_group.it", "aws_launch_template.it", "aws_eks_cluster.it"
_S3, _DB, _KEY = "aws_s3_bucket.it", "aws_db_instance.it", "aws_kms_key.it"
_LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
_SWITCHES = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
_BLOCKED = "aws_s3_bucket_public_access_block"
_REASON = {"drivetrain:exception-reason": "ten chars."}
_TRAIL: dict[str, Any] = {"is_multi_region_trail": True, "enable_log_file_validation": True, "kms_key_id": KEY}


def _exception(expires: str, **more: str) -> dict[str, str]:
    return {"drivetrain:exception-expires": expires, **_REASON, **more}


def _bucket(**changed: Any) -> Document:
    return plan(*build.bucket(**changed))


def _tls(**changed: Any) -> Document:
    """Return a bucket whose policy denies what comes without TLS, in one way less than it should."""
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        **changed,
    }
    policy = json.dumps({"Statement": [statement]})
    return _bucket(policy=build.part_of_bucket("aws_s3_bucket_policy", policy=policy))


def _lock(**retention: Any) -> Document:
    rule = [{"default_retention": [retention]}]
    return _bucket(data="releases", lock=build.part_of_bucket("aws_s3_bucket_object_lock_configuration", rule=rule))


def _lifecycle(**rule: Any) -> Document:
    return _bucket(data="raw", lifecycle=build.lifecycle(**rule))


def _old_prefix() -> Document:
    """Return a raw bucket whose lifecycle says its prefix as rules did before they had filters."""
    lifecycle = build.lifecycle(filter=[])
    lifecycle["change"]["after"]["rule"][0]["prefix"] = "one/"
    return _bucket(data="raw", lifecycle=lifecycle)


def _encryption(algorithm: str, key: str | None) -> Document:
    rule = [{"apply_server_side_encryption_by_default": [{"sse_algorithm": algorithm, "kms_master_key_id": key}]}]
    return _bucket(encryption=build.part_of_bucket("aws_s3_bucket_server_side_encryption_configuration", rule=rule))


def _key(**changed: Any) -> Document:
    return plan(tagged("aws_kms_key", **{"enable_key_rotation": True, "deletion_window_in_days": 7, **changed}))


def _allow(kind: str, **named: Any) -> Document:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", **named}
    return plan(resource(kind, policy=json.dumps({"Statement": [statement]})))


def _instance(**changed: Any) -> Document:
    return plan(tagged("aws_instance", instance_type="p5.48xlarge", **changed))


def _market(name: str) -> dict[str, Any]:
    return {"instance_market_options": [{"market_type": name}]}


EDGES: dict[str, Examples] = {
    "CKV_DT_1": Examples(
        [],
        {
            f"without {name}": (
                "aws_eip.it",
                plan(resource("aws_eip", tags_all={k: v for k, v in TAGS.items() if k != name})),
            )
            for name in TAGS
        },
    ),
    "CKV_DT_2": Examples(
        [],
        {
            "instances go untagged": (
                _TEMPLATE,
                plan(build.template(tag_specifications=[{"resource_type": "volume", "tags": dict(TAGS)}])),
            )
        },
    ),
    "CKV_DT_3": Examples(
        [
            plan(build.pool("ON_DEMAND", tags=_exception("2026-11-30"))),  # its last day
            plan(build.pool("CAPACITY_BLOCK"), build.template()),  # that it names no block is another rule's
            _instance(**_market("spot")),
            _instance(**_market("capacity-block")),
            _instance(tags=_exception("2026-11-30")),
            plan(tagged("aws_instance", instance_type="m7i.large")),
        ],
        {
            "a reason of nine": (
                _GROUP,
                plan(
                    build.pool("ON_DEMAND", tags=_exception("2027-01-01", **{"drivetrain:exception-reason": "x" * 9}))
                ),
            ),
            "another market": ("aws_instance.it", _instance(**_market("resale"))),
        },
    ),
    "CKV_DT_9": Examples(
        [
            plan(resource("aws_security_group_rule", type="egress", from_port=0, cidr_blocks=["0.0.0.0/0"])),
            plan(resource("aws_security_group_rule", type="ingress", from_port=0, cidr_blocks=["10.0.0.0/8"])),
            plan(tagged("aws_security_group", ingress=[{"from_port": 22, "cidr_blocks": ["192.0.2.0/24"]}])),
        ],
        {
            "in the group, IPv6": (
                "aws_security_group.it",
                plan(tagged("aws_security_group", ingress=[{"from_port": 22, "ipv6_cidr_blocks": ["::/0"]}])),
            ),
            "in the default group": (
                "aws_default_security_group.it",
                plan(tagged("aws_default_security_group", ingress=[{"from_port": 22, "cidr_blocks": ["0.0.0.0/0"]}])),
            ),
            "one half of it": (
                "aws_vpc_security_group_ingress_rule.it",
                plan(tagged("aws_vpc_security_group_ingress_rule", from_port=22, cidr_ipv4="128.0.0.0/1")),
            ),
            "all that is given out of IPv6": (
                "aws_vpc_security_group_ingress_rule.it",
                plan(tagged("aws_vpc_security_group_ingress_rule", from_port=22, cidr_ipv6="2000::/3")),
            ),
        },
    ),
    "CKV_DT_10": Examples([plan(build.template(network_interfaces=[{"associate_public_ip_address": "false"}]))], {}),
    "CKV_DT_11": Examples(
        [_encryption("aws:kms:dsse", KEY)],
        {
            "by no key": (_S3, _encryption("aws:kms", None)),
            "by AWS's": (_S3, _encryption("aws:kms", "arn:aws:kms:us-east-1:1:alias/aws/s3")),
            "another algorithm, a key": (_S3, _encryption("AES256", KEY)),
        },
    ),
    "CKV_DT_12": Examples(
        [plan(build.database(replicate_source_db="metadata", kms_key_id=None))],
        {
            "a cluster's secrets": (
                _CLUSTER,
                plan(build.cluster(encryption_config=[{"provider": [{"key_arn": KEY}], "resources": []}])),
            ),
            "a volume in the clear": (
                "aws_ebs_volume.it",
                plan(tagged("aws_ebs_volume", encrypted=False, kms_key_id=KEY)),
            ),
            "a file system in the clear": (
                "aws_efs_file_system.it",
                plan(tagged("aws_efs_file_system", encrypted=False, kms_key_id=KEY)),
            ),
            "a table": ("aws_dynamodb_table.it", plan(tagged("aws_dynamodb_table"))),
            "a secret": ("aws_secretsmanager_secret.it", plan(tagged("aws_secretsmanager_secret"))),
        },
    ),
    "CKV_DT_13": Examples(
        [_key()],
        {
            "gone in six days": (_KEY, _key(deletion_window_in_days=6)),
            "of no named kind": (_KEY, _key(enable_key_rotation=False, customer_master_key_spec="")),
        },
    ),
    "CKV_DT_14": Examples(
        [],
        {
            f"without {name}": (
                _S3,
                _bucket(private=build.part_of_bucket(_BLOCKED, **{item: item != name for item in _SWITCHES})),
            )
            for name in _SWITCHES
        },
    ),
    "CKV_DT_15": Examples(
        [_tls(Action="*"), _tls(Principal={"AWS": "*"}), _tls(Action=["s3:*"])],
        {
            "it allows": (_S3, _tls(Effect="Allow")),
            "it denies one role": (_S3, _tls(Principal={"AWS": "arn:aws:iam::1:role/one"})),
            "it denies reading alone": (_S3, _tls(Action="s3:GetObject")),
            "it denies what comes with TLS": (_S3, _tls(Condition={"Bool": {"aws:SecureTransport": "true"}})),
            "it denies another thing": (_S3, _tls(Condition={"Bool": {"aws:ViaAWSService": "false"}})),
        },
    ),
    "CKV_DT_17": Examples(
        [],
        {
            "to half of the internet": (
                _CLUSTER,
                plan(build.reached_from("0.0.0.0/1")),
            )
        },
    ),
    "CKV_DT_18": Examples(
        [],
        {
            "IMDSv1, one hop": (
                _TEMPLATE,
                plan(build.template(metadata_options=[{"http_tokens": "optional", "http_put_response_hop_limit": 1}])),
            ),
            "an instance": ("aws_instance.it", plan(tagged("aws_instance", instance_type="m7i.large"))),
        },
    ),
    "CKV_DT_19": Examples(
        [
            plan(resource("aws_iam_role_policy_attachment", policy_arn="arn:aws:iam::aws:policy/ReadOnlyAccess")),
            _allow("aws_iam_policy", Effect="Deny"),
            _allow("aws_iam_policy", Resource="arn:aws:s3:::drives"),
        ],
        {
            **{
                f"in {kind}": (f"{kind}.it", _allow(kind))
                for kind in ("aws_iam_policy", "aws_iam_user_policy", "aws_iam_group_policy")
            },
            "of every service": ("aws_iam_policy.it", _allow("aws_iam_policy", Action=["*:*"])),
            "all but one": ("aws_iam_policy.it", _allow("aws_iam_policy", Action=None, NotAction="organizations:*")),
        },
    ),
    "CKV_DT_20": Examples(
        [
            _allow("aws_sqs_queue_policy", Effect="Deny", Principal="*"),
            _allow("aws_kms_key", Principal={"AWS": "*"}, Condition={"StringEquals": {"kms:CallerAccount": "1"}}),
        ],
        {
            "who comes by TLS": (
                "aws_sqs_queue_policy.it",
                _allow("aws_sqs_queue_policy", Principal="*", Condition={"Bool": {"aws:SecureTransport": "true"}}),
            ),
            "whoever it is": (
                "aws_sqs_queue_policy.it",
                _allow("aws_sqs_queue_policy", Principal="*", Condition={"StringLike": {"aws:PrincipalArn": "*"}}),
            ),
            "all but one": (
                "aws_sqs_queue_policy.it",
                _allow(
                    "aws_sqs_queue_policy", Principal="*", Condition={"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}
                ),
            ),
            "whoever says some organisation": (
                "aws_sqs_queue_policy.it",
                _allow("aws_sqs_queue_policy", Principal="*", Condition={"Null": {"aws:PrincipalOrgID": "false"}}),
            ),
            "of whose accounts all are ours, none said too": (
                "aws_sqs_queue_policy.it",
                _allow(
                    "aws_sqs_queue_policy",
                    Principal="*",
                    Condition={"ForAllValues:StringEquals": {"aws:SourceAccount": ["1"]}},
                ),
            ),
            "from anywhere": (
                "aws_sqs_queue_policy.it",
                _allow("aws_sqs_queue_policy", Principal="*", Condition={"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}}),
            ),
            "all whom it does not name": (
                "aws_sqs_queue_policy.it",
                _allow("aws_sqs_queue_policy", NotPrincipal={"AWS": "arn:aws:iam::1:root"}),
            ),
        },
    ),
    "CKV_DT_22": Examples(
        [_lock(mode="COMPLIANCE", years=10)],
        {
            "no days": (_S3, _lock(mode="COMPLIANCE")),
            "not switched on": (
                _S3,
                plan(
                    *(
                        {
                            **item,
                            "change": {
                                **item["change"],
                                "after": {**item["change"]["after"], "object_lock_enabled": False},
                            },
                        }
                        for item in build.bucket(data="releases")
                    )
                ),
            ),
        },
    ),
    "CKV_DT_23": Examples(
        [_lifecycle(old_days=90)],
        {
            "old versions stay a day longer": (_S3, _lifecycle(old_days=91)),
            "a part by the old word": (_S3, _old_prefix()),
            "a tag alone": (_S3, _lifecycle(filter=[{"prefix": "", "tag": [{"key": "a", "value": "b"}]}])),
        },
    ),
    "CKV_DT_26": Examples([plan(build.database(backup_retention_period=7))], {}),
    "CKV_DT_28": Examples(
        [],
        {
            f"no {name}": (
                _CLUSTER,
                plan(build.cluster(enabled_cluster_log_types=[item for item in _LOGS if item != name])),
            )
            for name in _LOGS
        },
    ),
    "CKV_DT_30": Examples(
        [],
        {
            "a ConfigMap beside, its creator not": (
                _CLUSTER,
                plan(
                    build.cluster(
                        access_config=[
                            {
                                "authentication_mode": "API_AND_CONFIG_MAP",
                                "bootstrap_cluster_creator_admin_permissions": False,
                            }
                        ]
                    )
                ),
            )
        },
    ),
    "CKV_DT_31": Examples(
        [plan(build.pool(taint=[{"key": "nvidia.com/gpu", "effect": "NO_EXECUTE"}]))],
        {"a wish alone": (_GROUP, plan(build.pool(taint=[{"key": "nvidia.com/gpu", "effect": "PREFER_NO_SCHEDULE"}])))},
    ),
    "CKV_DT_33": Examples(
        [], {"switched off": ("aws_cloudtrail.it", plan(tagged("aws_cloudtrail", **_TRAIL, enable_logging=False)))}
    ),
    "CKV_DT_34": Examples(
        [
            plan(
                tagged(
                    "aws_iam_role",
                    assume_role_policy=json.dumps({"Statement": [{"Effect": "Deny", "Principal": "*", "Action": "*"}]}),
                )
            )
        ],
        {},
    ),
}

"""For every policy rule: plans that keep to it, and plans that do not, each with the address where it is broken."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import plan_examples as build
from plan_examples import KEY, TAGS, Document, plan, resource, tagged


@dataclass(frozen=True)
class Examples:
    """Plans that keep to a rule, and such that do not: by what is wrong, the address and the plan."""

    good: list[Document]
    bad: dict[str, tuple[str, Document]] = field(default_factory=dict)


def _bucket(**changed: Any) -> Document:
    return plan(*build.bucket(**changed))


def _vpc_without(part: str) -> Document:
    parts = build.vpc_parts()
    del parts[part]
    return plan(build.vpc()[0], *parts.values())


def _ingress(**named: Any) -> Document:
    return plan(tagged("aws_vpc_security_group_ingress_rule", from_port=443, **named))


def _exception(expires: str, reason: str = "Cloud AI 100 is not offered as spot") -> dict[str, str]:
    return {"drivetrain:exception-expires": expires, "drivetrain:exception-reason": reason}


def _statement(**named: Any) -> str:
    return json.dumps({"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", **named}]})


def _reserved(target: dict[str, str]) -> dict[str, Any]:
    return {"capacity_reservation_specification": [{"capacity_reservation_target": [target]}]}


_RESERVED = _reserved({"capacity_reservation_id": "cr-0123456789abcdef0"})
_BLOCK = {**_RESERVED, "instance_market_options": [{"market_type": "capacity-block"}], "instance_type": "p5.48xlarge"}
_EFA = {"network_interfaces": [{"interface_type": "efa"}]}
_GROUP, _TEMPLATE, _CLUSTER = "aws_eks_node_group.it", "aws_launch_template.it", "aws_eks_cluster.it"
_S3, _VPC, _DB = "aws_s3_bucket.it", "aws_vpc.it", "aws_db_instance.it"


def _trust(principal: Any, **condition: Any) -> Document:
    more = {"Condition": condition} if condition else {}
    return plan(
        tagged("aws_iam_role", assume_role_policy=_statement(Principal=principal, Action="sts:AssumeRole", **more))
    )


_ROOT = {"AWS": "arn:aws:iam::555555555555:root"}
_ROLES = {"aws:PrincipalArn": ["arn:aws:iam::555555555555:role/ml-engineer"]}


def _own_key(kind: str, **after: Any) -> Document:
    return plan(tagged(kind, **after))


_ROTATING = {
    "enable_key_rotation": True,
    "deletion_window_in_days": 30,
    "customer_master_key_spec": "SYMMETRIC_DEFAULT",
}
_TRAIL = {"is_multi_region_trail": True, "enable_log_file_validation": True, "kms_key_id": KEY}
_IMAGES = {
    "image_tag_mutability": "IMMUTABLE",
    "image_scanning_configuration": [{"scan_on_push": True}],
    "encryption_configuration": [{"encryption_type": "KMS", "kms_key": KEY}],
}

EXAMPLES: dict[str, Examples] = {
    "CKV_DT_1": Examples(
        [plan(tagged("aws_sns_topic", kms_master_key_id=KEY)), plan(resource("aws_route", gateway_id="igw-1"))],
        {
            "no tags at all": ("aws_eip.it", plan(resource("aws_eip", tags=None, tags_all={}))),
            "no cost centre": (
                "aws_eip.it",
                plan(resource("aws_eip", tags_all={name: "x" for name in TAGS if "cost" not in name})),
            ),
        },
    ),
    "CKV_DT_2": Examples(
        [plan(build.template())],
        {
            "volumes go untagged": (
                _TEMPLATE,
                plan(build.template(tag_specifications=[{"resource_type": "instance", "tags": dict(TAGS)}])),
            )
        },
    ),
    "CKV_DT_3": Examples(
        [
            plan(build.pool("SPOT")),
            plan(build.pool("CAPACITY_BLOCK"), build.template(**_BLOCK)),
            plan(build.pool("ON_DEMAND"), build.template(**_RESERVED)),
            plan(build.pool("ON_DEMAND", "dl2q.24xlarge", tags=_exception("2027-06-30"))),
            plan(build.pool("ON_DEMAND", "m7g.large", taint=[])),
            plan(build.pool("SPOT", instance_types=None), build.template(instance_type="g6e.48xlarge")),
        ],
        {
            "on demand": (_GROUP, plan(build.pool("ON_DEMAND"))),
            "of the template": (
                _GROUP,
                plan(build.pool("ON_DEMAND", instance_types=None), build.template(instance_type="trn2.48xlarge")),
            ),
            "exception ran out": (
                _GROUP,
                plan(build.pool("ON_DEMAND", "dl2q.24xlarge", tags=_exception("2026-11-29"))),
            ),
            "exception of no day": (_GROUP, plan(build.pool("ON_DEMAND", tags=_exception("soon")))),
            "exception without reason": (
                _GROUP,
                plan(build.pool("ON_DEMAND", tags=_exception("2027-06-30", "because"))),
            ),
            "no type": (_GROUP, plan(build.pool("ON_DEMAND", instance_types=None))),
            "an instance": ("aws_instance.it", plan(tagged("aws_instance", instance_type="g7e.48xlarge"))),
        },
    ),
    "CKV_DT_4": Examples(
        [
            plan(build.pool(), build.template(**_EFA)),
            plan(build.pool(subnet_ids=["subnet-1", "subnet-2"]), build.template()),
        ],
        {
            "EFA in two zones": (
                _GROUP,
                plan(build.pool(subnet_ids=["subnet-1", "subnet-2"]), build.template(**_EFA)),
            ),
            "placement group in two zones": (
                _GROUP,
                plan(
                    build.pool(subnet_ids=["subnet-1", "subnet-2"]),
                    build.template(placement=[{"group_name": "together"}]),
                ),
            ),
        },
    ),
    "CKV_DT_5": Examples(
        [plan(build.pool("CAPACITY_BLOCK"), build.template(**_BLOCK)), plan(build.pool("SPOT"), build.template())],
        {
            "no block": (_GROUP, plan(build.pool("CAPACITY_BLOCK"), build.template(**{**_BLOCK, **_reserved({})}))),
            "not of the market": (_GROUP, plan(build.pool("CAPACITY_BLOCK"), build.template(**_RESERVED))),
        },
    ),
    "CKV_DT_6": Examples(
        [plan(*build.vpc())],
        {
            "none for S3": (_VPC, _vpc_without("s3")),
            "none for DynamoDB": (_VPC, _vpc_without("dynamodb")),
            "billed": (
                "aws_vpc_endpoint.billed",
                plan(
                    *build.vpc(),
                    tagged(
                        "aws_vpc_endpoint",
                        "billed",
                        service_name="com.amazonaws.us-east-1.s3",
                        vpc_endpoint_type="Interface",
                    ),
                ),
            ),
        },
    ),
    "CKV_DT_7": Examples(
        [plan(*build.vpc())],
        {
            "none": (_VPC, _vpc_without("flows")),
            "rejected traffic alone": (
                _VPC,
                plan(
                    build.vpc()[0],
                    *{
                        **build.vpc_parts(),
                        "flows": tagged(
                            "aws_flow_log", traffic_type="REJECT", references={"vpc_id": ["aws_vpc.it.id"]}
                        ),
                    }.values(),
                ),
            ),
        },
    ),
    "CKV_DT_8": Examples(
        [plan(*build.vpc())],
        {
            "left as it is": (_VPC, _vpc_without("default")),
            "with rules": (
                "aws_default_security_group.it",
                plan(
                    build.vpc()[0],
                    tagged(
                        "aws_default_security_group",
                        ingress=[{"from_port": 0, "cidr_blocks": ["10.0.0.0/8"]}],
                        references={"vpc_id": ["aws_vpc.it.id"]},
                    ),
                ),
            ),
        },
    ),
    "CKV_DT_9": Examples(
        [_ingress(cidr_ipv4="10.0.0.0/16"), plan(tagged("aws_security_group", ingress=[]))],
        {
            "a rule": ("aws_vpc_security_group_ingress_rule.it", _ingress(cidr_ipv4="0.0.0.0/0")),
            "a rule, IPv6": ("aws_vpc_security_group_ingress_rule.it", _ingress(cidr_ipv6="::/0")),
            "in the group": (
                "aws_security_group.it",
                plan(tagged("aws_security_group", ingress=[{"from_port": 22, "cidr_blocks": ["0.0.0.0/0"]}])),
            ),
            "an old rule": (
                "aws_security_group_rule.it",
                plan(resource("aws_security_group_rule", type="ingress", from_port=22, cidr_blocks=["0.0.0.0/0"])),
            ),
        },
    ),
    "CKV_DT_10": Examples(
        [plan(tagged("aws_subnet", map_public_ip_on_launch=False))],
        {
            "a subnet": ("aws_subnet.it", plan(tagged("aws_subnet", map_public_ip_on_launch=True))),
            "a template": (
                _TEMPLATE,
                plan(build.template(network_interfaces=[{"associate_public_ip_address": "true"}])),
            ),
        },
    ),
    "CKV_DT_11": Examples(
        [_bucket()],
        {
            "none": (_S3, _bucket(encryption=None)),
            "shared by all of S3": (
                _S3,
                _bucket(
                    encryption=build.part_of_bucket(
                        "aws_s3_bucket_server_side_encryption_configuration",
                        rule=[{"apply_server_side_encryption_by_default": [{"sse_algorithm": "AES256"}]}],
                    )
                ),
            ),
        },
    ),
    "CKV_DT_12": Examples(
        [
            plan(build.database()),
            plan(build.cluster()),
            plan(build.template()),
            _own_key("aws_ecr_repository", **_IMAGES),
            _own_key("aws_cloudtrail", **_TRAIL),
            _own_key("aws_ebs_volume", encrypted=True, kms_key_id=KEY),
            *(
                _own_key(kind, **{path: KEY})
                for kind, path in (
                    ("aws_backup_vault", "kms_key_arn"),
                    ("aws_cloudwatch_log_group", "kms_key_id"),
                    ("aws_secretsmanager_secret", "kms_key_id"),
                    ("aws_sns_topic", "kms_master_key_id"),
                    ("aws_sqs_queue", "kms_master_key_id"),
                )
            ),
            plan(
                tagged(
                    "aws_sns_topic",
                    unknown={"kms_master_key_id": True},
                    references={"kms_master_key_id": ["aws_kms_key.topic.arn", "aws_kms_key.topic"]},
                )
            ),
        ],
        {
            "a database": (_DB, plan(build.database(kms_key_id=None))),
            "a database in the clear": (_DB, plan(build.database(storage_encrypted=False))),
            "a cluster": (_CLUSTER, plan(build.cluster(encryption_config=[]))),
            "a disk": (_TEMPLATE, plan(build.template(block_device_mappings=[{"ebs": [{"encrypted": "true"}]}]))),
            "a disk in the clear": (
                _TEMPLATE,
                plan(build.template(block_device_mappings=[{"ebs": [{"encrypted": "false", "kms_key_id": KEY}]}])),
            ),
            "disks of the image": (_TEMPLATE, plan(build.template(block_device_mappings=[]))),
            "images": (
                "aws_ecr_repository.it",
                _own_key("aws_ecr_repository", **{**_IMAGES, "encryption_configuration": []}),
            ),
            "a trail": ("aws_cloudtrail.it", _own_key("aws_cloudtrail", **{**_TRAIL, "kms_key_id": None})),
            "a vault": ("aws_backup_vault.it", _own_key("aws_backup_vault", kms_key_arn=None)),
            "a log": ("aws_cloudwatch_log_group.it", _own_key("aws_cloudwatch_log_group")),
            "a topic of AWS's key": ("aws_sns_topic.it", _own_key("aws_sns_topic", kms_master_key_id="alias/aws/sns")),
            "a queue": ("aws_sqs_queue.it", _own_key("aws_sqs_queue", sqs_managed_sse_enabled=True)),
            "no key": (
                "aws_sns_topic.it",
                plan(
                    tagged(
                        "aws_sns_topic",
                        unknown={"kms_master_key_id": True},
                        references={"kms_master_key_id": ["aws_s3_bucket.other.arn"]},
                    )
                ),
            ),
        },
    ),
    "CKV_DT_13": Examples(
        [
            plan(tagged("aws_kms_key", **_ROTATING)),
            plan(tagged("aws_kms_key", customer_master_key_spec="ECC_NIST_P384")),
        ],
        {
            "never": ("aws_kms_key.it", plan(tagged("aws_kms_key", **{**_ROTATING, "enable_key_rotation": False}))),
        },
    ),
    "CKV_DT_14": Examples(
        [_bucket()],
        {
            "none": (_S3, _bucket(private=None)),
            "half": (
                _S3,
                _bucket(private=build.part_of_bucket("aws_s3_bucket_public_access_block", block_public_acls=True)),
            ),
        },
    ),
    "CKV_DT_15": Examples(
        [_bucket()],
        {
            "no policy": (_S3, _bucket(policy=None)),
            "another policy": (
                _S3,
                _bucket(policy=build.part_of_bucket("aws_s3_bucket_policy", policy='{"Statement": []}')),
            ),
        },
    ),
    "CKV_DT_16": Examples([plan(build.database())], {"public": (_DB, plan(build.database(publicly_accessible=True)))}),
    "CKV_DT_17": Examples(
        [
            plan(build.cluster()),
            plan(build.reached_from("192.0.2.0/24")),
        ],
        {
            "left out": (_CLUSTER, plan(build.cluster(vpc_config=[{"endpoint_private_access": True}]))),
            "public": (
                _CLUSTER,
                plan(build.reached_from("0.0.0.0/0")),
            ),
            "not from inside": (
                _CLUSTER,
                plan(build.cluster(vpc_config=[{"endpoint_private_access": False, "endpoint_public_access": False}])),
            ),
        },
    ),
    "CKV_DT_18": Examples(
        [plan(build.template()), plan(build.template(metadata_options=[{"http_endpoint": "disabled"}]))],
        {
            "IMDSv1": (_TEMPLATE, plan(build.template(metadata_options=[{"http_tokens": "optional"}]))),
            "two hops": (
                _TEMPLATE,
                plan(build.template(metadata_options=[{"http_tokens": "required", "http_put_response_hop_limit": 2}])),
            ),
        },
    ),
    "CKV_DT_19": Examples(
        [plan(resource("aws_iam_role_policy", policy=_statement(Action="s3:GetObject")))],
        {
            "everything": ("aws_iam_role_policy.it", plan(resource("aws_iam_role_policy", policy=_statement()))),
            "an administrator": (
                "aws_iam_role_policy_attachment.it",
                plan(
                    resource("aws_iam_role_policy_attachment", policy_arn="arn:aws:iam::aws:policy/AdministratorAccess")
                ),
            ),
        },
    ),
    "CKV_DT_20": Examples(
        [
            plan(resource("aws_sns_topic_policy", policy=_statement(Principal={"Service": "s3.amazonaws.com"}))),
            plan(
                resource(
                    "aws_sns_topic_policy",
                    policy=_statement(Principal="*", Condition={"StringEquals": {"aws:PrincipalOrgID": "o-1"}}),
                )
            ),
        ],
        {
            "anybody": (
                "aws_sns_topic_policy.it",
                plan(resource("aws_sns_topic_policy", policy=_statement(Principal={"AWS": "*"}))),
            )
        },
    ),
    "CKV_DT_21": Examples(
        [_bucket()],
        {
            "none": (_S3, _bucket(versions=None)),
            "suspended": (
                _S3,
                _bucket(
                    versions=build.part_of_bucket(
                        "aws_s3_bucket_versioning", versioning_configuration=[{"status": "Suspended"}]
                    )
                ),
            ),
        },
    ),
    "CKV_DT_22": Examples(
        [_bucket(data="releases"), _bucket(data="derived", lock=None)],
        {
            "no lock": (_S3, _bucket(data="releases", lock=None)),
            "liftable": (
                _S3,
                _bucket(
                    data="releases",
                    lock=build.part_of_bucket(
                        "aws_s3_bucket_object_lock_configuration",
                        rule=[{"default_retention": [{"mode": "GOVERNANCE", "days": 365}]}],
                    ),
                ),
            ),
        },
    ),
    "CKV_DT_23": Examples(
        [_bucket(data="raw"), _bucket(data="derived", lifecycle=build.lifecycle(None, None))],
        {
            "for ever": (_S3, _bucket(data="raw", lifecycle=build.lifecycle(None))),
            "too long": (_S3, _bucket(data="raw", lifecycle=build.lifecycle(91))),
            "a part alone": (_S3, _bucket(data="raw", lifecycle=build.lifecycle(prefix="one/"))),
            "switched off": (_S3, _bucket(data="raw", lifecycle=build.lifecycle(status="Disabled"))),
            "old versions stay": (_S3, _bucket(data="raw", lifecycle=build.lifecycle(90, None))),
        },
    ),
    "CKV_DT_24": Examples(
        [_bucket()],
        {
            "never": (_S3, _bucket(lifecycle=build.lifecycle(abort_incomplete_multipart_upload=[]))),
            "no lifecycle": (_S3, _bucket(lifecycle=None)),
        },
    ),
    "CKV_DT_25": Examples(
        [plan(build.database())],
        {
            "unprotected": (_DB, plan(build.database(deletion_protection=False))),
            "no snapshot": (_DB, plan(build.database(skip_final_snapshot=True))),
        },
    ),
    "CKV_DT_26": Examples(
        [plan(build.database())],
        {
            "none": (_DB, plan(build.database(backup_retention_period=0))),
            "six days": (_DB, plan(build.database(backup_retention_period=6))),
        },
    ),
    "CKV_DT_27": Examples(
        [_own_key("aws_ecr_repository", **_IMAGES)],
        {
            "moving": (
                "aws_ecr_repository.it",
                _own_key("aws_ecr_repository", **{**_IMAGES, "image_tag_mutability": "MUTABLE"}),
            ),
            "not scanned": (
                "aws_ecr_repository.it",
                _own_key("aws_ecr_repository", **{**_IMAGES, "image_scanning_configuration": []}),
            ),
        },
    ),
    "CKV_DT_28": Examples(
        [plan(build.cluster())],
        {"no audit": (_CLUSTER, plan(build.cluster(enabled_cluster_log_types=["api", "scheduler"])))},
    ),
    "CKV_DT_29": Examples(
        [plan(tagged("aws_eks_addon", addon_name="coredns", addon_version="v1.12.1-eksbuild.2"))],
        {
            "newest": (
                "aws_eks_addon.it",
                plan(tagged("aws_eks_addon", addon_name="coredns", unknown={"addon_version": True})),
            ),
            "overwrites": (
                "aws_eks_addon.it",
                plan(tagged("aws_eks_addon", addon_version="v1", resolve_conflicts_on_update="OVERWRITE")),
            ),
        },
    ),
    "CKV_DT_30": Examples(
        [plan(build.cluster())],
        {
            "a ConfigMap": (
                _CLUSTER,
                plan(build.cluster(access_config=[{"authentication_mode": "API_AND_CONFIG_MAP"}])),
            ),
            "its creator": (_CLUSTER, plan(build.cluster(access_config=[{"authentication_mode": "API"}]))),
        },
    ),
    "CKV_DT_31": Examples(
        [plan(build.pool()), plan(build.pool("SPOT", "m7g.large", taint=[]))],
        {"no taint": (_GROUP, plan(build.pool(taint=[])))},
    ),
    "CKV_DT_32": Examples(
        [_own_key("aws_cloudwatch_log_group", kms_key_id=KEY, retention_in_days=90)],
        {"for ever": ("aws_cloudwatch_log_group.it", _own_key("aws_cloudwatch_log_group", retention_in_days=0))},
    ),
    "CKV_DT_33": Examples(
        [_own_key("aws_cloudtrail", **_TRAIL)],
        {
            "one region": (
                "aws_cloudtrail.it",
                _own_key("aws_cloudtrail", **{**_TRAIL, "is_multi_region_trail": False}),
            ),
            "no digests": (
                "aws_cloudtrail.it",
                _own_key("aws_cloudtrail", **{**_TRAIL, "enable_log_file_validation": False}),
            ),
        },
    ),
    "CKV_DT_34": Examples(
        [
            _trust(_ROOT, ArnLike=_ROLES),
            _trust({"AWS": "arn:aws:iam::555555555555:role/ml-engineer"}),
            _trust({"Service": "ec2.amazonaws.com"}),
        ],
        {
            "the whole account": ("aws_iam_role.it", _trust(_ROOT)),
            "by number": ("aws_iam_role.it", _trust({"AWS": ["555555555555"]})),
            "anybody": ("aws_iam_role.it", _trust({"AWS": "*"}, StringEquals={"aws:SourceVpc": "vpc-1"})),
            "any role": ("aws_iam_role.it", _trust(_ROOT, ArnLike={"aws:PrincipalArn": "*"})),
            "if it is said": ("aws_iam_role.it", _trust(_ROOT, ArnLikeIfExists=_ROLES)),
            "all but one": ("aws_iam_role.it", _trust(_ROOT, ArnNotLike=_ROLES)),
        },
    ),
}

"""Kinds that cost nothing of their own, each by whose word. Pure.

Two sorts: those that Infracost's register lists as free, and settings of another resource, whose cost is that one's.
"""

from __future__ import annotations

_LISTED = "free. Source: Infracost's register of free AWS resources, infracost/infracost @0138238"
_LISTED_KINDS = """
    aws_cloudwatch_event_rule aws_cloudwatch_event_target
    aws_config_configuration_recorder_status aws_config_delivery_channel
    aws_db_parameter_group aws_db_subnet_group
    aws_default_security_group aws_ebs_encryption_by_default
    aws_ecr_lifecycle_policy aws_ecr_repository_policy
    aws_iam_account_password_policy aws_iam_instance_profile aws_iam_openid_connect_provider aws_iam_policy
    aws_iam_role aws_iam_role_policy aws_iam_role_policy_attachment
    aws_internet_gateway aws_kms_alias
    aws_route aws_route_table aws_route_table_association
    aws_s3_account_public_access_block aws_s3_bucket_ownership_controls aws_s3_bucket_policy
    aws_s3_bucket_public_access_block aws_secretsmanager_secret_rotation
    aws_security_group aws_security_group_rule aws_sns_topic_policy aws_sqs_queue_policy
    aws_subnet aws_vpc aws_vpc_ipv4_cidr_block_association aws_vpc_peering_connection_accepter
"""
_SETTINGS = {
    "aws_backup_plan": "when the vault's backups are made; they are priced with the vault",
    "aws_backup_selection": "what the vault's backups are of",
    "aws_backup_vault_lock_configuration": "how long the vault keeps backups",
    "aws_ebs_default_kms_key": "which key disks use; the key has its price",
    "aws_ecr_replication_configuration": "where images are copied; a copy's repository has its price",
    "aws_eks_access_entry": "who may enter the cluster",
    "aws_eks_access_policy_association": "what who enters the cluster may do",
    "aws_eks_pod_identity_association": "which role pods of the cluster have",
    "aws_launch_template": "how nodes are made; they are priced with their group",
    "aws_placement_group": "where nodes lie; they are priced with their group",
    "aws_s3_bucket_intelligent_tiering_configuration": "the bucket's archive tiers; stored GB are the bucket's",
    "aws_s3_bucket_lifecycle_configuration": "when the bucket's objects go; stored GB are the bucket's",
    "aws_s3_bucket_object_lock_configuration": "how long the bucket's objects stay",
    "aws_s3_bucket_server_side_encryption_configuration": "which key the bucket uses; the key has its price",
    "aws_s3_bucket_versioning": "whether the bucket keeps old versions; stored GB are the bucket's",
    "aws_sns_topic_subscription": "who is told; messages are priced with the topic",
    "aws_vpc_security_group_egress_rule": "a rule of a security group, which is free",
    "aws_vpc_security_group_ingress_rule": "a rule of a security group, which is free",
}
FREE: dict[str, str] = {
    **dict.fromkeys(_LISTED_KINDS.split(), _LISTED),
    **{kind: f"a setting of another resource: {what}" for kind, what in _SETTINGS.items()},
}
"""By Terraform's type: why it costs nothing of its own."""

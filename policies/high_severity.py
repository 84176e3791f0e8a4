"""Those of checkov's own checks that nothing may fail, unless the baseline says why.

checkov tells severities only to customers of its platform; this is our choice: what exposes data or a role to strangers,
leaves data readable at rest or in transit, loses data for good, or hides who did what. What is merely advice (access logs
of every bucket, cross-region copies of everything, a Lambda in a VPC) is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping

HIGH_SEVERITY: Mapping[str, str] = {
    # Reached by strangers.
    "CKV_AWS_17": "RDS is not public",
    "CKV_AWS_20": "no bucket is readable by the public",
    "CKV_AWS_24": "no SSH from anywhere",
    "CKV_AWS_25": "no RDP from anywhere",
    "CKV_AWS_32": "no public registry",
    "CKV_AWS_33": "no key for everybody",
    "CKV_AWS_38": "no EKS endpoint for the whole internet",
    "CKV_AWS_39": "no public EKS endpoint",
    "CKV_AWS_53": "public ACLs blocked",
    "CKV_AWS_54": "public policies blocked",
    "CKV_AWS_55": "public ACLs ignored",
    "CKV_AWS_56": "public buckets restricted",
    "CKV_AWS_57": "no bucket is writable by the public",
    "CKV_AWS_70": "no bucket action for everybody",
    "CKV_AWS_88": "no public address of instances",
    "CKV_AWS_100": "no SSH to nodes from anywhere",
    "CKV_AWS_130": "no public addresses in subnets",
    "CKV_AWS_168": "no queue for everybody",
    "CKV_AWS_169": "no topic for everybody",
    "CKV_AWS_260": "no HTTP from anywhere",
    "CKV_AWS_277": "no all-port ingress from anywhere",
    "CKV_AWS_375": "no bucket for the world",
    "CKV_AWS_387": "no wildcard in queues' policies",
    "CKV2_AWS_6": "public access block of every bucket",
    "CKV2_AWS_12": "default security groups closed",
    "CKV2_AWS_43": "no bucket for all AWS users",
    # Roles that are more than they need to be.
    "CKV_AWS_46": "no secrets in user data",
    "CKV_AWS_60": "roles name who may take them",
    "CKV_AWS_61": "no role for all services",
    "CKV_AWS_62": "no administrator policies",
    "CKV_AWS_63": "no `*` actions",
    "CKV_AWS_72": "no `*` actions in queues' policies",
    "CKV_AWS_79": "IMDSv1 off",
    "CKV_AWS_274": "no AdministratorAccess",
    "CKV_AWS_286": "no escalation of privileges",
    "CKV_AWS_287": "no exposure of credentials",
    "CKV_AWS_289": "no unbounded management of permissions",
    "CKV_AWS_341": "one hop to the metadata service",
    "CKV_AWS_393": "CI roles name their repository and branch",
    "CKV2_AWS_40": "no full IAM privileges",
    "CKV2_AWS_56": "no IAMFullAccess",
    # Readable at rest or in transit.
    "CKV_AWS_3": "EBS encrypted",
    "CKV_AWS_16": "RDS encrypted",
    "CKV_AWS_19": "S3 encrypted",
    "CKV_AWS_26": "SNS encrypted",
    "CKV_AWS_27": "SQS encrypted",
    "CKV_AWS_35": "CloudTrail encrypted by own key",
    "CKV_AWS_58": "EKS secrets encrypted",
    "CKV_AWS_136": "ECR encrypted by KMS",
    "CKV_AWS_145": "S3 encrypted by KMS",
    "CKV_AWS_149": "secrets encrypted by own key",
    "CKV_AWS_158": "logs encrypted by KMS",
    "CKV_AWS_166": "backup vaults encrypted by own key",
    "CKV_AWS_245": "copied backups encrypted by own key",
    "CKV2_AWS_69": "RDS in transit encrypted",
    "CKV2_AWS_73": "SQS by own key",
    # Lost for good.
    "CKV_AWS_7": "keys rotate",
    "CKV_AWS_21": "bucket versions",
    "CKV_AWS_133": "RDS backups",
    "CKV_AWS_227": "keys enabled",
    "CKV_AWS_293": "RDS deletion protection",
    # Nobody would know.
    "CKV_AWS_36": "trail files validated",
    "CKV_AWS_37": "all EKS control-plane logs",
    "CKV_AWS_67": "trail of all regions",
    "CKV_AWS_238": "GuardDuty on",
    "CKV_AWS_251": "trail on",
    "CKV2_AWS_11": "flow logs in all VPCs",
    # Runs what nobody reviewed.
    "CKV_AWS_51": "ECR tags do not move",
    "CKV_AWS_163": "images scanned",
    "CKV_AWS_339": "a supported Kubernetes version",
}

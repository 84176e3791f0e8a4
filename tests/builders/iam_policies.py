"""What IAM policy documents let somebody do, judged as text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

# What reads a thing's configuration begins with one of these; `Get` alone also reads what things hold, which is denied apart.
_READING = ("Describe", "Get", "List", "View")
# Terraform's kinds by their beginning, and the service whose API the provider asks to read them.
SERVICES = {
    "aws_backup_": "backup", "aws_budgets_": "budgets", "aws_ce_": "ce", "aws_cloudtrail": "cloudtrail",
    "aws_cloudwatch_event_": "events", "aws_cloudwatch_log_": "logs", "aws_cloudwatch_metric_": "cloudwatch",
    "aws_config_": "config", "aws_db_": "rds", "aws_default_security_group": "ec2", "aws_ebs_": "ec2",
    "aws_ecr_": "ecr", "aws_eip": "ec2", "aws_eks_": "eks", "aws_flow_log": "ec2", "aws_guardduty_": "guardduty",
    "aws_iam_": "iam", "aws_internet_gateway": "ec2", "aws_kms_": "kms", "aws_launch_template": "ec2",
    "aws_nat_gateway": "ec2", "aws_placement_group": "ec2", "aws_route": "ec2", "aws_s3_": "s3",
    "aws_secretsmanager_": "secretsmanager", "aws_security_group": "ec2", "aws_sns_": "sns", "aws_sqs_": "sqs",
    "aws_subnet": "ec2", "aws_vpc": "ec2",
}  # fmt: skip


def statements(policy: str) -> list[dict[str, Any]]:
    """Return a document's statements."""
    found = json.loads(policy)["Statement"]
    return found if isinstance(found, list) else [found]


def listed(value: Any) -> list[Any]:
    """Return one or many as many."""
    return value if isinstance(value, list) else [value]


def allowed(policy: str) -> set[str]:
    """Return every action that some statement allows."""
    return {action for item in statements(policy) if item["Effect"] == "Allow" for action in listed(item["Action"])}


def writing(policy: str) -> set[str]:
    """Return the actions that do more than read; `*` and `NotAction` do everything."""
    wide = {"NotAction" for item in statements(policy) if item["Effect"] == "Allow" and "NotAction" in item}
    return wide | {
        item for item in allowed(policy) if not item.partition(":")[2].startswith(_READING) and item != "kms:Decrypt"
    }


def unreadable(policy: str, kinds: set[str]) -> Iterator[str]:
    """Give the kinds of resources that a plan could not read with this policy."""
    services = {item.partition(":")[0] for item in allowed(policy)}
    for kind in sorted(kinds):
        service = next((SERVICES[item] for item in sorted(SERVICES, reverse=True) if kind.startswith(item)), None)
        if service not in services:
            yield kind

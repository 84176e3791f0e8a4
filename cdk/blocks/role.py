"""An IAM role under the account's permissions boundary: who may take it, and what it may do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cdktn_provider_aws.iam_role import IamRole
from cdktn_provider_aws.iam_role_policy import IamRolePolicy
from cdktn_provider_aws.iam_role_policy_attachment import IamRolePolicyAttachment

from cdk.stacks.base import PlatformStack

Statement = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolePlan:
    """What a role is to be.

    Attributes:
        name: What it is for; part of its name, which is unique in the account, over all regions.
        description: One line.
        trust: Statements of who may take it.
        statements: Statements of what it may do.
        managed: AWS's own policies, by their path below `arn:aws:iam::aws:policy/`.
        session_hours: How long one session lasts at most.
    """

    name: str
    description: str
    trust: Sequence[Statement]
    statements: Sequence[Statement] = ()
    managed: Sequence[str] = ()
    session_hours: int = 1


class Role:
    """A role.

    Attributes:
        arn: Its ARN.
        name: Its name.
        ready: What stands for the role with all it may do, for those who need that first.
    """

    def __init__(self, stack: PlatformStack, plan: RolePlan) -> None:
        name = stack.name(plan.name)
        role = IamRole(
            stack,
            f"role-{plan.name}",
            name=name,
            description=plan.description,
            assume_role_policy=document(plan.trust),
            permissions_boundary=stack.boundary_arn,
            max_session_duration=plan.session_hours * 3600,
        )
        self.arn = role.arn
        self.name = role.name
        self.ready: list[IamRolePolicy | IamRolePolicyAttachment | IamRole] = [role]
        if plan.statements:
            self.ready.append(
                IamRolePolicy(
                    stack,
                    f"role-{plan.name}-policy",
                    name=plan.name,
                    role=role.name,
                    policy=document(plan.statements),
                )
            )
        for path in plan.managed:
            self.ready.append(
                IamRolePolicyAttachment(
                    stack,
                    f"role-{plan.name}-{path.rpartition('/')[2]}",
                    role=role.name,
                    policy_arn=f"arn:aws:iam::aws:policy/{path}",
                )
            )


def document(statements: Sequence[Statement]) -> str:
    """Return a policy document of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def service_trust(service: str, account_id: str | None = None) -> Statement:
    """Let an AWS service take the role, for resources of one account alone where one is named."""
    statement: Statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if account_id is not None:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": account_id}}
    return statement


def pod_trust(account_id: str, cluster_arn: str) -> Statement:
    """Let EKS Pod Identity give the role to pods of one cluster."""
    return {
        "Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Condition": {"StringEquals": {"aws:SourceAccount": account_id}, "ArnEquals": {"aws:SourceArn": cluster_arn}},
    }


def roles_trust(account_id: str, role_patterns: Sequence[str]) -> Statement:
    """Let roles of another account take the role, by their names.

    The principal is the account and the names are a condition: a principal that does not exist yet is refused by IAM, and
    one that was made anew under the same name would no longer be trusted.
    """
    return {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account_id}:root"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
        "Condition": {
            "ArnLike": {"aws:PrincipalArn": [f"arn:aws:iam::{account_id}:role/{item}" for item in role_patterns]}
        },
    }


def allow(actions: Sequence[str], resources: Sequence[str], **conditions: Mapping[str, object]) -> Statement:
    """Return one statement that allows; conditions by operator, as `StringEquals={...}`."""
    statement: Statement = {"Effect": "Allow", "Action": sorted(actions), "Resource": list(resources)}
    if conditions:
        statement["Condition"] = dict(conditions)
    return statement

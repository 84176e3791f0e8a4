"""Who approved which plan; an apply runs that plan and no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from cdk.delivery.failures import InfrastructureError
from cdk.delivery.plan_file import Plan
from cdk.model import Strict
from platform_lib.storage import publish_bytes

_VALID_HOURS = 72


class ApprovalError(InfrastructureError):
    """What is to be applied is not what was approved."""

    usual_remedy = "plan again, look at the page, and approve that plan"


class Approval(Strict):
    """One approval.

    Attributes:
        format: Of this file.
        plan_sha256: The plan's digest.
        environment_sha256: The environment's, resolved.
        code_sha256: That of the code that synthesised it.
        approver: Who; `automatic` for an emulated environment.
        approved_utc: When.
        expires_utc: Until when it counts.
        policy_sha256: Digest of the policy findings that were seen.
    """

    format: Literal["drivetrain-approval/1"] = "drivetrain-approval/1"
    plan_sha256: str
    environment_sha256: str
    code_sha256: str
    approver: str
    approved_utc: AwareDatetime
    expires_utc: AwareDatetime
    policy_sha256: str


def approve(path: Path, plan: Plan, *, approver: str, now: datetime, policy_sha256: str) -> Approval:
    """Write down that a plan may be applied."""
    approval = Approval(
        plan_sha256=plan.sha256,
        environment_sha256=plan.environment_sha256,
        code_sha256=plan.code_sha256,
        approver=approver,
        approved_utc=now,
        expires_utc=now + timedelta(hours=_VALID_HOURS),
        policy_sha256=policy_sha256,
    )
    publish_bytes(path, approval.model_dump_json(indent=2).encode())
    return approval


def require_approval(
    path: Path, plan: Plan, *, environment_sha256: str, code_sha256: str, policy_sha256: str, now: datetime
) -> Approval:
    """Return the approval of a plan.

    Raises:
        ApprovalError: There is none, it is another plan's, it has run out, or environment, code or findings have changed
            since.
    """
    try:
        found = Approval.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        remedy = f"approve it: drivetrain infra approve --env {plan.environment} --by NAME"
        raise ApprovalError("this plan is not approved", where=path, remedy=remedy) from error
    except (OSError, ValidationError) as error:
        raise ApprovalError("the approval cannot be read", where=path) from error
    if found.plan_sha256 != plan.sha256:
        raise ApprovalError("the plan was changed after it was approved", where=path)
    if found.environment_sha256 != environment_sha256:
        raise ApprovalError("the environment's file was changed after the plan was approved", where=path)
    if found.code_sha256 != code_sha256:
        raise ApprovalError("the code was changed after the plan was approved", where=path)
    if found.policy_sha256 != policy_sha256:
        raise ApprovalError("what policy, dangers and waivers say has changed since the plan was approved", where=path)
    if now.astimezone(UTC) > found.expires_utc:
        raise ApprovalError(f"the approval ran out on {found.expires_utc:%Y-%m-%d %H:%M} UTC", where=path)
    return found

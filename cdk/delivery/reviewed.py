"""Whether a plan does what reviewers saw and no more: a pull request's plan is older than the one that is applied. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from cdk.delivery.approval import ApprovalError
from cdk.delivery.covering import beyond_approval
from cdk.delivery.plan_file import Plan

_SHOWN = 5


def require_reviewed(plan: Plan, reviewed: Plan) -> None:
    """Refuse a plan that does what the reviewed one did not say.

    Raises:
        ApprovalError: It does, or it is about something else altogether.
    """
    if (plan.environment, plan.destroy) != (reviewed.environment, reviewed.destroy):
        raise ApprovalError("the reviewed plan is of another environment or purpose", where=plan.environment)
    found = list(_beyond(plan, reviewed))
    if found:
        more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        raise ApprovalError(
            "this plan does what was not reviewed\n  " + "\n  ".join([*found[:_SHOWN], *more]),
            where=plan.environment,
            remedy="bring the branch up to date, so that its plan is made again, and have that one reviewed",
        )


def _beyond(plan: Plan, reviewed: Plan) -> Iterator[str]:
    for stack, now in plan.stacks.items():
        before = reviewed.stacks.get(stack)
        if before is None:
            if now.changes.any:
                yield f"{stack}: a stack that the reviewed plan does not have"
            continue
        for item in beyond_approval(
            before.terraform, now.terraform, approved_inputs=before.inputs, actual_inputs=now.inputs
        ):
            yield f"{stack}, {item.address}: {item.what}"

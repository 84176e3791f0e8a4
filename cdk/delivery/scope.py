"""Which of an environment's stacks a plan is about: one of some stacks never passes for one of all. Pure but for States."""

from __future__ import annotations

from cdk.delivery.approval import ApprovalError
from cdk.delivery.failures import InfrastructureError
from cdk.delivery.plan_file import Plan
from cdk.delivery.planning import Session, States

_SHOWN = 5


def asked_for(plan: Plan) -> list[str]:
    """Return the stacks that name a plan's others: those from which no other one of it takes anything."""
    taken_from = {name for stack in plan.stacks.values() for name in stack.depends_on}
    return sorted(set(plan.stacks) - taken_from)


def partial_line(plan: Plan) -> str:
    """Return what is to be known of a plan of some stacks; empty for one of all."""
    if not plan.left_out:
        return ""
    words = f'make apply ENV={plan.environment} STACK="{" ".join(asked_for(plan))}"'
    count = len(plan.stacks) + len(plan.left_out)
    return f"partial: {len(plan.stacks)} of {count} stacks; it can be applied to these alone: {words}"


def require_planned(session: Session, plan: Plan) -> None:
    """Refuse to apply a plan to stacks that it is not about.

    Raises:
        ApprovalError: More was asked for than was planned; nothing is done.
    """
    missing = [name for name in session.wiring if name not in plan.stacks]
    if not missing:
        return
    count = len(plan.stacks) + len(plan.left_out)
    raise ApprovalError(
        f"the plan is of {len(plan.stacks)} of {count} stacks, and {_named(missing)} {_are(missing)} not in it",
        where=f"the plan of {plan.environment}",
        remedy=f'apply what it is about: make apply ENV={plan.environment} STACK="{" ".join(asked_for(plan))}"; '
        f"or plan every stack: make plan ENV={plan.environment}",
    )


def require_unused(session: Session, states: States) -> None:
    """Refuse to take stacks away from which others still take.

    Raises:
        InfrastructureError: A stack that is applied and was left out takes from one that would go.
    """
    users = sorted(
        name
        for name, stack in session.left_out.items()
        if set(stack.depends_on) & set(session.wiring) and states.holds_resources(name)
    )
    if users:
        raise InfrastructureError(
            f"{_named(users)} {'take' if len(users) > 1 else 'takes'} from what would go, and {_are(users)} applied",
            where=f"the plan of {session.environment.environment}",
            remedy="name them too, or destroy everything: what others take from goes after them",
        )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"


def _are(names: list[str]) -> str:
    return "are" if len(names) > 1 else "is"

"""Reviews a plan: judges it, writes its pages, and lets it be approved and applied only as it was judged."""

from __future__ import annotations

from cdk.delivery.approval import Approval, require_approval
from cdk.delivery.approval import approve as write_approval
from cdk.delivery.cost_of_plan import cost_of
from cdk.delivery.judging import judge_plan, now_utc, require_approvable
from cdk.delivery.node_pools import write_node_pools
from cdk.delivery.page import Page, make_page
from cdk.delivery.page_html import render_html
from cdk.delivery.page_markdown import render_markdown
from cdk.delivery.plan_file import Plan
from cdk.delivery.planning import Session, digest
from platform_lib.code_digest import code_sha256
from platform_lib.storage import publish_bytes

AUTOMATIC = "automatic"


def review(session: Session, plan: Plan) -> Page:
    """Judge a plan and write its pages beside it."""
    pools = write_node_pools(session.environment, session.layout.node_pools, plan.left_out)
    cost = cost_of(session.layout.plan, pools)
    page = make_page(plan, judge_plan(session, plan, now=now_utc()), cost)
    publish_bytes(session.layout.page_markdown, render_markdown(page).encode())
    publish_bytes(session.layout.page_html, render_html(page).encode())
    return page


def approve(session: Session, plan: Plan, *, by: str) -> Approval:
    """Write down that a plan may be applied.

    Raises:
        ApprovalError: Policy, or a dangerous change without a waiver, forbids it.
    """
    now = now_utc()
    judgement = judge_plan(session, plan, now=now)
    require_approvable(judgement, plan)
    return write_approval(session.layout.approval, plan, approver=by, now=now, policy_sha256=judgement.sha256)


def approve_emulated(session: Session, plan: Plan) -> None:
    """Approve what an emulated environment is about to apply, with its pages written as for any other plan.

    Raises:
        ApprovalError: As above: an emulator is no reason to let a fault pass that the real environment would be refused for.
    """
    review(session, plan)
    approve(session, plan, by=AUTOMATIC)


def require(session: Session, plan: Plan) -> None:
    """Refuse to apply what is not approved, or is no longer what was approved.

    Raises:
        ApprovalError: Plan, environment, code, findings or waivers are others than those approved, or forbid it today.
    """
    now = now_utc()
    judgement = judge_plan(session, plan, now=now)
    require_approval(
        session.layout.approval,
        plan,
        environment_sha256=digest(session.environment.model_dump(mode="json")),
        code_sha256=code_sha256("cdk.synthesis"),
        policy_sha256=judgement.sha256,
        now=now,
    )
    require_approvable(judgement, plan)

"""Applies an approved plan, stack after stack, and goes on after a failure where it ended."""

from __future__ import annotations

import json
import logging
import socket
import time
from datetime import UTC, datetime
from typing import Any

import psutil

from cdk.delivery.approval import ApprovalError
from cdk.delivery.covering import Difference, beyond_approval
from cdk.delivery.failures import InfrastructureError, locked
from cdk.delivery.leftovers import require_nothing_left
from cdk.delivery.plan_file import Plan, StackPlan
from cdk.delivery.planning import (
    Progress,
    Purpose,
    Session,
    States,
    forget_plans,
    last_plan,
    plan_binary,
    plan_stack,
    resolve,
)
from cdk.delivery.terraform import INPUTS, Terraform
from cdk.wiring import apply_order, destroy_order
from platform_lib.storage import publish_bytes

logger = logging.getLogger(__name__)

_SHOWN_DIFFERENCES = 5
_LOCK_WAIT_S = 300.0
_LOOK_EVERY_S = 1.0


def apply_all(session: Session, plan: Plan, *, told: Progress = lambda _stack, _word: None) -> dict[str, str]:
    """Apply every stack of an approved plan, in the order in which they take from each other.

    Each stack is planned once more right before, with what the stacks before it gave; that plan must do nothing that was
    not approved. A stack that fails ends the apply: what is done stays, and the next apply goes on there.

    Args:
        session: The environment, its stacks synthesised as they were for the plan.
        plan: The approved plan.
        told: Called with a stack's name and what became of it.

    Returns:
        What became of each stack.

    Raises:
        ApprovalError: A stack would do what was not approved; nothing of it was done.
        InfrastructureError: A stack failed.
    """
    states = States(session)
    order = _order(session, plan)
    outputs: dict[str, dict[str, Any]] = {}
    done: dict[str, str] = {}
    if plan.destroy:
        require_nothing_left(session)
        # What others took is still needed while they are taken away.
        outputs = {name: states.read(name)[1] for name in order}
    for stack in order:
        _note(session, stack, "begun")
        word = _apply_one(session, plan, stack, states, outputs)
        outputs[stack] = outputs.get(stack, {}) if plan.destroy else states.read(stack)[1]
        done[stack] = word
        _note(session, stack, word)
        told(stack, word)
    return done


def _order(session: Session, plan: Plan) -> list[str]:
    if plan.destroy:
        return destroy_order(session.wiring)
    return [name for wave in apply_order(session.wiring) for name in wave]


def _apply_one(session: Session, plan: Plan, stack: str, states: States, outputs: dict[str, dict[str, Any]]) -> str:
    approved = plan.stacks.get(stack)
    if approved is None:
        raise ApprovalError(f"stack '{stack}' is in no approved plan", where=plan.environment)
    inputs, provisional = resolve(session.wiring[stack], outputs)
    if provisional and not plan.destroy:
        missing = sorted(
            {wire.stack for wire in session.wiring[stack].takes if wire.output not in outputs.get(wire.stack, {})}
        )
        raise InfrastructureError(
            f"it takes values that {', '.join(missing)} did not give",
            where=f"stack {stack}",
            remedy="plan again: the stacks are not wired as they were planned",
        )
    _free(session.terraform(stack), states, stack)
    state = states.read(stack)[0]
    judged = None if plan.destroy else last_plan(session, stack, inputs, state, Purpose.JUDGE)
    if judged is not None and not _does_anything(judged):
        return "unchanged"
    purpose = Purpose.DESTROY if plan.destroy else Purpose.APPLY
    actual = plan_stack(session, stack, inputs, state, provisional=False, purpose=purpose)
    if not _does_anything(actual):
        return "unchanged"
    found = beyond_approval(
        approved.terraform, actual.terraform, approved_inputs=approved.inputs, actual_inputs=actual.inputs
    )
    if found:
        raise _beyond(stack, found)
    terraform = session.terraform(stack)
    # A plan that was kept may be older than the inputs that were written last.
    publish_bytes(terraform.folder / INPUTS, json.dumps(inputs).encode())
    terraform.apply(plan_binary(session, stack, purpose))
    if not plan.destroy:
        terraform.settle()
    forget_plans(session, stack)
    return _summary(actual)


def _does_anything(plan: StackPlan) -> bool:
    return plan.changes.any or _outputs_change(plan)


def _outputs_change(plan: StackPlan) -> bool:
    changes = plan.terraform.get("output_changes", {}).values()
    return any(item["actions"] != ["no-op"] for item in changes)


def _free(terraform: Terraform, states: States, stack: str) -> None:
    """Wait for a Terraform that a killed command left finishing; take away a lock that a dead one left.

    Raises:
        StateLockedError: Another machine holds the lock, or this one for too long.
    """
    deadline_s = time.monotonic() + _LOCK_WAIT_S
    waiting = False
    while (lock := states.lock(stack)) is not None:
        here = lock.holder.rpartition("@")[2] == socket.gethostname()
        if here and not _terraform_runs():
            logger.warning("stack=%s a dead process left the lock %s; taking it away", stack, lock.lock_id)
            terraform.init()
            terraform.unlock(lock.lock_id)
        elif not here or time.monotonic() > deadline_s:
            raise locked(stack, lock_id=lock.lock_id, holder=lock.holder, since=lock.since)
        elif not waiting:
            logger.warning("stack=%s another Terraform of this machine is at work on it; waiting for it", stack)
            waiting = True
        time.sleep(_LOOK_EVERY_S)


def _terraform_runs() -> bool:
    return any(process.info["name"] in {"terraform", "tofu"} for process in psutil.process_iter(["name"]))


def _beyond(stack: str, found: list[Difference]) -> ApprovalError:
    lines = [f"{item.address}: {item.what}" for item in found[:_SHOWN_DIFFERENCES]]
    if len(found) > _SHOWN_DIFFERENCES:
        lines.append(f"and {len(found) - _SHOWN_DIFFERENCES} more")
    return ApprovalError("would do what was not approved\n  " + "\n  ".join(lines), where=f"stack {stack}")


def _summary(plan: StackPlan) -> str:
    parts = [f"{count} {word}" for word, count in plan.changes.model_dump().items() if count]
    return f"applied: {', '.join(parts) or 'outputs'}"


def _note(session: Session, stack: str, word: str) -> None:
    path = session.layout.journal
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({"utc": datetime.now(UTC).isoformat(timespec="seconds"), "stack": stack, "what": word})
    with path.open("a", encoding="utf-8") as stream:
        stream.write(line + "\n")

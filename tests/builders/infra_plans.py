"""Plans of every stack out of small Terraform plans, and a session that needs neither Terraform nor an emulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plan_examples import Document, resource

from cdk.config import load_environment
from cdk.delivery.layout import Layout
from cdk.delivery.plan_file import Plan, StackPlan, count_changes
from cdk.delivery.planning import Session, digest
from cdk.delivery.terraform import Program
from cdk.model import Environment
from platform_lib.code_digest import code_sha256
from platform_lib.home import open_home


def plan_of(session: Session, *, provisional: bool = False, destroy: bool = False, **stacks: Document) -> Plan:
    """Return a plan of some stacks, as the session's environment and this code would make it; each is synthesised, empty."""
    for name in stacks:
        folder = session.layout.synthesis / "stacks" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cdk.tf.json").write_text("{}")
    return Plan(
        environment=session.environment.environment,
        environment_sha256=digest(session.environment.model_dump(mode="json")),
        code_sha256=code_sha256("cdk.synthesis"),
        program="terraform 1.11.4",
        destroy=destroy,
        stacks={
            name: StackPlan(
                account="444444444444",
                region="us-east-1",
                depends_on=(),
                provisional=provisional,
                key=name,
                inputs={},
                changes=count_changes(document),
                terraform=document,
            )
            for name, document in stacks.items()
        },
    )


def session_of(home: Path, environment: Environment) -> Session:
    """Return a session that can review, approve and refuse, and plan nothing."""
    opened = open_home(home)
    layout = Layout(opened, environment.environment)
    layout.root.mkdir(parents=True, exist_ok=True)
    return Session(environment, layout, Program(Path("/bin/true"), "terraform", "1.11.4"), {}, {})


def local_environment(today: Any, **changed: Any) -> Environment:
    """Return the environment of the emulator, some of it changed."""
    return load_environment("local", today=today).model_copy(update=changed)


def gone(kind: str, name: str = "it", *actions: str) -> Document:
    """Return a resource that is deleted, or replaced where actions say so."""
    made = resource(kind, name, actions=actions or ("delete",))
    made["change"]["before"] = {"id": name}
    if not actions:
        made["change"]["after"] = None
    return made

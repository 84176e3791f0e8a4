"""A plan of some stacks is said to be one, and never applied as one of all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import plan_examples as build
import pytest
from infra_plans import local_environment, plan_of, session_of
from plan_examples import plan
from typer.testing import CliRunner

from cdk.delivery import commands
from cdk.delivery.approval import ApprovalError
from cdk.delivery.cost_of_plan import Cost
from cdk.delivery.failures import InfrastructureError
from cdk.delivery.judging import weigh
from cdk.delivery.page import document_of, make_page
from cdk.delivery.page_html import render_html
from cdk.delivery.page_markdown import render_markdown
from cdk.delivery.plan_file import Plan, write_plan
from cdk.delivery.planning import Session, States
from cdk.delivery.scope import asked_for, partial_line, require_planned, require_unused
from cdk.wiring import StackWiring, Wire
from policies.verdict import Verdict

TODAY = date(2026, 11, 30)


def takes(*stacks: str) -> StackWiring:
    wires = [Wire(variable=f"{name}_id", stack=name, output="id", stand_in=f"x-{name}") for name in stacks]
    return StackWiring(account="4" * 12, region="us-east-1", takes=tuple(wires), gives=("id",))


WIRING = {"core": takes(), "data": takes("core"), "pools": takes("core", "data")}


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return replace(session_of(tmp_path / "home", local_environment(TODAY)), wiring=WIRING)


def partial_plan(session: Session) -> Plan:
    made = plan_of(session, core=plan(), data=plan(build.database()))
    wired = {name: made.stacks[name].model_copy(update={"depends_on": WIRING[name].depends_on}) for name in made.stacks}
    return made.model_copy(update={"stacks": wired, "left_out": ("pools",)})


def test_the_pages_say_that_it_is_partial_and_how_to_apply_it(session: Session) -> None:
    made = partial_plan(session)
    assert asked_for(made) == ["data"]
    said = 'partial: 2 of 3 stacks; it can be applied to these alone: make apply ENV=local STACK="data"'
    assert partial_line(made) == said
    verdict = Verdict(rules=1, failures=(), accepted=(), undecided=(), unused=(), checkov="3.3.30")
    page = make_page(made, weigh(made, verdict, [], today=TODAY, emulated=True), Cost())
    assert document_of(page)["partial"] == said
    assert "partial: 2 of 3 stacks" in render_markdown(page)
    assert "partial: 2 of 3 stacks" in render_html(page)


def test_a_plan_of_everything_says_nothing_of_it(session: Session) -> None:
    assert partial_line(plan_of(session, core=plan())) == ""


def test_it_is_not_applied_to_more_than_it_is_about(session: Session) -> None:
    with pytest.raises(ApprovalError, match="of 2 of 3 stacks, and pools is not in it") as caught:
        require_planned(session, partial_plan(session))
    assert 'make apply ENV=local STACK="data"' in str(caught.value.remedy)
    require_planned(replace(session, wiring={name: WIRING[name] for name in ("core", "data")}), partial_plan(session))


@pytest.mark.parametrize("applied", [False, True])
def test_apply_of_everything_refuses_what_was_looked_at_in_part(
    session: Session, monkeypatch: pytest.MonkeyPatch, applied: bool
) -> None:
    """Also where an emulated environment would plan and approve by itself; once applied, that plan counts no more."""
    made = partial_plan(session)
    write_plan(session.layout.plan, made)
    if applied:
        session.layout.applied.write_text(made.sha256)

    @contextmanager
    def opened(*_: Any, **__: Any) -> Iterator[Session]:
        yield session

    def planned(*_: Any, **__: Any) -> Plan:
        raise InfrastructureError("planned anew")

    monkeypatch.setattr(commands, "open_session", opened)
    monkeypatch.setattr(commands, "plan_all", planned)
    home = str(session.layout.home.root)
    done = CliRunner().invoke(commands.app, ["apply", "--home", home])
    assert isinstance(done.exception, InfrastructureError)
    assert done.exception.what == (
        "planned anew" if applied else "the plan is of 2 of 3 stacks, and pools is not in it"
    )


class _States(States):
    """States of which it is only asked who has resources."""

    def __init__(self, *applied: str) -> None:
        self._applied = applied

    def holds_resources(self, stack: str) -> bool:
        return stack in self._applied


def test_what_others_take_from_is_not_taken_away_under_them(session: Session) -> None:
    some = replace(session, wiring={"core": WIRING["core"]}, left_out={n: WIRING[n] for n in ("data", "pools")})
    require_unused(some, _States("core"))
    with pytest.raises(InfrastructureError, match="data takes from what would go, and is applied"):
        require_unused(some, _States("core", "data"))
    with pytest.raises(InfrastructureError, match="data, pools take from what would go, and are applied"):
        require_unused(some, _States("core", "data", "pools"))


class _Broken(States):
    """States whose objects are what a dead upload left."""

    def __init__(self, body: bytes) -> None:
        self._bucket, self._prefix, self._body = "b", "dev", body

    def _object(self, name: str) -> bytes | None:
        return self._body


@pytest.mark.parametrize("body", [b"", b"[1]", b"<html>", b'{"outputs": 5}', b'{"outputs": {}, "resources": [1]}'])
def test_a_broken_state_or_lock_is_said_with_its_remedy(body: bytes) -> None:
    with pytest.raises(InfrastructureError, match="is no state of Terraform's") as state:
        _Broken(body).read("core")
    assert "older version of s3://b/dev/core.tfstate" in str(state.value.remedy)
    with pytest.raises(InfrastructureError, match="says not whose it is") as lock:
        _Broken(body).lock("core")
    assert "s3://b/dev/core.tfstate.tflock" in str(lock.value.remedy)

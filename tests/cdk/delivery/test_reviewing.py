"""Nothing is approved, and nothing applied, that policy or a dangerous change without a waiver forbids."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import plan_examples as build
import pytest
from infra_plans import gone, local_environment, plan_of, session_of
from plan_examples import plan, tagged
from typer.testing import CliRunner

from cdk.delivery import commands, judging, reviewing
from cdk.delivery.approval import ApprovalError
from cdk.delivery.danger import Waiver
from cdk.delivery.judging import Judgement, judge_plan, raw_days, weigh
from cdk.delivery.plan_file import Plan, read_plan, write_plan
from cdk.delivery.planning import Session
from platform_lib.errors import ConfigError
from policies.verdict import Verdict

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
TODAY = NOW.date()
RUNNER = CliRunner()


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return session_of(tmp_path / "home", local_environment(TODAY))


@pytest.fixture
def real(tmp_path: Path) -> Session:
    return session_of(tmp_path / "home", local_environment(TODAY, emulated=False))


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Judge by a baseline and waivers of this test's own, on a day of its own, and without checkov."""
    (tmp_path / "baseline.yaml").write_text("accepted: []\n")
    folders = {"baseline": tmp_path / "baseline.yaml", "waivers": tmp_path / "waivers"}
    monkeypatch.setattr(reviewing, "judge_plan", partial(judge_plan, **folders))
    monkeypatch.setattr(reviewing, "now_utc", lambda: NOW)
    monkeypatch.setattr(judging, "find_checkov", lambda: None)
    return tmp_path


def good(session: Session) -> Plan:
    return plan_of(session, metadata=plan(build.database()), cluster=plan(build.cluster()))


def failing(session: Session) -> Plan:
    return plan_of(session, metadata=plan(build.database(publicly_accessible=True)))


def dangerous(session: Session, **more: bool) -> Plan:
    return plan_of(session, metadata=plan(gone("aws_db_instance")), **more)


def waive(folder: Path, **changed: str) -> None:
    made = {
        "stack": "metadata",
        "address": "aws_db_instance.it",
        "action": "delete",
        "reason": "the database moves to another account",
        "approver": "ana",
        "expires": "2026-12-31",
        **changed,
    }
    (folder / "waivers").mkdir(exist_ok=True)
    lines = "\n".join(
        f"    {key}: {value!r}" if key != "expires" else f"    {key}: {value}" for key, value in made.items()
    )
    (folder / "waivers" / "local.yaml").write_text(f"waivers:\n  -\n{lines}\n")


def test_what_keeps_to_everything_is_approved_and_may_be_applied(session: Session) -> None:
    made = good(session)
    page = reviewing.review(session, made)
    assert page.judgement.refusals == []
    reviewing.approve(session, made, by="ana")
    reviewing.require(session, made)


@pytest.mark.parametrize("by", ["ana", reviewing.AUTOMATIC])
def test_a_failed_policy_refuses_every_approval(session: Session, by: str) -> None:
    with pytest.raises(ApprovalError, match="1 policy fails") as caught:
        reviewing.approve(session, failing(session), by=by)
    assert "CKV_DT_16" in caught.value.what
    assert not session.layout.approval.exists()


@pytest.mark.parametrize("by", ["ana", reviewing.AUTOMATIC])
def test_a_danger_without_a_waiver_refuses_every_approval(session: Session, by: str) -> None:
    with pytest.raises(ApprovalError, match="1 dangerous change has no waiver") as caught:
        reviewing.approve(session, dangerous(session), by=by)
    assert "cdk/waivers/local.yaml" in str(caught.value.remedy)


def test_a_waiver_lets_a_danger_pass(session: Session, places: Path) -> None:
    waive(places)
    made = dangerous(session)
    reviewing.approve(session, made, by="ana")
    reviewing.require(session, made)


def test_a_waiver_that_ran_out_does_not_and_is_named(session: Session, places: Path) -> None:
    waive(places, expires="2026-11-29")
    with pytest.raises(ApprovalError, match="no waiver"):
        reviewing.approve(session, dangerous(session), by="ana")
    page = reviewing.review(session, dangerous(session))
    assert [item.expires for item in page.judgement.expired] == [date(2026, 11, 29)]
    assert "ran out on 2026-11-29" in session.layout.page_markdown.read_text()


def test_a_waiver_taken_back_after_the_approval_stops_the_apply(session: Session, places: Path) -> None:
    waive(places)
    made = dangerous(session)
    reviewing.approve(session, made, by="ana")
    (places / "waivers" / "local.yaml").unlink()
    with pytest.raises(ApprovalError, match="has changed since"):
        reviewing.require(session, made)


def test_a_rule_that_fails_after_the_approval_stops_the_apply(session: Session, places: Path) -> None:
    entry = "{checks: [CKV_DT_16], environments: [local], address: '*', owner: ana, expires: 2026-12-31"
    accepted = f"accepted: [{entry}, reason: 'reached for one day by the vendor'}}]\n"
    (places / "baseline.yaml").write_text(accepted)
    made = failing(session)
    reviewing.approve(session, made, by="ana")
    reviewing.require(session, made)
    (places / "baseline.yaml").write_text("accepted: []\n")
    with pytest.raises(ApprovalError, match="has changed since"):
        reviewing.require(session, made)


def test_an_approval_of_before_is_no_way_around_the_rules(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even an approval whose digest fits refuses: somebody may have written it by hand."""
    made = failing(session)
    judgement = reviewing.judge_plan(session, made, now=NOW)
    reviewing.write_approval(session.layout.approval, made, approver="mallory", now=NOW, policy_sha256=judgement.sha256)
    with pytest.raises(ApprovalError, match="1 policy fails"):
        reviewing.require(session, made)


def test_without_checkov_a_real_environment_is_not_approved(real: Session) -> None:
    with pytest.raises(ApprovalError, match="checkov's own checks were not run") as caught:
        reviewing.approve(real, good(real), by="ana")
    assert "make tools" in str(caught.value.remedy)


def test_taking_an_emulated_environment_away_needs_no_waiver_and_a_real_one_does(
    session: Session, real: Session
) -> None:
    assert reviewing.judge_plan(session, dangerous(session, destroy=True), now=NOW).refusals == []
    assert reviewing.judge_plan(real, dangerous(real, destroy=True), now=NOW).unwaived


def test_the_raw_zone_is_judged_by_its_environment(session: Session) -> None:
    assert raw_days(session.environment) == 90
    document = plan(*build.bucket(data="raw", lifecycle=build.lifecycle(91)))
    assert reviewing.judge_plan(session, plan_of(session, lake=document), now=NOW).verdict.failures


def test_what_the_emulator_lacks_is_judged_with_its_stack(session: Session) -> None:
    made = good(session)
    addon = plan(tagged("aws_eks_addon", addon_name="coredns"), build.cluster(vpc_config=[]))
    stacks = {**made.stacks, "cluster": made.stacks["cluster"].model_copy(update={"not_emulated": addon})}
    found = reviewing.judge_plan(session, made.model_copy(update={"stacks": stacks}), now=NOW).verdict.failures
    # The cluster itself is taken from the part that is applied, where nothing is wrong with it.
    assert [(item.check, item.stack, item.address) for item in found] == [("CKV_DT_29", "cluster", "aws_eks_addon.it")]
    assert made.sha256 != made.model_copy(update={"stacks": stacks}).sha256


def test_whatever_was_changed_in_the_file_after_the_approval_stops_the_apply(session: Session) -> None:
    """Of what Terraform says, policy reads what will be there and how it is written, not what changes alone."""
    made = good(session)
    write_plan(session.layout.plan, made)
    reviewing.approve(session, made, by="ana")
    text = session.layout.plan.read_text()
    for part in ("planned_values", "configuration"):
        document = json.loads(text)
        document["stacks"]["metadata"]["terraform"][part] = {"root_module": {"resources": []}}
        session.layout.plan.write_text(json.dumps(document))
        with pytest.raises(ApprovalError, match="the plan was changed after it was approved"):
            reviewing.require(session, read_plan(session.layout.plan))


def test_the_moment_of_a_plan_is_no_part_of_what_is_approved(session: Session) -> None:
    document = plan(build.database())
    early, late = (
        plan_of(session, metadata={**document, "timestamp": f"2026-11-30T1{hour}:00:00Z"}) for hour in (1, 2)
    )
    assert early.sha256 == late.sha256


def test_a_plan_of_a_stack_that_is_none_is_refused(session: Session) -> None:
    made = good(session)
    stacks = {**made.stacks, "../../evil": made.stacks["metadata"]}
    with pytest.raises(ApprovalError, match=r"a stack that the environment does not have: \.\./\.\./evil"):
        reviewing.approve(session, made.model_copy(update={"stacks": stacks}), by="eve")


@pytest.mark.parametrize("terraform", [{}, {"resource_changes": [{"type": "aws_vpc"}]}, {"resource_changes": {"a": 1}}])
def test_a_stack_that_says_not_what_changes_is_no_plan(session: Session, terraform: dict[str, Any]) -> None:
    made = good(session)
    stacks = {**made.stacks, "metadata": made.stacks["metadata"].model_copy(update={"terraform": terraform})}
    write_plan(session.layout.plan, made.model_copy(update={"stacks": stacks}))
    with pytest.raises(ConfigError, match="what it says of stack 'metadata' is no plan of Terraform's"):
        read_plan(session.layout.plan)


def test_an_approval_without_its_time_zone_is_none(session: Session) -> None:
    made = good(session)
    reviewing.approve(session, made, by="ana")
    text = session.layout.approval.read_text()
    session.layout.approval.write_text(text.replace('Z"', '"'))
    with pytest.raises(ApprovalError, match="the approval cannot be read"):
        reviewing.require(session, made)


def test_an_unused_waiver_that_ran_out_is_not_brought_up(session: Session) -> None:
    late = Waiver(
        stack="*",
        address="aws_vpc.*",
        action="delete",
        reason="long ago it was so",
        approver="ana",
        expires=date(2020, 1, 1),
    )
    found = weigh(dangerous(session), Verdict(()), [late], today=TODAY, emulated=True)
    assert isinstance(found, Judgement)
    assert found.expired == ()


# --- the commands' exit statuses ------------------------------------------------------------------------------------


@pytest.fixture
def planned(session: Session, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Let the commands find a session and a plan that are made here: Terraform itself has tests of its own."""
    holder: dict[str, Any] = {}

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[Session]:
        yield session

    def made(_: Session, *, destroy: bool = False) -> Plan:
        write_plan(session.layout.plan, holder["plan"])
        return holder["plan"]

    monkeypatch.setattr(commands, "open_session", opened)
    monkeypatch.setattr(commands, "_plan", made)
    return holder


@pytest.mark.parametrize(("kind", "status"), [(good, 0), (failing, 4), (dangerous, 4)])
def test_plan_ends_with_4_where_it_may_not_be_approved(
    session: Session, planned: dict[str, Any], kind: Any, status: int
) -> None:
    planned["plan"] = kind(session)
    done = RUNNER.invoke(commands.app, ["plan", "--json"])
    assert done.exit_code == status
    assert session.layout.page_html.is_file()


def test_approve_and_apply_refuse_what_plan_refused(session: Session, planned: dict[str, Any]) -> None:
    planned["plan"] = failing(session)
    RUNNER.invoke(commands.app, ["plan"])
    for words in (["approve", "--by", "ana"], ["apply"]):
        done = RUNNER.invoke(commands.app, words)
        assert isinstance(done.exception, ApprovalError), words
        assert "1 policy fails" in done.exception.what
    assert not session.layout.approval.exists()
    assert "may not be approved" in session.layout.page_html.read_text()

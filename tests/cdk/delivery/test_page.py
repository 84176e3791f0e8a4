"""The page says everything of a plan in each of its forms, escapes what others wrote, and calls nothing unknown 0."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import plan_examples as build
import pytest
from infra_plans import gone, local_environment, plan_of, session_of
from plan_examples import plan, tagged

from cdk.delivery import page_text
from cdk.delivery.cost_of_plan import ABSENT, Cost, MonthlyUsd, cost_of, read_cost
from cdk.delivery.danger import Waiver
from cdk.delivery.judging import weigh
from cdk.delivery.page import Page, cost_lines, document_of, make_page
from cdk.delivery.page_html import render_html
from cdk.delivery.page_markdown import render_markdown
from platform_lib.cli import COMMANDS
from policies.baseline import Accepted, Baseline
from policies.verdict import Scan, judge

TODAY = date(2026, 11, 30)
WAIVER = Waiver(
    stack="*",
    address="aws_nat_gateway.*",
    action="replace",
    reason="the gateway moves to another zone | <b>tonight</b>",
    approver="ana",
    expires=date(2026, 12, 31),
)
PRICED = Cost(
    monthly_usd=MonthlyUsd(now=100, desired=1234.5, max=None), unpriced=("dl2q.24xlarge",), priced_as_of="2026-07-20"
)
BASELINE = Baseline(
    accepted=(
        Accepted(
            checks=("CKV_DT_13",),
            environments=("local",),
            address="aws_kms_key.*",
            reason="the emulator forgets the key anyway",
            owner="platform",
            expires=date(2027, 1, 1),
        ),
    )
)


@pytest.fixture
def page(tmp_path: Path) -> Page:
    session = session_of(tmp_path / "home", local_environment(TODAY))
    made = plan_of(
        session,
        provisional=True,
        metadata=plan(build.database(publicly_accessible=True), gone("aws_s3_bucket", "old")),
        network=plan(gone("aws_nat_gateway", "it", "delete", "create"), tagged("aws_eip"), tagged("aws_eip", "two")),
        keys=plan(tagged("aws_kms_key", enable_key_rotation=False)),
        quiet=plan(),
    )
    lacking = plan(tagged("aws_eip"), tagged("aws_placement_group"))
    made.stacks["network"] = made.stacks["network"].model_copy(update={"not_emulated": lacking})
    documents = {name: stack.terraform for name, stack in made.stacks.items()}
    verdict = judge(documents, environment="local", today=TODAY, scan=Scan("3.3.30"), baseline=BASELINE)
    return make_page(made, weigh(made, verdict, [WAIVER], today=TODAY, emulated=True), PRICED)


class _Checker(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br", "link", "img"}:
            self.open.append(tag)
        self.loads += [name for name, _ in attrs if name in {"src", "href", "onclick"}]
        if tag == "script":
            self.loads.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def _seen(page: Page, form: str, capsys: pytest.CaptureFixture[str]) -> str:
    if form == "markdown":
        return render_markdown(page).replace("\\", "")
    if form == "html":
        checker = _Checker()
        checker.feed(render_html(page))
        assert checker.open == []
        assert checker.loads == []
        return checker.text
    page_text.print_page(page)
    return capsys.readouterr().out


@pytest.mark.parametrize("form", ["terminal", "markdown", "html"])
def test_every_form_says_all_of_it(page: Page, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(_seen(page, form, capsys).split())
    for said in (
        "4 to create, 1 to replace, 1 to delete in 3 of 4 stacks, 3 provisional",
        "aws_s3_bucket.old",
        "aws_nat_gateway.it",
        "the bucket and what it holds would be lost",
        "the gateway moves to another zone | <b>tonight</b>",
        "CKV_DT_16",
        "has a public address",
        "set publicly_accessible to false",
        "checkov 3.3.30",
        "1,234.50",
        "unknown",
        "dl2q.24xlarge",
        "may not be approved: 1 policy fails; 1 dangerous change has no waiver",
        "2 aws_eip",
        "1 more are planned and judged, and not applied",
    ):
        assert said in text, said


def test_json_has_all_of_it(page: Page) -> None:
    document = json.loads(json.dumps(document_of(page)))
    assert document["may_be_approved"] is False
    assert document["stacks"]["network"]["kinds"] == {"create": {"aws_eip": 2}, "replace": {"aws_nat_gateway": 1}}
    assert document["stacks"]["metadata"]["named"] == {"delete": ["aws_s3_bucket.old"]}
    assert {item["address"]: bool(item["waiver"]) for item in document["dangers"]} == {
        "aws_s3_bucket.old": False,
        "aws_nat_gateway.it": True,
    }
    assert [item["check"] for item in document["policy"]["failures"]] == ["CKV_DT_16"]
    assert [item["because"]["owner"] for item in document["policy"]["accepted"]] == ["platform"]
    assert document["cost"]["monthly_usd"] == {"now": 100.0, "desired": 1234.5, "max": None}


def test_names_from_a_plan_are_no_markup(page: Page, tmp_path: Path) -> None:
    session = session_of(tmp_path / "other", local_environment(TODAY))
    evil = 'x["</code><script>alert(1)</script>|`\u202e"]'
    made = plan_of(session, lake=plan(gone("aws_s3_bucket", evil)))
    shown = make_page(made, weigh(made, page.judgement.verdict, [], today=TODAY, emulated=True), PRICED)
    html = render_html(shown)
    assert "<script" not in html
    assert "\u202e" not in html
    markdown = render_markdown(shown)
    (row,) = [line for line in markdown.splitlines() if line.startswith("| delete")]
    assert row.replace("\\|", "").count("|") == 6
    assert "\u202e" not in markdown


def test_markdown_fits_into_a_comment_and_says_that_it_was_cut(tmp_path: Path, page: Page) -> None:
    session = session_of(tmp_path / "other", local_environment(TODAY))
    made = plan_of(session, lake=plan(*(gone("aws_s3_bucket", f"bucket-{place:04}") for place in range(1500))))
    shown = make_page(made, weigh(made, page.judgement.verdict, [], today=TODAY, emulated=True), PRICED)
    text = render_markdown(shown)
    assert len(text) < 65_536
    assert "Cut here" in text
    assert "dangerous changes have no waiver" in text[-300:]


def test_a_plan_of_nothing_is_short(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = session_of(tmp_path / "other", local_environment(TODAY))
    made = plan_of(session, one=plan(), two=plan())
    verdict = judge({}, environment="local", today=TODAY, scan=Scan("3.3.30"), baseline=Baseline())
    shown = make_page(made, weigh(made, verdict, [], today=TODAY, emulated=True), PRICED)
    page_text.print_page(shown)
    out = capsys.readouterr().out
    assert "nothing changes in 2 stacks" in out
    assert "may be approved" in out
    assert "nothing changes in 2 stacks" in render_markdown(shown)
    assert "may be approved" in render_html(shown)


def test_a_cost_that_nobody_computed_is_unknown_and_not_0(tmp_path: Path, page: Page) -> None:
    if "cost" not in COMMANDS:
        assert cost_of(tmp_path / "plan.json").unknown == ABSENT
    shown = make_page(
        plan_of(session_of(tmp_path / "o", local_environment(TODAY))), page.judgement, Cost(unknown=ABSENT)
    )
    for text in (render_markdown(shown).replace("\\", ""), render_html(shown)):
        assert f"unknown: {ABSENT}" in text
        assert "0.00" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "wrote no cost"),
        ("[]", "wrote no cost"),
        ('{"error": {"what": "no price table"}}', "no price table"),
        ('{"monthly_usd": {"now": "cheap"}}', "wrote no cost"),
        ('{"monthly_usd": {}}', "gave no amount"),
    ],
)
def test_a_cost_that_cannot_be_read_is_unknown(text: str, said: str) -> None:
    assert said in str(read_cost(text, 1).unknown)


def test_a_cost_is_read() -> None:
    found = read_cost(
        '{"monthly_usd": {"now": 1.5, "desired": 2, "max": null}, "later": 1, "over_budget": ["ml: 3 of 2"]}'
    )
    assert (found.unknown, found.monthly_usd.now, found.monthly_usd.max) == (None, 1.5, None)
    assert found.over_budget == ("ml: 3 of 2",)


def test_a_sum_with_a_part_that_is_not_known_is_at_least(page: Page) -> None:
    told = '{"monthly_usd": {"now": 0, "desired": 277.63, "max": null}, "at_least": {"now": false, "desired": true, "max": true}}'
    found = read_cost(told)
    assert found.amounts() == {"now": "0.00", "desired": "at least 277.63", "max": "unknown"}
    shown = replace(page, cost=found)
    assert "USD a month: now 0.00, desired at least 277.63, max unknown" in cost_lines(shown)[0]
    assert "desired<b>at least 277.63</b>" in render_html(shown)

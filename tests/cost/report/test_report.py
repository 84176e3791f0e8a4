from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from plan_examples import plan, resource

from cost.report.proposals import ProposalFile, ordered
from platform_lib.cli import run

PROPOSALS: dict[str, Any] = {
    "format": "drivetrain-proposals/1",
    "source": "drivetrain cost tiering",
    "prices": ["AWS S3 pricing & a table, 2026-06-01 (2)"],
    "proposals": [
        {
            "title": "raw/ to Deep Archive",
            "saves_usd": {"low": 1, "expected": 2, "high": 3},
            "certainty": "no read in 90 days",
            "refused": "pays back after 30 months, and data is kept for 6",
        },
        {
            "title": "<b>compact</b> sweeps",
            "saves_usd": {"low": 10, "expected": 40, "high": 60},
            "certainty": "measured over 30 days",
            "command": "drivetrain lake compact",
        },
    ],
}


class Balanced(HTMLParser):
    """Fails on a tag that is closed and was not open; `<meta>` and SVG's shapes have no end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        del tag, attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page(tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[str, dict[str, Any]]:
    file = tmp_path / "plan.json"
    scaling = [{"desired_size": 2, "max_size": 4}]
    tags = {"drivetrain:pool": "train", "drivetrain:team": "planning"}
    group = resource(
        "aws_eks_node_group", instance_types=["p5en.48xlarge"], capacity_type="SPOT", scaling_config=scaling, tags=tags
    )
    file.write_text(json.dumps(plan(group, resource("aws_eip"))))
    proposals = tmp_path / "proposals.json"
    proposals.write_text(json.dumps(PROPOSALS))
    out = tmp_path / "cost.html"
    arguments = ["--region", "us-east-1", "--out", str(out), "--proposal", str(proposals), *more, "--json"]
    assert run(["cost", "report", str(file), *arguments]) == 0
    return out.read_text(), json.loads(capsys.readouterr().out)


def test_the_page_shows_where_money_goes_what_saves_and_what_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, document = page(tmp_path, capsys)
    reader = Balanced()
    reader.feed(text)
    assert reader.open == []
    for said in (
        "at least",
        "train",
        "planning",
        "drivetrain lake compact",
        "refused: pays back after 30 months",
        "Not known",
        "drivetrain cost tiering: AWS S3 pricing &amp; a table, 2026-06-01 (2)",
    ):
        assert said in text
    assert text.count("<svg") == 5
    assert "<b>compact" not in text, "what a file says is no markup"
    assert [item["title"] for item in document["proposals"]] == ["<b>compact</b> sweeps", "raw/ to Deep Archive"]
    assert document["monthly_usd"]["desired"] > 24_000
    assert document["proposal_prices"] == {PROPOSALS["source"]: PROPOSALS["prices"]}


@pytest.mark.parametrize(
    "change",
    [
        {"command": "x"},
        {"refused": None},
        {"saves_usd": {"low": 4, "high": 3}},
        {"saves": 4},
    ],
)
def test_a_proposal_that_cannot_mean_what_it_says_is_refused(change: dict[str, Any]) -> None:
    assert len(ordered((ProposalFile.model_validate(PROPOSALS),))) == 2
    bad = {**PROPOSALS, "proposals": [{**PROPOSALS["proposals"][0], **change}]}
    with pytest.raises(ValueError, match=r"either|above|Extra"):
        ProposalFile.model_validate(bad)

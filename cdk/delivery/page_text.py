"""The page about a plan for a terminal."""

from __future__ import annotations

from rich.markup import escape

from cdk.delivery.page import ACTIONS, Page, cost_lines, grouped, judged_only_line, kinds_line, policy_line
from platform_lib.console import OUT, plain_line
from platform_lib.table import Column, print_table

_SHOWN = 12


def print_page(page: Page) -> None:
    """Print a page."""
    _say(f"[bold]{escape(page.environment)}[/]: {escape(page.headline)}")
    if page.partial:
        _say(f"[bold yellow]{_plain(page.partial)}[/]")
    if page.changed:
        print_table([Column("stack"), *(Column(word, right=True) for word in ACTIONS), Column("")], _rows(page))
    if line := judged_only_line(page):
        _say(line)
    for row in page.changed:
        for action, addresses in row.named.items():
            for address in addresses:
                _say(f"  [bold red]{action}[/] {_plain(row.name)}: {_plain(address)}")
    _dangers(page)
    _policy(page)
    _say("\n[bold]cost[/]")
    for line in cost_lines(page):
        _say(f"  {_plain(line)}")
    colour = "bold red" if page.judgement.refusals else "bold green"
    _say(f"\n[{colour}]{escape(page.conclusion)}[/]")


def _rows(page: Page) -> list[list[str]]:
    return [
        [
            row.name,
            *(str(getattr(row.changes, action)) for action in ACTIONS),
            "; ".join(filter(None, ("provisional" if row.provisional else "", _short(kinds_line(row))))),
        ]
        for row in page.changed
    ]


def _dangers(page: Page) -> None:
    judgement = page.judgement
    if not judgement.dangers:
        _say("\n[bold]dangerous[/]: nothing")
        return
    _say(f"\n[bold]dangerous[/]: {len(judgement.dangers)}, {len(judgement.unwaived)} of them stop an approval")
    if judgement.emulated and judgement.destroy:
        _say("  all of it goes, as was asked for, and it is emulated")
        return
    for danger, waiver in judgement.dangers:
        state = (
            "NO WAIVER" if waiver is None else f"waived by {waiver.approver} until {waiver.expires}: {waiver.reason}"
        )
        colour = "red" if waiver is None else "yellow"
        _say(f"  [{colour}]{danger.action}[/] {_plain(danger.stack)}: {_plain(danger.address)}: {_plain(danger.why)}")
        _say(f"      {_plain(state)}")
    for item in judgement.expired:
        _say(f"  [red]ran out[/] on {item.expires}: the waiver of {_plain(item.address)} by {_plain(item.approver)}")


def _policy(page: Page) -> None:
    verdict = page.judgement.verdict
    _say(f"\n[bold]policy[/]: {_plain(policy_line(page))}")
    for first, items in grouped(verdict.failures):
        _say(f"  [red]{first.check}[/] ({first.severity}) {_plain(first.what)}")
        for item in items[:_SHOWN]:
            _say(f"      {_plain(item.stack)}: {_plain(item.address)}")
        if len(items) > _SHOWN:
            _say(f"      and {len(items) - _SHOWN} more")
        _say(f"      remedy: {_plain(first.remedy)}")
    for entry in verdict.unused:
        _say(f"  baseline: {entry.name} on {_plain(entry.address)} accepts nothing any more: take it out")


def _short(text: str, width: int = 100) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _plain(text: str) -> str:
    return escape(plain_line(text))


def _say(line: str) -> None:
    OUT.print(line, highlight=False)

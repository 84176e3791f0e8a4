"""The page about a plan as one HTML file, which loads nothing. Pure but for its style sheet."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from cdk.delivery.danger import Danger, Waiver
from cdk.delivery.page import ACTIONS, Page, StackRow, cost_lines, grouped, judged_only_line, kinds_line, policy_line
from platform_lib.console import plain_line
from policies.verdict import Finding

_STYLE = Path(__file__).with_name("page.css")
_FOLDED_CHARS = 120  # of a stack's kinds: longer ones are folded
# No script, no request: what a name from a plan might smuggle in is not run, and nobody is told that it is read.
_SECURITY = "default-src 'none'; style-src 'unsafe-inline'"


def render_html(page: Page) -> str:
    """Return a page as one HTML file."""
    body = [
        f"<h1>Plan of {_text(page.environment)}</h1>",
        f"<p>{_text(page.headline)}</p>",
        *([f"<p class='warn'>{_text(page.partial)}</p>"] if page.partial else []),
        _verdict(page),
        *_cost(page),
        *_taken(page),
        *_dangers(page),
        *_policy(page),
        *_stacks(page),
        f"<footer>Plan <code>{page.plan}</code>, made by {_text(page.program)}.</footer>",
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_SECURITY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Plan of {_text(page.environment)}</title>",
            f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def _verdict(page: Page) -> str:
    word = "bad" if page.judgement.refusals else "good"
    return f'<div class="verdict {word}"><strong>This plan {_text(page.conclusion)}.</strong></div>'


def _stacks(page: Page) -> Iterator[str]:
    yield "<h2>What changes</h2>"
    if not page.changed:
        yield "<p>Nothing.</p>"
        return
    yield '<div class="wide"><table><thead><tr><th>stack</th>'
    yield "".join(f'<th class="number">{action}</th>' for action in ACTIONS) + "<th>kinds</th></tr></thead><tbody>"
    for row in page.changed:
        yield from _stack(row)
    yield "</tbody></table></div>"
    if line := judged_only_line(page):
        yield f"<p>{line}.</p>"
    if any(row.provisional for row in page.changed):
        yield "<p>Provisional: planned with stand-ins for what other stacks give once they are applied.</p>"


def _taken(page: Page) -> Iterator[str]:
    taken = [(action, row.name, item) for row in page.changed for action, found in row.named.items() for item in found]
    if taken:
        yield "<h2>Replaced and deleted</h2><div class='wide'><table><tbody>"
        for action, stack, address in taken:
            yield f"<tr><td class='bad'>{action}</td><td>{_text(stack)}</td><td>{_code(address)}</td></tr>"
        yield "</tbody></table></div>"


def _stack(row: StackRow) -> Iterator[str]:
    mark = ' <span class="mark warn">provisional</span>' if row.provisional else ""
    yield f"<tr><td class='name'>{_text(row.name)}{mark}<br><small>{_text(row.account)}, {_text(row.region)}</small></td>"
    for action in ACTIONS:
        count = getattr(row.changes, action)
        kind = " zero" if not count else " bad" if action in row.named else ""
        yield f'<td class="number{kind}">{count}</td>'
    said = _text(kinds_line(row))
    if len(said) > _FOLDED_CHARS:
        count = sum(len(kinds) for kinds in row.kinds.values())
        said = f"<details><summary>{count} kinds</summary>{said}</details>"
    yield f"<td>{said}</td></tr>"


def _dangers(page: Page) -> Iterator[str]:
    judgement = page.judgement
    yield "<h2>Dangerous</h2>"
    if not judgement.dangers:
        yield "<p>Nothing.</p>"
        return
    if judgement.emulated and judgement.destroy:
        yield f"<p>All {len(judgement.dangers)} go, as was asked for, and they are emulated.</p>"
        return
    yield f"<p>{len(judgement.dangers)}, {len(judgement.unwaived)} of them without a waiver.</p>"
    yield '<div class="wide"><table><thead><tr><th></th><th>stack</th><th>resource</th><th>why</th><th>waiver</th></tr></thead><tbody>'
    for danger, waiver in judgement.dangers:
        yield _danger(danger, waiver)
    yield "</tbody></table></div>"
    for item in judgement.expired:
        yield f"<p class='bad'>The waiver of {_code(item.address)} by {_text(item.approver)} ran out on {item.expires}.</p>"


def _danger(danger: Danger, waiver: Waiver | None) -> str:
    said = '<span class="mark bad">no waiver</span>'
    if waiver is not None:
        said = f"{_text(waiver.approver)}, until {waiver.expires}: {_text(waiver.reason)}"
    return (
        f"<tr><td class='bad'>{danger.action}</td><td>{_text(danger.stack)}</td><td>{_code(danger.address)}</td>"
        f"<td>{_text(danger.why)}</td><td>{said}</td></tr>"
    )


def _policy(page: Page) -> Iterator[str]:
    verdict = page.judgement.verdict
    yield f"<h2>Policy</h2><p>{_text(policy_line(page))}</p>"
    if verdict.failures:
        yield '<div class="wide"><table><thead><tr><th>check</th><th>what</th><th>where</th></tr></thead><tbody>'
        for first, items in grouped(verdict.failures):
            yield _failure(first, items)
        yield "</tbody></table></div>"
    for entry in verdict.unused:
        yield f"<p class='warn'>The baseline accepts {entry.name} on {_code(entry.address)}, which nothing fails any more.</p>"
    if verdict.accepted:
        yield f"<details><summary>{len(verdict.accepted)} accepted</summary><div class='wide'><table><tbody>"
        for item, entry in verdict.accepted:
            yield (
                f"<tr><td>{item.check}</td><td>{_text(item.stack)}<br>{_code(item.address)}</td>"
                f"<td>{_text(entry.reason)}<br><small>{_text(entry.owner)}, until {entry.expires}</small></td></tr>"
            )
        yield "</tbody></table></div></details>"
    if verdict.undecided:
        yield f"<details><summary>{len(verdict.undecided)} known only after the first apply</summary><ul>"
        for item in verdict.undecided:
            yield f"<li>{item.check} {_text(item.stack)}: {_code(item.address)}: {_text(item.what)}</li>"
        yield "</ul></details>"


def _failure(first: Finding, items: list[Finding]) -> str:
    where = "<br>".join(f"{_text(item.stack)}: {_code(item.address)}" for item in items)
    return (
        f"<tr><td class='bad'>{first.check}<br><small>{first.severity}</small></td>"
        f"<td>{_text(first.what)}<br><small>{_text(first.remedy)}</small></td><td>{where}</td></tr>"
    )


def _cost(page: Page) -> Iterator[str]:
    yield "<h2>Cost</h2>"
    cost = page.cost
    if cost.unknown is not None:
        yield f"<p class='warn'>{_text(cost_lines(page)[0])}</p>"
        return
    yield '<div class="cards">'
    for case, shown in cost.amounts().items():
        yield f'<div class="card">{case}<b>{shown}</b>USD a month</div>'
    yield "</div>"
    for line in cost_lines(page)[1:]:
        yield f"<p class='warn'>{_text(line)}</p>"
    if cost.priced_as_of:
        yield f"<p>Prices of {_text(cost.priced_as_of)}.</p>"


def _text(text: str) -> str:
    return escape(plain_line(text))


def _code(text: str) -> str:
    return f"<code>{_text(text)}</code>"

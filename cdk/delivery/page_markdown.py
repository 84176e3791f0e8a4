"""The page about a plan as Markdown, for a pull request. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cdk.delivery.page import ACTIONS, Page, StackRow, cost_lines, grouped, judged_only_line, kinds_line, policy_line
from platform_lib.console import plain_line

# What a comment on a pull request may hold, less room for what a bot adds.
_MOST_CHARS = 60_000
_SHOWN = 20
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!@])")


def render_markdown(page: Page) -> str:
    """Return a page as Markdown, never longer than a comment on a pull request may be."""
    lines = [
        f"## Plan of `{_code(page.environment)}`: {_text(page.headline)}",
        "",
        f"**This plan {_text(page.conclusion)}.**",
        "",
        *([f"**{_text(page.partial)}**", ""] if page.partial else []),
        *_stacks(page),
        *_dangers(page),
        *_policy(page),
        "### Cost",
        "",
        *(f"- {_text(line)}" for line in cost_lines(page)),
        "",
        f"Plan `{page.plan}`, made by {_text(page.program)}.",
        "",
    ]
    text = "\n".join(lines)
    if len(text) <= _MOST_CHARS:
        return text
    cut = text[:_MOST_CHARS].rsplit("\n", 1)[0]
    return f"{cut}\n\n**Cut here: the rest is in `page.html`.** {_text(page.conclusion).capitalize()}.\n"


def _stacks(page: Page) -> Iterator[str]:
    if not page.changed:
        return
    yield f"| stack | {' | '.join(ACTIONS)} | |"
    yield f"|---|{'--:|' * len(ACTIONS)}---|"
    for row in page.changed:
        counts = " | ".join(str(getattr(row.changes, action)) for action in ACTIONS)
        yield f"| `{_code(row.name)}` | {counts} | {'provisional' if row.provisional else ''} |"
    yield ""
    if any(row.provisional for row in page.changed):
        yield "_Provisional: planned with stand-ins for what other stacks give once they are applied._"
        yield ""
    if line := judged_only_line(page):
        yield f"{line}."
        yield ""
    yield from _taken(page.changed)
    yield "<details><summary>Changed kinds</summary>"
    yield ""
    for row in page.changed:
        yield f"- `{_code(row.name)}`: {_text(kinds_line(row))}"
    yield ""
    yield "</details>"
    yield ""


def _taken(rows: Sequence[StackRow]) -> Iterator[str]:
    found = [(action, row.name, address) for row in rows for action, items in row.named.items() for address in items]
    if not found:
        return
    yield "### Replaced and deleted"
    yield ""
    for action, stack, address in found:
        yield f"- **{action}** `{_code(stack)}`: `{_code(address)}`"
    yield ""


def _dangers(page: Page) -> Iterator[str]:
    judgement = page.judgement
    yield f"### Dangerous: {len(judgement.unwaived) or 'nothing'}{' without a waiver' if judgement.dangers else ''}"
    yield ""
    if not judgement.dangers:
        return
    if judgement.emulated and judgement.destroy:
        yield f"All {len(judgement.dangers)} go, as was asked for, and they are emulated."
        yield ""
        return
    yield "| | stack | resource | why | waiver |"
    yield "|---|---|---|---|---|"
    for danger, waiver in judgement.dangers:
        said = "**none**" if waiver is None else _text(f"{waiver.approver}, until {waiver.expires}: {waiver.reason}")
        yield (
            f"| {danger.action} | `{_code(danger.stack)}` | `{_code(danger.address)}` | {_text(danger.why)} | {said} |"
        )
    yield ""
    for item in judgement.expired:
        yield f"- The waiver of `{_code(item.address)}` by {_text(item.approver)} ran out on {item.expires}."
    if judgement.expired:
        yield ""


def _policy(page: Page) -> Iterator[str]:
    verdict = page.judgement.verdict
    yield f"### Policy: {_text(policy_line(page))}"
    yield ""
    for first, items in grouped(verdict.failures):
        yield f"- **{first.check}** ({first.severity}): {_text(first.what)}. Remedy: {_text(first.remedy)}"
        for item in items[:_SHOWN]:
            yield f"  - `{_code(item.stack)}`: `{_code(item.address)}`"
        if len(items) > _SHOWN:
            yield f"  - and {len(items) - _SHOWN} more"
    for entry in verdict.unused:
        yield f"- The baseline accepts {entry.name} on `{_code(entry.address)}`, and nothing fails it any more."
    if verdict.failures or verdict.unused:
        yield ""
    if verdict.accepted:
        yield "<details><summary>Accepted</summary>"
        yield ""
        for item, entry in verdict.accepted:
            until = _text(f"{entry.reason} ({entry.owner}, until {entry.expires})")
            yield f"- {item.check} `{_code(item.stack)}`: `{_code(item.address)}`: {until}"
        yield ""
        yield "</details>"
        yield ""


def _text(text: str) -> str:
    """Make a text one line in which nothing is markup: names and reasons are written by others."""
    return _SPECIAL.sub(r"\\\1", plain_line(text))


def _code(text: str) -> str:
    return plain_line(text).replace("`", "'").replace("|", "\\|")

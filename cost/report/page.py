"""The page: HTML that needs nothing beside it. Pure but for its own style sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from cost.amount import ZERO, money
from cost.bill.beside import Beside
from cost.plan import estimate as sums
from cost.plan.budgets import Judged
from cost.plan.document import priced_as_of
from cost.plan.estimate import Estimate
from cost.plan.model import Resource
from cost.prices.model import STALE_DAYS, Price
from cost.report.pictures import Bar, Span, bars, range_words, spans
from cost.report.proposals import Proposal

_STYLE = Path(__file__).with_name("page.css")
_MOST_ROWS = 15


@dataclass(frozen=True, slots=True)
class Report:
    """What the page says.

    Attributes:
        found: The plan's estimate.
        judged: What budgets and guardrails say.
        stale: Prices that are old.
        beside: The bill beside the plan; None where none was given.
        proposals: With their source, in order.
        further: Where the proposals' prices are from, by their source.
    """

    found: Estimate
    judged: Sequence[Judged]
    stale: Sequence[Price]
    beside: Beside | None
    proposals: Sequence[tuple[str, Proposal]]
    further: Mapping[str, Sequence[str]]


def render(report: Report) -> str:
    """Return the page."""
    parts = [
        *_head(report),
        *_where(report.found, "Where the money goes, by kind", sums.by_kind),
        *_where(report.found, "By pool", sums.by_pool),
        *_where(report.found, "By team", sums.by_team),
        *_spot(report.found),
        *_proposals(report.proposals),
        *_limits(report.judged),
        *_bill(report.beside),
        *_unknown(report),
    ]
    style = _STYLE.read_text()
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Cost</title>"
        f"<style>{style}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _head(report: Report) -> Iterator[str]:
    monthly, change = report.found.monthly, sums.difference(report.found.priced)
    yield "<h1>What a month costs</h1><div class='cases'>"
    for name, amount in (("now", monthly.now), ("as the plan asks", monthly.desired), ("at most", monthly.most)):
        yield f"<div class='case'>{name}<b>{escape(str(amount))}</b></div>"
    of_known = "" if change.complete else " of what is known"
    yield f"<div class='case'>the plan changes it by<b>{escape(money(change.usd))}</b>{of_known}</div></div>"
    days = priced_as_of(report.found) or "no day"
    yield f"<p>Prices of {escape(days)}, snapshot {escape(report.found.book.name)}. “At least” means that a part is not known.</p>"


def _where(found: Estimate, title: str, key: Callable[[Resource], str]) -> Iterator[str]:
    groups = [(name, item) for name, item in found.by(key).items() if item.most.usd or item.desired.usd]
    if not groups or [name for name, _ in groups] == [sums.NOBODY]:
        return
    rows = [
        Bar(name, item.desired.usd, item.most.usd if item.most.usd else None, str(item.desired))
        for name, item in groups[:_MOST_ROWS]
    ]
    yield f"<h2>{escape(title)}</h2><p>Dark: as the plan asks. Light: at most, as far as it is known.</p>{bars(rows, title)}"
    if len(groups) > _MOST_ROWS:
        rest = sum((item.desired.usd for _, item in groups[_MOST_ROWS:]), ZERO)
        yield f"<p>And {len(groups) - _MOST_ROWS} smaller ones, {escape(money(rest))} together.</p>"


def _spot(found: Estimate) -> Iterator[str]:
    if not found.spot:
        return
    rows = [Span(item.pool, item.low, item.high, range_words(item.low, item.high)) for item in found.spot]
    yield "<h2>Spot: what its price may make of it</h2>"
    yield "<p>From the 10th to the 90th percentile, or the range seen; dashed: nothing was seen, up to the price on demand.</p>"
    yield spans(rows, "Spot pools")


def _proposals(proposals: Sequence[tuple[str, Proposal]]) -> Iterator[str]:
    yield "<h2>What would cost less</h2>"
    if not proposals:
        yield "<p>No proposal was given: `--proposal FILE` takes those of other commands.</p>".replace("`", "")
        return
    shown = [item for _, item in proposals if item.refused is None]
    rows = [
        Span(item.title, item.saves_usd.low, item.saves_usd.high or item.saves_usd.expected, _saves(item))
        for item in shown
    ]
    yield spans(rows, "What each proposal saves a month") if rows else "<p>Every proposal was refused.</p>"
    yield "<table><tr><th>proposal</th><th class='n'>saves a month</th><th>how surely</th><th>apply it</th></tr>"
    for source, item in proposals:
        last = (
            f"<code>{escape(item.command)}</code>"
            if item.command
            else f"<span class='warn'>refused: {escape(item.refused or '')}</span>"
        )
        yield f"<tr><td>{escape(item.title)}<br><small>{escape(source)}</small></td><td class='n'>{escape(_saves(item))}</td>"
        yield f"<td>{escape(item.certainty)}</td><td>{last}</td></tr>"
    yield "</table>"


def _saves(item: Proposal) -> str:
    usd = item.saves_usd
    if usd.expected is not None and (usd.low is None or usd.high is None):
        return money(usd.expected)
    words = range_words(usd.low, usd.high)
    return words if usd.expected is None else f"{money(usd.expected)} ({words})"


def _limits(judged: Sequence[Judged]) -> Iterator[str]:
    if not judged:
        return
    yield "<h2>Budgets and guardrails</h2><table>"
    for item in judged:
        mark = "<span class='fail'>fails</span>" if item.fails else escape(item.verdict.value)
        yield f"<tr><td>{mark}</td><td>{escape(item.name)}</td><td>{escape(item.said)}</td></tr>"
    yield "</table>"


def _bill(beside: Beside | None) -> Iterator[str]:
    if beside is None:
        return
    yield f"<h2>What was paid</h2><p>{escape(money(beside.paid_usd))} for {beside.months:.2f} months.</p>"
    yield "<table><tr><th>meter</th><th>region</th><th class='n'>planned</th><th class='n'>paid</th><th>why</th></tr>"
    for row in beside.rows:
        planned = "unknown" if row.planned_usd is None else money(row.planned_usd)
        yield f"<tr><td>{escape(row.what)}</td><td>{escape(row.region)}</td><td class='n'>{planned}</td>"
        yield f"<td class='n'>{escape(money(row.paid_usd))}</td><td>{escape(row.why)}</td></tr>"
    yield "</table>"


def _unknown(report: Report) -> Iterator[str]:
    if report.found.unpriced:
        yield f"<h2>Not known: {len(report.found.unpriced)} reasons, in no sum</h2><ul>"
        yield from (f"<li>{escape(reason)}</li>" for reason in report.found.unpriced)
        yield "</ul>"
    if report.stale:
        yield f"<p class='warn'>{len(report.stale)} of the prices are older than {STALE_DAYS} days, the oldest of "
        yield f"{report.stale[0].dated}. <code>drivetrain cost prices refresh</code> asks AWS.</p>"
    yield "<h2>Where prices come from</h2><ul>"
    for source, dated in sorted({(item.source, str(item.dated)) for item in report.found.sources}):
        yield f"<li>{escape(source)} ({dated})</li>"
    for source, origins in report.further.items():
        yield from (f"<li>{escape(source)}: {escape(origin)}</li>" for origin in origins)
    yield "</ul>"

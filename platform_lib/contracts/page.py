"""The page of contracts: one HTML file that needs nothing but a browser (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from string import Template

from platform_lib.catalog.model import amount
from platform_lib.contracts.state import Checked, DriveState
from platform_lib.contracts.summary import ContractSummary, RuleRow

_MOST_FINDINGS = 500
_NUMBER_AND_UNIT = re.compile(r"(\d) (s|ms|rows)\b")
_MOST_DRIVES = 1000


def render_page(state: Checked) -> str:
    """Render what contracts say of a home."""
    template = resources.files("platform_lib.contracts").joinpath("page.html").read_text(encoding="utf-8")
    findings = [(item, row) for item in state.contracts for row in item.rows if row.verdict != "pass"]
    listed = [(item, subject, found) for item in state.contracts for subject, found in item.findings]
    return Template(template).substitute(
        lake=escape(state.lake_sha256[:12]),
        cards=_cards(state),
        products=_table(
            ("product", "contract", "domain", "owner", "files", "rules", "errors", "warnings"),
            [_product(item) for item in state.contracts],
        ),
        not_kept_claim="Every rule is kept." if not findings else _shown(len(listed), _MOST_FINDINGS, "findings"),
        not_kept=_table(
            ("contract", "rule", "", "figure", "has to be", "where"),
            [
                (
                    _name(item.contract_id),
                    _code(found.rule),
                    _badge(found.severity, found.verdict),
                    _number(amount(found.figure, found.unit) if found.figure else "nothing"),
                    _name(found.required),
                    _place(": ".join(text for text in (subject, found.place) if text)),
                )
                for item, subject, found in listed[:_MOST_FINDINGS]
            ],
        ),
        drives_claim=_drives_claim(state),
        drives=_drives(state),
        rules="".join(_rules(item) for item in state.contracts if item.rows),
    )


def _cards(state: Checked) -> str:
    errors = sum(item.count("error") for item in state.contracts)
    warnings = sum(item.count("warning") for item in state.contracts)
    kept = sum(row.verdict == "pass" for item in state.contracts for row in item.rows)
    cards = (
        (len(state.contracts), "contracts"),
        (sum(item.files for item in state.drives), "files"),
        (kept, "rules kept"),
        (errors, "errors"),
        (warnings, "warnings"),
        (state.unchecked, "files not checked yet"),
    )
    return "".join(f'<div class="card"><b>{value:,}</b><span>{what}</span></div>' for value, what in cards)


def _product(item: ContractSummary) -> tuple[str, ...]:
    return (
        _name(item.product),
        _name(f"{item.contract_id} {item.version}"),
        _name(item.domain),
        _name(item.owner),
        _number(f"{item.files:,}"),
        _number(f"{len(item.rows):,}"),
        _number(str(item.count("error"))),
        _number(str(item.count("warning"))),
    )


def _drives_claim(state: Checked) -> str:
    said = _shown(len(state.drives), _MOST_DRIVES, "drives")
    if state.uncovered:
        said += (
            f" {len(state.uncovered):,} lack files under a contract on their vehicle, or are under none of their own."
        )
    return said


def _drives(state: Checked) -> str:
    ids = [item.contract_id for item in state.contracts if item.files]
    rows = [
        (_name(drive.drive_id), *(_drive_cell(drive, contract_id) for contract_id in ids))
        for drive in state.drives[:_MOST_DRIVES]
    ]
    return _table(("drive", *ids), rows)


def _drive_cell(drive: DriveState, contract_id: str) -> str:
    if contract_id not in drive.findings:
        return '<td><span class="badge none">no file</span></td>'
    errors, warnings = drive.findings[contract_id]
    if errors:
        return f'<td><span class="badge fail">{errors} errors</span></td>'
    if warnings:
        return f'<td><span class="badge wait">{warnings} warnings</span></td>'
    return '<td><span class="badge pass">kept</span></td>'


def _rules(item: ContractSummary) -> str:
    table = _table(("rule", "severity", "", "worst", "has to be", "failed", "where"), map(_rule, item.rows))
    kept = sum(row.verdict == "pass" for row in item.rows)
    return (
        f"<section><h2>{escape(item.product)}</h2>"
        f'<p class="claim">{escape(item.contract_id)} {escape(item.version)}, <code>{escape(item.sha256[:12])}</code>: '
        f"{kept} of {len(item.rows)} rules kept.</p>"
        f'<details><summary>every rule</summary><div class="wide">{table}</div></details></section>\n'
    )


def _rule(row: RuleRow) -> tuple[str, ...]:
    return (
        _code(row.rule),
        _name(row.severity),
        _badge(row.severity, row.verdict),
        _number(amount(row.figure, row.unit) if row.figure else "nothing"),
        _name(row.required),
        _number(row.failed_of),
        _place(row.where),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in rows)
    if not body:
        return ""
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>\n{body}</table>"


def _cell(text: str) -> str:
    return text if text.startswith("<td") else f"<td>{text}</td>"


def _name(text: str) -> str:
    return f'<td class="name">{escape(text)}</td>'


def _number(text: str) -> str:
    return f'<td class="num">{escape(text.strip())}</td>'


def _place(text: str) -> str:
    """Show a place, which breaks after the slashes of a path and at spaces, but not between a number and its unit."""
    glued = _NUMBER_AND_UNIT.sub("\\1\u00a0\\2", escape(text))
    return f'<td class="place">{glued.replace("/", "/<wbr>")}</td>'


def _code(text: str) -> str:
    return f"<td><code>{escape(text)}</code></td>"


def _badge(severity: str, verdict: str) -> str:
    style = "pass" if verdict == "pass" else "fail" if (severity, verdict) == ("error", "fail") else "wait"
    said = "kept" if verdict == "pass" else "nothing to measure" if verdict == "not_run" else severity
    return f'<td><span class="badge {style}">{said}</span></td>'


def _shown(count: int, most: int, what: str) -> str:
    return f"{count:,} {what}." if count <= most else f"The first {most:,} of {count:,} {what}."

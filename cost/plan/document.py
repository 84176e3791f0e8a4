"""The estimate as plain content, for machines. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from cost.amount import Amount
from cost.plan import estimate as sums
from cost.plan.budgets import Judged, Verdict
from cost.plan.estimate import Cases, Estimate
from cost.plan.model import Line, Priced
from cost.prices.model import Price

SPLITS = {
    "by_team": sums.by_team,
    "by_pool": sums.by_pool,
    "by_cost_center": sums.by_cost_center,
    "by_stack": sums.by_stack,
    "by_account": sums.by_account,
    "by_kind": sums.by_kind,
}


def document_of(found: Estimate, judged: Iterable[Judged], stale: Iterable[Price]) -> dict[str, Any]:
    """Return an estimate as plain content.

    `monthly_usd` are plain numbers, lower bounds where `at_least` says so, and null where nothing is known.
    """
    limits = list(judged)
    monthly = found.monthly
    change = sums.difference(found.priced)
    return {
        "monthly_usd": {name: _usd(amount) for name, amount in _named(monthly)},
        "at_least": {name: not amount.complete for name, amount in _named(monthly)},
        "difference_usd": {"usd": _float(change.usd), "complete": change.complete},
        "unpriced": list(found.unpriced),
        "over_budget": [f"{item.name}: {item.said}" for item in limits if item.verdict is Verdict.OVER],
        "priced_as_of": priced_as_of(found),
        "prices": found.book.name,
        "stale_prices": [f"{item.meter} ({item.region}): {item.dated}" for item in stale],
        "limits": [
            {"name": item.name, "verdict": item.verdict.value, "said": item.said, "fails": item.fails}
            for item in limits
        ],
        "spot": [
            {
                "pool": item.pool,
                "low_usd": _float(item.low),
                "expected_usd": _float(item.expected),
                "high_usd": _float(item.high),
                "lacking": item.basis,
            }
            for item in found.spot
        ],
        **{name: _split(found.by(key)) for name, key in SPLITS.items()},
        "resources": [_resource(item) for item in found.priced],
    }


def priced_as_of(found: Estimate) -> str | None:
    """Return the days of the prices that were used: the oldest, and the newest where they differ."""
    days = sorted({item.dated for item in found.sources})
    if not days:
        return None
    return str(days[0]) if len(days) == 1 else f"{days[0]} to {days[-1]}"


def _named(amounts: Cases) -> Iterable[tuple[str, Amount]]:
    return ("now", amounts.now), ("desired", amounts.desired), ("max", amounts.most)


def _split(groups: Mapping[str, Cases]) -> dict[str, Any]:
    return {
        name: {
            case: {"usd": _usd(amount), "at_least": not amount.complete, "unknown_parts": amount.unknown}
            for case, amount in _named(item)
        }
        for name, item in groups.items()
    }


def _resource(item: Priced) -> dict[str, Any]:
    resource = item.resource
    head = {
        "address": resource.address,
        "kind": resource.kind,
        "stack": resource.stack,
        "account": resource.account,
        "region": resource.region,
    }
    if item.free is not None:
        return {**head, "free": item.free}
    costs = Cases(item.cost_now, item.cost_desired, item.cost_most)
    return {
        **head,
        "monthly_usd": {name: _usd(amount) for name, amount in _named(costs)},
        "unknown": list(item.reasons),
        "lines": [_line(line) for line in item.after],
    }


def _line(line: Line) -> dict[str, Any]:
    return {
        "meter": str(line.meter),
        "unit": line.unit,
        "desired": _float(line.desired),
        "max": _float(line.maximum),
        "usd_per_unit": {
            "low": _float(line.rate.low),
            "expected": _float(line.rate.expected),
            "high": _float(line.rate.high),
        },
        "sources": [f"{item.source}; {item.dated}" for item in line.rate.sources],
    }


def _usd(amount: Amount) -> float | None:
    return None if amount.nothing_known else _float(amount.usd)


def _float(value: Decimal | None) -> float | None:
    return None if value is None else round(float(value), 6)

"""Quantities as money: exact, with the source of every price, and "at least" where one is not known. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from cost.amount import Amount, money, total
from cost.tiering.charges import LEFT_EARLY, MOVED, READ, STORED, WATCHED
from cost.tiering.fees import Fees
from cost.tiering.population import Used

_WORDS = {STORED: "storage", WATCHED: "watching", MOVED: "moves", LEFT_EARLY: "leaving early", READ: "reads"}
_EXACT = Decimal("1e-12")
_CENT = Decimal("0.01")


def bill(used: Used, fees: Fees) -> Amount:
    """Return what quantities cost."""
    return total(bill_by_reason(used, fees).values())


def bill_by_reason(used: Used, fees: Fees) -> dict[str, Amount]:
    """Return what quantities cost, by what they are paid for."""
    found: dict[str, Amount] = {}
    for (item, why), amount in used.items():
        price = fees.prices.get(item)
        units = Decimal(repr(amount)).quantize(_EXACT)
        if units:
            found[why] = found.get(why, Amount()) + Amount.of(None if price is None else units * price.usd)
    return found


def arithmetic(rule: Used, now: Used, fees: Fees) -> str:
    """Return in words what a rule adds to what is paid now and what it takes away."""
    there, here = bill_by_reason(rule, fees), bill_by_reason(now, fees)
    parts = []
    for why, word in _WORDS.items():
        change = there.get(why, Amount()).usd - here.get(why, Amount()).usd
        if abs(change) >= _CENT / 2:
            parts.append(f"{word} {'+' if change > 0 else '-'}{money(abs(change))}")
    difference = sum((item.usd for item in there.values()), Decimal(0)) - sum(
        (item.usd for item in here.values()), Decimal(0)
    )
    if abs(difference) < _CENT / 2:
        return f"{', '.join(parts) or 'nothing'}: within a cent"
    sign = "+" if difference > 0 else "-"
    return f"{', '.join(parts)}: {sign}{money(abs(difference))}"


def sources(used: Used, fees: Fees) -> Mapping[str, str]:
    """Return the source and day of each price that was used, by item."""
    return {
        item: f"{fees.prices[item].source} ({fees.prices[item].dated})" if item in fees.prices else "unknown"
        for item, _ in used
    }

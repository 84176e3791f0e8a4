"""Dollars of which a part may not be known: such a sum is "at least", and never takes the unknown for 0. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

ZERO = Decimal(0)
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Amount:
    """A sum of money, USD.

    Attributes:
        usd: What is known of it.
        unknown: How many of its parts are not known.
        known: How many are.
    """

    usd: Decimal = ZERO
    unknown: int = 0
    known: int = 0

    @classmethod
    def of(cls, usd: Decimal | None) -> Amount:
        """Return one part: known, or not."""
        return cls(unknown=1) if usd is None else cls(usd, known=1)

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.usd + other.usd, self.unknown + other.unknown, self.known + other.known)

    @property
    def complete(self) -> bool:
        """Whether every part is known: only then is the sum the sum."""
        return self.unknown == 0

    @property
    def nothing_known(self) -> bool:
        """Whether parts exist and none of them is known."""
        return self.known == 0 and self.unknown > 0

    def __str__(self) -> str:
        if self.nothing_known:
            return "unknown"
        return money(self.usd) if self.complete else f"at least {money(self.usd)}"

    def document(self) -> dict[str, object]:
        """Return its form in JSON: `usd` is null where nothing is known, and a lower bound where a part is not."""
        usd = None if self.nothing_known else float(round(self.usd, 6))
        return {"usd": usd, "at_least": not self.complete, "unknown_parts": self.unknown}


def total(parts: Iterable[Amount]) -> Amount:
    """Return the sum of parts."""
    found = Amount()
    for part in parts:
        found += part
    return found


def money(usd: Decimal) -> str:
    """Return an amount as people write it, to the cent."""
    return f"${usd.quantize(_CENT, ROUND_HALF_EVEN):,}"

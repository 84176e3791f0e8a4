"""What a plan's resources cost, as values: resources before and after, lines of so many units at so much each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from cost.amount import ZERO, Amount
from cost.prices.model import Meter, Price, SavingsRate, SpotPrice

Json = Mapping[str, Any]
HOURS = Decimal(730)
"""Hours in a month as AWS counts them in its estimates: 8,760 / 12. Source: AWS Pricing Calculator, read 2026-11-20."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource on one side of a plan: as it is, or as it will be.

    Attributes:
        stack: The stack it belongs to; empty for a plan of one stack.
        account: The account's id; empty where the plan does not say.
        region: Where; None where the plan does not say.
        address: Terraform's address, or `NodePool/<name>` for what Karpenter makes.
        kind: Terraform's type.
        values: Its attributes.
        undecided: Attributes that only an apply tells.
        links: Addresses that an attribute refers to, by the attribute's name.
        tags: All its tags.
    """

    stack: str
    account: str
    region: str | None
    address: str
    kind: str
    values: Json
    undecided: Json = field(default_factory=dict)
    links: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def get(self, path: str) -> Any:
        """Return the value at `a.b`, through lists of one block; None where there is none, or it is not known yet."""
        found: Any = self.values
        for part in path.split("."):
            while isinstance(found, list) and found and isinstance(found[0], Mapping):
                found = found[0]
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def blocks(self, name: str) -> list[Json]:
        """Return repeated blocks of a name."""
        found = self.values.get(name)
        items = found if isinstance(found, list) else [found]
        return [item for item in items if isinstance(item, Mapping)]

    def tag(self, name: str) -> str | None:
        """Return one of the platform's tags."""
        return self.tags.get(f"drivetrain:{name}")


@dataclass(frozen=True, slots=True)
class Rate:
    """USD for one unit: one price, or a range.

    Attributes:
        low: The 10th percentile, or the least; None where not even that is known.
        expected: The mean; None where only a range is known.
        high: The 90th percentile, or the most.
        ceiling: What it can never pass; None where nothing holds it.
        sources: The prices it was made from.
        lacking: What is not known, and why; empty where `expected` is.
    """

    low: Decimal | None = None
    expected: Decimal | None = None
    high: Decimal | None = None
    ceiling: Decimal | None = None
    sources: tuple[Price | SpotPrice | SavingsRate, ...] = ()
    lacking: str = ""

    @classmethod
    def fixed(cls, price: Price) -> Rate:
        """Return the rate of one price."""
        return cls(price.usd, price.usd, price.usd, price.usd, (price,))

    @property
    def varies(self) -> bool:
        """Whether it is a range."""
        return self.low != self.high


@dataclass(frozen=True, slots=True)
class Line:
    """So many units a month at a rate.

    Attributes:
        meter: What is counted.
        unit: In what.
        rate: What a unit costs.
        desired: Units a month as the plan asks; None where it is not known.
        maximum: Units a month at most; None where nothing says.
        lacking: Why a quantity is not known.
        spot: Whether these are nodes that may be taken back.
    """

    meter: Meter
    unit: str
    rate: Rate
    desired: Decimal | None
    maximum: Decimal | None
    lacking: str = ""
    spot: bool = False

    @property
    def expected(self) -> Amount:
        """The cost as desired; a lower bound where only a range is known."""
        if self.desired == ZERO:
            return Amount.of(ZERO)
        if self.desired is None:
            return Amount.of(None)
        if self.rate.expected is not None:
            return Amount.of(self.desired * self.rate.expected)
        if self.rate.low is not None:
            return Amount(self.desired * self.rate.low, unknown=1, known=1)
        return Amount.of(None)

    @property
    def most(self) -> Amount:
        """The cost at most: the greatest quantity at the highest price."""
        if self.maximum == ZERO:
            return Amount.of(ZERO)
        if self.maximum is None or self.rate.ceiling is None:
            return Amount.of(None)
        return Amount.of(self.maximum * self.rate.ceiling)

    def bounds(self) -> tuple[Decimal | None, Decimal | None, Decimal | None]:
        """Return low, expected and high cost as desired, each None where it is not known."""
        if self.desired is None:
            return None, None, None
        if self.desired == ZERO:
            return ZERO, ZERO, ZERO
        low, expected, high = (
            None if usd is None else usd * self.desired for usd in (self.rate.low, self.rate.expected, self.rate.high)
        )
        return low, expected, high

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why its cost is not known; empty where it is."""
        found = []
        if self.desired is None:
            found.append(self.lacking or "the quantity is not known")
        if self.desired != ZERO and self.rate.lacking:
            found.append(self.rate.lacking)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Priced:
    """One resource with what it costs now, as desired and at most.

    Attributes:
        resource: As it will be; as it is, where it goes.
        now: Its lines before the apply; empty where it does not exist yet.
        after: Its lines after it; empty where it goes.
        free: Why it costs nothing of its own; None where it has lines, or nobody knows.
        unknown_kind: Whether nothing is known of its kind.
    """

    resource: Resource
    now: tuple[Line, ...] = ()
    after: tuple[Line, ...] = ()
    free: str | None = None
    unknown_kind: bool = False

    @property
    def cost_now(self) -> Amount:
        """What it costs before the apply."""
        return _sum(line.expected for line in self.now)

    @property
    def cost_desired(self) -> Amount:
        """What it will cost as the plan asks."""
        return Amount.of(None) if self.unknown_kind else _sum(line.expected for line in self.after)

    @property
    def cost_most(self) -> Amount:
        """What it will cost at most."""
        return Amount.of(None) if self.unknown_kind else _sum(line.most for line in self.after)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a part of its cost after the apply is not known."""
        if self.unknown_kind:
            return ("no rule prices this kind",)
        return tuple(dict.fromkeys(reason for line in self.after for reason in line.reasons))


def _sum(parts: Iterable[Amount]) -> Amount:
    found = Amount()
    for part in parts:
        found += part
    return found


@dataclass(frozen=True, slots=True)
class Side:
    """Everything on one side of a plan.

    Attributes:
        resources: All resources, by stack and address.
        today: The day; support of a Kubernetes version ends on one.
    """

    resources: Mapping[tuple[str, str], Resource]
    today: date

    def linked(self, resource: Resource, attribute: str, kind: str) -> Resource | None:
        """Return the resource of a kind, in the same stack, that an attribute refers to by reference or by its id."""
        for address in sorted(resource.links.get(attribute, ())):
            found = self.resources.get((resource.stack, address))
            if found is not None and found.kind == kind:
                return found
        wanted = resource.get(f"{attribute}.id")
        if wanted is None:
            return None
        same = (item for item in self.resources.values() if item.stack == resource.stack and item.kind == kind)
        return next((item for item in same if item.values.get("id") == wanted), None)

"""The estimate: every resource with its lines on both sides, summed as wanted. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from cost.amount import Amount, total
from cost.plan.karpenter import KIND as NODE_POOL
from cost.plan.karpenter import karpenter_lines
from cost.plan.kinds import FREE, RULES
from cost.plan.kinds.rule import Context
from cost.plan.model import Line, Priced, Resource, Side
from cost.plan.resources import StackSides
from cost.plan.usage import UsageFile
from cost.prices.model import Book, Price, SavingsRate, SpotPrice

NOBODY = "(no tag)"


@dataclass(frozen=True, slots=True)
class Cases:
    """A month, USD: before the apply, as the plan asks, and with everything at its greatest."""

    now: Amount
    desired: Amount
    most: Amount


@dataclass(frozen=True, slots=True)
class SpotRange:
    """What one pool's spot nodes may cost a month, as desired.

    Attributes:
        pool: The pool, or the resource's address.
        low: At the 10th percentile of the price, or the least seen.
        expected: At its mean; None where only a range was seen.
        high: At the 90th percentile, or the most seen; on-demand where nothing was seen.
        basis: What is not known of it; empty where all is.
    """

    pool: str
    low: Decimal | None
    expected: Decimal | None
    high: Decimal | None
    basis: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan costs.

    Attributes:
        priced: Every resource.
        book: The prices' snapshot.
    """

    priced: tuple[Priced, ...]
    book: Book

    @property
    def monthly(self) -> Cases:
        """Everything together."""
        return cases(self.priced)

    def by(self, key: Callable[[Resource], str]) -> dict[str, Cases]:
        """Return the sums by something of a resource, largest first."""
        groups: dict[str, list[Priced]] = {}
        for item in self.priced:
            if item.free is None:
                groups.setdefault(key(item.resource), []).append(item)
        made = {name: cases(items) for name, items in groups.items()}
        return dict(sorted(made.items(), key=lambda item: (-item[1].most.usd, -item[1].desired.usd, item[0])))

    @property
    def sources(self) -> tuple[Price | SpotPrice | SavingsRate, ...]:
        """Every price that was used."""
        lines = (line for item in self.priced for line in (*item.now, *item.after))
        return tuple(dict.fromkeys(source for line in lines for source in line.rate.sources))

    @property
    def unpriced(self) -> tuple[str, ...]:
        """What the sums are without, and why: by kind and reason, with how many resources it concerns."""
        found = Counter((reason, item.resource.kind) for item in self.priced for reason in item.reasons)
        return tuple(f"{kind} ({count}): {reason}" for (reason, kind), count in sorted(found.items()))

    @property
    def spot(self) -> tuple[SpotRange, ...]:
        """Spot pools as ranges."""
        return tuple(
            SpotRange(item.resource.tag("pool") or item.resource.address, *line.bounds(), line.rate.lacking)
            for item in self.priced
            for line in item.after
            if line.spot
        )


def cases(items: Iterable[Priced]) -> Cases:
    """Return the sums of some resources."""
    kept = [item for item in items if item.free is None]
    return Cases(
        total(item.cost_now for item in kept),
        total(item.cost_desired for item in kept),
        total(item.cost_most for item in kept),
    )


def estimate(
    stacks: Iterable[StackSides], pools: Iterable[Resource], usage: UsageFile, book: Book, today: date
) -> Estimate:
    """Price both sides of a plan.

    Args:
        stacks: Each stack before and after.
        pools: What Karpenter makes, which no plan knows: it is taken to be there now as it will be.
        usage: What the plan does not say.
        book: The prices.
        today: The day.
    """
    known = list(stacks)
    further = list(pools)
    before = _side((item for stack in known for item in stack.before), further, today)
    after = _side((item for stack in known for item in stack.after), further, today)
    places = dict.fromkeys([*after.resources, *before.resources])
    contexts = Context(book, usage, before), Context(book, usage, after)
    return Estimate(
        tuple(_priced(before.resources.get(place), after.resources.get(place), *contexts) for place in places), book
    )


def _side(resources: Iterable[Resource], pools: Iterable[Resource], today: date) -> Side:
    return Side({(item.stack, item.address): item for item in (*resources, *pools)}, today)


def _priced(before: Resource | None, after: Resource | None, there: Context, then: Context) -> Priced:
    resource = after if after is not None else before
    if resource is None:
        raise ValueError("a resource that is on no side")
    if resource.kind in FREE:
        return Priced(resource, free=FREE[resource.kind])
    if resource.kind not in RULES and resource.kind != NODE_POOL:
        return Priced(resource, unknown_kind=after is not None)
    return Priced(resource, tuple(_lines(before, there)), tuple(_lines(after, then)))


def _lines(resource: Resource | None, context: Context) -> Iterator[Line]:
    if resource is None:
        return
    rule = karpenter_lines if resource.kind == NODE_POOL else RULES[resource.kind]
    yield from rule(resource, context)


@dataclass(frozen=True, slots=True)
class Difference:
    """What the apply adds to a month as desired.

    Attributes:
        usd: Of what is known on both sides.
        complete: Whether all is known of what changes; what stays as it is does not count.
    """

    usd: Decimal
    complete: bool


def difference(priced: Iterable[Priced]) -> Difference:
    """Return what changes: resources whose lines stay the same cancel out, known or not."""
    changed = [item for item in priced if item.free is None and (item.now != item.after or item.unknown_kind)]
    now, desired = total(item.cost_now for item in changed), total(item.cost_desired for item in changed)
    return Difference(desired.usd - now.usd, now.complete and desired.complete)


def by_team(resource: Resource) -> str:
    """Name a resource's team."""
    return resource.tag("team") or NOBODY


def by_pool(resource: Resource) -> str:
    """Name a resource's pool."""
    return resource.tag("pool") or NOBODY


def by_cost_center(resource: Resource) -> str:
    """Name a resource's cost centre."""
    return resource.tag("cost-center") or NOBODY


def by_kind(resource: Resource) -> str:
    """Name a resource's kind."""
    return resource.kind


def by_stack(resource: Resource) -> str:
    """Name a resource's stack."""
    return resource.stack or "(one stack)"


def by_account(resource: Resource) -> str:
    """Name a resource's account."""
    return resource.account or "(not in the plan)"

"""What a rule is given, and the few ways in which lines are made. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from cost.plan.model import HOURS, Line, Rate, Resource, Side
from cost.plan.usage import UsageFile, quantity
from cost.prices.model import Book, Meter


@dataclass(frozen=True, slots=True)
class Context:
    """What every rule looks things up in.

    Attributes:
        book: The prices.
        usage: What the plan does not say.
        side: The resources on this side of the plan.
    """

    book: Book
    usage: UsageFile
    side: Side

    def used(self, section: str, resource: Resource, name: str) -> Decimal | None:
        """Return what the usage file says of a resource."""
        return quantity(self.usage, section, resource, name)


Rule = Callable[[Resource, Context], list[Line]]


def rate_of(book: Book, service: str, item: str, region: str | None) -> Rate:
    """Return a price as a rate; one that no table has is unknown, and says which."""
    price = book.price(service, item, region)
    if price is not None:
        return Rate.fixed(price)
    place = region or "a region that the plan does not name"
    return Rate(lacking=f"no price of {service}: {item} in {place}")


def line(
    context: Context,
    resource: Resource,
    meter: tuple[str, str],
    amount: Decimal | None,
    *,
    unit: str,
    per: int = 1,
    asked: str = "",
    maximum: Decimal | None = None,
) -> Line:
    """Return one line.

    Args:
        context: Where prices are.
        resource: Of what.
        meter: Service and item of the price.
        amount: How many in a month; None where it is not known.
        unit: What the price is for.
        per: How many of `amount` make one unit: 1,000 requests.
        asked: The key of the usage file that would tell.
        maximum: How many at most; as many as desired where it is left out.
    """
    units = None if amount is None else amount / per
    return Line(
        meter=Meter(*meter),
        unit=unit,
        rate=rate_of(context.book, *meter, resource.region),
        desired=units,
        maximum=units if maximum is None else maximum / per,
        lacking=f"no usage given: {asked}" if asked else "",
    )


def always(context: Context, resource: Resource, meter: tuple[str, str], count: int = 1) -> Line:
    """Return a line of something that is paid for every hour that it is there."""
    return line(context, resource, meter, HOURS * count, unit="hour")


def number(value: object) -> Decimal | None:
    """Return a number of the plan, exactly; None where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        found = Decimal(str(value))
    except ArithmeticError:
        return None
    return found if found.is_finite() else None

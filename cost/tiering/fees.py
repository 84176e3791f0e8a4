"""The fees of S3 out of a book of prices, each with its source; one that the book lacks is unknown. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cost.prices.model import Book, Meter, Price
from cost.tiering.model import RULES, StorageClass

STANDARD_STORAGE = "standard storage"
GETS = "get requests"
PUTS = "put requests"
MONITORING = "intelligent-tiering monitoring"
INTELLIGENT_TIERS = (
    "intelligent-tiering frequent storage",
    "intelligent-tiering infrequent storage",
    "intelligent-tiering archive instant storage",
)
_READ_ITEMS: Mapping[StorageClass, tuple[str, ...]] = {
    StorageClass.STANDARD: (GETS,),
    StorageClass.INTELLIGENT_TIERING: (GETS,),
    StorageClass.STANDARD_IA: ("standard-ia get requests", "standard-ia retrieval"),
    StorageClass.ONEZONE_IA: ("onezone-ia get requests", "onezone-ia retrieval"),
    StorageClass.GLACIER_IR: ("glacier instant get requests", "glacier instant retrieval"),
    # An archived object is restored by the cheapest way, read from its copy in Standard, and the copy lives a day.
    StorageClass.GLACIER: ("glacier flexible bulk retrieval requests", "glacier flexible bulk retrieval", GETS),
    StorageClass.DEEP_ARCHIVE: ("deep archive bulk retrieval requests", "deep archive bulk retrieval", GETS),
}


def storage_item(name: StorageClass) -> str:
    """Return what a book calls a class's storage; of Intelligent-Tiering its first tier."""
    return INTELLIGENT_TIERS[0] if name is StorageClass.INTELLIGENT_TIERING else f"{RULES[name].title} storage"


def transition_item(name: StorageClass) -> str:
    """Return what a book calls a move into a class by lifecycle."""
    return f"{RULES[name].title} transition"


def read_items(name: StorageClass) -> tuple[str, ...]:
    """Return what is paid when an object of a class is read."""
    return _READ_ITEMS[name]


@dataclass(frozen=True, slots=True)
class Fees:
    """Prices of S3 in one region.

    Attributes:
        region: Where.
        prices: By item, as `cost.prices` calls it.
    """

    region: str
    prices: Mapping[str, Price]

    def usd(self, item: str) -> float:
        """Return a price to optimise with; NaN where it is not known."""
        price = self.prices.get(item)
        return float("nan") if price is None else float(price.usd)

    def needed(self, name: StorageClass, *, read: bool) -> tuple[str, ...]:
        """Return the fees of a class: storage, the move into it, and those of reading where it is read."""
        items = [storage_item(name)]
        if name is StorageClass.INTELLIGENT_TIERING:
            items += [*INTELLIGENT_TIERS[1:], MONITORING]
        if RULES[name].overhead:
            items.append(STANDARD_STORAGE)
        if name is not StorageClass.STANDARD:
            items.append(transition_item(name))
        return (*items, *(read_items(name) if read else ()))

    def unknown(self, name: StorageClass, *, read: bool) -> tuple[str, ...]:
        """Return which of a class's fees are not known."""
        return tuple(item for item in self.needed(name, read=read) if item not in self.prices)


def fees_of(book: Book, region: str, own: Iterable[Price] = ()) -> Fees:
    """Return a region's fees of S3; prices of one's own, each with a source, come before the book's."""
    found = {meter.item: price for (meter, place), price in book.prices.items() if place == region and _of_s3(meter)}
    return Fees(region, found | {price.meter.item: price for price in own})


def _of_s3(meter: Meter) -> bool:
    return meter.service == "s3"

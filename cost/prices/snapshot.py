"""A snapshot's file: JSON, named by its day, never changed once written; its digest stands beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cost.prices.model import Book, Meter, Price, SavingsRate, SpotPrice
from platform_lib.errors import ConfigError, IntegrityError
from platform_lib.storage import publish_bytes

SNAPSHOTS = Path(__file__).parent / "snapshots"
DIGESTS = "digests.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Source(_Strict):
    source: str
    dated: date


class _Price(_Strict):
    service: str
    item: str
    region: str
    unit: str
    usd: Decimal
    of: int


class _Spot(_Strict):
    instance_type: str
    region: str
    zone: str | None = None
    low: Decimal
    middle: Decimal | None = None
    high: Decimal
    samples: int | None = None
    of: int


class _Savings(_Strict):
    instance_type: str
    region: str
    plan: str
    years: int
    payment: str
    usd: Decimal
    of: int


class SnapshotFile(_Strict):
    """The file; `of` numbers the source of a row."""

    format: Literal["drivetrain-prices/1"] = "drivetrain-prices/1"
    made: date
    sources: tuple[_Source, ...]
    prices: tuple[_Price, ...]
    spot: tuple[_Spot, ...] = ()
    savings: tuple[_Savings, ...] = ()


def to_bytes(
    made: date, prices: Iterable[Price], spot: Iterable[SpotPrice] = (), savings: Iterable[SavingsRate] = ()
) -> bytes:
    """Return a snapshot's file: the same rows give the same bytes; one row a line."""
    rows = [*prices], [*spot], [*savings]
    sources = sorted({(item.source, item.dated) for group in rows for item in group})
    number = {item: place for place, item in enumerate(sources)}

    def of(item: Price | SpotPrice | SavingsRate) -> int:
        return number[item.source, item.dated]

    document = {
        "format": "drivetrain-prices/1",
        "made": str(made),
        "sources": [{"source": source, "dated": str(dated)} for source, dated in sources],
        "prices": [
            {
                "service": item.meter.service,
                "item": item.meter.item,
                "region": item.region,
                "unit": item.unit,
                "usd": str(item.usd),
                "of": of(item),
            }
            for item in sorted(rows[0], key=lambda item: (item.region, item.meter))
        ],
        "spot": [
            {
                "instance_type": item.instance_type,
                "region": item.region,
                "zone": item.zone,
                "low": str(item.low),
                "middle": None if item.middle is None else str(item.middle),
                "high": str(item.high),
                "samples": item.samples,
                "of": of(item),
            }
            for item in sorted(rows[1], key=lambda item: (item.region, item.instance_type, item.zone or ""))
        ],
        "savings": [
            {
                "instance_type": item.instance_type,
                "region": item.region,
                "plan": item.plan,
                "years": item.years,
                "payment": item.payment,
                "usd": str(item.usd),
                "of": of(item),
            }
            for item in sorted(
                rows[2], key=lambda item: (item.region, item.instance_type, item.plan, item.years, item.payment)
            )
        ],
    }
    return (_lines(document) + "\n").encode()


def _lines(document: dict[str, object]) -> str:
    parts = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            body = ",\n".join(f"  {json.dumps(row)}" for row in value)
            parts.append(f'"{name}": [\n{body}\n ]')
        else:
            parts.append(f'"{name}": {json.dumps(value)}')
    return "{" + ",\n ".join(parts) + "}"


def read_snapshot(path: Path) -> Book:
    """Read one snapshot.

    Raises:
        ConfigError: It is missing, or no snapshot.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            "the snapshot of prices cannot be read", where=path, remedy="see `drivetrain cost prices list`"
        ) from error
    return _book(path.stem, content, path)


def _book(name: str, content: bytes, where: object) -> Book:
    try:
        file = SnapshotFile.model_validate_json(content)
        sources = file.sources
        return Book.of(
            name,
            file.made,
            (
                Price(Meter(row.service, row.item), row.region, row.unit, row.usd, *_from(sources, row.of))
                for row in file.prices
            ),
            (
                SpotPrice(
                    row.instance_type,
                    row.region,
                    row.zone,
                    row.low,
                    row.middle,
                    row.high,
                    row.samples,
                    *_from(sources, row.of),
                )
                for row in file.spot
            ),
            (
                SavingsRate(
                    row.instance_type,
                    row.region,
                    row.plan,
                    row.years,
                    row.payment,
                    row.usd,
                    *_from(sources, row.of),
                )
                for row in file.savings
            ),
        )
    except (ValidationError, ValueError, IndexError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(
            f"is no snapshot of prices: {first}", where=where, remedy="see `drivetrain cost prices list`"
        ) from error


def _from(sources: tuple[_Source, ...], number: int) -> tuple[str, date]:
    if number < 0:
        raise IndexError("a source before the first")
    return sources[number].source, sources[number].dated


def packaged(folder: Path = SNAPSHOTS) -> tuple[str, ...]:
    """Return the names of the snapshots that came with this release, oldest first."""
    return tuple(sorted(path.stem for path in folder.glob("*.json") if path.name != DIGESTS))


def load(name: str | None = None, *, folder: Path = SNAPSHOTS) -> Book:
    """Load a snapshot of this release: the newest, or one by its name.

    Raises:
        ConfigError: There is none of that name.
        IntegrityError: Its bytes are not those that were released.
    """
    names = packaged(folder)
    chosen = name or (names[-1] if names else "")
    if chosen not in names:
        raise ConfigError(
            f"this release has no snapshot of prices '{chosen}'",
            where=folder,
            remedy=f"there are: {', '.join(names) or 'none'}",
        )
    path = folder / f"{chosen}.json"
    content = path.read_bytes()
    digests = json.loads((folder / DIGESTS).read_bytes())
    if digests.get(chosen) != hashlib.sha256(content).hexdigest():
        raise IntegrityError(
            "the snapshot of prices was changed after it was made",
            where=path,
            remedy="install this release again; new prices make a new snapshot: `drivetrain cost prices refresh`",
        )
    return _book(chosen, content, path)


def add_snapshot(folder: Path, content: bytes, made: date) -> Path:
    """Write a new snapshot and note its digest; what is there is never changed.

    Raises:
        ConfigError: There is one of that day already.
    """
    path = folder / f"{made}.json"
    if path.exists():
        raise ConfigError(
            "a snapshot of that day exists, and snapshots never change",
            where=path,
            remedy="use it, or write the new one to another folder",
        )
    folder.mkdir(parents=True, exist_ok=True)
    _book(path.stem, content, path)
    publish_bytes(path, content)
    known = folder / DIGESTS
    digests = json.loads(known.read_bytes()) if known.is_file() else {}
    digests[path.stem] = hashlib.sha256(content).hexdigest()
    publish_bytes(known, (json.dumps(digests, indent=1, sort_keys=True) + "\n").encode())
    return path

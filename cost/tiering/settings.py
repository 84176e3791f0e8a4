"""What only the owner of the data knows: how long it lives, whether a reader may wait, what has to stay. Strict; reads nothing itself."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cost.prices.model import Meter, Price

Days = Annotated[int, Field(ge=1, le=36_500)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PrefixSettings(_Strict):
    """What holds below a prefix; the longest that matches a key's counts.

    Attributes:
        prefix: `raw/`; empty: the whole bucket.
        life_days: How old objects get. None: what the command's `--life-days` says.
        wait_hours: How long a reader may wait for an object; below 12 nothing goes to Glacier Flexible, below 48 nothing to Deep Archive.
        one_zone: Whether the data can be made again, so that one zone may keep it.
        reads_a_month: How often an object is read, where the owner knows: 0 for data that is written and never read.
        compact: The command that puts small objects together.
        leave: No rule at all.
    """

    prefix: str
    life_days: Days | None = None
    wait_hours: Annotated[float, Field(ge=0)] = 0.0
    one_zone: bool = False
    reads_a_month: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    compact: Annotated[str, Field(min_length=1)] | None = None
    leave: bool = False


class Housekeeping(_Strict):
    """What the file of rules is to do beside moving objects; it replaces every rule that the bucket has.

    Attributes:
        expire_days: Objects are deleted after this; None: nothing is deleted.
        old_version_days: Versions that were replaced are deleted after this.
        abort_upload_days: Uploads that never ended are deleted after this.
    """

    expire_days: Days | None = None
    old_version_days: Days | None = None
    abort_upload_days: Days = 7


class OwnPrice(_Strict):
    """A price of S3 that the snapshot lacks, or that a contract changes."""

    item: Annotated[str, Field(min_length=1)]
    unit: Annotated[str, Field(min_length=1)]
    usd: Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
    source: Annotated[str, Field(min_length=1)]
    dated: date

    def price(self, region: str) -> Price:
        """Return it as a price of the book."""
        return Price(Meter("s3", self.item), region, self.unit, self.usd, self.source, self.dated)


class TieringFile(_Strict):
    """The file."""

    format: Literal["drivetrain-tiering/1"] = "drivetrain-tiering/1"
    prefixes: tuple[PrefixSettings, ...] = ()
    keep: Housekeeping = Housekeeping()
    prices: tuple[OwnPrice, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [item.prefix for item in self.prefixes]
        if len(set(names)) != len(names):
            raise ValueError("a prefix stands twice")
        items = [item.item for item in self.prices]
        if len(set(items)) != len(items):
            raise ValueError("a price stands twice")
        return self

    def of(self, prefix: str) -> PrefixSettings:
        """Return what holds for objects below a prefix."""
        fitting = [item for item in self.prefixes if prefix.startswith(item.prefix)]
        return max(fitting, key=lambda item: len(item.prefix), default=PrefixSettings(prefix=""))


NO_SETTINGS = TieringFile()

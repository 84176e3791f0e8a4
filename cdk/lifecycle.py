"""S3 lifecycle rules as the API spells them, which is how `drivetrain cost tiering` writes them. Pure."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_pascal

StorageClass = Literal["STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]
# Where lifecycle moves objects on from a class.
# Source: S3 User Guide, "Transitioning objects using Amazon S3 Lifecycle", as of 2026-11-20.
_ONWARD: dict[str, frozenset[str]] = {
    "STANDARD_IA": frozenset({"INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"}),
    "INTELLIGENT_TIERING": frozenset({"ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"}),
    "ONEZONE_IA": frozenset({"GLACIER", "DEEP_ARCHIVE"}),
    "GLACIER_IR": frozenset({"GLACIER", "DEEP_ARCHIVE"}),
    "GLACIER": frozenset({"DEEP_ARCHIVE"}),
    "DEEP_ARCHIVE": frozenset(),
}
_INFREQUENT = frozenset({"STANDARD_IA", "ONEZONE_IA"})
_INFREQUENT_DAYS = 30
AnyDays = Annotated[int, Field(ge=0, le=36_500)]
SomeDays = Annotated[int, Field(ge=1, le=36_500)]


class _Api(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_pascal, populate_by_name=True)


class Tag(_Api):
    """One tag that an object has."""

    key: str
    value: str


class All(_Api):
    """Several conditions at once."""

    prefix: str | None = None
    tags: tuple[Tag, ...] = ()
    object_size_greater_than: Annotated[int, Field(ge=0)] | None = None
    object_size_less_than: Annotated[int, Field(ge=1)] | None = None


class Filter(_Api):
    """Which objects; sizes in bytes."""

    prefix: str | None = None
    tag: Tag | None = None
    object_size_greater_than: Annotated[int, Field(ge=0)] | None = None
    object_size_less_than: Annotated[int, Field(ge=1)] | None = None
    both: All | None = Field(default=None, alias="And")


class Transition(_Api):
    """When objects go to another storage class."""

    days: AnyDays
    storage_class: StorageClass


class OldTransition(_Api):
    """When versions that were replaced go to another storage class."""

    noncurrent_days: SomeDays
    storage_class: StorageClass


class Expiration(_Api):
    """When objects are deleted."""

    days: SomeDays | None = None
    expired_object_delete_marker: bool | None = None


class OldExpiration(_Api):
    """When versions that were replaced are deleted."""

    noncurrent_days: SomeDays
    newer_noncurrent_versions: Annotated[int, Field(ge=1, le=100)] | None = None


class Abort(_Api):
    """When an upload that never ended is deleted."""

    days_after_initiation: SomeDays


class LifecycleRule(_Api):
    """One rule."""

    id: Annotated[str, Field(alias="ID", min_length=1, max_length=255)]
    status: Literal["Enabled", "Disabled"] = "Enabled"
    filter: Filter = Filter()
    transitions: tuple[Transition, ...] = ()
    noncurrent_version_transitions: tuple[OldTransition, ...] = ()
    expiration: Expiration | None = None
    noncurrent_version_expiration: OldExpiration | None = None
    abort_incomplete_multipart_upload: Abort | None = None

    @model_validator(mode="after")
    def _as_s3_takes_it(self) -> Self:
        """Refuse here what S3 would refuse in the middle of an apply."""
        for item in self.transitions:
            if item.storage_class in _INFREQUENT and item.days < _INFREQUENT_DAYS:
                raise ValueError(
                    f"S3 moves nothing to {item.storage_class} before day {_INFREQUENT_DAYS}, not on day {item.days}"
                )
        for before, after in pairwise(self.transitions):
            least = _INFREQUENT_DAYS if before.storage_class in _INFREQUENT else 1
            if after.days < before.days + least:
                raise ValueError(
                    f"{after.storage_class} on day {after.days} comes less than {least} days after {before.storage_class}"
                )
            if after.storage_class not in _ONWARD[before.storage_class]:
                raise ValueError(f"S3 moves nothing from {before.storage_class} to {after.storage_class}")
        last = self.transitions[-1].days if self.transitions else 0
        if self.expiration is not None and self.expiration.days is not None and self.expiration.days <= last:
            raise ValueError(f"objects expire on day {self.expiration.days}, and are moved on day {last}")
        asked = self.filter.both or self.filter
        low, high = asked.object_size_greater_than, asked.object_size_less_than
        if low is not None and high is not None and high <= low + 1:
            raise ValueError(f"no object is larger than {low} and smaller than {high} bytes")
        return self


class LifecycleDocument(_Api):
    """What `aws s3api put-bucket-lifecycle-configuration` takes, too.

    Attributes:
        rules: At least one, at most what S3 takes.
        transition_default_minimum_object_size: Whether objects below 128 KiB may move; None: they stay.
    """

    rules: Annotated[tuple[LifecycleRule, ...], Field(min_length=1, max_length=1000)]
    transition_default_minimum_object_size: Literal["all_storage_classes_128K", "varies_by_storage_class"] | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [rule.id for rule in self.rules]
        if len(set(names)) != len(names):
            raise ValueError(f"two rules are called {next(name for name in names if names.count(name) > 1)}")
        return self

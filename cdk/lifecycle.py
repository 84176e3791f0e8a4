"""S3 lifecycle rules as the API spells them, which is how `drivetrain cost tiering` writes them. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

StorageClass = Literal["STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"]
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


class LifecycleDocument(_Api):
    """What `aws s3api put-bucket-lifecycle-configuration` takes, too.

    Attributes:
        rules: At least one, at most what S3 takes.
        transition_default_minimum_object_size: Whether objects below 128 KiB may move; None: they stay.
    """

    rules: Annotated[tuple[LifecycleRule, ...], Field(min_length=1, max_length=1000)]
    transition_default_minimum_object_size: Literal["all_storage_classes_128K", "varies_by_storage_class"] | None = None

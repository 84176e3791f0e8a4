"""Reads S3 Storage Lens' metrics export (CSV): how often a bucket or a prefix is read on average, where no log says more."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from cost.tiering.problems import Problems
from platform_lib.errors import ConfigError

# Source: S3 User Guide, "Understanding the Amazon S3 Storage Lens export schema".
COLUMNS = (
    "version_number", "configuration_id", "report_date", "aws_account_number", "aws_region", "storage_class", "record_type",
    "record_value", "bucket_name", "metric_name", "metric_value",
)  # fmt: skip
_REMEDY = "give the .csv files of a daily metrics export; Parquet exports are not read"


@dataclass(slots=True)
class LensDay:
    """What one day's report says of a bucket or prefix; None: nothing."""

    objects: int | None = None
    stored_bytes: int | None = None
    gets: int | None = None
    downloaded_bytes: int | None = None


_METRICS = {
    "ObjectCount": "objects",
    "StorageBytes": "stored_bytes",
    "GetRequests": "gets",
    "BytesDownloaded": "downloaded_bytes",
}


@dataclass(slots=True)
class Lens:
    """Reports by prefix (the bucket itself: empty) and day.

    Attributes:
        days: What each says.
        rows: How many rows are about the bucket.
    """

    days: dict[tuple[str, str], LensDay] = field(default_factory=dict)
    rows: int = 0

    def rates(self, prefix: str) -> tuple[float, float, int] | None:
        """Return (requests an object and day, bytes read of bytes stored a day, days), of the nearest prefix that has them."""
        for name in sorted({key[0] for key in self.days if prefix.startswith(key[0])}, key=len, reverse=True):
            known = [
                day
                for (place, _), day in self.days.items()
                if place == name
                and day.gets is not None
                and day.downloaded_bytes is not None
                and day.objects
                and day.stored_bytes
            ]
            if known:
                gets = sum((day.gets or 0) / (day.objects or 1) for day in known) / len(known)
                share = sum((day.downloaded_bytes or 0) / (day.stored_bytes or 1) for day in known) / len(known)
                return gets, share, len(known)
        return None


def read_lens(paths: Sequence[Path], bucket: str, problems: Problems) -> Lens:
    """Read exports; rows of other buckets are passed over.

    Raises:
        ConfigError: A file is no such export, or none speaks of the bucket.
    """
    lens = Lens()
    for path in paths:
        for number, row in enumerate(_rows(path), start=2):
            try:
                _note(lens, row, bucket)
            except (KeyError, ValueError, TypeError) as error:
                problems.add(f"Storage Lens row: {type(error).__name__}: {error}"[:120], f"{path}:{number}")
    if not lens.rows:
        raise ConfigError(
            f"Storage Lens says nothing of bucket {bucket}",
            where=", ".join(map(str, paths)),
            remedy="give the export of a configuration that includes it",
        )
    return lens


def _rows(path: Path) -> Iterator[dict[str, str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ConfigError(
                    f"is no export of Storage Lens: no column {', '.join(missing)}", where=path, remedy=_REMEDY
                )
            yield from reader
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"the export cannot be read: {error}", where=path, remedy=_REMEDY) from error


def _note(lens: Lens, row: dict[str, str], bucket: str) -> None:
    kind, name = row["record_type"], _METRICS.get(row["metric_name"])
    if row["bucket_name"] != bucket or kind not in {"BUCKET", "PREFIX"}:
        return
    lens.rows += 1
    if name is None:
        return
    value = int(float(row["metric_value"]))
    if value < 0:
        raise ValueError(f"{row['metric_name']} of {value}")
    prefix = unquote(row["record_value"]) if kind == "PREFIX" else ""
    day = lens.days.setdefault((prefix, row["report_date"]), LensDay())
    # One row a storage class: they add up.
    setattr(day, name, (getattr(day, name) or 0) + value)

"""Reads S3 Inventory as S3 delivers it: manifest.json with its checksum, and CSV, Parquet or ORC files; row by row."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

from cost.tiering.problems import Problems
from platform_lib.errors import ConfigError, IntegrityError, MissingPartError

DAY_S = 86_400
_REMEDY = (
    "copy the destination bucket as it is: aws s3 sync s3://DESTINATION/PREFIX FOLDER, and name manifest.json in it"
)
_NEEDED = ("key", "size", "lastmodifieddate", "storageclass")


@dataclass(frozen=True, slots=True)
class Item:
    """One line of an inventory: an object or one of its versions.

    Attributes:
        key: Its name, decoded.
        size_bytes: Its size.
        modified_s: When it was made, seconds since 1970 UTC.
        storage_class: S3's word.
        tier: Of Intelligent-Tiering, S3's word; empty elsewhere or where the inventory lacks the field.
        latest: Whether it is what a reader gets; False: a version that was replaced.
        marker: Whether it is a delete marker.
        locked_until_s: Until when it is retained; None: it is not.
        held: Whether it is under legal hold.
    """

    key: str
    size_bytes: int
    modified_s: float
    storage_class: str
    tier: str = ""
    latest: bool = True
    marker: bool = False
    locked_until_s: float | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an inventory's manifest says.

    Attributes:
        path: Where it lies.
        bucket: The bucket that was listed.
        taken_s: When, seconds since 1970 UTC.
        form: `CSV`, `Parquet` or `ORC`.
        columns: Of CSV, in their order, lower case.
        files: (path here, MD5) of each file.
        fields: Names of all fields, lower case without underscores.
    """

    path: Path
    bucket: str
    taken_s: float
    form: str
    columns: tuple[str, ...]
    files: tuple[tuple[Path, str], ...]
    fields: frozenset[str]

    @property
    def tells_locks(self) -> bool:
        """Whether retention and legal hold are among the fields."""
        return {"objectlockretainuntildate", "objectlocklegalholdstatus"} <= self.fields


def read_manifest(path: Path) -> Manifest:
    """Read an inventory's manifest; a folder stands for the newest manifest below it.

    Raises:
        ConfigError: It is missing, no manifest, or a file that it names is missing.
        IntegrityError: It is not what its checksum says.
    """
    place = _newest(path) if path.is_dir() else path
    try:
        content = place.read_bytes()
        document = json.loads(content)
        form = str(document["fileFormat"])
        schema = str(document["fileSchema"])
        files = tuple((_found(place, str(item["key"])), str(item["MD5checksum"])) for item in document["files"])
        taken_s = int(document["creationTimestamp"]) / 1000
        bucket = str(document["sourceBucket"])
    except OSError as error:
        raise ConfigError(
            f"the inventory's manifest cannot be read: {error.strerror}", where=place, remedy=_REMEDY
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        said = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"is no manifest of S3 Inventory: {said}", where=place, remedy=_REMEDY) from error
    beside = place.with_name("manifest.checksum")
    if beside.is_file() and beside.read_text().strip() != hashlib.md5(content, usedforsecurity=False).hexdigest():
        raise IntegrityError("is not what manifest.checksum beside it says", where=place, remedy=_REMEDY)
    if form not in {"CSV", "Parquet", "ORC"}:
        raise ConfigError(
            f"an inventory in {form} is not read", where=place, remedy="deliver it as CSV, Parquet or ORC"
        )
    columns = tuple(_plain(name) for name in schema.split(",")) if form == "CSV" else ()
    found = frozenset(columns) if columns else frozenset(_plain(word) for word in _words(schema))
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise ConfigError(
            f"the inventory has no field {', '.join(missing)}",
            where=place,
            remedy="add Size, LastModifiedDate and StorageClass to the inventory's configuration",
        )
    return Manifest(place, bucket, taken_s, form, columns, files, found)


def _newest(folder: Path) -> Path:
    found = sorted(folder.rglob("manifest.json"), key=lambda item: item.parent.name)
    if not found:
        raise ConfigError("there is no manifest.json below it", where=folder, remedy=_REMEDY)
    return found[-1]


def _found(manifest: Path, key: str) -> Path:
    """Return where a file of the destination bucket lies here: the key below a folder above the manifest."""
    for folder in manifest.resolve().parents:
        if (folder / key).is_file():
            return folder / key
    beside = manifest.parent.parent / "data" / Path(key).name
    if beside.is_file():
        return beside
    raise ConfigError(f"the inventory's file {key} is not here", where=manifest, remedy=_REMEDY)


def _words(schema: str) -> Iterator[str]:
    """Yield the names in `message s3.inventory { required binary bucket (UTF8); ...}` or `struct<bucket:string,...>`."""
    if schema.startswith("struct<"):
        for part in schema.removeprefix("struct<").rstrip(">").split(","):
            yield part.partition(":")[0]
        return
    for line in schema.partition("{")[2].rpartition("}")[0].split(";"):
        words = line.replace("(", " (").split()
        if len(words) >= 3:
            yield words[2]


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "")


def read_items(manifest: Manifest, problems: Problems) -> Iterator[Item]:
    """Yield an inventory's lines, file by file; a line that cannot be read is counted, with its number.

    Raises:
        ConfigError: A file cannot be read.
        IntegrityError: A file is not what the manifest says.
        MissingPartError: Parquet and ORC need pyarrow.
    """
    for path, digest in manifest.files:
        if digest and _md5(path) != digest:
            raise IntegrityError("is not the file that the manifest names: its MD5 differs", where=path, remedy=_REMEDY)
        rows = _csv_rows(path, manifest.columns, problems) if manifest.form == "CSV" else _columnar(path, manifest.form)
        for number, row in enumerate(rows, start=1):
            if row is None:
                continue
            try:
                item = _item(row, encoded=manifest.form == "CSV")
            except (KeyError, ValueError, TypeError) as error:
                problems.add(f"inventory line: {type(error).__name__}: {error}"[:120], f"{path}:{number}")
                continue
            yield item


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=path, remedy=_REMEDY) from error
    return digest.hexdigest()


def _csv_rows(path: Path, columns: tuple[str, ...], problems: Problems) -> Iterator[Mapping[str, Any] | None]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as stream:
            for number, cells in enumerate(csv.reader(stream), start=1):
                if len(cells) != len(columns):
                    problems.add(f"inventory line of {len(cells)} fields, not {len(columns)}", f"{path}:{number}")
                    yield None
                    continue
                yield dict(zip(columns, cells, strict=True))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"the inventory's file cannot be read: {error}", where=path, remedy=_REMEDY) from error


def _columnar(path: Path, form: str) -> Iterator[Mapping[str, Any]]:
    try:
        import pyarrow as arrow
        from pyarrow import orc, parquet
    except ImportError as error:
        raise MissingPartError(
            f"an inventory in {form} needs pyarrow",
            where=path,
            remedy="pip install 'drivetrain[data]', or deliver it as CSV",
        ) from error
    try:
        if form == "Parquet":
            batches = parquet.ParquetFile(path).iter_batches(batch_size=65_536)
        else:
            whole = orc.ORCFile(path)
            batches = (whole.read_stripe(number) for number in range(whole.nstripes))
        for batch in batches:
            names = [_plain(name) for name in batch.schema.names]
            for row in batch.to_pylist():
                yield dict(zip(names, row.values(), strict=True))
    except (OSError, arrow.ArrowException) as error:
        raise ConfigError(f"the inventory's file cannot be read: {error}", where=path, remedy=_REMEDY) from error


def _item(row: Mapping[str, Any], *, encoded: bool) -> Item:
    key = row["key"]
    if not key:
        raise ValueError("no key")
    marker = _truth(row.get("isdeletemarker"), otherwise=False)
    size = row["size"]
    if size in (None, "") and not marker:
        raise ValueError("no size")
    size_bytes = int(size or 0)
    if size_bytes < 0:
        raise ValueError("a negative size")
    until = row.get("objectlockretainuntildate")
    return Item(
        # Keys in CSV are URL-encoded; S3 writes a blank as `+`.
        key=unquote_plus(key) if encoded else str(key),
        size_bytes=size_bytes,
        modified_s=_seconds(row["lastmodifieddate"]),
        storage_class=str(row["storageclass"] or ("" if marker else "STANDARD")),
        tier=str(row.get("intelligenttieringaccesstier") or ""),
        latest=_truth(row.get("islatest"), otherwise=True),
        marker=marker,
        locked_until_s=None if until in (None, "") else _seconds(until),
        held=str(row.get("objectlocklegalholdstatus") or "").upper() == "ON",
    )


def _truth(value: Any, *, otherwise: bool) -> bool:
    if value in (None, ""):
        return otherwise
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in {"true", "false"}:
        raise ValueError(f"{value} is neither true nor false")
    return word == "true"


def _seconds(value: Any) -> float:
    """Return seconds since 1970 UTC of a time as CSV, Parquet and ORC give it."""
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value).timestamp()
    if isinstance(value, int):  # milliseconds, where Parquet's column has no logical type
        return value / 1000
    found = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).timestamp()

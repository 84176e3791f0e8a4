"""A bucket's inventory and logs in the formats that S3 writes, from a list of objects and reads."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, quote_plus

TAKEN = datetime(2026, 11, 20, tzinfo=UTC)
BUCKET = "fleet-raw"
OWNER = "79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"
FIELDS = (
    "Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", "Size", "LastModifiedDate", "StorageClass",
    "IntelligentTieringAccessTier", "EncryptionStatus", "ObjectLockRetainUntilDate", "ObjectLockMode",
    "ObjectLockLegalHoldStatus", "ReplicationStatus",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """One version of an object, and how many days before the inventory it was made."""

    key: str
    size: int
    age_days: float = 10.0
    storage_class: str = "STANDARD"
    latest: bool = True
    marker: bool = False
    locked_until: datetime | None = None
    held: bool = False
    tier: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A read, so many days before the inventory."""

    key: str
    days_ago: float
    sent: int
    size: int
    operation: str = "REST.GET.OBJECT"
    status: str = "200"
    bucket: str = BUCKET


@dataclass(slots=True)
class Bucket:
    """All of it."""

    objects: list[Stored] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


def _row(item: Stored, name: str, *, encoded: bool) -> dict[str, object]:
    moment = TAKEN - timedelta(days=item.age_days)
    return {
        "Bucket": name,
        "Key": quote_plus(item.key, safe="/") if encoded else item.key,
        "VersionId": "v1",
        "IsLatest": item.latest,
        "IsDeleteMarker": item.marker,
        "Size": None if item.marker else item.size,
        "LastModifiedDate": moment,
        "StorageClass": None if item.marker else item.storage_class,
        "IntelligentTieringAccessTier": item.tier or None,
        "EncryptionStatus": "SSE-KMS",
        "ObjectLockRetainUntilDate": item.locked_until,
        "ObjectLockMode": "COMPLIANCE" if item.locked_until else None,
        "ObjectLockLegalHoldStatus": "ON" if item.held else "OFF",
        "ReplicationStatus": None,
    }


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return str(value)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


def write_inventory(folder: Path, bucket: Bucket, *, form: str = "CSV", name: str = BUCKET, files: int = 1) -> Path:
    """Write an inventory as S3 delivers it below a synchronised folder; return its manifest."""
    data = folder / "inventories" / name / "daily" / "data"
    data.mkdir(parents=True, exist_ok=True)
    entries = []
    for number in range(files):
        rows = [_row(item, name, encoded=form == "CSV") for item in bucket.objects[number::files]]
        path = data / f"part-{number}.{'csv.gz' if form == 'CSV' else form.lower()}"
        _write_rows(path, rows, form)
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        entries.append({"key": path.relative_to(folder).as_posix(), "size": path.stat().st_size, "MD5checksum": digest})
    schemas = {
        "CSV": ", ".join(FIELDS),
        "Parquet": "message s3.inventory { " + " ".join(f"{_kind(each)};" for each in FIELDS) + " }",
        "ORC": f"struct<{','.join(f'{_snake(each)}:string' for each in FIELDS)}>",
    }
    document = {
        "sourceBucket": name,
        "destinationBucket": "arn:aws:s3:::fleet-inventories",
        "version": "2016-11-30",
        "creationTimestamp": str(int(TAKEN.timestamp() * 1000)),
        "fileFormat": form,
        "fileSchema": schemas[form],
        "files": entries,
    }
    manifest = data.parent / TAKEN.strftime("%Y-%m-%dT%H-%MZ") / "manifest.json"
    manifest.parent.mkdir(exist_ok=True)
    manifest.write_text(json.dumps(document))
    manifest.with_name("manifest.checksum").write_text(
        hashlib.md5(manifest.read_bytes(), usedforsecurity=False).hexdigest()
    )
    return manifest


def _kind(name: str) -> str:
    snake = _snake(name)
    if name == "Size":
        return f"optional int64 {snake}"
    if name in {"LastModifiedDate", "ObjectLockRetainUntilDate"}:
        return f"optional int64 {snake} (TIMESTAMP(MILLIS,true))"
    if name in {"IsLatest", "IsDeleteMarker"}:
        return f"optional boolean {snake}"
    return f"{'required' if name in {'Bucket', 'Key'} else 'optional'} binary {snake} (UTF8)"


def _write_rows(path: Path, rows: list[dict[str, object]], form: str) -> None:
    if form == "CSV":
        text = io.StringIO()
        writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([_cell(row[name]) for name in FIELDS] for row in rows)
        path.write_bytes(gzip.compress(text.getvalue().encode()))
        return
    import pyarrow as pa
    from pyarrow import orc, parquet

    kinds = {"Size": pa.int64(), "IsLatest": pa.bool_(), "IsDeleteMarker": pa.bool_()}
    time = pa.timestamp("ms", tz="UTC")
    kinds |= {"LastModifiedDate": time, "ObjectLockRetainUntilDate": time}
    columns = {_snake(name): pa.array([row[name] for row in rows], kinds.get(name, pa.string())) for name in FIELDS}
    (parquet.write_table if form == "Parquet" else orc.write_table)(pa.table(columns), str(path))


def log_line(request: Request) -> str:
    """Return a line of a server access log."""
    moment = (TAKEN - timedelta(days=request.days_ago)).strftime("%d/%b/%Y:%H:%M:%S +0000")
    key = quote(request.key, safe="/")
    error = "-" if request.status.startswith("2") else "NoSuchKey"
    return (
        f"{OWNER} {request.bucket} [{moment}] 192.0.2.3 arn:aws:sts::123456789012:assumed-role/ray/i-1 3E57427F3EXAMPLE "
        f'{request.operation} {key} "GET /{request.bucket}/{key} HTTP/1.1" {request.status} {error} {request.sent} {request.size} '
        f'70 10 "-" "aws-sdk-cpp/1.11 \\"ray\\" x" - s9lzHYrFp76ZVxRcpX9+5cjAnEH2ROuNkd2BHfIa6UkFVdtjf5mKR3/eTPFvsiP/XV/VLi31234= '
        f"SigV4 ECDHE-RSA-AES128-GCM-SHA256 AuthHeader {request.bucket}.s3.us-east-1.amazonaws.com TLSV1.2 - -"
    )


def write_access_log(path: Path, requests: list[Request], *, broken: tuple[str, ...] = ()) -> Path:
    """Write a server access log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*map(log_line, requests), *broken]) + "\n")
    return path


def write_cloudtrail(path: Path, requests: list[Request]) -> Path:
    """Write CloudTrail's data events of the same reads."""
    records = [
        {
            "eventVersion": "1.11",
            "eventTime": (TAKEN - timedelta(days=each.days_ago)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "eventSource": "s3.amazonaws.com",
            "eventName": "GetObject",
            "awsRegion": "us-east-1",
            "requestParameters": {
                "bucketName": each.bucket,
                "Host": f"{each.bucket}.s3.amazonaws.com",
                "key": each.key,
            },
            "additionalEventData": {"bytesTransferredIn": 0, "bytesTransferredOut": float(each.sent)},
            **({} if each.status.startswith("2") else {"errorCode": "NoSuchKey"}),
            "readOnly": True,
            "eventCategory": "Data",
        }
        for each in requests
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(json.dumps({"Records": records}).encode()))
    return path


def fleet(objects: int = 200, *, days: int = 120) -> Bucket:
    """Return a bucket with four habits: raw drives, frames of training, small side files, reports that are read daily."""
    bucket = Bucket()
    for number in range(objects):
        age = days * (number + 0.5) / objects
        raw, small = f"raw/drive {number}.mf4", f"sidecars/{number}.json"
        frame, report = f"frames/{number}.png", f"reports/{number}.html"
        bucket.objects += [
            Stored(raw, 900 << 20, age),
            Stored(frame, 2 << 20, age),
            Stored(small, 9 << 10, age),
            Stored(report, 3 << 20, age),
        ]
        bucket.requests.append(Request(raw, age - 0.2, 900 << 20, 900 << 20))
        bucket.requests += [
            Request(frame, age - 1 - step, 2 << 20, 2 << 20) for step in range(20) if age - 1 - step > 0
        ]
        bucket.requests += [Request(report, day + 0.3, 3 << 20, 3 << 20) for day in range(int(age))]
    return bucket

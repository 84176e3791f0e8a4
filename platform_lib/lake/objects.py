"""Objects of a lake that lies in an S3 bucket: listed, read, written and deleted, with errors that say what to do.

Three clients work on one bucket: boto3 here (lists, small objects, deletes, versions, unfinished uploads), pyarrow for
Parquet and Iceberg's files, and Lance's own. Each tries a request again by the same policy; credentials, region and endpoint
come from the environment as for every AWS tool.

S3 answers a write once the object is stored, whole, in several places: what the local lake has to flush is durable here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

import pyarrow.fs

from platform_lib.errors import ConfigError, PlatformError
from platform_lib.logs.s3_source import explained, s3_client

TRIES = 8
"""How often each of the clients sends a request that fails in passing (500, 503 SlowDown, a broken connection)."""
_CONNECT_S, _REQUEST_S = 10.0, 60.0
_GIVE_UP_S = 180
_FIRST_WAIT_S = 0.05
_BLOCK_BYTES = 8 << 20
_MOST_DELETED = 1000  # Source: Amazon S3 API reference, DeleteObjects, 2026-11
_SETTINGS = (
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_DEFAULT_REGION",
)  # fmt: skip
_NEEDED = (
    "grant s3:ListBucket, s3:ListBucketMultipartUploads, s3:GetObject, s3:PutObject, s3:DeleteObject and "
    "s3:AbortMultipartUpload there, or name other credentials"
)
# What Lance, pyarrow and their clients say of the way to a bucket, as against what they say of a file's content.
_TRANSPORT = (
    "Generic S3 error", "AWS Error", "error sending request", "timed out", "dispatch failure", "credential",
    "Unable to connect", "Couldn't connect", "Server returned",
)  # fmt: skip


class BucketError(PlatformError):
    """A bucket that does not do what a lake needs of it, however often it is asked."""

    usual_remedy = "check the service and the network, and run the command again: what was committed is there"


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """An object, or a prefix, of a bucket, with the words that `pathlib.Path` has for the same things.

    Attributes:
        key: Without slashes at its ends; empty for the bucket itself.
    """

    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> ObjectPath:
        """Read ``s3://bucket/key``."""
        bucket, _, key = text.removeprefix("s3://").partition("/")
        return cls(bucket, key.strip("/"))

    def __str__(self) -> str:
        return f"s3://{self.without_scheme}"

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(self.bucket, f"{self.key}/{name}" if self.key else name)

    @property
    def without_scheme(self) -> str:
        """As pyarrow names it."""
        return f"{self.bucket}/{self.key}" if self.key else self.bucket

    @property
    def name(self) -> str:
        """The last part of its key."""
        return PurePosixPath(self.key).name

    @property
    def stem(self) -> str:
        """Its name without what follows the last dot."""
        return PurePosixPath(self.key).stem

    @property
    def suffix(self) -> str:
        """What follows the last dot of its name, with it."""
        return PurePosixPath(self.key).suffix

    @property
    def parent(self) -> ObjectPath:
        """The prefix that it lies below."""
        return ObjectPath(self.bucket, self.key.rpartition("/")[0])

    def with_name(self, name: str) -> ObjectPath:
        """Return its neighbour of another name."""
        return self.parent / name

    def relative_to(self, folder: ObjectPath) -> PurePosixPath:
        """Return the rest of its key below a prefix."""
        return PurePosixPath(self.key).relative_to(folder.key)

    @property
    def below(self) -> str:
        """What the keys of everything below it begin with."""
        return f"{self.key}/" if self.key else ""


@dataclass(frozen=True, slots=True)
class OldVersion:
    """What a bucket keeps of an object that was replaced or deleted: content, or the mark of a deletion."""

    path: ObjectPath
    version_id: str
    is_marker: bool


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload in parts that was begun and neither completed nor aborted."""

    path: ObjectPath
    upload_id: str


# Clients --------------------------------------------------------------------------------------------------------------


def _now() -> tuple[str | int | None, ...]:
    """What clients depend on; a forked child makes its own, since connections and their threads are not inherited."""
    return (os.getpid(), *(os.environ.get(name) for name in _SETTINGS))


@lru_cache(maxsize=4)
def _client_for(_: tuple[str | int | None, ...]) -> Any:
    return s3_client("s3://", tries=TRIES)


def client() -> Any:
    """Return this process's boto3 client.

    Raises:
        MissingPartError: boto3 is not installed.
        PlatformError: The settings of the environment cannot be meant.
    """
    return _client_for(_now())


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


@lru_cache(maxsize=16)
def _region_for(bucket: str, _: tuple[str | int | None, ...]) -> str:
    known = client().meta.region_name
    if known and known != "aws-global":
        return str(known)
    with asked(ObjectPath(bucket, "")):
        return str(client().head_bucket(Bucket=bucket).get("BucketRegion") or "us-east-1")


@lru_cache(maxsize=16)
def _filesystem_for(bucket: str, now: tuple[str | int | None, ...]) -> pyarrow.fs.S3FileSystem:
    scheme, _, host = (_endpoint() or "").partition("://")
    return pyarrow.fs.S3FileSystem(
        region=_region_for(bucket, now),
        endpoint_override=host or None,
        scheme=scheme or "https",
        retry_strategy=pyarrow.fs.AwsStandardS3RetryStrategy(max_attempts=TRIES),
        connect_timeout=_CONNECT_S,
        request_timeout=_REQUEST_S,
    )


def filesystem(path: ObjectPath) -> pyarrow.fs.S3FileSystem:
    """Return pyarrow's way to the bucket of `path`."""
    return _filesystem_for(path.bucket, _now())


def lance_options(path: ObjectPath) -> dict[str, str]:
    """Return what Lance has to be told to reach the bucket of `path`; credentials it finds by itself."""
    endpoint = _endpoint()
    options = {
        "aws_region": _region_for(path.bucket, _now()),
        "client_max_retries": str(TRIES),
        "client_retry_timeout": str(_GIVE_UP_S),
        "connect_timeout": f"{_CONNECT_S:g}s",
        "timeout": f"{_REQUEST_S:g}s",
    }
    if endpoint is not None:
        options |= {"aws_endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}
    return options


# Errors ---------------------------------------------------------------------------------------------------------------


@contextmanager
def asked(path: ObjectPath) -> Iterator[None]:
    """Say what a request of the block that boto3 gave up means for the person at the command.

    Raises:
        PlatformError: No bucket, no credentials, no right, or a service that does not answer.
    """
    import botocore.exceptions

    try:
        yield
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise _told(path, error) from error


def _told(path: ObjectPath, error: Exception) -> PlatformError:
    answer = getattr(error, "response", None) or {}
    code = str(answer.get("Error", {}).get("Code", ""))
    status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in ("AccessDenied", "403", "AllAccessDisabled", "MethodNotAllowed"):
        return ConfigError(f"the bucket refuses access ({code})", where=str(path), remedy=_NEEDED)
    if code == "NoSuchBucket" or (code == "404" and not path.key):
        return ConfigError(
            f"there is no bucket '{path.bucket}'",
            where=str(path),
            remedy="make it, or correct DRIVETRAIN_LAKE; look at the account and the region too",
        )
    if status >= 500 or code in ("SlowDown", "Throttling", "RequestTimeout"):
        return BucketError(f"S3 answers {code or status}, {TRIES} times in a row", where=str(path))
    return explained(str(path), error)


def is_transport(error: BaseException) -> bool:
    """Whether an error of Lance, pyarrow or pyiceberg is about reaching a bucket, and says nothing of a file's content."""
    text = str(error)
    missing = any(mark in text for mark in ("NoSuchKey", "NO_SUCH_KEY", "404 Not Found")) and "NoSuchBucket" not in text
    return not missing and any(mark.lower() in text.lower() for mark in _TRANSPORT)


def as_bucket_error(path: ObjectPath, error: BaseException) -> PlatformError:
    """Return what an error of Lance, pyarrow or pyiceberg about reaching a bucket means."""
    text = " ".join(str(error).split())
    if any(mark in text for mark in ("AccessDenied", "ACCESS_DENIED", "403 Forbidden", "InvalidAccessKeyId")):
        return ConfigError("the bucket refuses access", where=str(path), remedy=_NEEDED)
    if "NoSuchBucket" in text or "NO_SUCH_BUCKET" in text:
        return ConfigError(f"there is no bucket '{path.bucket}'", where=str(path), remedy="make it again")
    return BucketError(f"the bucket does not answer as it should: {text[:240]}", where=str(path))


# Requests -------------------------------------------------------------------------------------------------------------


def listed(folder: ObjectPath, *, most: int | None = None) -> dict[ObjectPath, int]:
    """Return every object below a prefix -> bytes, without the marks that some tools leave for empty folders."""
    found: dict[ObjectPath, int] = {}
    for page in _pages("list_objects_v2", folder, most):
        for item in page.get("Contents", ()):
            if not item["Key"].endswith("/"):
                found[ObjectPath(folder.bucket, item["Key"])] = int(item["Size"])
        if most is not None and len(found) >= most:
            break
    return found


def old_versions(folder: ObjectPath) -> list[OldVersion]:
    """Return what a bucket that keeps versions still has of objects below a prefix that were replaced or deleted."""
    found = []
    for page in _pages("list_object_versions", folder):
        for kind in ("Versions", "DeleteMarkers"):
            found += [
                OldVersion(ObjectPath(folder.bucket, item["Key"]), item["VersionId"], kind == "DeleteMarkers")
                for item in page.get(kind, ())
                if kind == "DeleteMarkers" or not item["IsLatest"]
            ]
    return found


def unfinished_uploads(folder: ObjectPath) -> list[Upload]:
    """Return uploads in parts below a prefix that were never completed: of killed writers, or on their way."""
    return [
        Upload(ObjectPath(folder.bucket, item["Key"]), item["UploadId"])
        for page in _pages("list_multipart_uploads", folder)
        for item in page.get("Uploads", ())
    ]


def copied_to(folder: ObjectPath) -> list[str]:
    """Return the buckets to which the bucket's own rules copy what lies below a prefix.

    Raises:
        ConfigError: The rules may not be read.
    """
    import botocore.exceptions

    with asked(folder):
        try:
            answer = client().get_bucket_replication(Bucket=folder.bucket)
        except botocore.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ReplicationConfigurationNotFoundError":
                return []
            raise
    rules = answer.get("ReplicationConfiguration", {}).get("Rules", ())
    return sorted({rule["Destination"]["Bucket"] for rule in rules if _meets(rule, folder)})


def _meets(rule: Mapping[str, Any], folder: ObjectPath) -> bool:
    """Whether a rule of replication names anything below a prefix; one that also asks for tags may."""
    told = rule.get("Filter", {})
    prefix = str(rule.get("Prefix") or told.get("Prefix") or told.get("And", {}).get("Prefix") or "")
    return rule.get("Status") == "Enabled" and (folder.below.startswith(prefix) or prefix.startswith(folder.below))


def abort(uploads: Iterable[Upload]) -> None:
    """Throw away the parts of unfinished uploads."""
    import botocore.exceptions

    for item in uploads:
        with asked(item.path):
            try:
                client().abort_multipart_upload(Bucket=item.path.bucket, Key=item.path.key, UploadId=item.upload_id)
            except botocore.exceptions.ClientError as error:
                if error.response.get("Error", {}).get("Code") != "NoSuchUpload":  # completed or aborted since
                    raise


def delete(paths: Iterable[ObjectPath]) -> None:
    """Delete objects; one that is not there is no error.

    Raises:
        ConfigError: One may not be deleted.
    """
    _delete([(path, None) for path in paths])


def delete_versions(versions: Iterable[OldVersion]) -> list[str]:
    """Delete old versions for good; return what the bucket would not let go, with its reason."""
    return _delete([(item.path, item.version_id) for item in versions], refuse=False)


def _delete(items: list[tuple[ObjectPath, str | None]], *, refuse: bool = True) -> list[str]:
    kept: list[str] = []
    for start in range(0, len(items), _MOST_DELETED):
        some = items[start : start + _MOST_DELETED]
        keys = [{"Key": path.key, **({"VersionId": version} if version else {})} for path, version in some]
        with asked(some[0][0]):
            answer = client().delete_objects(Bucket=some[0][0].bucket, Delete={"Objects": keys, "Quiet": True})
        kept += [f"{item['Key']}: {item.get('Code', 'refused')}" for item in answer.get("Errors", ())]
    if kept and refuse:
        raise ConfigError(
            f"{len(kept)} objects may not be deleted ({kept[0]})", where=str(items[0][0].parent), remedy=_NEEDED
        )
    return kept


def size_of(path: ObjectPath) -> int | None:
    """Return an object's length; None if there is none."""
    import botocore.exceptions

    with asked(path):
        try:
            return int(client().head_object(Bucket=path.bucket, Key=path.key)["ContentLength"])
        except botocore.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey", "NotFound"):
                return None
            raise


def get(path: ObjectPath) -> bytes | None:
    """Return a small object's content; None if there is none."""
    import botocore.exceptions

    failures = 0
    while True:
        with asked(path):
            try:
                return bytes(client().get_object(Bucket=path.bucket, Key=path.key)["Body"].read())
            except botocore.exceptions.ClientError as error:
                if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                    return None
                raise
            except (botocore.exceptions.IncompleteReadError, botocore.exceptions.ResponseStreamingError):
                failures += 1  # a body that is cut is no failed request to botocore
                if failures == TRIES:
                    raise
        time.sleep(_FIRST_WAIT_S * 2.0**failures)


def put(path: ObjectPath, data: bytes) -> None:
    """Write a small object, in the place of what is there."""
    with asked(path):
        client().put_object(Bucket=path.bucket, Key=path.key, Body=data)


def put_new(path: ObjectPath, data: bytes) -> bool:
    """Write a small object unless there is one: of several at once, one succeeds. Returns whether it was written."""
    import botocore.exceptions

    with asked(path):
        try:
            client().put_object(Bucket=path.bucket, Key=path.key, Body=data, IfNoneMatch="*")
        except botocore.exceptions.ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            raise
    return True


def blocks(path: ObjectPath) -> Iterator[bytes]:
    """Yield an object's content, in pieces of 8 MiB, each asked for anew if it breaks on its way.

    Raises:
        FileNotFoundError: There is none.
    """
    with filesystem(path).open_input_file(path.without_scheme) as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield block


def _pages(call: str, folder: ObjectPath, most: int | None = None) -> Iterator[Mapping[str, Any]]:
    more = {} if most is None or call != "list_objects_v2" else {"MaxKeys": most}
    with asked(folder):
        yield from client().get_paginator(call).paginate(Bucket=folder.bucket, Prefix=folder.below, **more)

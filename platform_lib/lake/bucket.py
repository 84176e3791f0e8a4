"""Drive logs in an S3 bucket: listed, and fetched whole or not at all.

Every request is tried again, with growing waits, on what passes (500, 503 SlowDown, a broken connection); a body that is
cut is taken up where it ended. A fetched object has the length and the ETag of its listing, and where the ETag is an MD5
that of its bytes; anything else is a refusal that says why.
"""

from __future__ import annotations

import hashlib
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from platform_lib.errors import ConfigError, IntegrityError, MissingPartError, StoppedError
from platform_lib.logs import LOG_SUFFIXES
from platform_lib.logs.s3_source import explained, s3_client

logger = logging.getLogger(__name__)

_BAG_METADATA = "metadata.yaml"
_PIECE_BYTES = 1 << 20
_MD5_ETAG = re.compile(r'"?(?P<md5>[0-9a-f]{32})"?')
# Source: Amazon S3 API reference, "Error responses", 2026-11; every status of 500 and above passes too.
_PASSING = frozenset({"SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "TooManyRequests", "429"})


@dataclass(frozen=True, slots=True)
class Patience:
    """How often a request is tried without getting anywhere, and how long is waited in between.

    Attributes:
        tries: Requests in a row that bring nothing before it is given up.
        first_wait_s: Wait after the first; each is twice the one before, give or take a half, so that many clients that
            were refused together do not come back together.
        longest_wait_s: Most.
    """

    tries: int = 8
    first_wait_s: float = 0.2
    longest_wait_s: float = 10.0

    def wait(self, failures: int) -> None:
        """Wait after that many failures in a row."""
        longest = min(self.first_wait_s * 2.0 ** (failures - 1), self.longest_wait_s)
        time.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311 - no secret, only spread


@dataclass(frozen=True, slots=True)
class BucketObject:
    """One object, as it was listed."""

    key: str
    bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class BucketLog:
    """One log: an object, or every object of a ROS 2 bag folder.

    Attributes:
        uri: ``s3://bucket/key`` of the object or the folder.
        folder: Key of the bag folder, with its slash; None for an object.
    """

    bucket: str
    uri: str
    objects: tuple[BucketObject, ...]
    folder: str | None = None

    @property
    def bytes(self) -> int:
        """Length of all objects."""
        return sum(item.bytes for item in self.objects)

    @property
    def mark(self) -> str:
        """Digest by which a change of any object shows."""
        text = "".join(f"{item.key}\0{item.bytes}\0{item.etag}\n" for item in self.objects)
        return hashlib.sha256(text.encode()).hexdigest()


def list_logs(uri: str, patience: Patience) -> list[BucketLog]:
    """Return the logs of a bucket below a prefix, in order of their keys.

    ``s3://bucket/drives`` is the object of that key and what lies below ``drives/``, never ``drives2/``. An object that
    is named itself is taken whatever its suffix; parts of a key that begin with a dot are hidden.

    Raises:
        ConfigError: No such bucket, no access, or an endpoint that does not answer.
        MissingPartError: boto3 is not installed.
    """
    parts = urlsplit(uri)
    prefix = uri.removeprefix(f"s3://{parts.netloc}").lstrip("/")
    if not parts.netloc:
        raise ConfigError("not a bucket's address", where=uri, remedy="write s3://bucket/prefix")
    client = s3_client(uri, tries=1)  # tries are counted here, where a cut body counts too
    try:
        below = prefix if not prefix or prefix.endswith("/") else prefix + "/"
        found = [
            item
            for item in _objects(client, parts.netloc, prefix, uri, patience)
            if item.key == prefix or (item.key.startswith(below) and not _is_hidden(item.key.removeprefix(below)))
        ]
    finally:
        client.close()
    return _as_logs(parts.netloc, prefix, found)


def _is_hidden(rest: str) -> bool:
    return rest.endswith("/") or any(part.startswith(".") for part in rest.split("/"))


def _as_logs(bucket: str, prefix: str, found: list[BucketObject]) -> list[BucketLog]:
    bags = {item.key.removesuffix(_BAG_METADATA) for item in found if PurePosixPath(item.key).name == _BAG_METADATA}
    in_bags: dict[str, list[BucketObject]] = {}
    logs: list[BucketLog] = []
    for item in found:
        bag = next((folder for folder in sorted(bags) if folder and item.key.startswith(folder)), None)
        if bag is not None:
            in_bags.setdefault(bag, []).append(item)
        elif item.key == prefix or PurePosixPath(item.key).suffix.lower() in LOG_SUFFIXES:
            logs.append(BucketLog(bucket, f"s3://{bucket}/{item.key}", (item,)))
    logs += [
        BucketLog(bucket, f"s3://{bucket}/{folder.rstrip('/')}", tuple(items), folder)
        for folder, items in in_bags.items()
    ]
    return sorted(logs, key=lambda item: item.uri)


def _objects(client: Any, bucket: str, prefix: str, uri: str, patience: Patience) -> Iterator[BucketObject]:
    token: str | None = None
    while True:
        more = {} if token is None else {"ContinuationToken": token}
        answer = _patiently(lambda: client.list_objects_v2(Bucket=bucket, Prefix=prefix, **more), uri, patience)  # noqa: B023 - called at once
        for item in answer.get("Contents", ()):
            yield BucketObject(item["Key"], int(item["Size"]), item["ETag"])
        token = answer.get("NextContinuationToken")
        if not token:
            return


def fetch(log: BucketLog, folder: Path, patience: Patience, stop: Event | None = None) -> Path:
    """Fetch a log into an empty folder; return the path of the file or bag folder.

    The path ends as the key does, so that a drive named by its folder keeps its name.

    Raises:
        StoppedError: `stop` was set.
        IntegrityError: An object was replaced since it was listed, or never arrives as it is.
        MissingPartError: The store did not give it, however often it was asked.
        ConfigError: It is gone, or may not be read.
    """
    client = s3_client(log.uri, tries=1)
    try:
        for item in log.objects:
            _fetch_object(client, log, item, _place(log, item, folder), patience, stop or Event())
    finally:
        client.close()
    return _place(log, log.objects[0], folder) if log.folder is None else folder / PurePosixPath(log.folder).name


def _place(log: BucketLog, item: BucketObject, folder: Path) -> Path:
    """Say where an object goes: below the bag's name, or below the name of the folder it lies in."""
    if log.folder is not None:
        inside = PurePosixPath(item.key.removeprefix(log.folder))
        if ".." in inside.parts or inside.is_absolute():
            raise ConfigError("its key leads out of its folder", where=log.uri, remedy="rename the object")
        return folder / PurePosixPath(log.folder).name / inside
    key = PurePosixPath(item.key)
    return folder / (key.parent.name or log.bucket) / key.name


def _fetch_object(client: Any, log: BucketLog, item: BucketObject, path: Path, patience: Patience, stop: Event) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(2):
        transfer = _Transfer(client, log, item, patience)
        with path.open("wb") as out:
            for piece in transfer.pieces():
                out.write(piece)
                if stop.is_set():
                    raise StoppedError("the ingest was stopped", where=log.uri)
        if transfer.is_whole:
            return
        logger.warning("object=%s its bytes are not those of its ETag (try %d)", log.uri, attempt + 1)
    raise IntegrityError(
        "its bytes are not those of its ETag, twice", where=log.uri, remedy="upload the log again from its source"
    )


class _Transfer:
    """One object on its way, from the first byte to the last."""

    def __init__(self, client: Any, log: BucketLog, item: BucketObject, patience: Patience) -> None:
        self._client = client
        self._log = log
        self._item = item
        self._patience = patience
        self._done = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._own_key = False

    @property
    def is_whole(self) -> bool:
        """Whether the bytes have the MD5 that the ETag is, where it is one (not of parts, nor under a key of KMS)."""
        named = _MD5_ETAG.fullmatch(self._item.etag)
        return named is None or self._own_key or named["md5"] == self._md5.hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """Yield all of the object; a body that is cut is taken up where it ended."""
        failures = 0
        while self._done < self._item.bytes:
            before = self._done
            reason = "the connection broke"
            try:
                yield from self._body()
            except _passing_errors() as error:
                if not _passes(error):
                    raise explained(self._log.uri, error) from error
                reason = _told(error)
            failures = 0 if self._done > before else failures + 1
            if failures >= self._patience.tries:
                raise MissingPartError(
                    f"the store did not give it: {reason}, {failures} times in a row at byte {self._done:,}",
                    where=self._log.uri,
                    remedy="ingest it again when the store answers",
                )
            if self._done < self._item.bytes:
                logger.info("object=%s byte=%d %s; trying again", self._log.uri, self._done, reason)
                self._patience.wait(failures + 1)

    def _body(self) -> Iterator[bytes]:
        answer = self._client.get_object(
            Bucket=self._log.bucket,
            Key=self._item.key,
            Range=f"bytes={self._done}-{self._item.bytes - 1}",
            IfMatch=self._item.etag,
        )
        self._own_key = "KMS" in str(answer.get("ServerSideEncryption", "")).upper() or "SSECustomerAlgorithm" in answer
        body = answer["Body"]
        try:
            expected = f"bytes {self._done}-{self._item.bytes - 1}/{self._item.bytes}"
            if str(answer.get("ContentRange", "")) != expected:
                raise IntegrityError(
                    f"the store gives '{answer.get('ContentRange')}' where '{expected}' was asked for",
                    where=self._log.uri,
                    remedy="ingest it again; should it stay so, look at what stands between here and the store",
                )
            while piece := body.read(min(_PIECE_BYTES, max(1, self._item.bytes - self._done))):
                self._md5.update(piece)
                self._done += len(piece)
                yield piece
        finally:
            body.close()


def _patiently(ask: Callable[[], Any], uri: str, patience: Patience) -> Any:
    for failures in range(1, patience.tries + 1):
        try:
            return ask()
        except _passing_errors() as error:
            if not _passes(error) or failures == patience.tries:
                raise explained(uri, error) from error
            logger.info("bucket=%s %s; trying again", uri, _told(error))
            patience.wait(failures)
    raise AssertionError  # the last try returned or raised


def _passing_errors() -> tuple[type[Exception], ...]:
    import botocore.exceptions
    import botocore.parsers

    return (
        botocore.exceptions.ClientError,
        botocore.exceptions.BotoCoreError,
        botocore.parsers.ResponseParserError,
        ConnectionError,
    )


def _passes(error: Exception) -> bool:
    """Whether asking again may help."""
    import botocore.exceptions

    if isinstance(error, botocore.exceptions.ClientError):
        answer = error.response
        status = int(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return status >= 500 or status == 429 or str(answer.get("Error", {}).get("Code", "")) in _PASSING
    return not isinstance(
        error,
        (
            botocore.exceptions.NoCredentialsError,
            botocore.exceptions.PartialCredentialsError,
            botocore.exceptions.ProfileNotFound,
            botocore.exceptions.NoRegionError,
            botocore.exceptions.ParamValidationError,
        ),
    )


def _told(error: Exception) -> str:
    code = str((getattr(error, "response", None) or {}).get("Error", {}).get("Code", ""))
    return f"S3 answers {code}" if code else type(error).__name__

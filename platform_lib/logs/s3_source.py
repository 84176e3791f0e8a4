"""An S3 object as a byte source: ranged reads of one version of it, retried, with errors that say what to do.

Credentials, region and endpoint come from the environment as for every AWS tool (``AWS_PROFILE``,
``AWS_ENDPOINT_URL``, ...); nothing of them is kept here.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from platform_lib.errors import ConfigError, CorruptLog, IntegrityError, MissingPartError, PlatformError
from platform_lib.logs.faults import REMEDY

_HEAD_BYTES = 4096
_PART_BYTES = 16 << 20  # what one request of a large read asks for
_TRIES = 4
_SENDS = 6
_FIRST_WAIT_S = 0.1
_NO_SUCH_OBJECT = "no such object"
_CREDENTIALS = "set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class S3Source:
    """One object; every read names the version (ETag) that the first read saw.

    Attributes:
        name: The ``s3://`` URI.
        size_bytes: The object's length.
        bytes_fetched: Bytes received in bodies so far.
        requests: GET requests that were answered with a body.
    """

    remote = True

    def __init__(self, uri: str) -> None:
        """Open the object by reading its first bytes, which also proves that it may be read.

        Raises:
            ConfigError: No such bucket or key, no credentials, no permission, or an endpoint that does not answer.
        """
        parts = urlsplit(uri)
        self._bucket, self._key = parts.netloc, uri.removeprefix(f"s3://{parts.netloc}/")
        if not self._bucket or not self._key or self._key == uri:
            raise ConfigError("not an object's address", where=uri, remedy="write s3://bucket/key")
        self.name = uri
        self.bytes_fetched = 0
        self.requests = 0
        self.size_bytes = 0
        self._etag = ""
        self._head = b""
        self._lock = threading.Lock()
        self._client = s3_client(uri)
        self._open()

    def _open(self) -> None:
        import botocore.exceptions

        try:
            data, answer = self._get(0, _HEAD_BYTES)
        except botocore.exceptions.ClientError as error:
            if _code(error) in ("InvalidRange", "416"):  # an empty object has no first byte
                return
            raise explained(self.name, error) from error
        except botocore.exceptions.BotoCoreError as error:
            raise explained(self.name, error) from error
        whole = str(answer.get("ContentRange", "")).rpartition("/")[2]
        self.size_bytes = int(whole) if whole.isdigit() else len(data)
        self._etag = str(answer.get("ETag", ""))
        self._head = data

    def read_at(self, offset: int, length: int) -> bytes:
        """Return exactly `length` bytes from `offset`."""
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            what = f"bytes {offset} to {offset + length} are asked for, the object has {self.size_bytes}"
            raise CorruptLog(what, where=self.name, remedy=REMEDY)
        if offset + length <= len(self._head):
            return self._head[offset : offset + length]
        return self._fetch(offset, length)

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target` with the bytes from `offset`; never is more than a part of them in memory twice."""
        plain = target.cast("B")  # Arrow's memory says that it holds signed bytes
        for start in range(0, max(1, len(plain)), _PART_BYTES):
            part = plain[start : start + _PART_BYTES]
            part[:] = self.read_at(offset + start, len(part))

    def _fetch(self, offset: int, length: int) -> bytes:
        """Fetch a range; a connection that breaks inside the body is taken up again where it broke."""
        import botocore.exceptions

        pieces: list[bytes] = []
        wait_s, tries = _FIRST_WAIT_S, 0
        while length:
            try:
                data, _ = self._get(offset, length)
            except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
                raise explained(self.name, error) from error
            if not data:
                tries += 1
                if tries == _TRIES:
                    what = f"the connection broke {tries} times at byte {offset}"
                    raise MissingPartError(what, where=self.name, remedy="check the network and try again")
                time.sleep(wait_s)
                wait_s *= 2
            pieces.append(data)
            offset, length = offset + len(data), length - len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _get(self, offset: int, length: int) -> tuple[bytes, dict[str, Any]]:
        """Send one request; returns what arrived of the body (less than asked for if the connection broke).

        Raises:
            ConfigError: The store does not answer ranges.
        """
        wanted = {"Bucket": self._bucket, "Key": self._key, "Range": f"bytes={offset}-{offset + length - 1}"}
        if self._etag:
            wanted["IfMatch"] = self._etag
        answer = self._client.get_object(**wanted)
        said = str(answer.get("ContentRange", f"bytes 0-/{answer['ContentLength']}"))
        if not said.startswith(f"bytes {offset}-") or int(answer["ContentLength"]) > length:
            answer["Body"].close()
            remedy = "read it from a store that answers ranges, or copy it and open the copy"
            what = "the store gives another part of the object than was asked for"
            raise ConfigError(what, where=self.name, remedy=remedy)
        data = _body(answer["Body"], length)
        with self._lock:
            self.bytes_fetched += len(data)
            self.requests += 1
        return data, answer

    def close(self) -> None:
        """Release the connections."""
        self._client.close()


def find(uri: str) -> S3Source | None:
    """Open an object, ``None`` if there is none.

    Raises:
        ConfigError: As `S3Source`, for any other reason.
    """
    try:
        return S3Source(uri)
    except ConfigError as error:
        if error.what == _NO_SUCH_OBJECT:
            return None
        raise


def _body(stream: Any, most: int) -> bytes:
    """Read a response's body; of a broken connection, what came before the break."""
    import botocore.exceptions

    received = bytearray()
    # The caller asks again for what is missing, and gives up after some tries.
    with suppress(botocore.exceptions.BotoCoreError, OSError):
        while len(received) < most and (piece := stream.read(min(1 << 20, most - len(received)))):
            received += piece
    stream.close()
    return bytes(received)


def s3_client(uri: str, *, tries: int = _SENDS) -> Any:
    """Return a client that sends a request up to `tries` times.

    Raises:
        MissingPartError: boto3 is not installed.
        PlatformError: The settings of the environment cannot be meant, see `explained`.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise MissingPartError(
            "reading s3:// needs boto3", where=uri, remedy="pip install 'drivetrain[data]'"
        ) from error
    config = Config(retries={"mode": "standard", "total_max_attempts": tries}, connect_timeout=10, read_timeout=60)
    try:
        return boto3.session.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:  # an unknown profile, an endpoint that is no URL
        raise explained(uri, error) from error


def _code(error: Exception) -> str:
    answer = getattr(error, "response", None) or {}
    return str(answer.get("Error", {}).get("Code", ""))


def explained(uri: str, error: Exception) -> PlatformError:
    """Say what a failed request means for the person who named `uri`."""
    code, short = _code(error), " ".join(str(error).split())[:160]
    if code == "NoSuchBucket":
        return ConfigError("no such bucket", where=uri, remedy="check the bucket's name, and the account and region")
    if code in ("NoSuchKey", "404", "NotFound"):
        return ConfigError(_NO_SUCH_OBJECT, where=uri, remedy="list the bucket and check the key")
    if code in ("PreconditionFailed", "412"):
        what = "the object was replaced while it was read"
        return IntegrityError(what, where=uri, remedy="read it again from the start")
    if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
        return ConfigError(
            f"access is refused ({code})", where=uri, remedy=f"{_CREDENTIALS}; reading needs s3:GetObject"
        )
    if code:
        return ConfigError(f"S3 answers {code} ({short})", where=uri, remedy="see the service's own documentation")
    match type(error).__name__:
        case "NoCredentialsError" | "PartialCredentialsError" | "ProfileNotFound":
            return ConfigError(f"no AWS credentials ({short})", where=uri, remedy=_CREDENTIALS)
        case "NoRegionError":
            return ConfigError("no AWS region is set", where=uri, remedy="set AWS_REGION")
        case _:
            remedy = "check the network and AWS_ENDPOINT_URL"
            return ConfigError(f"S3 cannot be reached ({short})", where=uri, remedy=remedy)

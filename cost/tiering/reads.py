"""Reads of objects out of what S3 writes about them: server access logs and CloudTrail's data events; line by line."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import unquote

from cost.tiering.problems import Problems
from platform_lib.errors import ConfigError

DAY_S = 86_400
# Source: S3 User Guide, "Amazon S3 server access log format"; what follows the object's size is not needed.
_LINE = re.compile(
    r"(?P<owner>\S+) (?P<bucket>\S+) \[(?P<time>[^\]]+)\] (?P<ip>\S+) (?P<who>\S+) (?P<id>\S+) (?P<operation>\S+) "
    r'(?P<key>\S+) (?P<uri>"[^"]*"|-) (?P<status>\d{3}|-) (?P<error>\S+) (?P<sent>\d+|-) (?P<size>\d+|-) '
)
_TIME = re.compile(r"(\d{2})/([A-Z][a-z]{2})/(\d{4}):(\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})")
_MONTHS = {
    name: number for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)
}
# What hands out an object's bytes. A copy reads its source; HEAD and LIST are no access to Intelligent-Tiering.
_READING = frozenset(
    {"REST.GET.OBJECT", "REST.COPY.OBJECT_GET", "REST.COPY.PART_GET", "WEBSITE.GET.OBJECT", "REST.SELECT.OBJECT"}
)
_READING_EVENTS = frozenset({"GetObject", "SelectObjectContent"})
_COPYING_EVENTS = frozenset({"CopyObject", "UploadPartCopy"})


@dataclass(frozen=True, slots=True)
class Read:
    """One request that read an object.

    Attributes:
        key: Whose; decoded once.
        day: Days since 1970 UTC.
        read_bytes: How many bytes it handed out; None: the whole object.
    """

    key: str
    day: int
    read_bytes: int | None


@dataclass(slots=True)
class Watch:
    """What the logs cover, and what in them was no read.

    Attributes:
        first_day: Of any line, days since 1970 UTC; None before the first.
        last_day: Of any line.
        days: Every day that has a line.
        lines: How many lines were looked at.
        others: Lines that are no reads, by what they are.
    """

    first_day: int | None = None
    last_day: int | None = None
    days: set[int] = field(default_factory=set)
    lines: int = 0
    others: dict[str, int] = field(default_factory=dict)

    def see(self, day: int) -> None:
        """Note a line's day."""
        self.lines += 1
        self.days.add(day)
        self.first_day = day if self.first_day is None else min(self.first_day, day)
        self.last_day = day if self.last_day is None else max(self.last_day, day)

    def pass_over(self, what: str) -> None:
        """Count a line that is no read."""
        self.others[what] = self.others.get(what, 0) + 1


def files_below(paths: Sequence[Path], what: str) -> list[Path]:
    """Return the files that are named, and all below the folders that are.

    Raises:
        ConfigError: One is missing, or a folder has no file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inner = sorted(item for item in path.rglob("*") if item.is_file() and not item.name.startswith("."))
            if not inner:
                raise ConfigError(
                    f"the folder of {what} is empty", where=path, remedy="copy the logs into it: aws s3 sync"
                )
            found += inner
        elif path.is_file():
            found.append(path)
        else:
            raise ConfigError(f"there are no {what}", where=path, remedy="name a file or a folder of them")
    return found


def access_log_reads(paths: Sequence[Path], bucket: str, watch: Watch, problems: Problems) -> Iterator[Read]:
    """Yield the reads of a bucket out of server access logs; a broken line is counted with its place."""
    for path in paths:
        with _text(path) as stream:
            try:
                for number, line in enumerate(stream, start=1):
                    found = _of_line(line, f"{path}:{number}", bucket, watch, problems)
                    if found is not None:
                        yield found
            except (OSError, EOFError, UnicodeDecodeError) as error:
                problems.add(f"access log ends before its end: {type(error).__name__}", str(path))


def _text(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape")
        return path.open(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=path, remedy="copy it anew") from error


def _of_line(line: str, place: str, bucket: str, watch: Watch, problems: Problems) -> Read | None:
    if not line.strip():
        return None
    parts = _LINE.match(line)
    day = None if parts is None else _log_day(parts["time"])
    if parts is None or day is None:
        problems.add("access log line that is not of the format", place)
        return None
    if parts["bucket"] != bucket:
        watch.pass_over("of another bucket")
        return None
    watch.see(day)
    operation, status = parts["operation"], parts["status"]
    if operation not in _READING:
        watch.pass_over(operation)
        return None
    if status not in {"200", "206"}:
        watch.pass_over(f"status {status}")
        return None
    if parts["key"] == "-":
        problems.add("access log line of a read without a key", place)
        return None
    copied = operation.startswith("REST.COPY")
    sent = None if copied or parts["sent"] == "-" else int(parts["sent"])
    return Read(unquote(parts["key"]), day, sent)


def _log_day(text: str) -> int | None:
    parts = _TIME.fullmatch(text)
    if parts is None or parts[2] not in _MONTHS:
        return None
    try:
        hour, minute, second = (int(parts[place]) for place in (4, 5, 6))
        moment = datetime(int(parts[3]), _MONTHS[parts[2]], int(parts[1]), hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    offset_s = (int(parts[8]) * 60 + int(parts[9])) * 60
    return int((moment.timestamp() + (-offset_s if parts[7] == "+" else offset_s)) // DAY_S)


def cloudtrail_reads(
    paths: Sequence[Path], bucket: str, watch: Watch, problems: Problems, *, told: frozenset[int] = frozenset()
) -> Iterator[Read]:
    """Yield the reads of a bucket out of CloudTrail's files, one file in memory at a time.

    Args:
        paths: `.json` and `.json.gz` files.
        bucket: Whose reads.
        watch: What is covered.
        problems: What cannot be read.
        told: Days that server access logs tell of already: a read is not counted twice.
    """
    for path in paths:
        if "CloudTrail-Digest" in path.name:
            watch.pass_over("CloudTrail digest files")
            continue
        for number, record in enumerate(_records(path, problems), start=1):
            try:
                found = _of_record(record, bucket, watch, told)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                problems.add(f"CloudTrail record: {type(error).__name__}: {error}"[:120], f"{path}, record {number}")
                continue
            if found is not None:
                yield found


def _records(path: Path, problems: Problems) -> list[Any]:
    try:
        with _text(path) as stream:
            document = json.load(stream)
        records = document["Records"]
        if not isinstance(records, list):
            raise TypeError("Records is no list")
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        problems.add(f"CloudTrail file that cannot be read: {type(error).__name__}", str(path))
        return []
    return records


def _of_record(record: Any, bucket: str, watch: Watch, told: frozenset[int]) -> Read | None:
    name = str(record["eventName"])
    if record.get("eventSource") != "s3.amazonaws.com":
        watch.pass_over("events of other services")
        return None
    asked = record.get("requestParameters") or {}
    source, key = (str(asked.get("bucketName")), asked.get("key"))
    if name in _COPYING_EVENTS:
        source, _, key = unquote(str(asked["x-amz-copy-source"])).lstrip("/").partition("/")
        key = key.partition("?versionId=")[0]
    if source != bucket:
        watch.pass_over("of another bucket")
        return None
    day = int(datetime.fromisoformat(str(record["eventTime"]).replace("Z", "+00:00")).timestamp() // DAY_S)
    if day in told:
        watch.pass_over("on a day that access logs tell of")
        return None
    watch.see(day)
    if name not in _READING_EVENTS | _COPYING_EVENTS:
        watch.pass_over(name)
        return None
    if record.get("errorCode"):
        watch.pass_over(f"error {record['errorCode']}")
        return None
    if not key:
        raise ValueError("a read without a key")
    sent = (record.get("additionalEventData") or {}).get("bytesTransferredOut")
    return Read(str(key), day, None if sent is None or name in _COPYING_EVENTS else int(sent))


def read_is_double_encoded(key: str) -> str | None:
    """Return a key decoded once more, as S3 writes some keys into access logs; None where that changes nothing."""
    again = unquote(key)
    return None if again == key else again

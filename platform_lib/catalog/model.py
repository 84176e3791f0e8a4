"""The nouns of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

PiiState = Literal["unknown", "present", "blurred", "none_present"]
KeptAs = Literal["signals", "samples", "nothing"]

PII_STATES: tuple[str, ...] = get_args(PiiState)


@dataclass(frozen=True, slots=True)
class FileKey:
    """What decides the rows that a file gives: same key, same rows.

    Attributes:
        file_sha256: Digest of the content.
        reader_version: `platform_lib.logs.READER_VERSION`.
        schema_version: `platform_lib.lake.tables.SCHEMA_VERSION`.
        options_sha256: Digest of the DBC files and time zone it was read with.
    """

    file_sha256: str
    reader_version: str
    schema_version: int
    options_sha256: str


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One content, and every path it was found at."""

    key: FileKey
    bytes: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StreamRecord:
    """What became of one stream of a log.

    Attributes:
        messages: Rows the log holds (messages, records, frames).
        rows: Rows kept: in the signal table (messages x signals), or samples.
        problem: Why it was left out, wholly or in part.
    """

    stream: str
    kind: str
    kept_as: KeptAs
    messages: int
    rows: int
    start_ns: int | None = None
    stop_ns: int | None = None
    message_type: str | None = None
    schema_text: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class DriveIdentity:
    """Which drive a log belongs to.

    Attributes:
        drive_id: Key, safe as a file name.
        vehicle: None where the log does not say.
        session: The recorder's session, or the folder's name.
    """

    drive_id: str
    vehicle: str | None
    session: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One data file of the lake, as it was written.

    Attributes:
        path: Below the home's lake folder.
    """

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class UsedDatabase:
    """A CAN database that logs were read with.

    Attributes:
        bus: The bus it was tied to; empty for all.
        path: Where it was then.
    """

    bus: str
    sha256: str
    path: str


@dataclass(frozen=True, slots=True)
class UsedOptions:
    """What logs were read with; `FileKey.options_sha256` is its digest."""

    databases: tuple[UsedDatabase, ...]
    timezone: str | None


@dataclass(frozen=True, slots=True)
class IngestRecord:
    """One file, read in full and written to both stores, ready to be made visible.

    Attributes:
        unexplained_frames: Raw CAN frames that no database explains; they stay in the log.
        files: What was written.
    """

    ingest_id: int
    drive: DriveIdentity
    streams: tuple[StreamRecord, ...]
    signal_rows: int
    sample_rows: int
    start_ns: int | None
    stop_ns: int | None
    pii_state: PiiState
    metadata: Mapping[str, str]
    problems: tuple[str, ...] = ()
    recovered: bool = False
    bytes_lost: int | None = None
    unexplained_frames: int = 0
    files: tuple[StoredFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """One file that could not be read, and why.

    Attributes:
        recover: Whether taking the whole parts of it was tried too.
        kind: The error's class, or what happened to the reader.
    """

    key: FileKey
    recover: bool
    kind: str
    reason: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A refusal as the catalogue keeps it, with the paths of that content.

    Attributes:
        since: When it was refused; None before it is in the catalogue.
        visible: Whether an earlier reading of the same content is in the lake, and stays there.
    """

    refusal: Refusal
    paths: tuple[str, ...]
    bytes: int = 0
    since: datetime | None = None
    visible: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """What somebody let out of quarantine, and why."""

    file_sha256: str
    kind: str
    reason: str
    note: str
    released: datetime


@dataclass(frozen=True, slots=True)
class Unfetched:
    """A log in a bucket that could not be fetched, so that its content is not known."""

    uri: str
    bytes: int
    kind: str
    reason: str
    remedy: str | None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class DriveFile:
    """A committed file of a drive; its times are None without rows."""

    file_sha256: str
    paths: tuple[str, ...]
    bytes: int
    recovered: bool
    start_ns: int | None = None
    stop_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Drive:
    """One drive as its committed files tell it.

    Attributes:
        drive_id: Key.
        vehicle: None where no log says.
        session: The recorder's session, or the folder's name.
        start_ns: Earliest timestamp of any file, each by its own clock; None without rows.
        stop_ns: One past the latest timestamp.
        labels: The logs' metadata (weather, event, ...); values that differ between files are joined by ``|``.
        files: In order of their digests.
        pii_state: The least safe state of its files: unknown, present, blurred, none_present in that order.
        streams: How many streams are kept.
        signal_rows: Rows in the signal table.
        sample_rows: Rows in the sample store.
    """

    drive_id: str
    vehicle: str | None
    session: str
    start_ns: int | None
    stop_ns: int | None
    labels: Mapping[str, str]
    files: tuple[DriveFile, ...]
    pii_state: PiiState
    streams: int
    signal_rows: int
    sample_rows: int


@dataclass(frozen=True, slots=True)
class VisibleIngest:
    """A committed ingest: the key under which rows of a file are visible."""

    ingest_id: int
    drive_id: str
    key: FileKey
    recovered: bool


@dataclass(frozen=True, slots=True)
class LakeHead:
    """Versions of both stores that belong together."""

    iceberg_snapshot_id: int | None
    lance_version: int


@dataclass(frozen=True, slots=True)
class LakeView:
    """What is visible at one moment: read in one transaction."""

    head: LakeHead | None
    ingests: tuple[VisibleIngest, ...] = field(default=())

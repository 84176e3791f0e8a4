"""The nouns of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

from platform_lib.catalog.schema_model import SchemaVersion, StreamSchema

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
        schema_scope: Where its schema is known; None where it was not compared with that of other logs.
        schema_version: Its version there.
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
    schema_scope: str | None = None
    schema_version: int | None = None


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
        bus: The bus it was tied to, empty for every CAN bus, and behind a ``#`` the cluster taken of it.
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
        schemas: What its streams are, by the log's own word.
        versions: Schemas that become known with it.
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
    schemas: tuple[StreamSchema, ...] = ()
    versions: tuple[SchemaVersion, ...] = ()


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
    """A committed file of a drive; its times are None without rows.

    Attributes:
        paths: Where it was seen; empty in a list that was read without files' names.
        bytes: Its length; None in such a list.
    """

    file_sha256: str
    paths: tuple[str, ...]
    bytes: int | None
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


def amount(figure: str, unit: str) -> str:
    """Return a figure with its unit; a calendar year is named, not counted."""
    return f"{unit} {figure}" if unit == "year" else f"{figure} {unit}".strip()


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule of a data contract that was not kept, or could not be judged.

    Attributes:
        rule: Its id within the contract.
        severity: ``error``, ``warning`` or ``info``.
        verdict: ``fail`` or ``not_run``.
        figure: What was measured, for people; empty where there was nothing to measure.
        unit: Of the figure.
        required: What it has to be.
        place: Where the worst of it is.
        drive_id: The drive it is about, where a rule over many drives names one.
    """

    rule: str
    severity: str
    verdict: str
    figure: str
    unit: str
    required: str
    place: str
    drive_id: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether it keeps what it is about out of datasets."""
        return self.severity == "error" and self.verdict == "fail"

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        found = amount(self.figure, self.unit) if self.figure else "nothing to measure"
        return f"{self.rule}: {found}, has to be {self.required}" + (f" ({self.place})" if self.place else "")


@dataclass(frozen=True, slots=True)
class ContractRun:
    """One data contract held against one subject.

    Attributes:
        checks_version: `platform_lib.contracts.CHECKS_VERSION` of the code that measured.
        ingest_id: The file that was checked; None for the whole lake or a dataset.
        artefact_sha256: The lake's version or the dataset's digest; None for a file.
        figures: Every rule that was judged -> what was measured. Without any the contract does not bind the subject.
        findings: What was not kept.
    """

    contract_id: str
    contract_version: str
    contract_sha256: str
    checks_version: int
    ingest_id: int | None
    artefact_sha256: str | None
    figures: Mapping[str, float | str | None]
    findings: tuple[Finding, ...]

    def count(self, severity: str, verdict: str = "fail") -> int:
        """Count the findings of one severity and verdict."""
        return sum((item.severity, item.verdict) == (severity, verdict) for item in self.findings)


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

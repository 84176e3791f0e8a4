"""What an ingest says while it runs, and afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from platform_lib.catalog.model import IngestRecord, Refusal
from platform_lib.lake.intake import LogJob
from platform_lib.lake.lake import LakeVersion


@dataclass(frozen=True, slots=True)
class QuarantinedFile:
    """A log that was not taken in, and why."""

    path: str
    kind: str
    reason: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one ingest did.

    Attributes:
        found: Paths of logs under the sources.
        duplicates: How many of those have the content of another.
        ingested: Contents taken in by this run.
        skipped: Contents that were committed before.
        outdated: How many of those an older reader or schema gave; `--reprocess` reads them again.
        quarantined: What could not be read.
        unreadable: Paths of those among them whose bytes could not be had: nothing of them is kept, not even a refusal.
        left: Drives that were to be reprocessed and stay as they were, whole: drive id -> why.
        completed: Logs that hold every row of what was read at their place before they were complete: path -> how many
            such readings their rows replaced.
        recovered: Paths of damaged logs of which the rest was taken, with `recover`.
        drives: Drive ids that this run added to.
        streams: Streams kept.
        signal_rows: Rows added to the signal table.
        sample_rows: Samples added.
        raw_can_frames: Raw CAN frames that no database explains: they stay in their logs, `problems` names them.
        problems: What is missing of logs that were taken in, or was assumed: path -> sentences.
        schema_changes: What is other in streams of logs that were taken in than it was in the logs before, as new
            versions of their schemas: path -> sentences.
        contract_errors: Files that were checked now and break a data contract, so that their drives stay out of
            datasets: path -> sentences.
        contract_warnings: The same of warnings, which keep nothing out.
        drive_problems: Drives of these sources, named by their folder alone, that look like several: drive id -> why.
        lake: The lake's version afterwards.
        seconds: Wall time.
    """

    found: int
    duplicates: int
    ingested: int
    skipped: int
    outdated: int
    quarantined: tuple[QuarantinedFile, ...]
    unreadable: tuple[str, ...]
    left: dict[str, str]
    completed: dict[str, int]
    recovered: tuple[str, ...]
    drives: tuple[str, ...]
    streams: int
    signal_rows: int
    sample_rows: int
    raw_can_frames: int
    problems: dict[str, tuple[str, ...]]
    schema_changes: dict[str, tuple[str, ...]]
    contract_errors: dict[str, tuple[str, ...]]
    contract_warnings: dict[str, tuple[str, ...]]
    drive_problems: dict[str, str]
    lake: LakeVersion
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an ingest is: `done` of `total` contents and their bytes, and what has become of them."""

    done: int
    total: int
    done_bytes: int
    total_bytes: int
    rows: int
    quarantined: int


@dataclass(slots=True)
class Tally:
    """What this run has done so far.

    Attributes:
        names: Path or address of each content, for people: digest -> name.
        coming: Logs in buckets that are not fetched yet.
        lost_readers: Reading processes that died, each perhaps with files half written.
    """

    names: dict[str, str]
    total: int = 0
    total_bytes: int = 0
    coming: int = 0
    coming_bytes: int = 0
    done: int = 0
    done_bytes: int = 0
    records: list[tuple[LogJob, IngestRecord]] = field(default_factory=list)
    refused: list[tuple[str, Refusal]] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    completed: dict[str, int] = field(default_factory=dict)
    lost_readers: int = 0

    @property
    def progress(self) -> Progress:
        """Where this run is."""
        rows = sum(record.signal_rows + record.sample_rows for _, record in self.records)
        total, total_bytes = self.total + self.coming, self.total_bytes + self.coming_bytes
        return Progress(self.done, total, self.done_bytes, total_bytes, rows, len(self.refused))

    def quarantined(self) -> list[QuarantinedFile]:
        """Return what was refused, for people."""
        return [QuarantinedFile(path, item.kind, item.reason, item.remedy) for path, item in self.refused]

    def problems(self) -> dict[str, tuple[str, ...]]:
        """Return what is missing of logs that were taken in, or was assumed."""
        found: dict[str, tuple[str, ...]] = {}
        for job, record in self.records:
            of_streams = (
                f"{item.stream}: {item.problem}" for item in record.streams if item.problem and item.kind != "can"
            )
            told = (*record.problems, *of_streams)
            if told:
                found[self.names[job.key.file_sha256]] = told
        return dict(sorted(found.items()))

    def schema_changes(self) -> dict[str, tuple[str, ...]]:
        """Return what is other in streams that were taken in as new versions of their schemas."""
        found: dict[str, tuple[str, ...]] = {}
        for job, record in self.records:
            told = [
                f"{item.schema.stream}: version {item.version} of {item.scope} ({item.cause}): {'; '.join(item.changes)}"
                for item in record.versions
                if item.changes
            ]
            if told:
                found[self.names[job.key.file_sha256]] = tuple(told)
        return dict(sorted(found.items()))


def kept_streams(records: Sequence[IngestRecord]) -> int:
    """Count the streams of which anything was kept."""
    return sum(item.kept_as != "nothing" for record in records for item in record.streams)

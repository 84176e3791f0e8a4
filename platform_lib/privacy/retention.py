"""The raw zone's own retention: raw frames are kept for a time, and then gone from every version and file of it."""

from __future__ import annotations

from dataclasses import dataclass

from platform_lib.errors import ConfigError
from platform_lib.home import Home
from platform_lib.lake.clips import refresh_clips
from platform_lib.lake.lake import Lake
from platform_lib.lake.lance_rewriting import rewrite_without_deleted
from platform_lib.lake.place import files_below
from platform_lib.privacy.frames import is_raw_frame
from platform_lib.privacy.zone import forget_history

RAW_RETENTION_DAYS = 90
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Expired:
    """What went, or would.

    Attributes:
        frames: Raw frames recorded before the day that retention reaches back to.
        unblurred: How many of them were never blurred, and are lost.
        kept: Younger raw frames.
    """

    frames: int
    unblurred: int
    kept: int


def expire_raw(home: Home, *, now_ns: int, days: int = RAW_RETENTION_DAYS, dry_run: bool = False) -> Expired:
    """Delete raw frames whose own timestamp is older than the retention; what was blurred of them stays.

    Raises:
        ConfigError: `days` is negative.
        HomeBusyError: An ingest or a blur did not end within an hour.
    """
    if days < 0:
        raise ConfigError(f"{days} days cannot be kept", where="--days", remedy="take 0 or more")
    with Lake.turn(home, "ingest", "blur") as lake:
        raw, key = lake.store.raw, ["ingest_id", "stream", "timestamp_ns"]
        ids = [item.ingest_id for item in lake.catalog.view().ingests]
        older = f"timestamp_ns < {now_ns - days * _DAY_NS}"
        going = raw.rows(ids, columns=key, condition=older)
        blurs = [item.blur_id for item in lake.blurs.visible()]
        blurred = lake.store.blurred.rows(blurs, columns=key, condition=older)
        lost = going.join(blurred, key, join_type="left anti") if len(blurred) else going
        result = Expired(len(going), len(lost), len(raw.rows(ids, columns=["ingest_id"])) - len(going))
        if not dry_run and raw.exists:
            raw.delete(older)
            rewrite_without_deleted(raw.uri)
            forget_history(raw.uri)
            _settle(lake, before_ns=now_ns - days * _DAY_NS)
    return result


def _settle(lake: Lake, *, before_ns: int) -> None:
    """Let the catalogue say what is left of logs that had older frames; a run that a kill cut short is made up for."""
    left = lake.store.raw.counts()
    counts: dict[int, int] = {}
    ids = [item.ingest_id for item in lake.catalog.view().ingests]
    states = lake.catalog.pii_states(ids)
    for ingest_id, streams in lake.catalog.streams(ids).items():
        samples = [item for item in streams if item.kept_as == "samples"]
        raw = [item for item in samples if is_raw_frame(item.message_type, states[ingest_id])]
        if any(item.start_ns is not None and item.start_ns < before_ns for item in raw):
            rest = sum(item.rows for item in samples) - sum(item.rows for item in raw)
            counts[ingest_id] = rest + left.get(ingest_id, 0)
    folder = lake.store.raw.uri.name
    there = {f"{folder}/data/{path.name}" for path in files_below(lake.store.raw.uri / "data")}
    known = {path for path in lake.catalog.lake_files() if path.startswith(f"{folder}/")}
    lake.catalog.settle(counts, known - there)
    refresh_clips(lake)

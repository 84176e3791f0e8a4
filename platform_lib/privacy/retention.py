"""The raw zone's own retention: raw frames are kept for a time, and then gone from every version and file of it."""

from __future__ import annotations

from dataclasses import dataclass

from platform_lib.errors import ConfigError
from platform_lib.home import Home
from platform_lib.lake.lake import Lake
from platform_lib.privacy.zone import forget_history, rewrite_without_deleted

RAW_RETENTION_DAYS = 90
_DAY_NS = 86_400_000_000_000
_WAIT_FOR_OTHER_S = 3600.0


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
    with (
        home.lock("ingest", wait_s=_WAIT_FOR_OTHER_S),
        home.lock("blur", wait_s=_WAIT_FOR_OTHER_S),
        Lake.open(home) as lake,
    ):
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
    return result

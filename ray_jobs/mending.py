"""Mends what a check of the lake finds: deletes what no reader may see, reads logs again whose rows are lost."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from platform_lib.catalog.erasures import Erasures, refusal_of
from platform_lib.home import Home
from platform_lib.lake.check import CheckReport, check_lake
from platform_lib.lake.compaction import SMALL_BYTES, TARGET_BYTES, CompactReport, finish_rewrite
from platform_lib.lake.compaction import compact as compact_lake
from platform_lib.lake.lake import Lake
from platform_lib.lake.place import located, sizes_below
from platform_lib.lake.sweeping import drop, prepare, sweep
from platform_lib.privacy.leftovers import blur_again, sweep_blurs
from ray_jobs.arrivals import content_at
from ray_jobs.ingest import new_tally, take
from ray_jobs.read_options import find_again
from ray_jobs.reading import Ask


@dataclass(frozen=True, slots=True)
class MendReport:
    """What was found, and what was done about it.

    Attributes:
        found: As the lake was.
        after: As it is now; None where nothing was to be mended.
        read_again: How many logs were read again.
        left: What could not be mended: log -> why.
        blur_again: How many logs' blurred frames were dropped: `drivetrain blur frames` makes them again.
    """

    found: CheckReport
    after: CheckReport | None
    read_again: int
    left: dict[str, str]
    blur_again: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong now."""
        return not (self.after or self.found).findings


def check(home: Home, *, digests: bool = False) -> MendReport:
    """Check the lake of `home` while nobody writes to it; see `platform_lib.lake.check`.

    Raises:
        HomeBusyError: An ingest or a blur on this home did not end within an hour.
    """
    with Lake.turn(home, "ingest", "blur") as lake:
        return MendReport(check_lake(lake, digests=digests), None, 0, {})


def mend(home: Home, *, digests: bool = False, cpus: int | None = None) -> MendReport:
    """Check the lake, mend what is safe to mend, and check it again.

    Raises:
        HomeBusyError: An ingest or a blur on this home did not end within an hour.
    """
    with Lake.turn(home, "ingest", "blur") as lake:
        found = check_lake(lake, digests=digests)
        if not found.findings:
            return MendReport(found, None, 0, {})
        if found.findings[0].kind != "torn":
            lake.store.raw.drop_unreadable()
        prepare(lake)
        lake.store.mend_blurred()
        again = found if "torn" not in {item.kind for item in found.findings} else check_lake(lake, digests=digests)
        read_again, left = _read_again(home, lake, {item.ingest_id for item in again.findings} - {None}, cpus)
        unknown = [
            int(item.where.split()[1]) for item in again.findings if item.kind == "unknown rows" and not item.blur_id
        ]
        if unknown:
            drop(lake, unknown)
        lake.store.collect_garbage()
        _name_newest(lake)
        wrong = {item.blur_id for item in again.findings if item.blur_id is not None}
        broken = {located(item.where) for item in again.findings if item.kind in ("lost file", "damaged file")}
        dropped, kept = blur_again(lake, wrong, broken)
        left |= dict.fromkeys(kept, "raw frames that it was made from have expired; what is left of it stays")
        return MendReport(found, check_lake(lake, digests=digests), read_again, left, dropped)


def compact(home: Home, *, small_bytes: int = SMALL_BYTES, target_bytes: int = TARGET_BYTES) -> CompactReport:
    """Put the lake's small files together; rows and what readers see stay the same.

    Raises:
        HomeError: The lake has to be mended first.
        HomeBusyError: An ingest or a blur on this home did not end within an hour.
    """
    with Lake.turn(home, "ingest") as lake:
        if not lake.store.exists:
            return CompactReport(0, 0, 0, 0)
        prepare(lake)
        return compact_lake(lake, small_bytes=small_bytes, target_bytes=target_bytes)


@dataclass(frozen=True, slots=True)
class ExpireReport:
    """What went: versions of both stores, and how much smaller their folders are."""

    signal_versions: int
    sample_versions: int
    freed_bytes: int


def expire(home: Home, older_than: timedelta) -> ExpireReport:
    """Forget the lake's versions that are older; what readers see now stays, whatever its age.

    Raises:
        HomeError: The lake has to be mended first.
        HomeBusyError: An ingest or a blur on this home did not end within an hour.
    """
    with Lake.turn(home, "ingest", "blur") as lake:
        head = lake.catalog.head()
        if head is None:
            return ExpireReport(0, 0, 0)
        finish_rewrite(lake)
        sweep(lake)
        sweep_blurs(lake)
        before = _used_bytes(lake)
        signals, samples = lake.store.expire(lake.catalog.head() or head, older_than)
        return ExpireReport(signals, samples, before - _used_bytes(lake))


def _used_bytes(lake: Lake) -> int:
    return sum(sizes_below(lake.store.root).values())


def _read_again(
    home: Home, lake: Lake, ingest_ids: Collection[int | None], cpus: int | None
) -> tuple[int, dict[str, str]]:
    """Read the logs of damaged ingests again; the new rows replace the old in one step."""
    broken = [item for item in lake.catalog.view().ingests if item.ingest_id in ingest_ids]
    paths = lake.catalog.paths([item.key.file_sha256 for item in broken])
    known, erased = lake.catalog.options(), Erasures(lake.catalog.engine).erased_files()
    asks: list[Ask] = []
    left: dict[str, str] = {}
    for item in broken:
        names = paths.get(item.key.file_sha256, ())
        if item.key.file_sha256 in erased:
            left[names[0] if names else item.key.file_sha256] = refusal_of(
                erased[item.key.file_sha256], item.key
            ).reason
            continue
        content = content_at(names, item.key.file_sha256)
        options = find_again(known, item.key.options_sha256)
        if content is None:
            left[names[0] if names else item.key.file_sha256] = (
                "the log is no longer there; bring it back and repair again"
            )
        elif isinstance(options, str):
            left[content.shown] = options
        else:
            asks.append(Ask(content, options.recovering(recover=item.recovered)))
    tally = new_tally([item.content for item in asks])
    take(lake, home, asks, tally, cpus, lambda _: None)
    sweep(lake)
    return len(tally.records), left | {path: refusal.reason for path, refusal in tally.refused}


def _name_newest(lake: Lake) -> None:
    """Let readers see the newest versions, should they hold the same rows (a rewrite that was killed)."""
    newest, seen = lake.store.newest(), lake.catalog.head()
    if seen is None or seen == newest:
        return
    if not {item.kind for item in check_lake(lake, head=newest).findings} & {
        "lost file",
        "wrong count",
        "damaged file",
    }:
        lake.catalog.forget([], newest)

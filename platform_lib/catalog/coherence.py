"""Whether the files that a folder made one drive can be one drive (pure)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from platform_lib.catalog.model import Drive

SPLIT_NS = 60_000_000_000
"""Recorders split a recording into files; pieces this close together are one recording."""
LONGEST_NS = 86_400_000_000_000
"""Nobody drives longer than a day without ending the recording."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def recorded(drive: Drive) -> tuple[int, int]:
    """Return for how long anything of a drive was recorded (ns), and in how many recordings: pauses are not counted.

    Files that overlap, or follow one another within a minute, are one recording.
    """
    spans = _spans(drive)
    if not spans:
        return 0, 0
    total, count, (first, end) = 0, 1, spans[0]
    for start, stop in spans[1:]:
        if start - end > SPLIT_NS:
            total, count, first = total + end - first, count + 1, start
        end = max(end, stop)
    return total + end - first, count


def _spans(drive: Drive) -> list[tuple[int, int]]:
    return sorted(
        (file.start_ns, file.stop_ns) for file in drive.files if file.start_ns is not None and file.stop_ns is not None
    )


def doubt(drive: Drive) -> str | None:
    """Say why files of one folder look like several drives; None where they do not, or where a log names the drive.

    The rule stays: a drive is the vehicle and session that its logs name, else the folder. This tells where the second
    half of the rule gave what nobody may have meant.
    """
    spans = _spans(drive)
    if drive.vehicle is not None or not spans:
        return None
    recordings, longest_gap, end = 1, 0, spans[0][1]
    for start, stop in spans[1:]:
        if start - end > SPLIT_NS:
            recordings += 1
            longest_gap = max(longest_gap, start - end)
        end = max(end, stop)
    whole = end - spans[0][0]
    if recordings == 1 and whole <= LONGEST_NS:
        return _doubt_of_folders(drive)
    apart = f" in {recordings} recordings, up to {length_text(longest_gap)} apart" if recordings > 1 else ""
    return (
        f"no log names its vehicle and session, so the folder makes {len(drive.files)} file(s) one drive: "
        f"{length_text(whole)} from {_utc(spans[0][0])} to {_utc(end)}{apart}. "
        "If they are several drives, put each into a folder of its own"
    )


def _doubt_of_folders(drive: Drive) -> str | None:
    """Say that folders in different places made one drive because they have one name."""
    folders = [{_folder(path, drive.session) for path in file.paths} for file in drive.files if file.paths]
    if not folders or set.intersection(*folders):
        return None
    named = sorted({min(places) for places in folders})
    more = f" and {len(named) - 2} more" if len(named) > 2 else ""
    return (
        f"no log names its vehicle and session, so {len(named)} folders of one name make {len(drive.files)} file(s) one "
        f"drive: {', '.join(named[:2])}{more}. If they are several drives, give the folders names of their own"
    )


def _folder(path: str, session: str) -> str:
    """Return the folder that names a log's drive: a bag is its own, any other log lies in it."""
    above, _, name = path.rpartition("/")
    return path if name == session else above


def length_text(span_ns: int) -> str:
    """Write a length of time for people."""
    seconds = span_ns / 1e9
    for unit, unit_s in (("years", 31_557_600), ("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.1f} {unit}"
    return f"{seconds:.1f} seconds"


def _utc(moment_ns: int) -> str:
    return f"{_EPOCH + timedelta(microseconds=moment_ns // 1000):%Y-%m-%d %H:%M:%S} UTC"

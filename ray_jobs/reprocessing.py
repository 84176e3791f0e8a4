"""Which drives an older reader or schema gave, and with what their logs can be read again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.erasures import Tombstone
from platform_lib.catalog.model import FileKey, UsedOptions, VisibleIngest
from platform_lib.errors import ConfigError
from platform_lib.lake.tables import SCHEMA_VERSION
from platform_lib.logs import READER_VERSION
from ray_jobs.arrivals import Content, content_at
from ray_jobs.read_options import Chosen, completed, find_again
from ray_jobs.reading import Ask


@dataclass(frozen=True, slots=True)
class DrivePlan:
    """What to read again.

    Attributes:
        asks: One a log; the group of each is its drive.
        left: Drives that cannot be read again as a whole: drive id -> why.
    """

    asks: list[Ask]
    left: dict[str, str]


def is_outdated(key: FileKey) -> bool:
    """Whether an older reader or schema than this release's gave these rows."""
    return _age(key.reader_version, key.schema_version) < _age(READER_VERSION, SCHEMA_VERSION)


def _age(reader_version: str, schema_version: int) -> tuple[list[int], int]:
    return [int(part) if part.isdecimal() else 0 for part in reader_version.split(".")], schema_version


def plan_drives(
    catalog: Catalog,
    contents: Sequence[Content],
    *,
    drives: Collection[str],
    chosen: Chosen | None,
    erased: Mapping[str, Tombstone],
) -> DrivePlan:
    """Choose the drives to read again.

    Args:
        catalog: What is committed, and where it was found.
        contents: Logs that were named; where there are any, only their drives are read again.
        drives: Only these; all by default.
        chosen: What to read with; by default what each log was read with. Logs that were read with others are read
            again though no reader changed.
        erased: Contents that are never read again; a drive that has one, erased in part, stays as it is.

    Raises:
        ConfigError: There is no such drive.
    """
    by_drive: dict[str, list[VisibleIngest]] = {}
    for item in catalog.view().ingests:
        by_drive.setdefault(item.drive_id, []).append(item)
    unknown = sorted(set(drives) - by_drive.keys())
    if unknown:
        raise ConfigError(f"no drive '{unknown[0]}' in the lake", remedy="`drivetrain drives` lists them")
    named = {item.sha256: item for item in contents}
    wanted = {
        drive_id: [item for item in items if is_outdated(item.key) or _read_otherwise(item.key, chosen)]
        for drive_id, items in by_drive.items()
        if (not drives or drive_id in drives) and (not named or any(item.key.file_sha256 in named for item in items))
    }
    plan = DrivePlan([], {})
    known = catalog.options()
    paths = catalog.paths([item.key.file_sha256 for items in wanted.values() for item in items])
    for drive_id, items in sorted(wanted.items()):
        asks = _asks(drive_id, items, named, paths, known, chosen, erased)
        if isinstance(asks, str):
            plan.left[drive_id] = asks
        else:
            plan.asks.extend(asks)
    return plan


def _read_otherwise(key: FileKey, chosen: Chosen | None) -> bool:
    """Whether other databases were asked for than a log was read with, which has a say in those that took some."""
    return chosen is not None and chosen.sha256 != key.options_sha256


def _asks(
    drive_id: str,
    items: Sequence[VisibleIngest],
    named: Mapping[str, Content],
    paths: Mapping[str, tuple[str, ...]],
    known: Mapping[str, UsedOptions],
    chosen: Chosen | None,
    erased: Mapping[str, Tombstone],
) -> list[Ask] | str:
    asks = []
    for item in items:
        sha256 = item.key.file_sha256
        if sha256 in erased:
            return f"a part of it was erased (erasure {erased[sha256].erasure_id}), so its logs are not read again"
        places = paths.get(sha256, ())
        content = named.get(sha256) or content_at(places, sha256)
        if content is None:
            return f"its log {places[0] if places else sha256[:12]} is no longer there; name the folder it is in now"
        if chosen is None or not content.is_mdf:
            options = find_again(known, item.key.options_sha256)
        else:
            options = completed(chosen, known, item.key.options_sha256)
        if isinstance(options, str):
            return f"{content.shown}: {options}"
        if not is_outdated(item.key) and content.key(options.sha256) == item.key:
            continue  # a log that takes no databases
        asks.append(Ask(content, options.recovering(recover=item.recovered), drive_id))
    return asks

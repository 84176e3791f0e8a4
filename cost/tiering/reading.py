"""Reads everything that a bucket's advice is made of: inventory, logs, settings, the rules it has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from cost.plan.reading import read_settings
from cost.prices.snapshot import load, read_snapshot
from cost.tiering.advice import Asked
from cost.tiering.fees import Fees, fees_of
from cost.tiering.inventory import DAY_S, Item, read_items, read_manifest
from cost.tiering.lifecycle import MOST_RULES, CurrentRules
from cost.tiering.problems import Problems
from cost.tiering.reads import Read, Watch, access_log_reads, cloudtrail_reads, files_below, read_is_double_encoded
from cost.tiering.sampling import MOST_OBJECTS, Holdings, Kind, Sample
from cost.tiering.settings import NO_SETTINGS, TieringFile
from cost.tiering.storage_lens import read_lens
from platform_lib.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Sources:
    """Where everything lies.

    Attributes:
        inventory: A manifest of S3 Inventory, or a folder above one.
        access_logs: Files or folders.
        cloudtrail: Files or folders.
        storage_lens: Files or folders.
        settings: What the owner says.
        rules: The bucket's lifecycle configuration.
        prices: A snapshot of one's own.
        region: Where the bucket lies.
        depth: How many folders of a key make its prefix.
        life_days: How old objects get, where the settings do not say.
        plan_days: For how many days to count what arrives.
        most_objects: How many objects are watched at most.
    """

    inventory: Path
    access_logs: Sequence[Path] = ()
    cloudtrail: Sequence[Path] = ()
    storage_lens: Sequence[Path] = ()
    settings: Path | None = None
    rules: Path | None = None
    prices: Path | None = None
    region: str = "us-east-1"
    depth: int = 1
    life_days: int = 365
    plan_days: int = 365
    most_objects: int = MOST_OBJECTS


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was read.

    Attributes:
        bucket: Its name.
        asked: What advice is made of.
        problems: What could not be read.
        watch: What the logs cover.
        tells_locks: Whether the inventory says what is retained and held.
        snapshot: Of prices.
    """

    bucket: str
    asked: Asked
    problems: Problems
    watch: Watch
    tells_locks: bool
    snapshot: str


@dataclass(slots=True)
class _Counts:
    problems: Problems = field(default_factory=Problems)
    watch: Watch = field(default_factory=Watch)


def gather(sources: Sources) -> Gathered:
    """Read everything, line by line: memory grows with prefixes, ages and the sample, not with objects or requests.

    Raises:
        ConfigError: A file is missing or not what it should be, or there are no prices of the region.
        IntegrityError: A file of the inventory is not what its manifest says.
    """
    settings = NO_SETTINGS if sources.settings is None else read_settings(sources.settings, TieringFile)
    book = load() if sources.prices is None else read_snapshot(sources.prices)
    fees = fees_of(book, sources.region, [each.price(sources.region) for each in settings.prices])
    _require_prices(fees)
    rules = None if sources.rules is None else _rules(sources.rules)
    counts = _Counts()
    manifest = read_manifest(sources.inventory)
    today = int(manifest.taken_s // DAY_S)
    holdings = Holdings(sources.depth, today, sample=Sample(most_objects=sources.most_objects))
    for item in read_items(manifest, counts.problems):
        _count(holdings, item, sources.inventory)
    if not holdings.cells:
        raise ConfigError(
            "the inventory lists no object",
            where=manifest.path,
            remedy="give the inventory of a bucket that holds some",
        )
    _watch(holdings, sources, manifest.bucket, counts)
    watch = counts.watch
    seen = watch.first_day is not None and watch.last_day is not None
    traces = holdings.sample.traces(watch.first_day or 0, watch.last_day or 0) if seen else {}
    rates = {}
    if sources.storage_lens:
        lens = read_lens(files_below(sources.storage_lens, "Storage Lens exports"), manifest.bucket, counts.problems)
        found = {prefix: lens.rates(prefix) for prefix, _ in holdings.cells}
        rates = {prefix: rate for prefix, rate in found.items() if rate is not None}
    asked = Asked(
        holdings=holdings,
        traces=traces,
        watched_days=(watch.last_day or 0) + 1 - (watch.first_day or 0) if seen else 0,
        rates=rates,
        settings=settings,
        current=rules,
        fees=fees,
        life_days=sources.life_days,
        plan_days=sources.plan_days,
        share=holdings.sample.share,
    )
    return Gathered(manifest.bucket, asked, counts.problems, watch, manifest.tells_locks, book.name)


def _require_prices(fees: Fees) -> None:
    if not fees.prices:
        raise ConfigError(
            f"there is no price of S3 in {fees.region}, and what is not known cannot be compared",
            where="--region",
            remedy="give `prices` in the settings, each with source and date, or a snapshot that has them: --prices",
        )


def _rules(path: Path) -> CurrentRules:
    remedy = "write it with: aws s3api get-bucket-lifecycle-configuration --bucket BUCKET"
    try:
        return CurrentRules.model_validate(json.loads(path.read_bytes()))
    except OSError as error:
        raise ConfigError(f"the bucket's rules cannot be read: {error.strerror}", where=path, remedy=remedy) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"is no lifecycle configuration: {'.'.join(map(str, first['loc']))}: {first['msg']}",
            where=path,
            remedy=remedy,
        ) from error
    except ValueError as error:
        raise ConfigError(f"is no JSON: {error}", where=path, remedy=remedy) from error


def _count(holdings: Holdings, item: Item, where: Path) -> None:
    if item.marker:
        holdings.markers += 1
        return
    if not item.latest:
        holdings.old_versions.add(item.size_bytes)
        return
    born = int(item.modified_s // DAY_S)
    locked = None if item.locked_until_s is None else max(0, int(item.locked_until_s // DAY_S) + 1 - born)
    kind = Kind(item.storage_class, item.tier, max(0, holdings.today - born), locked, item.held)
    holdings.add(item.key, item.size_bytes, born, kind)
    if len(holdings.cells) > MOST_RULES:
        raise ConfigError(
            f"there are more than {MOST_RULES} prefixes and sizes, and a bucket takes {MOST_RULES} rules",
            where=where,
            remedy="count fewer folders as a prefix: --prefix-depth",
        )


def _watch(holdings: Holdings, sources: Sources, bucket: str, counts: _Counts) -> None:
    if sources.access_logs:
        files = files_below(sources.access_logs, "access logs")
        for read in access_log_reads(files, bucket, counts.watch, counts.problems):
            _note(holdings.sample, read)
        _require_lines(counts.watch, bucket, files[0], "the access logs")
    if sources.cloudtrail:
        files = files_below(sources.cloudtrail, "CloudTrail files")
        told = frozenset(counts.watch.days)
        for read in cloudtrail_reads(files, bucket, counts.watch, counts.problems, told=told):
            _note(holdings.sample, read)
        _require_lines(counts.watch, bucket, files[0], "CloudTrail's files")


def _note(sample: Sample, read: Read) -> None:
    key = read.key
    if not sample.known(key) and (again := read_is_double_encoded(key)) is not None and sample.known(again):
        key = again
    sample.read(key, read.day, read.read_bytes)


def _require_lines(watch: Watch, bucket: str, where: Path, what: str) -> None:
    if watch.first_day is None:
        raise ConfigError(
            f"{what} have no readable line about bucket {bucket}: that nothing was logged does not say that nothing was read",
            where=where,
            remedy="give the logs of this bucket, or `reads_a_month: 0` in the settings where it is known",
        )

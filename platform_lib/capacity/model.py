"""The capacity model: demand, what was measured, and assumptions, to what is needed and what it costs (pure).

Every figure is a product of named ones; `Need.steps` says which, so that each can be followed by hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt

GB, MIB = 1e9, 1 << 20
HOURS_PER_MONTH, DAYS_PER_MONTH = 730.0, 730.0 / 24


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Recording(_Strict):
    """What a vehicle records."""

    gb_per_hour: PositiveFloat
    file_minutes: PositiveFloat
    upload_part_mib: PositiveFloat


class Ingest(_Strict):
    """Where and when logs are taken in."""

    window_hours: PositiveFloat
    peak_factor: PositiveFloat
    spot_share: NonNegativeFloat
    spot_price_share: NonNegativeFloat
    range_read_mib: PositiveFloat
    node_type: str
    node_vcpus: PositiveInt
    node_usd_per_hour: PositiveFloat
    node_network_mbps: PositiveFloat


class Storage(_Strict):
    """How long bytes are kept where, and what that costs."""

    logs_standard_days: NonNegativeFloat
    logs_instant_days: NonNegativeFloat
    lake_standard_days: NonNegativeFloat
    lake_infrequent_days: NonNegativeFloat
    standard_usd_per_gb_month: NonNegativeFloat
    infrequent_usd_per_gb_month: NonNegativeFloat
    instant_usd_per_gb_month: NonNegativeFloat
    put_usd_per_1000: NonNegativeFloat
    get_usd_per_1000: NonNegativeFloat
    to_infrequent_usd_per_1000: NonNegativeFloat
    to_instant_usd_per_1000: NonNegativeFloat


class CatalogueCost(_Strict):
    """What the catalogue's database costs."""

    instance_usd_per_hour: NonNegativeFloat
    storage_usd_per_gb_month: NonNegativeFloat
    bytes_per_row: PositiveFloat


class Assumptions(_Strict):
    """All that is taken for granted."""

    recording: Recording
    ingest: Ingest
    storage: Storage
    catalogue: CatalogueCost


class Measured(_Strict):
    """What this machine does; see `platform_lib.capacity.measuring`.

    Attributes:
        core_s_per_gb: CPU seconds of one core to read a GB of log and write its rows.
        core_s_per_file: The same a file, whatever its size.
        lake_share: Bytes written by byte of log.
        objects_per_file: Data files written a log.
        rows_per_file: Catalogue rows a log.
        commit_s: One commit of the stores and the catalogue, with no log in it.
        commit_s_per_file: What each log of it adds.
        dispatch_s: Handing one task to a worker.
    """

    core_s_per_gb: PositiveFloat
    core_s_per_file: NonNegativeFloat
    lake_share: PositiveFloat
    objects_per_file: PositiveFloat
    rows_per_file: PositiveFloat
    commit_s: PositiveFloat
    commit_s_per_file: NonNegativeFloat
    dispatch_s: PositiveFloat


@dataclass(frozen=True, slots=True)
class Figure:
    """One result: its value and unit, and how it came about."""

    name: str
    value: float
    unit: str
    how: str


@dataclass(frozen=True, slots=True)
class Need:
    """What a fleet needs.

    Attributes:
        figures: In the order in which each rests on those before it.
        dollars: A month, once storage is as full as retention lets it be.
    """

    figures: tuple[Figure, ...]
    dollars: tuple[Figure, ...]

    @property
    def dollars_a_month(self) -> float:
        """The sum of `dollars`."""
        return sum(item.value for item in self.dollars)

    def value(self, name: str) -> float:
        """Return one figure."""
        return next(item.value for item in self.figures if item.name == name)


def need_of(vehicles: int, hours_per_day: float, measured: Measured, assumed: Assumptions) -> Need:
    """Work out what a fleet needs.

    Args:
        vehicles: How many record.
        hours_per_day: Each of them.
        measured: What one core does.
        assumed: The rest.
    """
    recording, ingest = assumed.recording, assumed.ingest
    gb = vehicles * hours_per_day * recording.gb_per_hour
    files = vehicles * hours_per_day * 60.0 / recording.file_minutes
    core_s = gb * measured.core_s_per_gb + files * measured.core_s_per_file
    cores = core_s / (ingest.window_hours * 3600.0) * ingest.peak_factor
    network_mbps = gb * 8e3 * (1 + measured.lake_share) / (ingest.window_hours * 3600.0) * ingest.peak_factor
    by_cores, by_network = cores / ingest.node_vcpus, network_mbps / ingest.node_network_mbps
    nodes = math.ceil(max(by_cores, by_network))
    node_hours = max(by_cores, by_network) * ingest.window_hours / ingest.peak_factor
    lake_gb, objects = gb * measured.lake_share, files * measured.objects_per_file
    puts = gb * GB / (recording.upload_part_mib * MIB) + max(objects, lake_gb * GB / (recording.upload_part_mib * MIB))
    gets = gb * GB / (ingest.range_read_mib * MIB)
    rows = files * measured.rows_per_file
    figures = (
        Figure("recorded", gb, "GB/day", f"{vehicles} vehicles x {hours_per_day:g} h x {recording.gb_per_hour:g} GB/h"),
        Figure("recorded a week", gb * 7 / 1e6, "PB/week", "recorded x 7"),
        Figure("files", files, "/day", f"{vehicles} x {hours_per_day:g} h x 60 / {recording.file_minutes:g} min"),
        Figure(
            "core hours",
            core_s / 3600.0,
            "h/day",
            f"recorded x {measured.core_s_per_gb:.2f} s/GB + files x {measured.core_s_per_file:.3f} s",
        ),
        Figure("cores", cores, "", f"core hours / {ingest.window_hours:g} h x {ingest.peak_factor:g}"),
        Figure("network", network_mbps, "Mbit/s", "(recorded + lake) / window x peak"),
        Figure(
            "nodes",
            nodes,
            ingest.node_type,
            f"{by_cores:.1f} by cores, {by_network:.1f} by network: the greater, rounded up",
        ),
        Figure("node hours", node_hours, "h/day", "the same, over the window, without the peak"),
        Figure("lake", lake_gb, "GB/day", f"recorded x {measured.lake_share:.2f}"),
        Figure("S3 PUT", puts, "/day", f"logs in parts of {recording.upload_part_mib:g} MiB, and lake files"),
        Figure("S3 GET", gets, "/day", f"logs in ranges of {ingest.range_read_mib:g} MiB"),
        Figure("catalogue rows", rows, "/day", f"files x {measured.rows_per_file:.1f}"),
    )
    return Need(figures, _dollars(figures, assumed, objects=objects, files=files))


def _dollars(figures: tuple[Figure, ...], assumed: Assumptions, *, objects: float, files: float) -> tuple[Figure, ...]:
    known = {item.name: item.value for item in figures}
    ingest, storage, catalogue = assumed.ingest, assumed.storage, assumed.catalogue
    share = 1 - ingest.spot_share + ingest.spot_share * ingest.spot_price_share
    tiers = (
        ("logs, Standard", known["recorded"], storage.logs_standard_days, storage.standard_usd_per_gb_month),
        ("logs, Glacier Instant", known["recorded"], storage.logs_instant_days, storage.instant_usd_per_gb_month),
        ("lake, Standard", known["lake"], storage.lake_standard_days, storage.standard_usd_per_gb_month),
        ("lake, Standard-IA", known["lake"], storage.lake_infrequent_days, storage.infrequent_usd_per_gb_month),
    )
    kept = [
        Figure(name, gb * days * price, "$/month", f"{gb:,.0f} GB/day x {days:g} days x ${price:g}/GB")
        for name, gb, days, price in tiers
    ]
    requests = (
        known["S3 PUT"] * storage.put_usd_per_1000
        + known["S3 GET"] * storage.get_usd_per_1000
        + (files * storage.to_instant_usd_per_1000 if storage.logs_instant_days else 0.0)
        + (objects * storage.to_infrequent_usd_per_1000 if storage.lake_infrequent_days else 0.0)
    )
    rows_kept = known["catalogue rows"] * (storage.lake_standard_days + storage.lake_infrequent_days)
    table_gb = rows_kept * catalogue.bytes_per_row / GB
    return (
        Figure(
            "ingest nodes",
            known["node hours"] * DAYS_PER_MONTH * ingest.node_usd_per_hour * share,
            "$/month",
            f"node hours x {DAYS_PER_MONTH:.1f} days x ${ingest.node_usd_per_hour:g}/h"
            + (f" x {share:.2f} (spot)" if ingest.spot_share else "; nodes beyond these hours are given back"),
        ),
        *kept,
        Figure("S3 requests", requests / 1000.0 * DAYS_PER_MONTH, "$/month", "PUT, GET and transitions"),
        Figure(
            "catalogue",
            catalogue.instance_usd_per_hour * HOURS_PER_MONTH + table_gb * catalogue.storage_usd_per_gb_month,
            "$/month",
            f"instance, and {table_gb:,.0f} GB of {rows_kept:,.0f} rows",
        ),
    )

"""Whether drives that are to be joined tell one signal in different units: versions of one schema that nobody may mix unasked.

Drives are compared within a scope, as they were at ingest (`platform_lib.contracts.schema_gate`): another vehicle's signal
of the same name is another signal, and is converted by the unit that it names.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from platform_lib.catalog.schema_model import SchemaVersion
from platform_lib.catalog.stream_schemas import StreamSchemas
from platform_lib.datasets.sources import USED_SIGNALS
from platform_lib.errors import ContractError
from platform_lib.lake.lake import Lake
from platform_lib.lake.log_schemas import own_name


@dataclass(frozen=True, slots=True)
class MixedSignal:
    """One signal in several units.

    Attributes:
        drives: Unit -> the drives that have it so.
    """

    scope: str
    stream: str
    signal: str
    drives: dict[str, tuple[str, ...]]

    @property
    def sentence(self) -> str:
        """All of it in one line."""
        units = " and ".join(
            f"{unit} in {len(own)} drives ({own[0]}, ...)" for unit, own in sorted(self.drives.items())
        )
        return f"{self.stream} {self.signal} of {self.scope} is in {units}"


def mixed_units(lake: Lake, drive_ids: Collection[str], signals: Collection[str] = USED_SIGNALS) -> list[MixedSignal]:
    """List the signals that versions of one schema among these drives tell in different units.

    A version that names no unit says nothing: what is read by its unit is not read without one.
    """
    of_drive = {item.ingest_id: item.drive_id for item in lake.catalog.view(drive_ids).ingests}
    used: dict[tuple[str, str, int], set[str]] = defaultdict(set)
    for ingest_id, streams in lake.catalog.streams(of_drive).items():
        for item in streams:
            if item.schema_scope is not None and item.schema_version is not None:
                name = own_name(item.kind, item.message_type, item.stream)
                used[item.schema_scope, name, item.schema_version].add(of_drive[ingest_id])
    known = StreamSchemas(lake.catalog.engine).known({(scope, name) for scope, name, _ in used})
    found: list[MixedSignal] = []
    for (scope, name), versions in sorted(known.items()):
        found += _mixed(
            scope, name, [(item, used.get((scope, name, item.version), set())) for item in versions], signals
        )
    return found


def _mixed(
    scope: str, stream: str, versions: Sequence[tuple[SchemaVersion, set[str]]], signals: Collection[str]
) -> list[MixedSignal]:
    units: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for version, drives in versions:
        for field in version.schema.fields:
            if drives and field.unit is not None and field.name in signals:
                units[field.name][field.unit] |= drives
    return [
        MixedSignal(scope, stream, signal, {unit: tuple(sorted(drives)) for unit, drives in by_unit.items()})
        for signal, by_unit in sorted(units.items())
        if len(by_unit) > 1
    ]


def refuse_mixed(mixed: Sequence[MixedSignal], *, where: str) -> None:
    """Refuse to join them.

    Raises:
        ContractError: There are some.
    """
    if mixed:
        more = f" (and {len(mixed) - 1} more signals)" if len(mixed) > 1 else ""
        raise ContractError(
            f"{mixed[0].sentence}{more}: a signal changed its unit between these drives",
            where=where,
            remedy="--mixed-units joins them, each converted by the unit that it names, and the manifest says so",
        )

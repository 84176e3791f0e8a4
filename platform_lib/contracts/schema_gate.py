"""Decides of every log that was read whether its streams are what is known of them; see `platform_lib.contracts.evolution`.

A stream's schema is known within a scope, the first of these that there is:

1. the contract that binds the vehicle and names the stream: all its vehicles have to agree, and with the contract;
2. the vehicle that the log names;
3. nothing: a log that names no vehicle is not compared, since the same topic of another recorder is another stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from platform_lib.catalog.catalog import Catalog
from platform_lib.catalog.model import FileKey, IngestRecord, Refusal
from platform_lib.catalog.schema_model import CONTRACT_SCOPE, VEHICLE_SCOPE, Cause, SchemaVersion, StreamSchema
from platform_lib.catalog.stream_schemas import StreamSchemas
from platform_lib.contracts.evolution import Promise, SchemaChange, against_promises, compare, told
from platform_lib.contracts.files import binds, is_pattern
from platform_lib.contracts.model import Contract
from platform_lib.contracts.rules import rules_of

CHANGED_SCHEMA = "ChangedSchema"
"""Kind of the refusal of a log whose streams are not what they were."""


@dataclass(frozen=True, slots=True)
class _Scope:
    name: str
    promises: dict[str, Promise]


@dataclass(frozen=True, slots=True)
class Read:
    """One log that was read.

    Attributes:
        accepted: Somebody said that what it is now may be so.
    """

    record: IngestRecord
    key: FileKey
    recover: bool
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class _Break:
    stream: str
    scope: str
    version: int
    changes: tuple[SchemaChange, ...]


class SchemaGate:
    """Holds logs against the known schemas. For the one process that commits.

    Args:
        catalog: Where the known ones are.
        contracts: Those that bind the home.
    """

    def __init__(self, catalog: Catalog, contracts: Sequence[Contract]) -> None:
        self._schemas = StreamSchemas(catalog.engine)
        self._contracts = contracts

    def judge(self, logs: Sequence[Read]) -> list[IngestRecord | Refusal]:
        """Return each log's record with the versions of its streams, or why it is refused; in the same order.

        Of logs that are judged together, an earlier one makes its schemas known to the later ones. A content that is in
        the lake already is never refused: the recording is the same, and how it is read was somebody's choice.
        """
        scopes = [self._scopes(item.record) for item in logs]
        named = {(scope.name, schema.name) for found in scopes for schema, scope in found}
        known = self._schemas.known(named)
        again = self._schemas.committed({item.key.file_sha256 for item in logs})
        judged: list[IngestRecord | Refusal] = []
        for item, found in zip(logs, scopes, strict=True):
            cause: Cause | None = "reader" if item.key.file_sha256 in again else "accepted" if item.accepted else None
            versions, new, breaks = _versions(found, known, cause)
            if breaks:
                judged.append(_refusal(item, breaks))
                continue
            for one in new:
                known.setdefault((one.scope, one.schema.name), []).append(one)
            judged.append(_with_versions(item.record, versions, new))
        return judged

    def _scopes(self, record: IngestRecord) -> list[tuple[StreamSchema, _Scope]]:
        vehicle = record.drive.vehicle
        bound = [item for item in self._contracts if binds(item, vehicle)]
        found = []
        for schema in record.schemas:
            naming = [(item, promises) for item in bound if (promises := _promises(item, schema.stream)) is not None]
            if naming:
                merged = {column: said for _, promises in reversed(naming) for column, said in promises.items()}
                found.append((schema, _Scope(f"{CONTRACT_SCOPE}{naming[0][0].id}", merged)))
            elif vehicle is not None:
                found.append((schema, _Scope(f"{VEHICLE_SCOPE}{vehicle}", {})))
        return found


def _promises(contract: Contract, stream: str) -> dict[str, Promise] | None:
    """Return what a contract says of a stream's columns; None where it does not name it."""
    rules = [rule for rule in rules_of(contract) if rule.kind == "stream" and rule.source == stream]
    if not rules or is_pattern(stream):
        return None
    by = f"contract {contract.id} {contract.version}"
    found: dict[str, Promise] = {}
    for rule in rules:
        if rule.column is not None:
            said = found.get(rule.column, Promise(by, None, None))
            value = str(rule.limit.value)
            if rule.check == "type":
                said = replace(said, type=value)
            elif rule.check == "unit":
                said = replace(said, unit=value)
            found[rule.column] = said
    return found


def _versions(
    found: Sequence[tuple[StreamSchema, _Scope]],
    known: dict[tuple[str, str], list[SchemaVersion]],
    cause: Cause | None,
) -> tuple[list[SchemaVersion], list[SchemaVersion], list[_Break]]:
    """Return the version of each stream, which of them are new, and what may not be taken in."""
    versions: list[SchemaVersion] = []
    new: list[SchemaVersion] = []
    breaks: list[_Break] = []
    for schema, scope in found:
        before = known.get((scope.name, schema.name), [])
        same = next((item for item in before if item.schema.sha256 == schema.sha256), None)
        if same is not None:
            versions.append(replace(same, schema=schema))
            continue
        newest = before[-1] if before else None
        changes = (
            against_promises(schema, scope.promises)
            if newest is None
            else compare(newest.schema, schema, scope.promises)
        )
        if cause is None and any(item.breaks for item in changes):
            broken = tuple(item for item in changes if item.breaks)
            breaks.append(_Break(schema.stream, scope.name, 0 if newest is None else newest.version, broken))
            continue
        number = 1 if newest is None else newest.version + 1
        sentences = tuple(_sentence(item) for item in changes)
        new.append(SchemaVersion(scope.name, number, schema, _cause(newest, changes, cause), sentences))
    return [*versions, *new], new, breaks


def _cause(newest: SchemaVersion | None, changes: Sequence[SchemaChange], forced: Cause | None) -> Cause:
    if any(item.breaks for item in changes) and forced is not None:
        return forced
    if newest is None:
        return "first"
    return "contract" if any(item.planned for item in changes) else "compatible"


def _sentence(change: SchemaChange) -> str:
    return change.what if change.planned is None else f"{change.what}, as {change.planned} states"


def _refusal(item: Read, breaks: Sequence[_Break]) -> Refusal:
    first = breaks[0]
    since = f", version {first.version}" if first.version else ""
    more = f" (and {len(breaks) - 1} more streams)" if len(breaks) > 1 else ""
    reason = f"stream '{first.stream}' is not what it was ({first.scope}{since}): {told(first.changes)}{more}"
    remedy = (
        f"if it is meant: `drivetrain quarantine retry {item.key.file_sha256[:12]} --accept-schema`, or state it in the "
        "contract; else mend the recorder. The table `schemas` of `drivetrain query` shows what is known"
    )
    return Refusal(item.key, item.recover, CHANGED_SCHEMA, _storable(reason), remedy)


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\0")


def _with_versions(
    record: IngestRecord, versions: Sequence[SchemaVersion], new: Sequence[SchemaVersion]
) -> IngestRecord:
    of = {item.schema.stream: item for item in versions}
    streams = tuple(
        item
        if (own := of.get(item.stream)) is None
        else replace(item, schema_scope=own.scope, schema_version=own.version)
        for item in record.streams
    )
    return replace(record, streams=streams, versions=tuple(new))

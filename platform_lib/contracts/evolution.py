"""What is other in one schema of a stream than in another, and whether whoever reads it would read it wrongly (pure).

| what is other | the log |
|---|---|
| a field more; a unit where none was named; a type widened without loss | is taken in, as a new version |
| a field less | is taken in as a new version, unless a contract promises the field |
| another unit, or none where one was named | is quarantined, unless a contract states the new unit |
| another type | is quarantined, unless a contract states the new type, or another reader told the old one |
| another message type; a definition that no reader decodes; samples for signals | is quarantined |
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from platform_lib.catalog.schema_model import StreamField, StreamSchema
from platform_lib.contracts.diff import WIDENED

_INDEX = re.compile(r"\[\d+\]")
_SHAPE = re.compile(r"(\[\d*\])*$")


@dataclass(frozen=True, slots=True)
class Promise:
    """What a contract says of one column of a stream.

    Attributes:
        by: The contract and its version.
        type: None where it says nothing of it.
        unit: The unit that the log has to name; None where it says nothing of it.
    """

    by: str
    type: str | None
    unit: str | None


Promises = Mapping[str, Promise]
"""Column -> what is promised of it."""


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One change.

    Attributes:
        what: One sentence: the field, before and after.
        breaks: Whether rows before and after must not be read alike.
        planned: The contract that states it, which makes it no break.
    """

    what: str
    breaks: bool
    planned: str | None = None


def compare(old: StreamSchema, new: StreamSchema, promises: Promises) -> list[SchemaChange]:
    """List what is other in `new`, what breaks first."""
    found = [*_whole(old, new)]
    before, after = ({item.name: item for item in schema.fields} for schema in (old, new))
    if old.kept_as == new.kept_as and not found:
        found += _lost_and_found(before, after, promises)
        for name in before.keys() & after.keys():
            found += _field(before[name], after[name], promises.get(name), same_reader=old.reader == new.reader)
    return sorted(found, key=lambda item: (not item.breaks, item.what))


def against_promises(new: StreamSchema, promises: Promises) -> list[SchemaChange]:
    """List where the first log of a stream is other than a contract says: another unit, a type not widened from its own."""
    found: list[SchemaChange] = []
    if new.kept_as != "signals":
        return found
    for item in new.fields:
        said = promises.get(item.name)
        if said is not None and said.unit is not None and item.unit != said.unit:
            found.append(
                SchemaChange(f"{item.name}: unit {_named(item.unit)}, {said.by} says {said.unit}", breaks=True)
            )
        if said is not None and said.type not in (None, item.type) and not is_wider(str(said.type), item.type):
            found.append(SchemaChange(f"{item.name}: type {item.type}, {said.by} says {said.type}", breaks=True))
    return sorted(found, key=lambda item: item.what)


def _whole(old: StreamSchema, new: StreamSchema) -> Iterator[SchemaChange]:
    if old.message_type != new.message_type:
        yield SchemaChange(f"message type {_named(old.message_type)}, now {_named(new.message_type)}", breaks=True)
    elif old.kept_as != new.kept_as:
        yield SchemaChange(f"it was kept as {old.kept_as}, and now would be as {new.kept_as}", breaks=True)
    elif old.definition_sha256 != new.definition_sha256:
        yield SchemaChange("its definition is another, and no reader decodes it", breaks=True)


def _lost_and_found(
    before: Mapping[str, StreamField], after: Mapping[str, StreamField], promises: Promises
) -> Iterator[SchemaChange]:
    for name in before.keys() - after.keys():
        by = next((said.by for column, said in promises.items() if _INDEX.sub("", column) == name), None)
        said = "" if by is None else f", and {by} promises it"
        yield SchemaChange(f"{name}: is no longer there{said}", breaks=by is not None)
    for name in after.keys() - before.keys():
        yield SchemaChange(f"{name}: is new ({after[name].type}, unit {_named(after[name].unit)})", breaks=False)


def _field(old: StreamField, new: StreamField, said: Promise | None, *, same_reader: bool) -> Iterator[SchemaChange]:
    if old.unit != new.unit:
        planned = said.by if said is not None and said.unit is not None and said.unit == new.unit else None
        breaks = old.unit is not None and planned is None
        yield SchemaChange(f"{new.name}: unit {_named(old.unit)}, now {_named(new.unit)}", breaks, planned)
    if old.type != new.type:
        planned = said.by if said is not None and said.type == new.type else None
        breaks = same_reader and planned is None and not is_wider(old.type, new.type)
        yield SchemaChange(f"{new.name}: type {old.type}, now {new.type}", breaks, planned)


def is_wider(old: str, new: str) -> bool:
    """Whether every value of one type is one of the other, exactly; arrays of the same shape by their elements."""
    shapes = [_SHAPE.search(kind) for kind in (old, new)]
    ends = [len(kind) if shape is None else shape.start() for kind, shape in zip((old, new), shapes, strict=True)]
    return old[ends[0] :] == new[ends[1] :] and (old[: ends[0]], new[: ends[1]]) in WIDENED


def _named(text: str | None) -> str:
    return "none" if text is None else repr(text) if text != text.strip() or not text else text


def told(changes: Sequence[SchemaChange], *, most: int = 3) -> str:
    """Return changes as one sentence, the first of them in words."""
    more = len(changes) - most
    return "; ".join(item.what for item in changes[:most]) + (f"; and {more} more" if more > 0 else "")

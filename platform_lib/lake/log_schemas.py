"""What a log says that its streams are, told so that two logs can be compared (pure)."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from platform_lib.catalog.schema_model import StreamField, StreamSchema
from platform_lib.lake.sensor_classes import plain_type
from platform_lib.logs.model import PUBLISH, TIMESTAMP, Stream

_GROUP = re.compile(r"\d+:(.*)", re.DOTALL)  # an MDF channel group: its place in the file, and its name
_UNIT = b"unit"


def schema_of(stream: Stream, name: str, known_as: str, kept_as: str, reader: str, *, decoded: bool) -> StreamSchema:
    """Describe one stream.

    Args:
        stream: As the log has it.
        name: Its name in the lake.
        known_as: Its name from log to log, see `known_names`.
        kept_as: ``signals`` or ``samples``.
        reader: Which reader reads it, and its version.
        decoded: Whether the log's columns are those of the message, and not its payload.
    """
    own = (TIMESTAMP, PUBLISH) if stream.kind == "message" else (TIMESTAMP,)
    fields = [item for field in stream.schema if field.name not in own for item in _fields(field.name, field, None)]
    return StreamSchema(
        stream=name,
        name=known_as,
        kept_as=kept_as,
        message_type=None if stream.message_type is None else plain_type(stream.message_type),
        fields=tuple(fields) if decoded else (),
        definition_sha256=None if decoded else _definition(stream.schema_text),
        reader=reader,
    )


def known_names(streams: Sequence[tuple[Stream, str]]) -> dict[str, str]:
    """Return the name in the lake -> the name from log to log; streams that have none are left out.

    A channel group's number is its place in one file and may be another in the next. So groups are known by their own
    names, and those without one, or with one that is there twice, cannot be found again.
    """
    named = {name: own_name(stream.kind, stream.message_type, name) for stream, name in streams}
    often = Counter(named.values())
    return {name: own for name, own in named.items() if own and often[own] == 1}


def own_name(kind: str, message_type: str | None, name: str) -> str:
    """Return a stream's name without the number of its channel group; empty where the group has no name."""
    group = _GROUP.fullmatch(name) if kind == "signal" and message_type is None else None
    return name if group is None else group[1].strip()


def _fields(name: str, field: pa.Field, outer: str | None) -> Iterator[StreamField]:
    raw = (field.metadata or {}).get(_UNIT)
    yield from _of_type(name, field.type, raw.decode().strip() if raw else outer, "")


def _of_type(name: str, kind: pa.DataType, unit: str | None, many: str) -> Iterator[StreamField]:
    if pa.types.is_dictionary(kind):
        yield from _of_type(name, kind.value_type, unit, many)
    elif pa.types.is_struct(kind):
        if many:
            yield StreamField(name, f"struct{many}", None)
        for i in range(kind.num_fields):
            member = kind.field(i)
            yield from _fields(f"{name}{'[]' if many else ''}.{member.name}", member, unit)
    elif pa.types.is_fixed_size_list(kind):
        yield from _of_type(name, kind.value_type, unit, f"{many}[{kind.list_size}]")
    elif hasattr(kind, "value_type"):
        yield from _of_type(name, kind.value_type, unit, f"{many}[]")
    else:
        yield StreamField(name, f"{kind}{many}", unit)


def _definition(text: str | None) -> str | None:
    """Digest a definition without its comments and white space, which change nothing."""
    if text is None:
        return None
    lines = (" ".join(line.partition("#")[0].split()) for line in text.splitlines())
    return hashlib.sha256("\n".join(line for line in lines if line).encode()).hexdigest()

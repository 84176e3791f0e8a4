"""The known versions of what streams are, in the catalogue's database; see `platform_lib.catalog.schema_model`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Text, any_, literal, select
from sqlalchemy.dialects import postgresql

from platform_lib.catalog.schema import INGESTS, STREAM_SCHEMAS
from platform_lib.catalog.schema_model import SchemaVersion, StreamField, StreamSchema


class StreamSchemas:
    """The known versions, in the catalogue's database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def known(self, named: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[SchemaVersion]]:
        """Return the versions of these scopes and names, the oldest first."""
        if not named:
            return {}
        scopes, names = (sorted({item[place] for item in named}) for place in (0, 1))
        wanted = select(STREAM_SCHEMAS).where(
            STREAM_SCHEMAS.c.scope == _any_of(scopes), STREAM_SCHEMAS.c.name == _any_of(names)
        )
        return {key: found for key, found in self._read(wanted).items() if key in named}

    def all(self) -> list[SchemaVersion]:
        """Return every version, by scope and name, the oldest first."""
        return [item for _, found in sorted(self._read(select(STREAM_SCHEMAS)).items()) for item in found]

    def _read(self, wanted: Any) -> dict[tuple[str, str], list[SchemaVersion]]:
        found: dict[tuple[str, str], list[SchemaVersion]] = defaultdict(list)
        with self._engine.connect() as connection:
            for row in connection.execute(wanted.order_by(STREAM_SCHEMAS.c.version)):
                found[row.scope, row.name].append(_version(row))
        return found

    def committed(self, file_sha256: Collection[str]) -> set[str]:
        """Return which of these contents are in the lake already."""
        named = INGESTS.c.file_sha256 == _any_of(sorted(file_sha256))
        with self._engine.connect() as connection:
            rows = connection.execute(select(INGESTS.c.file_sha256).where(named, INGESTS.c.state == "committed"))
            return set(rows.scalars())


def write_versions(connection: Connection, versions: Sequence[SchemaVersion]) -> None:
    """Remember versions; what is known already stays as it is."""
    rows = [
        {
            "scope": item.scope,
            "name": item.schema.name,
            "version": item.version,
            "sha256": item.schema.sha256,
            "kept_as": item.schema.kept_as,
            "message_type": item.schema.message_type,
            "definition_sha256": item.schema.definition_sha256,
            "fields": [[one.name, one.type, one.unit] for one in item.schema.fields],
            "reader": item.schema.reader,
            "cause": item.cause,
            "changes": list(item.changes),
        }
        for item in versions
    ]
    if rows:
        connection.execute(postgresql.insert(STREAM_SCHEMAS).on_conflict_do_nothing(), rows)


def _version(row: Row[Any]) -> SchemaVersion:
    fields = tuple(StreamField(*item) for item in row.fields)
    schema = StreamSchema(row.name, row.name, row.kept_as, row.message_type, fields, row.definition_sha256, row.reader)
    return SchemaVersion(row.scope, row.version, schema, row.cause, tuple(row.changes))


def _any_of(values: Sequence[str]) -> Any:
    return any_(literal(list(values), postgresql.ARRAY(Text)))

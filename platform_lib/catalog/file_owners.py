"""Whose rows the data files of the stores hold, for readers that want some ingests and open no other file."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import BigInteger, Engine, Text, select

from platform_lib.catalog.any_of import any_of
from platform_lib.catalog.schema import LAKE_FILES


def files_of(engine: Engine, ingest_ids: Collection[int]) -> set[str]:
    """Return the data files, below the lake's folder, that may hold rows of these ingests: their own, and shared ones."""
    named = LAKE_FILES.c.ingest_id == any_of(sorted(ingest_ids), BigInteger())
    with engine.connect() as connection:
        own = connection.execute(select(LAKE_FILES.c.path).where(named)).scalars().all()
        shared = connection.execute(select(LAKE_FILES.c.path).where(LAKE_FILES.c.ingest_id.is_(None))).scalars().all()
    return {*own, *shared}


def unrecorded(engine: Engine, paths: Collection[str]) -> set[str]:
    """Return those of these files of which the catalogue knows nothing."""
    with engine.connect() as connection:
        named = LAKE_FILES.c.path == any_of(sorted(paths), Text())
        return set(paths) - set(connection.execute(select(LAKE_FILES.c.path).where(named)).scalars())

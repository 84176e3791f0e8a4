"""Alembic's entry: runs the revisions on the connection that `platform_lib.catalog.migrate` hands over."""

from __future__ import annotations

from alembic import context

import platform_lib.catalog.clip_schema  # noqa: F401 - its tables join the others'
from platform_lib.catalog.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()

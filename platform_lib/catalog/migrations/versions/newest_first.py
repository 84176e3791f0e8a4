"""Clips of a cell are indexed newest first, as lists read them.

Revision ID: newest_first
Revises: checked_with
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "newest_first"
down_revision = "checked_with"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; the index is made anew, which takes minutes where there are a hundred million clips."""
    _index(["cell", sa.text("start_ns DESC"), sa.text("drive_number DESC")])


def downgrade() -> None:
    """Undo."""
    _index(["cell", "start_ns", "drive_number"])


def _index(columns: Sequence[str | sa.TextClause]) -> None:
    op.drop_index("ix_clips_cell", table_name="clips")
    op.create_index(
        "ix_clips_cell",
        "clips",
        columns,
        postgresql_include=["latitude_e7", "longitude_e7"],
        postgresql_where=sa.text("cell IS NOT NULL"),
    )

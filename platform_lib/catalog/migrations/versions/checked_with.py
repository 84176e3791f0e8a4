"""Ingests carry the mark of the contracts that they were held against, so that the unchecked are found by an index.

Revision ID: checked_with
Revises: fleet
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "checked_with"
down_revision = "fleet"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; what is there counts as unchecked, and the next ingest looks up its runs once."""
    op.add_column(
        "ingests",
        sa.Column(
            "checked_with",
            sa.Text,
            comment="digest of the contracts and checks that it was last held against; null: of none, or its vehicle changed",
        ),
    )
    op.create_index(
        "ix_ingests_checked_with",
        "ingests",
        ["checked_with", "ingest_id"],
        postgresql_where=sa.text("state = 'committed'"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_ingests_checked_with", table_name="ingests")
    op.drop_column("ingests", "checked_with")

"""Files of the lake with their digests; what logs were read with; what people let out of quarantine.

Revision ID: lake_files
Revises: 0002_contracts
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "lake_files"
down_revision = "0002_contracts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "lake_files",
        sa.Column("path", sa.Text, nullable=False, comment="below the home's lake folder"),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("ingest_id", sa.BigInteger, comment="whose rows it holds; null: of several, after compaction"),
        sa.ForeignKeyConstraint(["ingest_id"], ["ingests.ingest_id"], name="fk_lake_files_ingest_id"),
        sa.PrimaryKeyConstraint("path", name="pk_lake_files"),
        comment="Data files of both stores as they were written; `drivetrain lake check --digests` compares them.",
    )
    op.create_index("ix_lake_files_ingest_id", "lake_files", ["ingest_id"])
    op.create_table(
        "read_options",
        sa.Column("options_sha256", sa.Text, nullable=False),
        sa.Column("databases", JSONB, nullable=False, comment="[bus or '', sha256, path when it was used], ..."),
        sa.Column("timezone", sa.Text),
        sa.PrimaryKeyConstraint("options_sha256", name="pk_read_options"),
        comment="What logs were read with, so that they can be read so again.",
    )
    op.create_table(
        "releases",
        sa.Column("release_id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("file_sha256", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False, comment="why it was in quarantine"),
        sa.Column("note", sa.Text, nullable=False, comment="why somebody let it out"),
        sa.Column("quarantined_utc", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_utc", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.ForeignKeyConstraint(["file_sha256"], ["files.file_sha256"], name="fk_releases_file_sha256"),
        sa.PrimaryKeyConstraint("release_id", name="pk_releases"),
        comment="What people let out of quarantine, and why.",
    )
    op.create_index("ix_releases_file_sha256", "releases", ["file_sha256"])


def downgrade() -> None:
    """Undo."""
    for table in ("releases", "read_options", "lake_files"):
        op.drop_table(table)

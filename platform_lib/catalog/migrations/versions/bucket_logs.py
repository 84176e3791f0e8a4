"""Logs in buckets: which content each had when it was last fetched, or why it could not be.

Revision ID: bucket_logs
Revises: lake_files
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "bucket_logs"
down_revision = "lake_files"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "bucket_logs",
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("mark", sa.Text, nullable=False, comment="digest of the objects' names, lengths and ETags"),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("file_sha256", sa.Text, comment="null: it could not be fetched"),
        sa.Column("kind", sa.Text, comment="why it could not be fetched: the error's class"),
        sa.Column("reason", sa.Text),
        sa.Column("remedy", sa.Text),
        sa.Column("noted_utc", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("(file_sha256 IS NULL) = (kind IS NOT NULL AND reason IS NOT NULL)", name="fetched_or_not"),
        sa.PrimaryKeyConstraint("uri", name="pk_bucket_logs"),
        comment="What is known of logs in buckets: a log of the same mark is not fetched again.",
    )


def downgrade() -> None:
    """Undo; every log in a bucket is fetched once more."""
    op.drop_table("bucket_logs")

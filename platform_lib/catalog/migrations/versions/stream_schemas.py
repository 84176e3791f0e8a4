"""Versions of what streams are, by scope; which one each committed stream has.

Revision ID: stream_schemas
Revises: privacy
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "stream_schemas"
down_revision = "privacy"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; streams that are there already have no version until their logs are read again."""
    op.create_table(
        "stream_schemas",
        sa.Column("scope", sa.Text, nullable=False, comment="contract:ID or vehicle:NAME: streams that have to agree"),
        sa.Column("name", sa.Text, nullable=False, comment="of the stream, from log to log"),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False, comment="digest of kept_as, message_type, definition, fields"),
        sa.Column("kept_as", sa.Text, nullable=False),
        sa.Column("message_type", sa.Text),
        sa.Column("definition_sha256", sa.Text, comment="of a definition that no reader decodes"),
        sa.Column("fields", JSONB, nullable=False, comment="[name, type, unit or null], ..."),
        sa.Column("reader", sa.Text, nullable=False, comment="which reader told the types"),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("changes", JSONB, nullable=False, comment="what is other than in the version before"),
        sa.Column("recorded_utc", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("cause IN ('first', 'compatible', 'contract', 'reader', 'accepted')", name="cause"),
        sa.PrimaryKeyConstraint("scope", "name", "version", name="pk_stream_schemas"),
        sa.UniqueConstraint("scope", "name", "sha256", name="uq_stream_schemas_scope_name_sha256"),
        comment="Every schema that rows of a stream were taken in with. Nothing in it is of one drive.",
    )
    op.add_column("streams", sa.Column("schema_scope", sa.Text, comment="null: what the stream is was not compared"))
    op.add_column("streams", sa.Column("schema_version", sa.Integer))


def downgrade() -> None:
    """Undo; what was accepted is forgotten, so the next log of a stream is its first."""
    op.drop_column("streams", "schema_version")
    op.drop_column("streams", "schema_scope")
    op.drop_table("stream_schemas")

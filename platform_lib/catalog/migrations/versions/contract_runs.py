"""What data contracts found: one row a run, and one a rule that was not kept.

Revision ID: 0002_contracts
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002_contracts"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "contract_runs",
        sa.Column("run_id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("contract_id", sa.Text, nullable=False),
        sa.Column("contract_version", sa.Text, nullable=False),
        sa.Column("contract_sha256", sa.Text, nullable=False),
        sa.Column("checks_version", sa.Integer, nullable=False),
        sa.Column("ingest_id", sa.BigInteger, comment="null: of the lake or a dataset"),
        sa.Column("artefact_sha256", sa.Text, comment="the lake's version or the dataset; null: of a file"),
        sa.Column("errors", sa.Integer, nullable=False),
        sa.Column("warnings", sa.Integer, nullable=False),
        sa.Column(
            "figures", JSONB, nullable=False, comment="rule -> what was measured; none: the contract does not bind it"
        ),
        sa.Column("checked_utc", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.CheckConstraint("(ingest_id IS NULL) <> (artefact_sha256 IS NULL)", name="one_subject"),
        sa.ForeignKeyConstraint(["ingest_id"], ["ingests.ingest_id"], name="fk_contract_runs_ingest_id"),
        sa.PrimaryKeyConstraint("run_id", name="pk_contract_runs"),
        sa.UniqueConstraint("ingest_id", "contract_id", name="uq_contract_runs_ingest_id_contract_id"),
        sa.UniqueConstraint("artefact_sha256", "contract_id", name="uq_contract_runs_artefact_sha256_contract_id"),
        comment="The newest run of each contract on each file, lake version and dataset.",
    )
    op.create_table(
        "contract_findings",
        sa.Column("run_id", sa.BigInteger, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("figure", sa.Text, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("required", sa.Text, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("drive_id", sa.Text, comment="where a rule over many drives names one"),
        sa.CheckConstraint("severity IN ('error', 'warning', 'info')", name="severity"),
        sa.CheckConstraint("verdict IN ('fail', 'not_run')", name="verdict"),
        sa.ForeignKeyConstraint(
            ["run_id"], ["contract_runs.run_id"], name="fk_contract_findings_run_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("run_id", "number", name="pk_contract_findings"),
        comment="The rules that a run did not see kept.",
    )


def downgrade() -> None:
    """Undo; every finding is lost, and is found again by the next check."""
    op.drop_table("contract_findings")
    op.drop_table("contract_runs")

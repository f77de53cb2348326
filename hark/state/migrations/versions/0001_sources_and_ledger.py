"""Sources with their cursors, gaps, and the ledger.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables."""
    op.create_table(
        "sources",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("cursor", sa.Text),
        sa.Column("alive_ms", sa.BigInteger),
        sa.Column("newest_ms", sa.BigInteger),
        sa.Column("published", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("unmatched", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("month", sa.String, nullable=False, server_default=""),
        sa.Column("reads", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("note", sa.Text, nullable=False, server_default=""),
        sa.Column("error", sa.Text, nullable=False, server_default=""),
    )
    op.create_table(
        "gaps",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("begin_ms", sa.BigInteger, nullable=False),
        sa.Column("end_ms", sa.BigInteger, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("closed", sa.Boolean, nullable=False),
    )
    op.create_index("gaps_by_time", "gaps", ["source", "begin_ms"])
    op.create_table(
        "ledger_offsets",
        sa.Column("topic", sa.String, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True),
        sa.Column("next", sa.BigInteger, nullable=False),
    )
    op.create_table("ledger_ids", sa.Column("id", sa.String, primary_key=True), sqlite_with_rowid=False)
    op.create_table("ledger_rejected", sa.Column("id", sa.String, primary_key=True), sqlite_with_rowid=False)
    op.create_table(
        "ledger_days",
        sa.Column("source", sa.String, primary_key=True),
        sa.Column("day", sa.String, primary_key=True),
        sa.Column("collected", sa.BigInteger, nullable=False),
    )

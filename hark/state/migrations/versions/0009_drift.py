"""How often each tag was given, by day and version of the chain.

Revision ID: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables of versions and counts."""
    op.create_table(
        "tag_versions",
        sa.Column("version", sa.String, primary_key=True),
        sa.Column("begun_ms", sa.BigInteger, nullable=False),
        sa.Column("latest_ms", sa.BigInteger, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
    )
    op.create_table(
        "tag_counts",
        sa.Column("version", sa.String, primary_key=True),
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("tag", sa.String, primary_key=True),
        sa.Column("value", sa.String, primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("total", sa.Float, nullable=False),
    )

"""Generations of the index, and which of them is shown.

Revision ID: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables of reprocessing."""
    op.create_table(
        "generations",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("phase", sa.String, nullable=False, server_default=""),
        sa.Column("since_ms", sa.BigInteger),
        sa.Column("models", sa.Boolean, nullable=False),
        sa.Column("taxonomy", sa.Boolean, nullable=False),
        sa.Column("version", sa.String, nullable=False, server_default=""),
        sa.Column("rate", sa.Float, nullable=False, server_default="0"),
        sa.Column("shadow", sa.Boolean, nullable=False),
        sa.Column("ends", sa.Text, nullable=False, server_default=""),
        sa.Column("cursor", sa.Text),
        sa.Column("sent", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("total", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("begun_ms", sa.BigInteger),
        sa.Column("ready_ms", sa.BigInteger),
    )
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )

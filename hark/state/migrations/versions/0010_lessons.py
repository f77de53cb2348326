"""From which past each alert rule learned.

Revision ID: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Make the table of lessons."""
    op.create_table(
        "alert_lessons",
        sa.Column("rule", sa.String, primary_key=True),
        sa.Column("identity", sa.String, nullable=False),
        sa.Column("begin_ms", sa.BigInteger, nullable=False),
        sa.Column("shown_ms", sa.BigInteger, nullable=False),
        sa.Column("learned_ms", sa.BigInteger, nullable=False),
    )

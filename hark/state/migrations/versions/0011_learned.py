"""Up to when what was collected counts of the past that alert rules learn from.

Revision ID: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the moment; 0 for centers whose rules have learned: what they learned from stays as it was."""
    op.add_column("alert_clock", sa.Column("learned_ms", sa.BigInteger, nullable=False, server_default="0"))

"""What the alert role has judged, and the incidents that came of it.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables of checkpoints and incidents."""
    op.create_table(
        "alert_clock",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("through_ms", sa.BigInteger, nullable=False),
        sa.Column("live_since_ms", sa.BigInteger, nullable=False),
        sa.Column("history", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "alert_checkpoints",
        sa.Column("rule", sa.String, primary_key=True),
        sa.Column("identity", sa.String, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "alert_coverage",
        sa.Column("start_ms", sa.BigInteger, primary_key=True),
        sa.Column("blind", sa.Text, nullable=False),
    )
    op.create_table(
        "incidents",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("opened_ms", sa.BigInteger, nullable=False),
        sa.Column("ended_ms", sa.BigInteger),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("severity", sa.Integer, nullable=False),
        sa.Column("owner", sa.String, nullable=False, server_default=""),
        sa.Column("acknowledged_ms", sa.BigInteger),
        sa.Column("acknowledged_by", sa.String, nullable=False, server_default=""),
        sa.Column("silenced_until_ms", sa.BigInteger),
        sa.Column("cases", sa.Text, nullable=False, server_default="[]"),
        sa.Column("events", sa.Integer, nullable=False, server_default="0"),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("incidents_by_time", "incidents", ["opened_ms"])
    op.create_index("incidents_by_end", "incidents", ["ended_ms"])
    op.create_table(
        "incident_events",
        sa.Column("incident", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
    )

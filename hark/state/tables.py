"""The tables of the state database. Changes to them go into a migration beside this file."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

sources = Table(
    "sources",
    metadata,
    Column("name", String, primary_key=True),
    Column("cursor", Text),
    Column("alive_ms", BigInteger),  # when it last answered, with or without mentions
    Column("newest_ms", BigInteger),  # created_at of the newest mention
    Column("published", BigInteger, nullable=False, server_default="0"),
    Column("unmatched", BigInteger, nullable=False, server_default="0"),
    Column("month", String, nullable=False, server_default=""),
    Column("reads", BigInteger, nullable=False, server_default="0"),  # in `month`
    Column("note", Text, nullable=False, server_default=""),
    Column("error", Text, nullable=False, server_default=""),
)

gaps = Table(
    "gaps",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("source", String, nullable=False),
    Column("begin_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Column("closed", Boolean, nullable=False),
    Index("gaps_by_time", "source", "begin_ms"),
)

# The ledger's own register of what is in the log: independent of the store, so that the two can be compared.
ledger_offsets = Table(
    "ledger_offsets",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next", BigInteger, nullable=False),
)

ledger_ids = Table("ledger_ids", metadata, Column("id", String, primary_key=True), sqlite_with_rowid=False)

ledger_rejected = Table(
    "ledger_rejected", metadata, Column("id", String, primary_key=True), sqlite_with_rowid=False
)

# Records that retention, or an operator, removed from the log before a reader of it had come to them.
log_losses = Table(
    "log_losses",
    metadata,
    Column("topic", String, primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("reader", String, primary_key=True),
    Column("begin", BigInteger, primary_key=True),
    Column("end", BigInteger, nullable=False),
    Column("noticed_ms", BigInteger, nullable=False),
    Column("written_off", Boolean, nullable=False),
)

ledger_days = Table(
    "ledger_days",
    metadata,
    Column("source", String, primary_key=True),
    Column("day", String, primary_key=True),  # of arrival in the log, UTC
    Column("collected", BigInteger, nullable=False),
)

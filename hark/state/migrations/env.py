"""Alembic's environment: the connection is handed in by `hark.state.open_state`."""

from alembic import context

from hark.state.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()

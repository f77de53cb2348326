"""The state database: cursors, the sources' condition, the ledger's register. SQLite or PostgreSQL."""

from hark.state.database import Loss, NoticedLoss, SourceState, State, open_state

__all__ = ["Loss", "NoticedLoss", "SourceState", "State", "open_state"]

"""State databases for contract suites: opened as often as a test likes, all closed and emptied after it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from hark.state import State, open_state


@contextmanager
def reopened(address: str, folder: Path) -> Iterator[Callable[[], State]]:
    """Give what opens the database at `address` ("embedded": in `folder`) once more each time that it is called."""
    opened: list[State] = []

    def open_again() -> State:
        opened.append(open_state(address, folder))
        return opened[-1]

    yield open_again
    for state in opened:
        state.close()
    if address != "embedded":
        engine = sa.create_engine(sa.make_url(address).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
        engine.dispose()

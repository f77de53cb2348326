from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hark.state import State, open_state
from tests.contract.people_contract import PeopleContract


class TestPeopleInSqlite(PeopleContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Iterator[Callable[[], State]]:
        yield from _opener("embedded", tmp_path)


class TestPeopleInPostgresql(PeopleContract):
    @pytest.fixture
    def reopen(self, postgres: str, tmp_path: Path) -> Iterator[Callable[[], State]]:
        yield from _opener(postgres, tmp_path)
        engine = sa.create_engine(sa.make_url(postgres).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            connection.execute(sa.text("TRUNCATE people, sessions, api_keys, audit"))
        engine.dispose()


def _opener(address: str, folder: Path) -> Iterator[Callable[[], State]]:
    opened: list[State] = []

    def open_again() -> State:
        opened.append(open_state(address, folder))
        return opened[-1]

    yield open_again
    for state in opened:
        state.close()

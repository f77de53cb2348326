from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hark.core.errors import TransientError
from hark.state import State, open_state
from tests.contract.alerts_contract import AlertsContract
from tests.contract.state_contract import StateContract


class TestPostgresqlState(AlertsContract, StateContract):
    @pytest.fixture
    def reopen(self, postgres: str, tmp_path: Path) -> Iterator[Callable[[], State]]:
        opened: list[State] = []

        def open_again() -> State:
            opened.append(open_state(postgres, tmp_path))
            return opened[-1]

        yield open_again
        for state in opened:
            state.close()
        engine = sa.create_engine(sa.make_url(postgres).set(drivername="postgresql+psycopg"))
        with engine.begin() as connection:
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
        engine.dispose()


def test_a_server_that_is_away_is_transient(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="is away"):
        open_state("postgresql://hark@127.0.0.1:1/hark", tmp_path)
